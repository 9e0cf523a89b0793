// SPDX-License-Identifier: BSL-1.0

// A Redis server that refuses for a while, or is gone: each call that ends by its deadline says what the
// server said last, and none takes it for a lock that somebody holds.

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

#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/own_names.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace redis_reasons_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::ended;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Limit = std::chrono::milliseconds;

auto const add_one = [](Stock& stock) { ++stock.quantity; };

struct Shop {
    Shop()
    {
        TransactionService{SetNxLock{.missing = Missing::create}, stock}.do_in_transaction("x", add_one);
        static_cast<void>(counters.atomic_once(OperationId{"warm"}, Key{"n"}, {.amount = 1}).value());
        static_cast<void>(keyed().try_do_in_transaction(request("warm"), "x", add_one));
    }
    static IdempotentRequest request(std::string const& key) { return IdempotentRequest{key, Scope{"s"}}; }
    TransactionService<
        Stock, IdempotencyKeys<OptimisticVersioning, redis::IdempotencyStore>, redis::StateRepository<Stock>>
    keyed() const
    {
        return {IdempotencyKeys{OptimisticVersioning{}, requests}, stock};
    }

    RedisServer server;
    redis::Client client{redis_options(server)};
    redis::StateRepository<Stock> stock{client};
    redis::Counters counters{client};
    redis::IdempotencyStore requests{client};
};

/// The outcome of a call whose deadline may come before the first answer of the server, as on a busy machine:
/// such a call knows no reason, so that it is made again with a longer deadline.
template <class Call>
auto answered(Call const& call, Limit deadline)
{
    auto const knows_why = [](auto const& outcome) {
        return outcome.errc() != Errc::outcome_unknown &&
               (outcome.errc() != Errc::deadline_exceeded || outcome.cause() != Errc::ok);
    };
    auto outcome = call(deadline);
    for (int more = 0; more < 2 && !knows_why(outcome); ++more) {
        deadline *= 8;
        outcome = call(deadline);
    }
    return outcome;
}

/// Every way to a lock or to a change, and that each says `says`.
void check_all(Shop const& shop, std::string const& says)
{
    auto const check = [&](char const* name, auto const& call) {
        auto const outcome = answered(call, 700ms);
        CAPTURE(name, outcome.message(), says);
        CHECK_FALSE(outcome);
        CHECK(outcome.errc() != Errc::lock_busy);
        CHECK(outcome.cause() != Errc::lock_busy);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.message(), ContainsSubstring(says));
        CHECK_THAT(outcome.detail(), ContainsSubstring("redis"));
        CHECK_THAT(outcome.detail(), !ContainsSubstring("after 0 attempts"));
        if (outcome.errc() == Errc::deadline_exceeded)
            CHECK(outcome.cause() != Errc::ok);
    };
    TransactionService const lease{SetNxLock{}, shop.stock};
    TransactionService const impatient{SetNxLock{.wait = Wait::no}, shop.stock};
    TransactionService const versioned{OptimisticVersioning{}, shop.stock};
    LockStateService const locks{shop.stock};
    using boost::asio::use_future;
    check(
        "lease", [&](Limit limit) { return lease.try_do_in_transaction("x", add_one, {.deadline = limit}); });
    check("lease, nobody waits", [&](Limit limit) {
        return impatient.try_do_in_transaction("x", add_one, {.deadline = limit});
    });
    check("async lease", [&](Limit limit) {
        return lease.async_try_do_in_transaction("x", add_one, CallOptions{.deadline = limit}, use_future)
            .get();
    });
    check("optimistic", [&](Limit limit) {
        return versioned.try_do_in_transaction("x", add_one, {.deadline = limit});
    });
    check("with an id", [&](Limit limit) {
        return versioned.try_do_in_transaction(OperationId{says}, "x", add_one, {.deadline = limit});
    });
    check("async optimistic", [&](Limit limit) {
        return versioned.async_try_do_in_transaction("x", add_one, CallOptions{.deadline = limit}, use_future)
            .get();
    });
    check("acquire", [&](Limit limit) {
        return ended([&] { static_cast<void>(locks.acquire("x", {.deadline = limit})); });
    });
    check("acquire outcome", [&](Limit limit) {
        return locks.acquire_outcome("x", Wait::until_deadline, {.deadline = limit});
    });
    check("async acquire", [&](Limit limit) {
        AcquireOptions const in_time{.deadline = limit};
        return locks.async_acquire_outcome("x", Wait::until_deadline, in_time, use_future).get();
    });
    check("try_acquire", [&](Limit) { return ended([&] { static_cast<void>(locks.try_acquire("x")); }); });
    check("two keys", [&](Limit limit) {
        auto const operation = [](Stock& a, Stock&) { ++a.quantity; };
        return lease.try_do_in_transaction(keys("x", "y"), operation, {.deadline = limit});
    });
    check("keyed", [&](Limit limit) {
        return shop.keyed().try_do_in_transaction(Shop::request(says), "x", add_one, {.deadline = limit});
    });
    check("counter", [&](Limit limit) {
        return shop.counters.atomic_once(OperationId{says}, Key{"n"}, {.amount = 1}, limit);
    });
}

