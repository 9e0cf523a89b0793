// SPDX-License-Identifier: BSL-1.0

// Idempotency records on Redis where the contract suite cannot ask: wake-ups between clients, retention on
// the server's clock, and claims whose reply was lost.
//
// How it works: a real server, two clients, and a `CuttingProxy` on the way of one of them, which loses a
// request or a reply that the case names. What is left is looked at through the other client.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

namespace redis_idempotency_store_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;

TEST_CASE("the waiters of a claim are woken when another client ends it", "[redis][idempotency_store]")
{
    auto const o = redis_options();
    redis::IdempotencyStore const first{redis::Client{o}};
    redis::IdempotencyStore const second{redis::Client{o}};
    for (bool const completes : {true, false}) {
        IdempotentRequest const request(completes ? "a" : "b", Scope("s"));
        CountingWaiter waiter;
        CHECK(first.claim(request, owner(1), 10s, AfterLease::refuse).value().state == ClaimState::claimed);
        auto const busy = second.claim(request, owner(2), 10s, AfterLease::refuse).value();
        CHECK(busy.state == ClaimState::in_progress);
        CHECK(busy.retry_after > 5s);
        CHECK(busy.retry_after <= 10001ms);
        second.subscribe(request, waiter);
        CHECK(eventually([&] { return waiter.count() > 0; }));
        auto const before = waiter.count();
        if (completes) {
            CHECK(first.complete(request, owner(1), "answer", false));
            CHECK(first.complete(request, owner(1), "answer", false));  // a lost reply, asked again
            CHECK(first.complete(request, owner(1), "another", false).errc() == Errc::fenced_out);
        } else {
            CHECK(first.give_back(request, owner(1)));
        }
        CHECK(eventually([&] { return waiter.count() > before; }));
        second.unsubscribe(request, waiter);
        auto const after = second.claim(request, owner(2), 10s, AfterLease::refuse).value();
        CHECK(after.state == (completes ? ClaimState::completed : ClaimState::claimed));
    }
}

TEST_CASE(
    "an answer is kept for its retention, and after that the request runs again",
    "[redis][idempotency_store]")
{
    redis::IdempotencyStore const store{redis::Client{redis_options()}, {.retention = 1s}};
    IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
    CHECK(store.claim(request, owner(1), 10s, AfterLease::refuse).value().state == ClaimState::claimed);
    CHECK(store.complete(request, owner(1), "answer", false));
    CHECK(store.claim(request, owner(2), 10s, AfterLease::refuse).value().answer == "answer");
    // Versions of the algorithm are not compared with each other, nor is a request without a fingerprint.
    CHECK(
        store.claim(IdempotentRequest("k", Scope("s"), Fingerprint{7, 2}), owner(2), 10s, AfterLease::refuse)
            .value()
            .state == ClaimState::completed);
    CHECK(
        store.claim(IdempotentRequest("k", Scope("s")), owner(2), 10s, AfterLease::refuse).value().state ==
        ClaimState::completed);
    CHECK(
        store.claim(IdempotentRequest("k", Scope("s"), fingerprint("x")), owner(2), 10s, AfterLease::refuse)
            .value()
            .state == ClaimState::mismatch);
    CHECK(eventually([&] {
        return store.claim(request, owner(2), 10s, AfterLease::refuse).value().state == ClaimState::claimed;
    }));
}

using interlock_test::CuttingProxy;
using interlock_test::RedisServer;
using interlock_test::Stock;

/// A server behind a proxy that can lose what passes.
struct Shop {
    Shop()
    {
        through.unix_path.clear();
        through.host = "127.0.0.1";
        through.port = proxy.port();
        static_cast<void>(sure.insert(Stock{"x", 10}).value());
    }
    int left() const { return sure.load("x").value().value.quantity; }

    RedisServer server{{"--port", "@PORT@"}};
    CuttingProxy proxy{server.port()};
    redis::Options direct{redis_options(server)};
    redis::Options through{direct};
    redis::StateRepository<Stock> sure{redis::Client{direct}};
    IdempotentRequest request{"k", Scope("s"), fingerprint("take one")};
};

int take(Stock& s)
{
    return --s.quantity;
}

TEST_CASE(
    "a commit that is found to have been applied completes its request", "[redis][idempotency_store][faults]")
{
    Shop shop;
    redis::Client const client{shop.through};
    redis::IdempotencyStore const keys{client};
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, keys}, redis::StateRepository<Stock>{client}};
    auto const marked = [](Stock& s) {
        take(s);
        return std::string("CUT-THIS-ONE");
    };
    shop.proxy.cut(CuttingProxy::Cut::reply, "CUT-THIS-ONE");
    REQUIRE(service.try_do_in_transaction(shop.request, "x", marked, {.deadline = 30s}));
    CHECK(shop.proxy.cuts() == 1);
    CHECK(shop.left() == 9);
    IdempotentRequest const other{"k", Scope("s"), fingerprint("take all")};
    auto const place = "redis name space \"" + shop.through.name_space + "\": ";
    auto const mismatch = service.try_do_in_transaction(other, "x", marked);
    CHECK(mismatch.errc() == Errc::idempotency_mismatch);
    CHECK_THAT(mismatch.detail(), Catch::Matchers::StartsWith(place));
    AnyIdempotencyStore const any{keys};
    TransactionService const erased{
        IdempotencyKeys{OptimisticVersioning{}, any}, redis::StateRepository<Stock>{client}};
    CHECK_THAT(erased.try_do_in_transaction(other, "x", marked).detail(), Catch::Matchers::StartsWith(place));
    CHECK(keys.claim(shop.request, owner(1), 10s, AfterLease::refuse).value().state == ClaimState::completed);
}

