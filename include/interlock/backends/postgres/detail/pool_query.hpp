// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_QUERY_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_QUERY_HPP

// Queries of the user's own through a pool, blocking and asynchronous.

#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/result.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/async_result.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
Outcome<Result> query(
    PoolState<R>& state, std::string const& sql, Outcome<Params> const& params, Deadline deadline)
{
    if (!params)
        return params.failure();
    auto reply = state.query(sql, *params, deadline);
    if (!reply)
        return std::move(reply).failure();
    return Result{*std::move(reply)};
}

/// What is to be executed; on the heap, so that the call moves cheaply.
template <class R>
struct PendingQuery {
    std::shared_ptr<PoolState<R>> state;
    std::string sql;
    Outcome<Params> params;
    Deadline deadline;
};

/// One query on a thread of the pool's. `Try`: it completes with an outcome.
template <bool Try, class R>
struct QueryCall {
    Outcome<Result> operator()() const
    {
        return query(*pending->state, pending->sql, pending->params, pending->deadline);
    }
    template <class Handler>
    static void complete(Handler handler, Outcome<Result> outcome)
    {
        if constexpr (Try)
            std::move(handler)(std::move(outcome));
        else if (outcome)
            std::move(handler)(std::exception_ptr{}, *std::move(outcome));
        else
            std::move(handler)(std::make_exception_ptr(outcome.failure().exception()), Result{});
    }
    std::unique_ptr<PendingQuery<R>> pending;
};

/// How many queries make sense at once.
struct QueriesAtOnce {
    std::size_t most;
    Capabilities capabilities() const noexcept { return {.blocking_calls = most}; }
};

/// `all`: the parameters, and behind them the completion token.
template <bool Try, class R, class All>
auto async_query(std::shared_ptr<PoolState<R>> state, Deadline deadline, std::string_view sql, All all)
{
    constexpr auto count = std::tuple_size_v<All> - 1;
    auto params = [&]<std::size_t... I>(std::index_sequence<I...>) {
        return parameters_of(std::get<I>(all)...);
    }(std::make_index_sequence<count>{});
    using Pending = PendingQuery<R>;
    using Token = std::tuple_element_t<count, All>;
    using Signature = std::conditional_t<Try, void(Outcome<Result>), void(std::exception_ptr, Result)>;
    return boost::asio::async_initiate<Token, Signature>(
        [](auto handler, std::unique_ptr<Pending> pending) {
            auto const& runtime = pending->state->runtime();
            auto const until = pending->deadline.at(runtime.now());
            if (pending->deadline.valid())
                pending->deadline = Deadline{until};
            QueriesAtOnce const calls{pending->state->options().max_connections};
            auto where =
                interlock::store_executor(runtime, BlockingCalls::waiting, calls, pending->state.get());
            interlock::detail::async_call(
                std::move(where), until, runtime, std::move(handler), QueryCall<Try, R>{std::move(pending)});
        },
        std::get<count>(all),
        std::unique_ptr<Pending>(
            new Pending{std::move(state), std::string(sql), std::move(params), deadline}));
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_QUERY_HPP