TEST_CASE("a lock that somebody holds is the reason by name", "[redis][reasons]")
{
    Shop const shop;
    LockStateService const other{shop.stock};
    auto const held = other.acquire("x");
    TransactionService const lease{SetNxLock{}, shop.stock};
    using boost::asio::use_future;
    auto const late = answered(
        [&](Limit limit) { return lease.try_do_in_transaction("x", add_one, {.deadline = limit}); }, 300ms);
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.cause() == Errc::lock_busy);
    CHECK(late.retry_after() > 0s);
    CHECK(late.retry_after() <= 10s);
    CHECK_THAT(late.detail(), ContainsSubstring("somebody else holds the lock"));
    auto const async = answered(
        [&](Limit limit) {
            CallOptions const soon{.deadline = limit};
            return lease.async_try_do_in_transaction("x", add_one, soon, use_future).get();
        },
        300ms);
    CHECK(async.errc() == Errc::deadline_exceeded);
    CHECK(async.cause() == Errc::lock_busy);
    LockStateService const locks{shop.stock};
    auto const acquire = [](auto const& service) {
        return [&](Limit limit) {
            return ended([&] { static_cast<void>(service.acquire("x", {.deadline = limit})); });
        };
    };
    auto const acquired = answered(acquire(locks), 300ms);
    CHECK(acquired.errc() == Errc::deadline_exceeded);
    CHECK(acquired.cause() == Errc::lock_busy);
    CHECK_FALSE(locks.try_acquire("x"));
    for (auto const& service : {locks, other}) {  // the second one has the lock itself
        auto const async_acquire = [&](Wait wait) {
            return [&, wait](Limit limit) {
                AcquireOptions const in_time{.deadline = limit};
                return service.async_acquire_outcome("x", wait, in_time, use_future).get();
            };
        };
        auto const said = answered(async_acquire(Wait::until_deadline), 300ms);
        CHECK(said.errc() == Errc::deadline_exceeded);
        CHECK(said.cause() == Errc::lock_busy);
        CHECK_THAT(said.detail(), ContainsSubstring("redis name space"));
        CHECK_THAT(said.detail(), ContainsSubstring("somebody else holds the lock"));
        auto const busy = answered(async_acquire(Wait::no), 300ms);
        CHECK(busy.errc() == Errc::lock_busy);
        CHECK_THAT(busy.detail(), ContainsSubstring("redis name space"));
    }
    // In line behind a caller of the same service.
    auto const queued = answered(acquire(other), 300ms);
    CHECK(queued.cause() == Errc::lock_busy);
}

TEST_CASE("a server that cannot persist is the reason", "[redis][reasons]")
{
    Shop const shop;
    std::filesystem::create_directories(shop.server.directory() + "/dump.rdb/x");
    shop.server.command({"CONFIG", "SET", "save", "3600 1"});
    shop.server.command({"BGSAVE"});
    REQUIRE(eventually([&] {
        return shop.server.command({"INFO", "persistence"}).find("rdb_last_bgsave_status:err") !=
               std::string::npos;
    }));
    check_all(shop, "persist");
}

