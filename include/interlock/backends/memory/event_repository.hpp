// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_EVENT_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_MEMORY_EVENT_REPOSITORY_HPP

/// @file
/// Events in this process's memory, stored in the commits of `memory::StateRepository`: for tests, and as the
/// first log of a program that will have a server later.
///
///     interlock::memory::EventRepository events;
///     interlock::memory::StateRepository<Stock> stock{{.events = events}};
///     interlock::TransactionService const sales{interlock::OptimisticVersioning{}, stock};
///     sales.do_in_transaction("sku-1", [](Stock& s, interlock::Recorder& record) {
///         --s.quantity;
///         record(Sold{s.sku, 1});
///     });
///     auto const page = events.read(0, 0).value();  // one event, number 1 of the stream "sku-1"

#include <interlock/backends/memory/detail/event_log.hpp>
#include <interlock/backends/memory/fwd.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {

/// A log of events in this process's memory. Models `EventRepository` and `SubscribableEvents`.
///
/// **Guarantee.** The laws of `EventRepository`, for as long as the process lives. Repositories of several
/// types may write into one log. **Does not guarantee.** Anything across processes or restarts.
/// **Failures.** `overloaded` beyond `max_events`: the commit that brought the events is refused as a whole.
/// Nothing is ever unknown. **Lifetimes.** A shared handle: the log lives as long as any handle of it, or any
/// repository that was given one. **Thread safety.** Everything: safe. **Cost.** No round trip. One mutex for
/// all commits that record; commits that record nothing do not take it.
///
/// `R` is the runtime of those who wait for events. Users write `memory::EventRepository`.
template <class R>
class BasicEventRepository : public EventMembers<BasicEventRepository<R>> {
public:
    using runtime_type = R;
    static constexpr std::string_view name = "memory";

    /// A new, empty log.
    explicit BasicEventRepository(EventRepositoryOptions options = {}, R runtime = {})
        : log_(std::make_shared<detail::EventLog>(std::move(options))), runtime_(std::move(runtime))
    {}

    R const& runtime() const noexcept { return runtime_; }
    /// The same for all handles of one log, and for no other log that lives.
    void const* identity() const noexcept { return log_.get(); }
    /// What messages call this log.
    std::string place() const { return "memory"; }
    unsigned partitions() const noexcept { return log_->partitions(); }
    /// Every call answers at once, on the caller's thread.
    static constexpr Capabilities capabilities() noexcept
    {
        return {.answers_in_place = true, .owns_threads = true};
    }

    Outcome<EventPage> carry_out(verb::ReadEvents const& read, Deadline) const { return log_->read(read); }
    Outcome<std::vector<Event>> carry_out(verb::ReadStream const& read, Deadline) const
    {
        return log_->read_stream(read);
    }
    Outcome<Appended> carry_out(verb::AppendEvents const& append, Deadline) const
    {
        auto events = interlock::detail::with_ids(append.events, runtime_);
        return log_->append({append.stream, append.expected, events, append.id});
    }
    Outcome<LogExtent> carry_out(verb::ExtentOfLog const& extent, Deadline) const
    {
        return log_->extent(extent.partition);
    }
    Outcome<void> carry_out(verb::NoteConsumer const& note, Deadline) const
    {
        return log_->note_consumer(note);
    }
    Outcome<void> carry_out(verb::ForgetConsumer const& forget, Deadline) const
    {
        return log_->forget_consumer(forget.consumer);
    }
    Outcome<Position> carry_out(verb::TrimEvents const& trim, Deadline) const { return log_->trim(trim); }

    void subscribe(unsigned partition, Waiter& waiter) const { log_->subscribe(partition, waiter); }
    void unsubscribe(unsigned partition, Waiter& waiter) const noexcept
    {
        log_->unsubscribe(partition, waiter);
    }

    /// For `RepositoryOptions::events`: the log, whatever the runtime.
    operator EventLogHandle() const noexcept { return EventLogHandle{log_}; }  // NOLINT: meant to be implicit

private:
    std::shared_ptr<detail::EventLog> log_;
    [[no_unique_address]] R runtime_;
};

static_assert(SubscribableEvents<EventRepository>);

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_EVENT_REPOSITORY_HPP
