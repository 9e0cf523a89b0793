// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_SUBSCRIPTION_HPP
#define INTERLOCK_PATTERNS_SUBSCRIPTION_HPP

/// @file
/// A named reader of a log of events, which goes on where it was: after a crash, in another process, on
/// another machine. Its place in the log is a state like any other, and the lock on that state is its lease.
///
///     interlock::memory::StateRepository<interlock::Cursor> cursors;   // or of any other store with fences
///     interlock::Subscription const shipping{events, cursors, "shipping"};
///     shipping.run([&](interlock::Event const& event) {
///         if (auto const sold = event.as<Sold>())
///             ship(*sold);
///     }, stop);
///
/// An event is delivered at least once; what makes its effect happen once stands in the README of this
/// folder.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/subscription_operation.hpp>
#include <interlock/patterns/detail/subscription_run.hpp>
#include <interlock/patterns/handling.hpp>
#include <interlock/patterns/start.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// How a subscription reads. Values out of range end each run as `invalid_argument`, in words.
struct SubscriptionOptions {
    /// How many events are read at a time, 1 to 100,000; and after how many that were handled the cursor is
    /// written.
    std::size_t batch{256};
    /// How many events are handled side by side at most, each of another stream. Of a run that blocks there
    /// are not more than threads that called it.
    std::size_t concurrency{16};
    /// How often a handler is called for one event before its stream is parked. Failures with the code
    /// `unavailable` do not count: that something cannot be reached says nothing about the event.
    int attempts{8};
    /// Between attempts at one event.
    Backoff backoff{
        .initial = std::chrono::milliseconds{100}, .cap = std::chrono::seconds{30}, .immediate = 0};
    /// How long one attempt may take: see `Delivery::deadline`.
    std::chrono::nanoseconds event_deadline{std::chrono::seconds{30}};
    /// How many streams of a partition may be parked. When there are more it is the handler that is broken:
    /// the partition stands still then, and goes on when the handler does.
    std::size_t max_parked{100};
    /// The cursor is written when it has waited for this long, though the batch is not complete. What was
    /// handled since is delivered again after a crash.
    std::chrono::nanoseconds cursor_every{std::chrono::milliseconds{100}};
    /// How often the log is asked when nothing is new: after `poll_least`, then twice that, and so on, up to
    /// `poll_most`. A log that wakes its readers is asked at once when there is something, and else, since
    /// a wake-up may be lost, after five times `poll_most` at most.
    std::chrono::nanoseconds poll_least{std::chrono::milliseconds{1}};
    std::chrono::nanoseconds poll_most{std::chrono::milliseconds{100}};
    /// The lease of a partition: for so long another process waits when this one dies. Processes that share
    /// partitions are to have the same.
    Ttl ttl{};
    /// Where a consumer begins that has no cursor yet. One that has goes on where it was, whatever this says.
    Start start{Start::beginning};
    /// How often the observer is told how far each partition is, by `on_report`; 0: never. Two trips for a
    /// report at most, and none where there is no observer.
    std::chrono::nanoseconds report_every{0};
    /// Told what happens; null: nobody is. It must outlive the subscription and its runs.
    SubscriptionObserver* observer{nullptr};
};

/// A handler of events: `handler(event)` or `handler(event, delivery)`, which returns nothing, an `Outcome`,
/// or a `Handling`.
template <class F>
concept EventHandler = detail::handles_events<std::remove_reference_t<F>>;