TEST_CASE("a server without its replicas is the reason", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"CONFIG", "SET", "min-replicas-to-write", "3"});
    check_all(shop, "replicas");
}

TEST_CASE("a server that has become a replica is the reason", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"REPLICAOF", "127.0.0.1", "1"});
    check_all(shop, "replica");
}

// A command that a replica refused waits for another connection. The deadline that comes first says so.
TEST_CASE("a replica is the reason, although no other connection was made in time", "[redis][reasons]")
{
    RedisServer const server;
    auto options = redis_options(server);
    options.reconnect = {.initial = 1h, .cap = 1h, .immediate = 0};
    redis::Client const client{options};
    redis::StateRepository<Stock> const stock{client};
    TransactionService const versioned{OptimisticVersioning{.missing = Missing::create}, stock};
    auto const call = [&](Limit limit) {
        CallOptions const soon{.deadline = limit};
        return versioned.async_try_do_in_transaction("x", add_one, soon, boost::asio::use_future).get();
    };
    REQUIRE(call(20s));
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    auto const late = answered(call, 300ms);
    INFO(late.message());
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.cause() == Errc::unavailable);
    CHECK_THAT(late.message(), ContainsSubstring("replica"));
    // The same of a command of the user's.
    boost::asio::thread_pool threads{1};
    redis::Connection const connection{threads.get_executor(), options};
    redis::Command const set{"SET", "v1:y", "1"};
    auto const direct = answered(
        [&](Limit limit) {
            Deadline const soon{limit};
            return connection.async_execute(set, redis::Access::write, soon, boost::asio::use_future).get();
        },
        300ms);
    INFO(direct.message());
    CHECK(direct.errc() == Errc::deadline_exceeded);
    CHECK_THAT(direct.message(), ContainsSubstring("replica"));
}

TEST_CASE("a server without memory is the reason", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"CONFIG", "SET", "maxmemory", "1"});
    check_all(shop, "memory");
}

TEST_CASE("a server that runs a script is the reason", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"CONFIG", "SET", "lua-time-limit", "10"});
    std::thread busy{[&] {
        try {
            shop.server.command({"EVAL", "while true do end", "0"});
        } catch (std::exception const&) {  // SCRIPT KILL
        }
    }};
    std::this_thread::sleep_for(200ms);
    check_all(shop, "script");
    shop.server.command({"SCRIPT", "KILL"});
    busy.join();
}

// Before the first lock of a service the server is asked what it is.
TEST_CASE("the first lock is waited for as later ones are, while a script runs", "[redis][reasons]")
{
    bool const asynchronous = GENERATE(false, true);
    CAPTURE(asynchronous);
    RedisServer const server;
    server.command({"CONFIG", "SET", "lua-time-limit", "10"});
    std::thread busy{
        [&] { static_cast<void>(ended([&] { server.command({"EVAL", "while true do end", "0"}); })); }};
    redis::Client const probe{redis_options(server)};
    redis::StateRepository<Stock> const seen{probe};
    REQUIRE(eventually([&] { return seen.load("x", 10s).errc() == Errc::unavailable; }));
    redis::Client const client{redis_options(server)};
    redis::StateRepository<Stock> const stock{client};
    LockStateService const locks{stock};
    TransactionService const leases{SetNxLock{.missing = Missing::create}, stock};
    CallOptions const soon{.deadline = 300ms};
    auto const late =
        asynchronous ? leases.async_try_do_in_transaction("x", add_one, soon, boost::asio::use_future).get()
                     : leases.try_do_in_transaction("x", add_one, soon);
    INFO(late.message());
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.cause() == Errc::unavailable);
    CHECK_THAT(late.message(), ContainsSubstring("script"));
    std::thread kill{[&] {
        std::this_thread::sleep_for(300ms);
        server.command({"SCRIPT", "KILL"});
    }};
    CallOptions const patient{.deadline = 20s};
    auto const good =
        asynchronous
            ? leases.async_try_do_in_transaction("x", add_one, patient, boost::asio::use_future).get()
            : leases.try_do_in_transaction("x", add_one, patient);
    INFO(good.message());
    CHECK(good);
    kill.join();
    busy.join();
    CHECK(locks.try_acquire("x"));
}

