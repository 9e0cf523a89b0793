// SPDX-License-Identifier: BSL-1.0

// Law P7 in front of a Redis server that has stopped: every public call, blocking or asynchronous, ends by
// its deadline.
//
// How it works: a real server is stopped by SIGSTOP. Its system still accepts connections, and nothing
// answers. One table lists all calls with the bound of each; the case makes them one after the other and
// checks the time and the outcome.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/connection.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace stopped_server_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::error_thrown_by;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using interlock_test::told_to_handler;
using Repository = redis::StateRepository<Stock>;

constexpr auto deadline = 300ms;
constexpr auto by_default = 5s;  // of calls that take no deadline
constexpr auto margin = 1500ms;  // of a busy machine
Key const x{"x"};
Ttl const ttl{30s};
OperationId const id{"once"};
std::string const answer{"answer"};

struct Row {
    char const* name;
    std::function<Errc()> call;
    std::chrono::nanoseconds bound{deadline};
};

/// A call that was started, until it has ended.
template <class Start>
Errc started(Start start)
{
    CountingWaiter waiter;
    auto call = start(waiter);
    std::optional<Errc> end;
    eventually(
        [&] {
            if (auto outcome = call->poll())
                end = outcome->errc();
            return end.has_value();
        },
        10s);
    return end.value_or(Errc::ok);
}

auto const add_one = [](Stock& stock) { ++stock.quantity; };
auto const count_one = [](Stock& stock) { return ++stock.quantity; };

/// All that has calls, on one server.
struct Everything {
    std::vector<Row> calls_of_the_repository();
    std::vector<Row> started_calls();
    std::vector<Row> calls_beside_it();
    std::vector<Row> calls_of_services();

    Lock<Stock> next_lock()
    {
        auto lock = std::move(held.back());
        held.pop_back();
        return lock;
    }
    std::array<Change<Stock>, 1> write_of(Version version) const
    {
        Change<Stock> one;
        one.key = &x;
        one.kind = ChangeKind::write;
        one.version = version;
        one.value = &value;
        return {one};
    }
    Errc commit(OperationCommit const* operation) const
    {
        auto all = write_of(1);
        return states.commit(all, operation, deadline).errc();
    }

    RedisServer server;
    redis::Options options{redis_options(server)};
    redis::Client client{options};
    Repository states{client};
    Repository replicated{client, {.replicas = 1}};
    redis::Counters counters{client};
    redis::IdempotencyStore requests{client};
    redis::Connection connection{SystemRuntime::executor(), options};
    IdempotentRequest request{"key", Scope{"scope"}};
    redis::Script script{"return 1"};
    Stock value{"x", 1};
    OperationCommit once{&x, &id, 1, answer};
    LockStateService<Stock, Repository> locks{states, LockOptions{.ttl = 30s}};
    TransactionService<Stock, OptimisticVersioning, Repository> optimistic{OptimisticVersioning{}, states};
    TransactionService<Stock, SetNxLock, Repository> locking{SetNxLock{.lock = {.ttl = 30s}}, states};
    TransactionService<Stock, IdempotencyKeys<OptimisticVersioning, redis::IdempotencyStore>, Repository>
        keyed{IdempotencyKeys{OptimisticVersioning{}, requests}, states};
    std::deque<Lock<Stock>> held;  // each is released once
};

std::vector<Row> Everything::calls_of_the_repository()
{
    return {
        {"load", [this] { return states.load(x, deadline).errc(); }},
        {"insert", [this] { return states.insert(x, value, deadline).errc(); }},
        {"compare_and_set", [this] { return states.compare_and_set(x, 1, value, deadline).errc(); }},
        {"erase", [this] { return states.erase(x, 1, deadline).errc(); }},
        {"commit", [this] { return commit(nullptr); }},
        {"commit once", [this] { return commit(&once); }},
        {"find_operation", [this] { return states.find_operation(x, id, deadline).errc(); }},
        {"forbid_operation", [this] { return states.forbid_operation(x, id, 1, deadline).errc(); }},
        {"for_each_operation",
         [this] {
             return states
                 .for_each_operation([](Key const&, OperationId const&, OperationRecord const&) {}, deadline)
                 .errc();
         }},
        {"create", [this] { return states.create(x, owner(1), ttl, deadline).errc(); }},
        {"create with replicas", [this] { return replicated.create(x, owner(1), ttl, deadline).errc(); }},
        {"create_and_load", [this] { return states.create_and_load(x, owner(1), ttl, deadline).errc(); }},
        {"renew", [this] { return states.renew(x, owner(1), ttl, deadline).errc(); }},
        {"renew_all",
         [this] {
             std::array renewals{Renewal{&x, owner(1)}, Renewal{&x, owner(2)}};
             states.renew_all(renewals, ttl, deadline);
             return renewals[1].granted.errc();
         }},
        {"remove", [this] { return states.remove(x, owner(1), deadline).errc(); }},
        {"remove of a known grant",
         [this] { return states.carry_out(verb::Remove{x, owner(1), FencingToken{1}}, deadline).errc(); }},
        {"force_release", [this] { return states.force_release(x, deadline).errc(); }},
        {"verify_fencing",
         [this] { return Repository{redis::Client{options}}.verify_fencing(deadline).errc(); }},
        {"server_check", [this] { return redis::Client{options}.server_check(deadline).errc(); }}};
}

