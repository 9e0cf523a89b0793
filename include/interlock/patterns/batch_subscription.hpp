// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_BATCH_SUBSCRIPTION_HPP
#define INTERLOCK_PATTERNS_BATCH_SUBSCRIPTION_HPP

/// @file
/// Handles the events of a log in batches, each in one transaction with the cursor: the effects of a batch
/// and the place behind it are one commit, so that neither is ever there without the other.
///
///     interlock::TransactionService const places{
///         interlock::PessimisticRowLock{.missing = interlock::Missing::create}, cursors};
///     interlock::BatchSubscription const sold{events, places, "sold-per-sku"};
///     sold.run([](std::span<interlock::Event const> batch, auto& transaction) {
///         transaction.exec(...);  // the program's own statements, in the transaction of the cursor
///     }, stop);

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/cursor.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// How a batch subscription reads.
struct BatchOptions {
    /// How many events are one commit at most, 1 to 100,000.
    std::size_t batch{256};
    /// How long the transaction of a batch may take, besides the handler.
    std::chrono::nanoseconds deadline{std::chrono::seconds{30}};
    /// How often the log is asked when there is nothing new: from the one, doubled each time, to the other.
    std::chrono::nanoseconds poll_least{std::chrono::milliseconds{1}};
    std::chrono::nanoseconds poll_most{std::chrono::milliseconds{100}};
};

/// Reads each partition of a log behind a cursor of its name, and hands the events in batches to a handler
/// that works in the transaction which moves the cursor.
///
/// A handler is called as `handler(batch, transaction)`, `handler(batch, state, transaction)`,
/// `handler(batch, state)` or `handler(batch)`, whichever it accepts first. `transaction` is what the policy
/// gives an operation besides its state; `state` is the state that holds the place. That state is a `Cursor`,
/// or one of the program's own whose member `place` is the position: a read model that is one state is then
/// its own cursor.
///
/// **Guarantee.** What a handler does to `state`, and through `transaction`, happens once for each event:
/// with the move of the cursor or not at all, also when the process dies or two readers of one name run at a
/// time. Batches of a partition are handled in their order. **Does not guarantee.** Anything about what a
/// handler does elsewhere; it may run more than once for a batch. **Failures.** A handler that throws rolls
/// its batch back, ends the run, and its exception reaches the caller: nobody can pass a batch over. An
/// unknown commit is found out by the cursor. `corrupt_state`: the cursor is not of this log. **Needs.** A
/// service whose policy makes states that are missing (`Missing::create`). **Lifetimes and thread safety.**
/// As of the service. **Cost.** One read of the log and one transaction for each batch.
template <class Events, class Service>
class BatchSubscription {
    using T = typename Service::value_type;
    /// What an operation sees of the store's transaction.
    using Transaction = typename detail::shown_transaction<
        detail::transaction_of<typename Service::repository_type>, false>::type;
    using Batch = std::span<Event const>;
    static_assert(EventRepository<Events>);

public:
    /// The places are states of type `Cursor`.
    BatchSubscription(Events events, Service service, std::string consumer, BatchOptions options = {})
        requires std::same_as<T, Cursor>
        : BatchSubscription(
              std::move(events), std::move(service), std::move(consumer), &Cursor::position, options)
    {}
    /// The places are in states of the program's own, in their member `place`; the keys are those of cursors,
    /// see `cursor_id`.
    BatchSubscription(
        Events events, Service service, std::string consumer, Position T::* place, BatchOptions options = {})
        : events_(std::move(events)), service_(std::move(service)), consumer_(std::move(consumer)),
          place_(place), options_(options)
    {}

    /// Handles the next batch of a partition, if there is one; how many events it had.
    template <class F>
    Outcome<std::size_t> step(unsigned partition, F&& handler) const
    {
        if (auto valid = validate(); !valid)
            return std::move(valid).failure();
        auto const id = cursor_id(consumer_, partition);
        auto loaded = service_.repository().load(id);
        if (!loaded && loaded.errc() != Errc::not_found)
            return std::move(loaded).failure();
        Position const position = loaded ? loaded->value.*place_ : 0;
        if (position < 0)
            return Failure{Errc::corrupt_state, "the cursor '" + id + "' is below 0"};
        auto page = events_.read(partition, position, options_.batch);
        if (!page)
            return std::move(page).failure();
        if (page->trimmed && position > 0)
            return Failure{
                Errc::corrupt_state, "events behind the position " + std::to_string(position) +
                                         " were removed before '" + id + "' has read them"};
        if (page->events.empty())
            return std::size_t{0};
        try {
            auto done = commit(id, position, *page, handler);
            if (!done)
                return std::move(done).failure();
        } catch (Elsewhere const&) {
            // Another reader has moved the cursor: nothing was done, and there may be more.
        }
        return page->events.size();
    }

