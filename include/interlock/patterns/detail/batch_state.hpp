// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_BATCH_STATE_HPP
#define INTERLOCK_PATTERNS_DETAIL_BATCH_STATE_HPP

/// @file
/// What a batch subscription knows of its partitions, and what it decides: where to go on, what is refused,
/// what the log and the observer are told. It calls no store.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/batch_work.hpp>
#include <interlock/patterns/detail/consumer_note.hpp>
#include <interlock/patterns/detail/newest_event.hpp>
#include <interlock/patterns/start.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `BatchOptions`.
struct BatchTerms {
    std::size_t batch;
    std::chrono::nanoseconds deadline;
    std::chrono::nanoseconds poll_least;
    std::chrono::nanoseconds poll_most;
    Start start;
    std::chrono::nanoseconds report_every;
    SubscriptionObserver* observer;
};

/// How often the log is told of a cursor.
inline constexpr std::chrono::seconds batch_note_every{5};

template <class Events, class Service>
class BatchState {
public:
    using T = typename Service::value_type;
    using runtime_type = typename Events::runtime_type;

    BatchState(Events events, Service service, std::string consumer, Position T::* place, BatchTerms terms)
        : events_(std::move(events)), service_(std::move(service)), consumer_(std::move(consumer)),
          place_(place), terms_(terms), parts_(events_.partitions())
    {}

    Events const& events() const noexcept { return events_; }
    std::string const& consumer() const noexcept { return consumer_; }
    runtime_type runtime() const { return events_.runtime(); }

    using Place = std::optional<Position>;  // nothing: there is none yet

    struct Part {
        Position cursor{0};                                              // as it is known to be stored
        std::chrono::sys_time<std::chrono::microseconds> recorded_at{};  // of the event there
        EventDensity density{};
        Position noted{-1};
        TimePoint note_at{TimePoint::min()};
        std::size_t handled{0};
        std::size_t reported{0};  // of those
        TimePoint report_at{TimePoint::min()};
        TimePoint reported_at{TimePoint::min()};
    };