std::vector<Row> Everything::started_calls()
{
    return {
        {"start load",
         [this] {
             return started(
                 [&](Waiter& waiter) { return states.start(verb::Load<Stock>{x}, deadline, waiter); });
         }},
        {"start commit",
         [this] {
             auto all = write_of(1);
             return started([&](Waiter& waiter) {
                 return states.start(verb::Commit<Stock>{all, &once}, deadline, waiter);
             });
         }},
        {"start find_operation",
         [this] {
             return started(
                 [&](Waiter& waiter) { return states.start(verb::FindOperation{x, id}, deadline, waiter); });
         }},
        {"start forbid_operation",
         [this] {
             return started([&](Waiter& waiter) {
                 return states.start(verb::ForbidOperation{x, id, 1}, deadline, waiter);
             });
         }},
        {"start create",
         [this] {
             return started([&](Waiter& waiter) {
                 return states.start(verb::Create{x, owner(1), ttl}, deadline, waiter);
             });
         }},
        {"start create with replicas",
         [this] {
             return started([&](Waiter& waiter) {
                 return replicated.start(verb::Create{x, owner(1), ttl}, deadline, waiter);
             });
         }},
        {"start create_and_load",
         [this] {
             return started([&](Waiter& waiter) {
                 return states.start(verb::CreateAndLoad<Stock>{x, owner(1), ttl}, deadline, waiter);
             });
         }},
        {"start remove", [this] {
             return started(
                 [&](Waiter& waiter) { return states.start(verb::Remove{x, owner(1)}, deadline, waiter); });
         }}};
}

std::vector<Row> Everything::calls_beside_it()
{
    return {
        {"async_execute",
         [this] {
             return connection
                 .async_execute(
                     redis::Command{"SET", "x", 1}, redis::Access::write, deadline, asio::use_future)
                 .get()
                 .errc();
         }},
        {"async_evaluate",
         [this] {
             return connection
                 .async_evaluate(
                     redis::Evaluation{script, 0}, redis::Access::write, deadline, asio::use_future)
                 .get()
                 .errc();
         }},
        {"atomic_once",
         [this] { return counters.atomic_once(id, x, CounterChange{.amount = 1}, deadline).errc(); }},
        {"load of a counter", [this] { return counters.load(x, deadline).errc(); }},
        {"claim",
         [this] { return requests.claim(request, owner(1), ttl, AfterLease::take_over, deadline).errc(); }},
        {"complete", [this] { return requests.complete(request, owner(1), answer, false, deadline).errc(); }},
        {"give_back", [this] { return requests.give_back(request, owner(1), deadline).errc(); }}};
}

std::vector<Row> Everything::calls_of_services()
{
    return {
        {"acquire",
         [this] { return error_thrown_by([&] { return locks.acquire("y", {.deadline = deadline}); }); }},
        {"async_acquire",
         [this] {
             return told_to_handler([&](auto handler) {
                 locks.async_acquire("y", AcquireOptions{.deadline = deadline}, std::move(handler));
             });
         }},
        {"try_acquire", [this] { return error_thrown_by([&] { return locks.try_acquire("y"); }); },
         by_default},
        {"release", [this] { return locks.release(next_lock()).errc(); }, by_default},
        {"async_release",
         [this] {
             return told_to_handler(
                 [&](auto handler) { locks.async_release(next_lock(), std::move(handler)); });
         },
         by_default},
        {"write", [this] { return locks.write(held.front(), 1, Stock{"held 0", 1}).errc(); }, by_default},
        {"optimistic",
         [this] {
             return optimistic.try_do_in_transaction("x", add_one, CallOptions{.deadline = deadline}).errc();
         }},
        {"optimistic, once",
         [this] {
             return optimistic
                 .try_do_in_transaction(
                     OperationId{"a"}, "x", [](Stock& stock) { return ++stock.quantity; },
                     CallOptions{.deadline = deadline})
                 .errc();
         }},
        {"optimistic, asynchronous",
         [this] {
             return optimistic
                 .async_try_do_in_transaction(
                     "x", add_one, CallOptions{.deadline = deadline}, asio::use_future)
                 .get()
                 .errc();
         }},
        {"locking",
         [this] {
             return locking.try_do_in_transaction("x", add_one, CallOptions{.deadline = deadline}).errc();
         }},
        {"locking, asynchronous",
         [this] {
             return locking
                 .async_try_do_in_transaction(
                     "x", add_one, CallOptions{.deadline = deadline}, asio::use_future)
                 .get()
                 .errc();
         }},
        {"idempotent",
         [this] {
             return keyed.try_do_in_transaction(request, "x", count_one, CallOptions{.deadline = deadline})
                 .errc();
         }},
        {"idempotent, asynchronous", [this] {
             return keyed
                 .async_try_do_in_transaction(
                     request, "x", count_one, CallOptions{.deadline = deadline}, asio::use_future)
                 .get()
                 .errc();
         }}};
}

