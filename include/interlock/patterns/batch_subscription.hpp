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
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/batch_run.hpp>
#include <interlock/patterns/start.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// How a batch subscription reads. Values out of range end each run as `invalid_argument`, in words.
struct BatchOptions {
    /// How many events are one commit at most, 1 to 100,000.
    std::size_t batch{256};
    /// How long the transaction of a batch may take, besides the handler.
    std::chrono::nanoseconds deadline{std::chrono::seconds{30}};
    /// How often the log is asked when nothing is new: after `poll_least`, then twice that, and so on, up to
    /// `poll_most`.
    std::chrono::nanoseconds poll_least{std::chrono::milliseconds{1}};
    std::chrono::nanoseconds poll_most{std::chrono::milliseconds{100}};
    /// Where a consumer begins that has no cursor yet. One that has goes on where it was, whatever this says.
    Start start{Start::beginning};
    /// How often a run tells the observer how far it is, `SubscriptionObserver::on_report`; 0: never. Two
    /// trips for each partition, and none where there is no observer.
    std::chrono::nanoseconds report_every{0};
    /// Told what happens: `on_progress`, `on_moved`, `on_trimmed`, `on_trouble` and `on_report`. Null: nobody
    /// is. It must outlive the subscription and its runs.
    SubscriptionObserver* observer{nullptr};
};

/// Reads each partition of a log behind a cursor of its name, and hands the events in batches to a handler
/// that works in the transaction which moves the cursor.
///
/// A handler is called as `handler(batch, transaction)`, `handler(batch, state, transaction)`,
/// `handler(batch, state)` or `handler(batch)`, whichever it accepts first, and returns nothing; in
/// `async_run` it may be a coroutine. `transaction` is what the policy gives an operation besides its state;
/// `state` is the state that holds the place. That state is a `Cursor`, or one of the program's own whose
/// member `place` is the position: a read model that is one state is then its own cursor. The place is behind
/// the batch already when the handler is called; a handler that changes it ends the run as
/// `invalid_argument`, and nothing of its batch is done.
///
/// **Guarantee.** What a handler does to `state`, and through `transaction`, happens once for each event:
/// with the move of the cursor or not at all, also when the process dies or two readers of one name run at a
/// time. Batches of a partition are handled in their order. Trimming leaves what is behind the cursor, from
/// the first step on. **Does not guarantee.** Anything about what a handler does elsewhere; it may run more
/// than once for a batch. **Failures.** A handler that throws rolls its batch back, ends the run, and its
/// exception reaches the caller: nobody can pass a batch over. An unknown commit is found out by the cursor.
/// `corrupt_state`: the cursor is not of this log, or events were trimmed that it had still to read.
/// `invalid_argument`: an option is out of range, or the log cannot keep the name in mind.
/// **Needs.** A service whose policy makes states that are missing (`Missing::create`). **Lifetimes.** A
/// shared handle. **Thread safety.** As of the service. **Cost.** One read of the place, one of the log and
/// one transaction for each batch; the log is told of the cursor once in 5 seconds at most.
template <class Events, class Service>
class BatchSubscription {
    using Run = detail::BatchRun<Events, Service>;
    using T = typename Service::value_type;
    static_assert(EventRepository<Events>);

public:
    /// The places are states of type `Cursor`.
    BatchSubscription(Events events, Service service, std::string consumer, BatchOptions options = {})
        requires std::same_as<T, Cursor>
        : BatchSubscription(
              std::move(events), std::move(service), std::move(consumer), &Cursor::position, options)
    {}
    /// The places are in states of the program's own, in their member `place`, `&Sales::position`; the keys
    /// are those of cursors, see `cursor_id`. Null: every call ends as `invalid_argument`. (It is deduced,
    /// so that `{}` means the options.)
    template <std::convertible_to<Position T::*> Place>
    BatchSubscription(
        Events events, Service service, std::string consumer, Place place, BatchOptions options = {})
        : run_(std::make_shared<Run>(
              std::move(events), std::move(service), std::move(consumer), place, terms_of(options)))
    {}

    /// Handles the next batch of a partition, if there is one; how many events it had. That another reader
    /// was first is no failure: the batch counts, and the next step goes on from where that reader is.
    template <class F>
    Outcome<std::size_t> step(unsigned partition, F&& handler) const
    {
        return run_->step(partition, borrowed(handler));
    }

    /// Handles what there is in all partitions; how many events those were, at least.
    template <class F>
    Outcome<std::size_t> drain(F&& handler) const
    {
        return run_->drain(borrowed(handler));
    }

    /// Handles batches, on the calling thread, until a stop is requested: success. Ends with the first
    /// failure of a store, and with what the handler throws; the caller may call again.
    template <class F>
    Outcome<void> run(F&& handler, std::stop_token stop) const
    {
        return run_->run(borrowed(handler), stop);
    }

    /// As `run`, without blocking; the handler may be a coroutine, and then is one that must not block.
    ///
    ///     co_await sold.async_run(count_them, stop, use_awaitable);
    ///
    /// **Completion.** `void(std::exception_ptr, Outcome<void>)`, on the handler's associated executor,
    /// exactly once, never from within this call: with `use_awaitable` what the handler of batches throws is
    /// thrown. Everything runs on a strand of that executor. **The end.** When `stop` is requested, the batch
    /// that runs is waited for. **Cancellation.** All types: as a stop, but the batch that runs is cancelled,
    /// unless its commit was sent, and nothing of it has been. **Lifetimes.** The handler is moved or copied;
    /// what it refers to must outlive the run.
    template <class F, class CompletionToken>
    auto async_run(F&& handler, StopSignal stop, CompletionToken&& token) const
    {
        static_assert(
            detail::safe_operation<F>,
            "name it first: g++ 12 destroys a closure written inside a co_await expression twice");
        using Function = std::decay_t<F>;
        return boost::asio::async_initiate<CompletionToken, void(std::exception_ptr, Outcome<void>)>(
            [](auto completion, std::shared_ptr<Run> run, std::shared_ptr<Function> function,
               std::stop_token stopping) {
                auto const executor =
                    boost::asio::get_associated_executor(completion, run->runtime().executor());
                boost::asio::co_spawn(
                    boost::asio::any_io_executor(boost::asio::make_strand(executor)),
                    Run::async_run(std::move(run), std::move(function), std::move(stopping)),
                    std::move(completion));
            },
            token, run_, std::make_shared<Function>(std::forward<F>(handler)), stop.token());
    }
    /// The same, until it is cancelled.
    template <class F, class CompletionToken>
    auto async_run(F&& handler, CompletionToken&& token) const
    {
        return async_run(std::forward<F>(handler), StopSignal{}, std::forward<CompletionToken>(token));
    }

    /// Lets the log forget a consumer that will not come again: it keeps nothing for it any more. The places
    /// stay, since they are the program's own states. To be called when it runs nowhere.
    Outcome<void> forget() const
    {
        if (auto named = run_->validate_name(); !named)
            return named;
        return run_->events().forget_consumer(run_->consumer());
    }

private:
    static detail::BatchTerms terms_of(BatchOptions const& o)
    {
        return {o.batch, o.deadline, o.poll_least, o.poll_most, o.start, o.report_every, o.observer};
    }
    /// A handler that stays where it is.
    template <class F>
    static std::shared_ptr<std::remove_reference_t<F>> borrowed(F& handler)
    {
        return {std::shared_ptr<void>{}, std::addressof(handler)};
    }

    std::shared_ptr<Run> run_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_BATCH_SUBSCRIPTION_HPP