TEST_CASE("a server that is gone is the reason", "[redis][reasons]")
{
    Shop shop;
    shop.server.kill();
    check_all(shop, "connect");
}

TEST_CASE("whoever waits behind a load without an answer hears why there is none", "[redis][reasons]")
{
    Shop shop;
    shop.server.kill();
    auto const last = [&](auto policy) {
        TransactionService const service{policy, shop.stock};
        CallOptions const later{.deadline = 2s};
        CallOptions const soon{.deadline = 500ms};
        auto leader = service.async_try_do_in_transaction("x", add_one, later, boost::asio::use_future);
        auto second = service.async_try_do_in_transaction("x", add_one, soon, boost::asio::use_future);
        auto third = service.async_try_do_in_transaction("x", add_one, soon, boost::asio::use_future);
        for (auto* const call : {&second, &third, &leader}) {
            auto const outcome = call->get();
            INFO(outcome.message());
            CHECK(outcome.errc() == Errc::deadline_exceeded);
            CHECK(outcome.cause() == Errc::unavailable);
            CHECK_THAT(outcome.detail(), ContainsSubstring("connect"));
        }
    };
    last(OptimisticVersioning{});
    last(SetNxLock{});
}

TEST_CASE("a name server that does not answer delays no call, and is the reason", "[redis][reasons]")
{
    struct Ended {
        Errc errc;
        std::string message;
        std::chrono::nanoseconds took;
    };
    std::vector<Ended> calls;
    std::chrono::nanoseconds leaving{};
    auto const call_all = [&] {
        using Clock = std::chrono::steady_clock;
        auto began = Clock::now();
        auto const note = [&](auto const& outcome) {
            calls.push_back({outcome.errc(), outcome.message(), Clock::now() - began});
            began = Clock::now();
        };
        {
            redis::StateRepository<Stock> const stock{redis::Client{"redis://redis.example"}};
            note(stock.load("x", 300ms));
            note(TransactionService{OptimisticVersioning{}, stock}.try_do_in_transaction(
                "x", add_one, {.deadline = 300ms}));
            note(LockStateService{stock}.acquire_outcome("x", Wait::until_deadline, {.deadline = 300ms}));
            note(stock.async_load("x", 300ms, boost::asio::use_future).get());
        }
        leaving = Clock::now() - began;
    };
    if (!interlock_test::with_own_names("127.0.0.1 localhost\n", call_all)) {
        SUCCEED();
        return;
    }
    for (auto const& call : calls) {
        CAPTURE(call.message);
        CHECK((call.errc == Errc::unavailable || call.errc == Errc::deadline_exceeded));
        CHECK(call.took < 2s);
        if (&call != &calls.back())  // how far a shared connection has come is not its calls' reason
            CHECK_THAT(call.message, ContainsSubstring("was not looked up in time"));
    }
    CHECK(calls.size() == 4);
    CHECK(leaving < 2s);
}

TEST_CASE("a wrong password is the answer itself", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"ACL", "SETUSER", "worker", "resetpass", ">another"});
    shop.server.command({"CLIENT", "KILL", "USER", "worker"});
    TransactionService const lease{SetNxLock{}, shop.stock};
    auto const outcome = lease.try_do_in_transaction("x", add_one, {.deadline = 2s});
    CHECK(outcome.errc() == Errc::misconfigured);
    auto const async =
        lease.async_try_do_in_transaction("x", add_one, CallOptions{.deadline = 2s}, boost::asio::use_future)
            .get();
    CHECK(async.errc() == Errc::misconfigured);
}

TEST_CASE("a server that takes no more clients says so, even before it was greeted", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"CONFIG", "SET", "maxclients", "1"});
    for (int i = 0; i < 30; ++i) {  // the server closes before it is greeted, or behind that
        redis::Client const client{redis_options(shop.server)};
        redis::StateRepository<Stock> const more{client};
        auto const load = more.load("x", 10s);
        CAPTURE(i, load.message());
        CHECK(load.errc() == Errc::unavailable);
        CHECK_THAT(load.message(), ContainsSubstring("as many clients as it takes"));
        if (i % 10 > 0)
            continue;
        auto const async = more.async_load("x", Deadline{300ms}, boost::asio::use_future).get();
        CAPTURE(async.message());
        CHECK_THAT(async.message(), ContainsSubstring("as many clients as it takes"));
    }
}

