// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_BATCH_WORK_HPP
#define INTERLOCK_PATTERNS_DETAIL_BATCH_WORK_HPP

/// @file
/// A batch of events as the operation of a transaction: the place is moved, and the handler is called with
/// what it takes.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/awaited_handler.hpp>
#include <interlock/patterns/detail/coroutine_frames.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

INTERLOCK_COROUTINES_BEGIN

namespace interlock {
inline namespace v0 {
namespace detail {

/// Thrown by the operation of a batch whose place is not where it was when the batch was read.
struct MovedElsewhere {};
/// Thrown by the operation of a batch that must not be committed: the failure of the step, and nothing that
/// the handler has thrown.
struct BatchRefused {
    Failure failure;
};

inline Failure cursor_of_another_log(std::string const& id, unsigned partitions, unsigned those_of_log)
{
    return Failure{
        Errc::corrupt_state, "the cursor '" + id + "' is of a log of " + std::to_string(partitions) +
                                 " partitions, and this has " + std::to_string(those_of_log)};
}

/// What an operation gets of the transactions of `Service`, besides its state.
template <class Service, bool Async>
using ShownTransaction =
    typename shown_transaction<transaction_of<typename Service::repository_type>, Async>::type;

/// What a handler of batches takes.
enum class BatchForm : unsigned char { transaction, state_transaction, state, batch };

template <class F, class T, class X>
consteval BatchForm batch_form()
{
    using Batch = std::span<Event const>;
    if constexpr (std::is_invocable_v<F&, Batch, X&>)
        return BatchForm::transaction;
    else if constexpr (std::is_invocable_v<F&, Batch, T&, X&>)
        return BatchForm::state_transaction;
    else if constexpr (std::is_invocable_v<F&, Batch, T&>)
        return BatchForm::state;
    else
        return BatchForm::batch;
}

/// A state that holds a place, of a log with `partitions` partitions, goes from `from` to `to`.
template <class T>
void move_place(T& state, Position T::* place, unsigned partitions, Position from, Position to)
{
    if constexpr (std::same_as<T, Cursor>) {
        if (state.partitions == 0)
            state.partitions = partitions;
        if (state.partitions != partitions)
            throw BatchRefused{cursor_of_another_log(state.id, state.partitions, partitions)};
    }
    if (state.*place != from)
        throw MovedElsewhere{};
    state.*place = to;
}

/// A batch, and who handles it.
template <class T, class F>
struct BatchOf {
    Position T::* place;
    unsigned partitions;
    Position from;
    EventPage page;
    std::shared_ptr<F> handler;

    void move(T& state) const { move_place(state, place, partitions, from, page.next); }
    /// A handler that has put the place elsewhere, by assigning a whole state perhaps, would get the batch
    /// again, without end, or never get what follows.
    void check(T const& state) const
    {
        if (state.*place != page.next)
            throw BatchRefused{Failure{
                Errc::invalid_argument,
                "a handler of batches has changed the place in its state from " + std::to_string(page.next) +
                    " to " + std::to_string(state.*place) + ": it is moved by the subscription alone"}};
        if constexpr (std::same_as<T, Cursor>)
            if (state.partitions != partitions)
                throw BatchRefused{Failure{
                    Errc::invalid_argument,
                    "a handler of batches has changed the number of partitions in its cursor"}};
    }
    template <class X>
    auto handle([[maybe_unused]] T& state, [[maybe_unused]] X* transaction) const
    {
        std::span<Event const> const batch{page.events};
        constexpr auto form = batch_form<F, T, X>();
        if constexpr (form == BatchForm::transaction)
            return (*handler)(batch, *transaction);
        else if constexpr (form == BatchForm::state_transaction)
            return (*handler)(batch, state, *transaction);
        else if constexpr (form == BatchForm::state)
            return (*handler)(batch, state);
        else
            return (*handler)(batch);
    }
};

template <class T, class F, class X>
using BatchResult =
    decltype(std::declval<BatchOf<T, F> const&>().handle(std::declval<T&>(), std::declval<X*>()));

/// Handles a batch in a coroutine, which owns it.
template <class Executor, class T, class F, class X>
boost::asio::awaitable<void, Executor> await_batch(
    std::shared_ptr<BatchOf<T, F> const> batch, T& state, X* transaction)
{
    batch->move(state);
    auto awaitable = batch->handle(state, transaction);
    co_await std::move(awaitable);
    batch->check(state);
}

template <class T, class F, class X>
auto work_off(std::shared_ptr<BatchOf<T, F> const> const& batch, T& state, X* transaction)
{
    using Result = BatchResult<T, F, X>;
    using Awaited = AwaitedHandler<Result>;
    if constexpr (Awaited::value) {
        static_assert(
            std::is_void_v<typename Awaited::result_type>,
            "a handler of batches returns nothing; it throws to let nothing of the batch be done");
        return await_batch<typename Awaited::executor_type>(batch, state, transaction);
    } else {
        static_assert(
            std::is_void_v<Result>,
            "a handler of batches returns nothing; it throws to let nothing of the batch be done");
        batch->move(state);
        batch->handle(state, transaction);
        batch->check(state);
    }
}

/// The operation: with the transaction, or of the state alone.
template <class T, class F, class X, bool TakesTransaction>
struct BatchWork {
    std::shared_ptr<BatchOf<T, F> const> batch;
    auto operator()(T& state, X& transaction) const { return work_off(batch, state, &transaction); }
};
template <class T, class F, class X>
struct BatchWork<T, F, X, false> {
    std::shared_ptr<BatchOf<T, F> const> batch;
    auto operator()(T& state) const { return work_off(batch, state, static_cast<X*>(nullptr)); }
};

/// `batch` as an operation of `Service`; `Async`: of its calls that do not block.
template <class Service, bool Async, class T, class F>
auto work_of(std::shared_ptr<BatchOf<T, F>> batch)
{
    using X = ShownTransaction<Service, Async>;
    constexpr auto form = batch_form<F, T, X>();
    constexpr bool takes = form == BatchForm::transaction || form == BatchForm::state_transaction;
    return BatchWork<T, F, X, takes>{std::move(batch)};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

INTERLOCK_COROUTINES_END

#endif  // INTERLOCK_PATTERNS_DETAIL_BATCH_WORK_HPP