    Failure wrong(char const* what) const
    {
        return Failure{
            Errc::invalid_argument,
            "the batch subscription '" + std::string(beginning_of(consumer_, 200)) + "': " + what};
    }
    Outcome<void> validate_name() const
    {
        if (consumer_.empty() || consumer_.size() > 200 || consumer_.find('/') != std::string::npos)
            return wrong("its name has 1 to 200 bytes, none of them '/'");
        return success();
    }
    Outcome<void> validate(unsigned partition) const
    {
        if (auto named = validate_name(); !named)
            return named;
        if (place_ == nullptr)
            return wrong("the place is no member of its state");
        if (partition >= parts_.size())
            return wrong("the log has no such partition");
        if (terms_.batch < 1 || terms_.batch > 100'000)
            return wrong("a batch is 1 to 100,000 events");
        if (terms_.poll_least.count() <= 0 || terms_.poll_most < terms_.poll_least)
            return wrong("it polls at intervals above 0, from the least to the most");
        if (terms_.deadline.count() <= 0 || terms_.report_every.count() < 0)
            return wrong("a transaction needs more time than none, and reports come after 0 or more");
        return success();
    }

    Outcome<Place> place_of(std::string const& id, Outcome<Versioned<T>> const& loaded) const
    {
        if (!loaded && loaded.errc() == Errc::not_found)
            return Place{};
        if (!loaded)
            return loaded.failure();
        Position const position = loaded->value.*place_;
        if (position < 0)
            return Failure{Errc::corrupt_state, "the cursor '" + id + "' is below 0"};
        if constexpr (std::same_as<T, Cursor>)
            if (auto const of = loaded->value.partitions; of != 0 && of != events_.partitions())
                return cursor_of_another_log(id, of, events_.partitions());
        return Place{position};
    }

    Outcome<EventPage> check(
        unsigned partition, std::string const& id, Position from, Outcome<EventPage> page) const
    {
        if (!page || !page->trimmed)
            return page;
        if (from > 0)
            return Failure{
                Errc::corrupt_state, "events behind the position " + std::to_string(from) +
                                         " were removed before '" + id + "' has read them"};
        if (terms_.observer != nullptr)
            terms_.observer->on_trimmed(StreamNotice{.consumer = consumer_, .partition = partition});
        return page;
    }

    template <class F>
    auto batch_of(Position from, EventPage page, std::shared_ptr<F> handler) const
    {
        return std::make_shared<BatchOf<T, F>>(
            BatchOf<T, F>{place_, events_.partitions(), from, std::move(page), std::move(handler)});
    }

    /// `ours`: or another reader was first.
    template <class Batch>
    void handled(unsigned partition, Batch const& batch, bool ours)
    {
        PartitionNotice notice{.consumer = consumer_, .partition = partition, .position = batch.from};
        if (!ours) {
            if (terms_.observer != nullptr)
                terms_.observer->on_moved(notice);
            return;
        }
        notice.position = batch.page.next;
        {
            std::lock_guard const lock(mutex_);
            auto& part = parts_[partition];
            part.cursor = std::max(part.cursor, batch.page.next);
            part.density.learn(batch.page.events);
            part.recorded_at = batch.page.events.back().recorded_at;
            part.handled += batch.page.events.size();
        }
        if (terms_.observer != nullptr)
            terms_.observer->on_progress(notice);
    }
    void arrive(unsigned partition, Position position)
    {
        std::lock_guard const lock(mutex_);
        parts_[partition].cursor = position;
    }
    Position cursor(unsigned partition) const
    {
        std::lock_guard const lock(mutex_);
        return parts_[partition].cursor;
    }

    Failure trouble(unsigned partition, Failure failure) const
    {
        if (terms_.observer != nullptr && failure.errc() != Errc::cancelled) {
            auto const text = failure.message();
            terms_.observer->on_trouble(PartitionNotice{
                .consumer = consumer_,
                .partition = partition,
                .position = cursor(partition),
                .code = failure.errc(),
                .text = text});
        }
        return failure;
    }

    /// Until when nothing is looked for; the next time it is twice as long.
    TimePoint next_look(std::chrono::nanoseconds& poll) const
    {
        auto const until = add(runtime().now(), poll);
        poll = poll > terms_.poll_most / 2 ? terms_.poll_most : poll * 2;
        return until;
    }

    // ---- the log is told

    std::optional<ConsumerNote> to_note(unsigned partition, bool last)
    {
        std::lock_guard const lock(mutex_);
        auto& part = parts_[partition];
        auto const now = runtime().now();
        // The first time, too: somebody may have put the place back while nobody ran.
        bool const goes_back = part.noted < 0 || part.cursor < part.noted;
        if (part.cursor == part.noted || (!goes_back && !last && now < part.note_at))
            return std::nullopt;
        part.note_at = add(now, batch_note_every);
        part.noted = part.cursor;
        return ConsumerNote{consumer_, partition, part.cursor, goes_back};
    }
    /// What the log has said. A log that does not keep in mind what was read may trim what was not: whatever
    /// it was kept from is tried again, and one that can never keep this consumer in mind, because of its
    /// name, is no log for it.
    Outcome<void> noted(unsigned partition, Outcome<void> const& said)
    {
        if (said)
            return success();
        {
            std::lock_guard const lock(mutex_);
            parts_[partition].noted = -1;
        }
        if (said.errc() == Errc::invalid_argument)
            return trouble(partition, said.failure());
        if (said.errc() == Errc::misconfigured)
            static_cast<void>(trouble(partition, said.failure()));
        return success();
    }
    // ---- reports

    bool report_due(unsigned partition) const
    {
        std::lock_guard const lock(mutex_);
        return terms_.observer != nullptr && terms_.report_every.count() > 0 &&
               runtime().now() >= parts_[partition].report_at;
    }
    void report(unsigned partition, Outcome<NewestEvent> const& newest)
    {
        PartitionReport report{.consumer = consumer_, .partition = partition};
        {
            std::lock_guard const lock(mutex_);
            auto& part = parts_[partition];
            auto const now = runtime().now();
            if (part.reported_at != TimePoint::min() && now > part.reported_at)
                report.handled_per_second = static_cast<double>(part.handled - part.reported) /
                                            std::chrono::duration<double>(now - part.reported_at).count();
            part.reported = part.handled;
            part.reported_at = now;
            part.report_at = add(now, terms_.report_every);
            report.position = part.cursor;
            report.handled = part.handled;
            auto const lag =
                newest ? part.density.between(part.cursor, newest->position) : std::optional<Position>{};
            if (!lag)
                return;  // nobody can say how many events there are
            report.lag = *lag;
            if (*lag > 0)
                report.lag_time = behind_by(*newest, part.recorded_at);
        }
        terms_.observer->on_report(report);
    }

    Events events_;
    Service service_;
    std::string consumer_;
    Position T::* place_;
    BatchTerms terms_;
    mutable std::mutex mutex_;  // nothing is called under it
    std::vector<Part> parts_;   // under the mutex, but their number
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_BATCH_STATE_HPP