    /// Handles what there is in all partitions; how many events those were, at least.
    template <class F>
    Outcome<std::size_t> drain(F&& handler) const
    {
        std::size_t all = 0;
        for (unsigned partition = 0; partition < events_.partitions(); ++partition)
            for (std::size_t last = 1; last > 0; all += last) {
                auto const handled = step(partition, handler);
                if (!handled)
                    return handled.failure();
                last = *handled;
            }
        return all;
    }

    /// Handles batches, on the calling thread, until a stop is requested: success. Ends with the first
    /// failure of a store, and with what the handler throws; the caller may call again.
    template <class F>
    Outcome<void> run(F&& handler, std::stop_token stop) const;

private:
    struct Elsewhere {};

    Outcome<void> validate() const
    {
        if (consumer_.empty() || consumer_.size() > 200 || consumer_.find('/') != std::string::npos)
            return Failure{
                Errc::invalid_argument,
                "a batch subscription: its name has 1 to 200 bytes, none of them '/'"};
        if (options_.batch < 1 || options_.batch > 100'000 || options_.poll_least.count() <= 0 ||
            options_.poll_most < options_.poll_least || options_.deadline.count() <= 0)
            return Failure{
                Errc::invalid_argument, "the batch subscription '" + consumer_ +
                                            "': a batch is 1 to 100,000 events, and times are above 0"};
        return success();
    }

    /// The cursor is where it was when the page was read, and goes to the end of the page.
    void move(T& state, Position from, Position to) const
    {
        if constexpr (std::same_as<T, Cursor>) {
            if (state.partitions == 0)
                state.partitions = events_.partitions();
            if (state.partitions != events_.partitions())
                throw Error(
                    Errc::corrupt_state, "the cursor '" + state.id + "' is of a log of " +
                                             std::to_string(state.partitions) + " partitions");
        }
        if (state.*place_ != from)
            throw Elsewhere{};
        state.*place_ = to;
    }

    template <class F>
    Outcome<void> commit(std::string const& id, Position position, EventPage const& page, F& handler) const
    {
        Batch const batch{page.events};
        CallOptions const options{.deadline = options_.deadline};
        auto const go = [&](T& state) { move(state, position, page.next); };
        if constexpr (std::is_invocable_v<F&, Batch, Transaction&>) {
            auto const operation = [&](T& state, Transaction& transaction) {
                go(state);
                handler(batch, transaction);
            };
            return service_.try_do_in_transaction(id, operation, options);
        } else if constexpr (std::is_invocable_v<F&, Batch, T&, Transaction&>) {
            auto const operation = [&](T& state, Transaction& transaction) {
                go(state);
                handler(batch, state, transaction);
            };
            return service_.try_do_in_transaction(id, operation, options);
        } else {
            auto const operation = [&](T& state) {
                go(state);
                if constexpr (std::is_invocable_v<F&, Batch, T&>)
                    handler(batch, state);
                else
                    handler(batch);
            };
            return service_.try_do_in_transaction(id, operation, options);
        }
    }

    Events events_;
    Service service_;
    std::string consumer_;
    Position T::* place_;
    BatchOptions options_;
};

template <class Events, class Service>
template <class F>
Outcome<void> BatchSubscription<Events, Service>::run(F&& handler, std::stop_token stop) const
{
    using Waits = BlockingWaiter<typename Events::runtime_type>;
    Waits waiter{events_.runtime()};
    struct Subscribed {
        Subscribed(Events const& e, Waits& w) : events(e), waits(w)
        {
            if constexpr (SubscribableEvents<Events>)
                for (unsigned partition = 0; partition < events.partitions(); ++partition)
                    events.subscribe(partition, waits);
        }
        ~Subscribed()
        {
            if constexpr (SubscribableEvents<Events>)
                for (unsigned partition = 0; partition < events.partitions(); ++partition)
                    events.unsubscribe(partition, waits);
        }
        Events const& events;
        Waits& waits;
    } const subscribed{events_, waiter};
    detail::WakeOnStop const wakes{stop, waiter};
    for (auto poll = options_.poll_least; !stop.stop_requested();) {
        std::size_t all = 0;
        for (unsigned partition = 0; partition < events_.partitions() && !stop.stop_requested();
             ++partition) {
            auto const handled = step(partition, handler);
            if (!handled)
                return handled.failure();
            all += *handled;
        }
        if (all > 0) {
            poll = options_.poll_least;
        } else {
            waiter.wait_until(detail::add(events_.runtime().now(), poll));
            poll = std::min(poll * 2, options_.poll_most);
        }
    }
    return success();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_BATCH_SUBSCRIPTION_HPP