TEMPLATE_TEST_CASE(
    "a request whose commit was lost and forbidden runs when it comes again",
    "[redis][idempotency_store][faults]", OptimisticVersioning, SetNxLock)
{
    Shop shop;
    redis::Client const client{shop.through};
    redis::IdempotencyStore const keys{client};
    redis::StateRepository<Stock> const stock{client};
    auto const marked = [](Stock& s) {
        take(s);
        return std::string("CUT-THIS-ONE");
    };
    {
        TestType once{};
        once.max_attempts = 1;
        TransactionService const service{IdempotencyKeys{once, keys}, stock};
        shop.proxy.cut(CuttingProxy::Cut::request, "CUT-THIS-ONE");
        CHECK(
            service.try_do_in_transaction(shop.request, "x", marked, {.deadline = 30s}).errc() ==
            Errc::unavailable);
        CHECK(shop.left() == 10);
    }
    TransactionService const service{IdempotencyKeys{TestType{}, keys}, stock};
    auto const again = service.try_do_in_transaction(shop.request, "x", marked, {.deadline = 30s});
    REQUIRE(again);
    CHECK_FALSE(again->replayed());
    CHECK(shop.left() == 9);
}

TEST_CASE(
    "a claim whose reply was lost is given back, even after its call has ended",
    "[redis][idempotency_store][faults]")
{
    Shop shop;
    redis::Client const client{shop.through};
    redis::IdempotencyStore const keys{client};
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, keys, IdempotencyOptions{.lease = 10min}},
        redis::StateRepository<Stock>{client}};
    auto& proxy = shop.proxy;
    REQUIRE(service.try_do_in_transaction(IdempotentRequest{"warm", Scope("s")}, "x", take));
    proxy.cut(CuttingProxy::Cut::reply, "idem:");
    std::thread door{[&] {
        CHECK(eventually([&] { return proxy.cuts() == 1; }));
        proxy.close_the_door(true);
    }};
    auto const first = service.try_do_in_transaction(shop.request, "x", take, {.deadline = 500ms});
    door.join();
    proxy.close_the_door(false);
    // Either it was quick enough to claim again before the door was closed, or the claim goes back in the
    // background.
    CHECK(eventually([&] { return service.try_do_in_transaction(shop.request, "x", take).has_value(); }));
    CHECK(shop.left() == 8);
    CHECK((first || first.effect() == Effect::not_applied));
}

TEST_CASE(
    "the end of a claim keeps the call's deadline, and goes on in the background after it",
    "[redis][idempotency_store][faults]")
{
    RedisServer const server;
    memory::StateRepository<Stock> const stock;
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    redis::IdempotencyStore const keys{redis::Client{redis_options(server)}};
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, keys, IdempotencyOptions{.lease = 10min}}, stock};
    for (bool const throws : {false, true}) {
        IdempotentRequest const request{throws ? "b" : "a", Scope("s")};
        auto const began = SystemRuntime::now();
        auto const operation = [&](Stock& s) {
            server.pause();
            if (throws)
                throw std::runtime_error("mine");
            return --s.quantity;
        };
        if (throws)
            CHECK_THROWS_AS(
                service.do_in_transaction(request, "x", operation, {.deadline = 1500ms}), std::runtime_error);
        else
            CHECK(
                service.try_do_in_transaction(request, "x", operation, {.deadline = 1500ms})
                    .value()
                    .value() == 9);
        CHECK(SystemRuntime::now() - began < 6s);
        server.resume();
        CHECK(eventually([&] {
            auto const claim = keys.claim(request, owner(7), 50ms, AfterLease::refuse);
            return claim && claim->state == (throws ? ClaimState::claimed : ClaimState::completed);
        }));
    }
}

/// Stops a server when an operation is about to be executed: behind the claim, before its end.
class Pausing : public Observer {
public:
    explicit Pausing(RedisServer const& server) : server_(server) {}
    void on_idempotency(IdempotencyEvent event) noexcept override
    {
        if (event == IdempotencyEvent::executed)
            server_.pause();
    }

private:
    RedisServer const& server_;
};

TEST_CASE(
    "an asynchronous call that gives its claim back does not block its executor",
    "[redis][idempotency_store][faults]")
{
    RedisServer const server;
    memory::StateRepository<Stock> const stock;
    redis::IdempotencyStore const keys{redis::Client{redis_options(server)}};
    Pausing observer{server};
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, keys}, stock, {.observer = &observer}};
    boost::asio::io_context io;
    auto const touch = [](Stock& s) { return --s.quantity; };
    Errc code{};
    std::chrono::nanoseconds longest{0};
    bool done = false;
    service.async_try_do_in_transaction(
        IdempotentRequest{"k", Scope("s")}, "nobody", touch, CallOptions{.deadline = 2s},
        boost::asio::bind_executor(io, [&](std::exception_ptr, Outcome<Answer<int>> outcome) {
            code = outcome.errc();
            done = true;
        }));
    while (!done) {
        auto const began = SystemRuntime::now();
        io.run_one_for(100ms);
        longest = std::max(longest, SystemRuntime::now() - began);
    }
    server.resume();
    CHECK(code == Errc::not_found);
    CHECK(longest < 1500ms);
    // Given back in the end, though the call did not wait for it.
    CHECK(eventually([&] {
        auto const claim = keys.claim(IdempotentRequest{"k", Scope("s")}, owner(7), 50ms, AfterLease::refuse);
        return claim && claim->state == ClaimState::claimed;
    }));
}

}  // namespace redis_idempotency_store_test
