// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_CALLS_HPP
#define INTERLOCK_TESTS_TORTURE_CALLS_HPP

/// @file
/// How a client calls a service, whatever its policy and its store: once, by an id until the outcome is
/// known, and many at once without blocking.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "torture/client.hpp"
#include "torture/history.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace torture {

namespace asio = boost::asio;

// Few types of operations: each is compiled for each service.
using OnOne = std::function<std::string(Account&)>;
using OnOneFenced = std::function<std::string(Account&, il::TransactionContext&)>;
using OnTwo = std::function<std::string(Account&, Account&)>;
using UnderLock = std::function<std::string(il::Lock<Account>&)>;
using Awaited = std::function<asio::awaitable<std::string>(Account&)>;

inline OnOne on_one(Shared const& call)
{
    return [call](Account& a) { return call->finish(call->change(0, a)); };
}

inline OnOneFenced on_one_fenced(Shared const& call)
{
    return [call](Account& a, il::TransactionContext& context) {
        return call->finish(call->change(0, a, context.fencing_token().value()));
    };
}

inline OnTwo on_two(Shared const& call)
{
    return [call](Account& a, Account& b) {
        auto answer = call->change(0, a);
        call->change(1, b);
        return call->finish(std::move(answer));
    };
}

inline Awaited awaited(Shared const& call)
{
    return [call](Account& a) -> asio::awaitable<std::string> {
        auto answer = call->change(0, a);
        asio::steady_timer timer{co_await asio::this_coro::executor, call->takes()};
        co_await timer.async_wait(asio::use_awaitable);
        co_return answer;
    };
}

template <class S>
void once(S const& service, Shared const& call)
{
    auto const& plan = call->plan();
    il::CallOptions const options{.deadline = call->deadline()};
    call->conclude([&] {
        if (plan.changes.size() == 2)
            return service.try_do_in_transaction(
                il::keys(plan.changes[0].key, plan.changes[1].key), on_two(call), options);
        return service.try_do_in_transaction(plan.changes[0].key, on_one(call), options);
    });
}

/// By the operation's id: true when nobody need ask again.
template <class S>
bool by_id(S const& service, Shared const& call)
{
    auto const& plan = call->plan();
    il::OperationId const id{plan.operation};
    il::CallOptions const options{.deadline = call->deadline()};
    return call->conclude([&] {
        if (plan.changes.size() == 2)
            return service.try_do_in_transaction(
                id, il::keys(plan.changes[0].key, plan.changes[1].key), on_two(call), options);
        return service.try_do_in_transaction(id, plan.changes[0].key, on_one_fenced(call), options);
    });
}

/// Asks again under the same id, as a client does that must know.
template <class S>
void by_id_until_known(S const& service, Actor& actor, CallPlan plan)
{
    for (int i = 0; i < 4; ++i) {
        if (i > 0)
            plan.call = actor.next_name();
        auto const call = actor.begin(plan, actor.temper(100, 20));
        if (by_id(service, call))
            return;
    }
}

inline CallPlan transfer(Actor& actor, std::string_view name)
{
    auto const amount = static_cast<std::int64_t>(1 + actor.below(5));
    auto from = actor.key('a', 12);
    auto to = actor.key('a', 12);
    while (to == from)
        to = actor.key('a', 12);
    return actor.plan(name, {{std::move(from), -amount}, {std::move(to), amount}});
}

// ---- many at once, without blocking ---------------------------------------------------------

struct Pending {
    std::future<void> ended;
    std::shared_ptr<asio::cancellation_signal> signal;
};

template <class S>
void burst(S const& service, Actor& actor, std::string_view name)
{
    std::vector<Pending> pending;
    auto const same = actor.key('c', 4);
    bool const crowd = actor.one_in(2);
    for (int i = 0; i < 6; ++i) {
        auto plan = actor.plan(name, {{crowd ? same : actor.key('c', 4)}});
        auto const how = actor.below(4);
        auto temper = actor.temper(30, 30);
        if (how >= 2 && temper.takes > 5ms)
            temper.takes = 5ms;  // it may be the loop's thread that sleeps
        pending.push_back(start(service, actor, actor.begin(std::move(plan), temper), how));
    }
    // A call that blocks the loop's only thread, among those that need it.
    std::promise<void> blocked;
    if (crowd) {
        auto plan = actor.plan(name, {{same}});
        plan.deadline = 0.2;
        asio::post(actor.loop(), [&service, &blocked, call = actor.begin(std::move(plan))] {
            once(service, call);
            blocked.set_value();
        });
    } else {
        blocked.set_value();
    }
    if (actor.one_in(3))
        std::this_thread::sleep_for(std::chrono::milliseconds{actor.below(20)});
    for (auto const& one : pending)
        if (one.signal && actor.one_in(2))
            asio::post(actor.loop(), [signal = one.signal] { signal->emit(asio::cancellation_type::total); });
    for (auto& one : pending)
        one.ended.get();
    blocked.get_future().get();
}

/// 0: on the library's executor; 1: the same, by an id; 2: on the loop, may be cancelled; 3: a coroutine
/// on the loop.
template <class S>
Pending start(S const& service, Actor& actor, Shared const& call, std::uint64_t how)
{
    auto const& key = call->plan().changes[0].key;
    il::CallOptions const options{.deadline = call->deadline()};
    auto const promise = std::make_shared<std::promise<void>>();
    auto const handler = [call, promise](std::exception_ptr e, il::Outcome<std::string> outcome) {
        call->conclude([&] {
            if (e)
                std::rethrow_exception(e);
            return std::move(outcome);
        });
        promise->set_value();
    };
    auto signal = how < 2 ? nullptr : std::make_shared<asio::cancellation_signal>();
    auto const on_loop = [&] {
        return asio::bind_cancellation_slot(signal->slot(), asio::bind_executor(actor.loop(), handler));
    };
    if (how == 0) {
        auto const simple = on_one(call);
        service.async_try_do_in_transaction(key, simple, options, handler);
    } else if (how == 1) {
        auto const fenced = on_one_fenced(call);
        service.async_try_do_in_transaction(
            il::OperationId{call->plan().operation}, key, fenced, options, handler);
    } else if (how == 2) {
        auto const simple = on_one(call);
        service.async_try_do_in_transaction(key, simple, options, on_loop());
    } else {
        auto const coroutine = awaited(call);
        service.async_try_do_in_transaction(key, coroutine, options, on_loop());
    }
    return {promise->get_future(), std::move(signal)};
}

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_CALLS_HPP
