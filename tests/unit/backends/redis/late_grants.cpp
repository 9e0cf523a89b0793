// SPDX-License-Identifier: BSL-1.0

// A Redis server stands still (SIGSTOP) for longer than a lease, and callers give up meanwhile: what it
// grants to them when it goes on is taken back at once, not after a lease.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace redis_late_grants_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using interlock_test::time_of;

constexpr auto lease = 20s;       // so that the end of a lease frees nothing in this file
constexpr auto soon = 300ms;      // the deadline of those who give up
constexpr auto at_once = 3000ms;  // what is free at once is had by then

auto const add_one = [](Stock& stock) { ++stock.quantity; };
SetNxLock const policy{.lock = {.ttl = lease}, .missing = Missing::create};

struct Shop {
    Shop() { TransactionService{policy, stock}.do_in_transaction("warm", add_one); }

    void stop() const { REQUIRE(::kill(server.pid(), SIGSTOP) == 0); }
    void go_on() const { REQUIRE(::kill(server.pid(), SIGCONT) == 0); }
    /// Another client gets the lock on `key` at once.
    void check_free(std::string const& key) const
    {
        CAPTURE(key);
        redis::StateRepository<Stock> const fresh{redis::Client{client.options()}};
        TransactionService const other{policy, fresh};
        std::optional<Outcome<void>> outcome;
        auto const took =
            time_of([&] { outcome = other.try_do_in_transaction(key, add_one, {.deadline = 15s}); });
        CHECK(*outcome);
        CHECK(took < at_once);
    }

    RedisServer server;
    redis::Client client{redis_options(server)};
    redis::StateRepository<Stock> stock{client};
};

TEST_CASE("grants to callers that gave up are taken back when the server goes on", "[redis][late_grants]")
{
    Shop const shop;
    auto service = std::make_unique<TransactionService<Stock, SetNxLock, redis::StateRepository<Stock>>>(
        policy, shop.stock);
    LockStateService const locks{shop.stock, LockOptions{.ttl = lease}};
    CallOptions const options{.deadline = soon};
    service->do_in_transaction("warm", add_one);
    static_cast<void>(service->async_try_do_in_transaction("warm", add_one, asio::use_future).get());
    shop.stop();

    auto a = service->async_try_do_in_transaction("async", add_one, options, asio::use_future);
    auto b = locks.async_acquire("async acquire", {.deadline = soon}, asio::use_future);
    // Cancelled by its slot.
    asio::cancellation_signal cancel;
    std::promise<void> cancelled;
    service->async_try_do_in_transaction(
        "slot", add_one,
        asio::bind_cancellation_slot(cancel.slot(), [&](auto&&...) { cancelled.set_value(); }));
    // Cancelled by a stop token.
    std::stop_source stop;
    auto c = service->async_try_do_in_transaction(
        "token", add_one, CallOptions{.deadline = 30s, .stop = stop}, asio::use_future);
    // Several callers of one key.
    std::vector<std::future<Outcome<void>>> several;
    for (int i = 0; i < 3; ++i)
        several.push_back(
            service->async_try_do_in_transaction("several", add_one, options, asio::use_future));
    CHECK(service->try_do_in_transaction("blocking", add_one, options).errc() == Errc::deadline_exceeded);
    CHECK_THROWS_AS(locks.acquire("blocking acquire", {.deadline = soon}), Error);
    auto const two = keys("first", "second");
    CHECK_FALSE(service->try_do_in_transaction(two, [](Stock& x, Stock&) { ++x.quantity; }, options));
    cancel.emit(asio::cancellation_type::total);
    stop.request_stop();
    cancelled.get_future().wait();
    CHECK(a.get().errc() == Errc::deadline_exceeded);
    CHECK_THROWS(b.get());
    CHECK(c.get().errc() == Errc::cancelled);
    for (auto& one : several)
        CHECK(one.get().errc() == Errc::deadline_exceeded);
    service.reset();
    std::this_thread::sleep_for(6s);  // the first attempts to take back have ended
    shop.go_on();
    std::this_thread::sleep_for(500ms);
    for (auto const* key :
         {"async", "async acquire", "slot", "token", "several", "blocking", "blocking acquire", "first"})
        shop.check_free(key);
}

TEST_CASE("a server that has lost its scripts takes a grant back all the same", "[redis][late_grants]")
{
    Shop const shop;
    TransactionService const service{policy, shop.stock};
    auto const lock = LockStateService{shop.stock}.acquire("other");
    static_cast<void>(service.async_try_do_in_transaction("warm", add_one, asio::use_future).get());
    shop.stop();
    auto late =
        service.async_try_do_in_transaction("x", add_one, CallOptions{.deadline = soon}, asio::use_future);
    CHECK(late.get().errc() == Errc::deadline_exceeded);
    std::this_thread::sleep_for(500ms);
    shop.go_on();
    shop.server.command({"SCRIPT", "FLUSH"});
    std::this_thread::sleep_for(300ms);
    shop.check_free("x");
}

TEST_CASE("a claim that comes late is given back when the server goes on", "[redis][late_grants]")
{
    Shop const shop;
    redis::IdempotencyStore const requests{shop.client};
    IdempotencyKeys const keyed{
        OptimisticVersioning{.missing = Missing::create}, requests, IdempotencyOptions{.lease = lease}};
    TransactionService const service{keyed, shop.stock};
    static_cast<void>(service.try_do_in_transaction(IdempotentRequest{"warm", Scope{"s"}}, "k", add_one));
    IdempotentRequest const request{"late", Scope{"s"}};
    shop.stop();
    CHECK_FALSE(service.try_do_in_transaction(request, "k", add_one, {.deadline = soon}));
    auto async = service.async_try_do_in_transaction(
        request, "k", add_one, CallOptions{.deadline = soon}, asio::use_future);
    CHECK_FALSE(async.get());
    std::this_thread::sleep_for(2s);
    shop.go_on();
    std::this_thread::sleep_for(1500ms);
    bool applied = false;
    auto const took = time_of(
        [&] { applied = bool(service.try_do_in_transaction(request, "k", add_one, {.deadline = 15s})); });
    CHECK(applied);
    CHECK(took < at_once);
}

}  // namespace redis_late_grants_test