TEST_CASE("every call to a stopped server ends by its deadline", "[redis][stopped_server]")
{
    Everything all;
    // With connections from before, which go silent, and again with none, since those were given up.
    all.states.insert(all.value).value();
    static_cast<void>(all.counters.atomic_once(OperationId{"warm"}, x, CounterChange{.amount = 1}).value());
    for (int i = 0; i < 5; ++i)
        all.held.push_back(all.locks.acquire("held " + std::to_string(i)));
    all.server.pause();
    for (int round = 0; round < 2; ++round)
        for (auto const& rows :
             {all.calls_of_the_repository(), all.started_calls(), all.calls_beside_it(),
              all.calls_of_services()})
            for (auto const& row : rows) {
                auto const begin = SystemRuntime::now();
                auto const end = row.call();
                auto const took = SystemRuntime::now() - begin;
                CAPTURE(row.name, round, name_of(end), took / 1ms);
                CHECK(end != Errc::ok);
                CHECK(took < row.bound + margin);
            }
    all.server.resume();
}

/// The other requests: one every 20 ms for 2 s, none of which needs the store. Returns how many of them came
/// more than 50 ms late.
asio::awaitable<int> late_among_other_requests()
{
    asio::steady_timer timer(co_await asio::this_coro::executor);
    auto due = std::chrono::steady_clock::now();
    int late = 0;
    for (int requests = 0; requests < 100; ++requests) {
        due += 20ms;
        timer.expires_at(due);
        co_await timer.async_wait(asio::use_awaitable);
        late += std::chrono::steady_clock::now() - due > 50ms ? 1 : 0;
    }
    co_return late;
}

TEST_CASE(
    "a server of one thread answers other requests at once while its store does not answer",
    "[redis][stopped_server]")
{
    RedisServer server;
    auto const options = redis_options(server);
    redis::Client const client{options};
    Repository const states{client};
    redis::Counters const counters{client};
    auto const version = states.insert(Stock{"x", 1}).value();
    static_cast<void>(counters.load(x).value());
    asio::io_context io;  // run by this thread alone
    int answered = 0;
    auto const ask = [&](auto call) {
        asio::co_spawn(
            io,
            [&answered, call = std::move(call)]() -> asio::awaitable<void> {
                co_await call();
                ++answered;
            },
            asio::detached);
    };
    server.pause();
    Stock const two{"x", 2};
    Stock const other{"y", 1};
    // Outcomes have names: a CHECK may evaluate its expression twice where that has a co_await in it.
    ask([&]() -> asio::awaitable<void> {
        auto const loaded = co_await states.async_load("x", 20s, asio::use_awaitable);
        CHECK(loaded.errc() == Errc::ok);
    });
    ask([&]() -> asio::awaitable<void> {
        std::array const both{"x", "z"};
        auto const loaded = co_await states.async_load(both, 20s, asio::use_awaitable);
        CHECK(loaded.value().size() == 2);
    });
    ask([&]() -> asio::awaitable<void> {
        auto const inserted = co_await states.async_insert(other, 20s, asio::use_awaitable);
        CHECK(inserted.errc() == Errc::ok);
    });
    ask([&]() -> asio::awaitable<void> {
        auto const saved = co_await async_save_if(states, version, two, 20s, asio::use_awaitable);
        CHECK(saved.value() > version);
    });
    ask([&]() -> asio::awaitable<void> {
        auto const erased = co_await states.async_erase("none", 1, 20s, asio::use_awaitable);
        CHECK(erased.errc() == Errc::not_found);
    });
    ask([&]() -> asio::awaitable<void> {
        CounterChange const one{.amount = 1};
        auto const counted = co_await counters.async_atomic_once(id, x, one, 20s, asio::use_awaitable);
        CHECK(counted.value().value == 1);
    });
    int late = 100;  // until it is known
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            late = co_await late_among_other_requests();
            CHECK(answered == 0);
            server.resume();
        },
        asio::detached);
    io.run();
    CHECK(late <= 5);  // of a busy machine; a call that blocked would have made all of them late
    CHECK(answered == 6);
    CHECK(states.load("x").value().value == two);
}

}  // namespace stopped_server_test