/// Reads each partition of a log behind the cursor of its name, and hands each event to a handler.
///
/// **Guarantee.** Each event of the log is delivered at least once, and the cursor is never beyond an event
/// whose handling has not ended. The events of a stream are delivered one at a time, in their order, each
/// after the one before it was handled. Of all processes that run subscriptions of one name, one at a time
/// has the lease of a partition; one that was paused for longer than the lease cannot move the cursor
/// (`fenced_out`) and stops. Runs of one name, in whatever processes, share the partitions: each of `n` runs
/// holds an `n`th of them, rounded up or down. One that comes gets its share within about one lease, one that
/// ends gives its own up at once, and that of one that died is taken after its lease. A partition is handed
/// over when the events whose handling was begun have ended, and those before them in the log; none of them
/// comes again then. An event that cannot be handled parks its stream, other streams go on, and
/// nothing is passed over in silence: the observer is told. **Does not guarantee.** That an event is
/// delivered only once: after a crash, a lost lease or an unknown write what was handled since the last write
/// of the cursor comes again; and while a reader is paused, another one may be handling what it began. Order
/// between streams. That a handler which kills its process is ever parked. That a partition changes hands
/// without repetition when a handler, or the retries of one, takes longer than half a lease.
///
/// **Failures.** What a store cannot do now is tried again, for as long as the run lasts. A run ends with
/// `corrupt_state` when the cursor is ahead of the log, below 0, or of a log of another number of partitions,
/// and when events were trimmed that it had still to read; the cursor stays where it is. It ends with
/// `misconfigured` or `invalid_argument` when the stores or the options are not fit.
///
/// **Needs.** `Cursors`: a `FencedRepository` with the value type `Cursor`; it need not be of the store that
/// the events are in. **Lifetimes.** A shared handle; runs keep what they need. **Thread safety.**
/// Everything: safe. **Cost.** One read for each batch, one write of the cursor for each batch and at most
/// one for each `cursor_every`; idle, one read for each `poll_most`; a renewal for each third of the lease.
/// A run on a log of several partitions reads and writes the list of the runs four times in a lease.
/// A parked stream holds back the trimming of the log.
template <class Events, class Cursors>
class Subscription {
    using Run = detail::SubscriptionRun<Events, Cursors>;

public:
    /// Asks no store anything yet. `consumer`: the name under which it reads; 1 to 200 bytes, none of them
    /// '/'.
    Subscription(Events events, Cursors cursors, std::string consumer, SubscriptionOptions options = {})
        requires EventRepository<Events> &&
                 FencedRepository<Cursors> && std::same_as<typename Cursors::value_type, Cursor>
        : shared_(
              std::make_shared<Shared>(std::move(events), std::move(cursors), std::move(consumer), options))
    {}

    /// The name under which it reads.
    std::string const& consumer() const noexcept { return shared_->consumer; }
    /// The log that it reads.
    Events const& events() const noexcept { return shared_->events; }
    /// Where its cursors are.
    Cursors const& cursors() const noexcept { return shared_->locks.repository(); }

    /// Hands events to `handler`, on the calling thread, until a stop is requested. Several threads may call
    /// it on one subscription: they share its partitions and streams.
    ///
    /// **Outcome.** Success when it was stopped; a failure as the class says. What `handler` throws is a
    /// failure of the event. **Cost.** No thread of its own.
    template <EventHandler F>
    Outcome<void> run(F&& handler, std::stop_token stop) const
    {
        auto count = run_here(handler, stop, false, {});
        if (!count)
            return std::move(count).failure();
        return success();
    }

    /// Hands events to `handler`, on the calling thread, until nothing is left, and writes the cursor; how
    /// many there were. For jobs and tests. It shares with nobody: it takes each partition that is free.
    ///
    /// **Outcome.** As that of `run`. `lock_busy` when somebody else had the lease of a partition until
    /// `deadline`, which bounds nothing but that wait; `overloaded` when more streams would be parked than
    /// may be; what a store failed with for `attempts` times.
    template <EventHandler F>
    Outcome<std::size_t> drain(F&& handler, Deadline deadline = {}) const
    {
        return run_here(handler, {}, true, deadline);
    }

    /// As `run`, without blocking; the handler may be a coroutine, and then is one that must not block.
    ///
    ///     co_await shipping.async_run(ship_it, stop, use_awaitable);
    ///
    /// **Completion.** `void(Outcome<void>)`, on the handler's associated executor, exactly once, never from
    /// within this call. Handlers of events run on that executor as well, up to `concurrency` of them side by
    /// side, a coroutine on a strand of it. **The end.** When `stop` is requested, handlers that run are
    /// waited for. **Cancellation.** All types: as a stop, but coroutines that run are cancelled, and their
    /// events come again. **Lifetimes.** The handler is moved or copied; what it refers to must outlive the
    /// run.
    template <EventHandler F, class CompletionToken>
    auto async_run(F&& handler, StopSignal stop, CompletionToken&& token) const
    {
        return initiate<void>(std::forward<F>(handler), stop, false, Deadline{}, token);
    }
    /// The same, until it is cancelled.
    template <EventHandler F, class CompletionToken>
    auto async_run(F&& handler, CompletionToken&& token) const
    {
        return initiate<void>(std::forward<F>(handler), StopSignal{}, false, Deadline{}, token);
    }

    /// As `drain`, without blocking. **Completion.** `void(Outcome<std::size_t>)`; the rest is as of
    /// `async_run`.
    template <EventHandler F, class CompletionToken>
    auto async_drain(F&& handler, Deadline deadline, CompletionToken&& token) const
    {
        return initiate<std::size_t>(std::forward<F>(handler), StopSignal{}, true, deadline, token);
    }