TEST_CASE("what keeps a database from being chosen is named", "[redis][reasons]")
{
    RedisServer const server;
    auto options = redis_options(server);
    options.database = 1;
    auto const load = [&] { return redis::StateRepository<Stock>{redis::Client{options}}.load("x", 10s); };
    server.command({"ACL", "SETUSER", "worker", "-select"});
    CHECK(load().errc() == Errc::misconfigured);
    CHECK_THAT(load().message(), ContainsSubstring("the user may not do this"));
    server.command({"ACL", "SETUSER", "worker", "+select"});
    CHECK(load().errc() == Errc::not_found);
    server.command({"CONFIG", "SET", "busy-reply-threshold", "1"});
    std::thread script{
        [&] { static_cast<void>(ended([&] { server.command({"EVAL", "while true do end", "0"}); })); }};
    CHECK(eventually([&] { return load().errc() == Errc::unavailable; }));
    CHECK_THAT(load().message(), ContainsSubstring("busy running somebody's script"));
    server.command({"SCRIPT", "KILL"});
    script.join();
    options.database = 4711;
    CHECK_THAT(load().message(), ContainsSubstring("refuses the database's number, 4711"));
}

TEST_CASE("protected mode is the reason, and not a password", "[redis][reasons]")
{
    auto const options = redis::Options{.user = "worker", .password = "password"};
    redis::detail::Greeting const greeting{options};
    redis::Reply reply;
    redis::detail::ReplyReader reader{redis::detail::ReplyLimits{}};
    reader.feed("-DENIED Redis is running in protected mode because protected mode is enabled\r\n");
    REQUIRE(reader.next(reply) == redis::detail::ReplyReader::Status::ready);
    auto const refused = greeting.refused(1, reply.root());
    REQUIRE(refused);
    CHECK(refused->errc() == Errc::misconfigured);
    CHECK_THAT(refused->detail(), ContainsSubstring("protected mode"));
    CHECK(
        redis::detail::map_error(reply.root().text(), redis::Access::write).effect() == Effect::not_applied);
}

TEST_CASE("whoever waits in line hears what the server said to the one that asked", "[redis][reasons]")
{
    Shop const shop;
    shop.server.command({"CONFIG", "SET", "min-replicas-to-write", "3"});
    TransactionService const lease{SetNxLock{}, shop.stock};
    // Long waits between the attempts: a write that is under way at the deadline would be unknown.
    Backoff const seldom{.initial = 400ms, .cap = 400ms};
    TransactionService const versioned{OptimisticVersioning{.backoff = seldom}, shop.stock};
    std::vector<Outcome<void>> outcomes(6);
    {
        std::vector<std::jthread> callers;
        for (std::size_t i = 0; i < outcomes.size(); ++i)
            callers.emplace_back([&, i] {
                // Whoever comes later gives up earlier, while the one in front is still there.
                CallOptions const soon{.deadline = 2s + 400ms * (outcomes.size() - i)};
                outcomes[i] = i % 2 == 0 ? lease.try_do_in_transaction("x", add_one, soon)
                                         : versioned.try_do_in_transaction("x", add_one, soon);
            });
    }
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        auto const& outcome = outcomes[i];
        CAPTURE(i, outcome.message());
        if (i % 2 == 1 && outcome.errc() == Errc::outcome_unknown) {
            // Its write left just before the deadline, and the refusal did not come in time: nobody knows.
            CHECK(outcome.cause() == Errc::deadline_exceeded);
            continue;
        }
        CHECK(outcome.errc() == Errc::deadline_exceeded);
        CHECK(outcome.cause() == Errc::unavailable);
        CHECK_THAT(outcome.detail(), ContainsSubstring("replicas"));
    }
}

}  // namespace redis_reasons_test