    /// The streams that are parked, of all partitions. One trip for each partition.
    Outcome<std::vector<Parked>> parked() const
    {
        std::vector<Parked> all;
        for (unsigned partition = 0; partition < events().partitions(); ++partition) {
            auto cursor = load(partition);
            if (!cursor)
                return std::move(cursor).failure();
            if (*cursor)
                all.insert(all.end(), (*cursor)->value.parked.begin(), (*cursor)->value.parked.end());
        }
        return all;
    }

    /// Lets a parked stream go on, with the event that it waits with: whoever has the lease notices within a
    /// second or so, in whatever process; else it is noted for whoever gets it. `not_found`: no such stream
    /// is parked.
    template <class A>
    Outcome<void> resume(A const& stream) const
    {
        return resume_from(make_key<Cursor, std::string>(stream), 0);
    }
    /// The same without that event, which is given up for good; also when somebody has resumed the stream and
    /// the event is being tried again. A second call gives up nothing more.
    template <class A>
    Outcome<void> skip(A const& stream) const
    {
        return resume_from(make_key<Cursor, std::string>(stream), 1);
    }

    /// How many positions the cursor is behind the newest event, in the partition where that is most. Two
    /// trips for each partition.
    Outcome<Position> lag() const;

    /// Moves the cursor of a partition, by hand: what is behind `position` is delivered, perhaps again. A
    /// reader that runs notices with its next write of the cursor, and goes on from there. What is parked
    /// stays parked, so that nothing of its stream comes again that stands before it, and what was trimmed
    /// does not come back. What is to be read again is not trimmed, with one exception: a reader that runs
    /// and has not noticed yet may tell the log of its old place once more, so trim nothing until it has.
    /// `invalid_argument`: there is no such partition, or the position is below 0.
    Outcome<void> move_to(unsigned partition, Position position) const
    {
        if (partition >= events().partitions())
            return wrong(
                "there is no partition " + std::to_string(partition) + ": the log has " +
                std::to_string(events().partitions()) + ", counted from 0");
        if (position < 0)
            return wrong("no position is below 0");
        return put(partition, position);
    }

    /// Forgets a consumer that will not come again: the log keeps nothing for it any more, and its cursors
    /// are removed. To be called when it runs nowhere.
    Outcome<void> forget() const;

private:
    struct Shared {
        Shared(Events e, Cursors cursors, std::string name, SubscriptionOptions with)
            : events(std::move(e)), locks(std::move(cursors), LockOptions{.ttl = with.ttl}),
              consumer(std::move(name)), options(with)
        {}
        Events events;
        typename Run::Locks locks;
        std::string consumer;
        SubscriptionOptions options;
        std::mutex mutex;
        std::shared_ptr<Run> run{};  // that threads share; null: none
        std::size_t threads{0};      // that work for it
    };

    Failure wrong(std::string const& what) const
    {
        return Failure{
            Errc::invalid_argument,
            "the subscription '" + std::string(detail::beginning_of(consumer(), 200)) + "': " + what};
    }
    Outcome<void> validate_name() const;
    Outcome<void> validate() const;
    Outcome<void> put(unsigned partition, Position position) const;
    std::vector<detail::SubscriptionTerms> terms(bool drains, TimePoint lease_until) const;
    std::optional<detail::MembershipMachine> membership(bool drains) const;
    std::shared_ptr<Run> make_run(bool drains, TimePoint lease_until) const
    {
        return std::make_shared<Run>(
            shared_->events, shared_->locks, shared_->consumer, terms(drains, lease_until),
            membership(drains), shared_->options.observer);
    }

    template <class X, class F, class Token>
    auto initiate(F&& handler, StopSignal stop, bool drains, Deadline lease, Token& token) const;
    template <class F>
    Outcome<std::size_t> run_here(F& handler, std::stop_token const& stop, bool drains, Deadline lease) const;
    template <class F>
    void work(Run& run, F& handler, std::stop_token const& stop, bool shared) const;
    /// False: it was the last thread, and must end the run.
    bool leaves(bool shared) const;

    Outcome<std::optional<Versioned<Cursor>>> load(unsigned partition) const;
    template <class F>
    Outcome<void> edit(unsigned partition, F change) const;
    Outcome<void> resume_from(Key const& stream, std::int64_t further) const;

    std::shared_ptr<Shared> shared_;
};

}  // namespace v0
}  // namespace interlock

#include <interlock/patterns/impl/subscription.ipp>

#endif  // INTERLOCK_PATTERNS_SUBSCRIPTION_HPP
