// SPDX-License-Identifier: BSL-1.0

// Locks, and states of two types, on a real server whose replies are cut, one by one, or that stops to
// answer.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace redis_doubt_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::Account;
using interlock_test::CuttingProxy;
using interlock_test::eventually;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Cut = CuttingProxy::Cut;
using Repository = redis::StateRepository<Stock>;

/// A server, a way to it through a proxy, and one around that.
struct Behind {
    Behind()
    {
        static_cast<void>(direct.insert(Stock{"x", 10}).value());
        LockStateService const locks{through, {.ttl = 30s}};  // connected, and the scripts are known
        static_cast<void>(locks.release(locks.acquire("warm")));
    }
    redis::Options by_proxy() const
    {
        auto o = options;
        o.unix_path.clear();
        o.host = "127.0.0.1";
        o.port = proxy.port();
        return o;
    }
    bool is_free(std::string const& name) const
    {
        auto const other = LockStateService{direct, {.ttl = 30s}}.try_acquire(name);
        return other.has_value();
    }
    RedisServer server{{"--port", "@PORT@"}};
    CuttingProxy proxy{server.port()};
    redis::Options options = interlock_test::redis_options(server);
    Repository direct{redis::Client{options}};
    Repository through{redis::Client{by_proxy()}};
};

TEST_CASE("a grant whose reply was lost is given back, though nobody could be asked again", "[redis][doubt]")
{
    Behind b;
    LockStateService const locks{b.through, {.ttl = 60s}};
    for (bool const asynchronous : {false, true}) {
        std::string const name = asynchronous ? "one-asynchronous" : "one-blocking";
        b.proxy.cut(Cut::reply, name);
        b.proxy.close_the_door(true);
        if (asynchronous) {
            std::promise<error_code> done;
            locks.async_acquire(
                name, {.deadline = 600ms}, [&](error_code error, Lock<Stock>) { done.set_value(error); });
            CHECK(done.get_future().get() == make_error_code(Errc::deadline_exceeded));
        } else {
            CHECK(
                locks.acquire_outcome(name, Wait::until_deadline, {.deadline = 600ms}).errc() ==
                Errc::deadline_exceeded);
        }
        CHECK_FALSE(b.is_free(name));  // the control: it was granted
        b.proxy.close_the_door(false);
        CHECK(eventually([&] { return b.is_free(name); }));
    }
    CHECK(b.proxy.cuts() == 2);
}

TEST_CASE(
    "a lock that a commit without a reply may have removed is nobody's until the store grants it",
    "[redis][doubt]")
{
    Behind b;
    LockStateService const locks{b.through, {.ttl = 60s}};
    LockStateService const others{b.direct, {.ttl = 60s}};
    TransactionService const service{SetNxLock{}, locks};
    std::optional<Lock<Stock>> waiter;
    std::thread waiting;
    std::optional<Lock<Stock>> other;
    std::thread meanwhile([&] {
        CHECK(eventually([&] { return b.proxy.cuts() == 1; }));
        CHECK(eventually([&] { return b.direct.load("x").value().value.quantity == 9; }));
        other.emplace(others.acquire("x", {.deadline = 20s}));
        waiting = std::thread([&] { waiter.emplace(locks.acquire("x", {.deadline = 20s})); });
        std::this_thread::sleep_for(50ms);
        b.proxy.close_the_door(false);
    });
    auto const end = service.try_do_in_transaction(
        OperationId{"op-lost"}, "x",
        [&](Stock& s) {
            // The record goes with the write, and nobody can be asked what became of it until the door opens.
            b.proxy.cut(Cut::reply, "op-lost");
            b.proxy.close_the_door(true);
            return --s.quantity;
        },
        {.deadline = 20s});
    meanwhile.join();
    REQUIRE(end);
    CHECK(*end == 9);
    CHECK(end.replayed());
    std::this_thread::sleep_for(300ms);
    CHECK(other->status() == LockStatus::held);
    CHECK_FALSE(waiter);
    CHECK(others.release(*std::exchange(other, std::nullopt)));
    waiting.join();
    REQUIRE(waiter);
    CHECK(waiter->status() == LockStatus::held);
}

TEST_CASE("a lost reply leaves two types in no doubt that an operation id does not end", "[redis][doubt]")
{
    Behind b;
    redis::Client const client{b.by_proxy()};
    redis::StateRepository<Stock> const stock{client};
    redis::StateRepository<Account> const accounts{client, {.name_space = "accounts"}};
    static_cast<void>(accounts.insert(Account{1, 100, ""}).value());
    TransactionService const service{OptimisticVersioning{}, JointRepository{stock, accounts}};
    auto const both = keys(in(stock, "x"), in(accounts, 1));
    auto const buy = [](Stock& s, Account& a) {
        --a.balance;
        return --s.quantity;
    };
    // The server knows the script, so that what is lost is not its word that it does not.
    CHECK(service.do_in_transaction(OperationId{"known"}, both, buy) == 9);

    int number = 0;
    for (auto const cut : {Cut::reply, Cut::request})
        for (bool const asynchronous : {false, true}) {
            CAPTURE(static_cast<int>(cut), asynchronous);
            auto const id = "operation-" + std::to_string(++number);
            int runs = 0;
            auto const cutting = [&](Stock& s, Account& a) {
                if (++runs == 1)
                    b.proxy.cut(cut, id);  // its first commit
                return buy(s, a);
            };
            auto const end =
                asynchronous
                    ? service.async_try_do_in_transaction(OperationId{id}, both, cutting, asio::use_future)
                          .get()
                    : service.try_do_in_transaction(OperationId{id}, both, cutting);
            REQUIRE(end);
            CHECK(*end == 9 - number);
            CHECK(runs == (cut == Cut::reply ? 1 : 2));
            CHECK(b.direct.load("x").value().value.quantity == 9 - number);
            CHECK(accounts.load(1).value().value.balance == 99 - number);
        }
    CHECK(b.proxy.cuts() == 4);

    // Without an id nobody can find out, and nothing is sent again.
    auto const unknown = service.try_do_in_transaction(both, [&](Stock& s, Account& a) {
        b.proxy.cut(Cut::reply, "EVALSHA");
        return buy(s, a);
    });
    CHECK(unknown.errc() == Errc::outcome_unknown);
    CHECK(unknown.effect() == Effect::unknown);
    CHECK(b.direct.load("x").value().value.quantity == 4);
    CHECK(accounts.load(1).value().value.balance == 94);
}

TEST_CASE(
    "a server that stops answering holds up no release and no write beyond their deadline", "[redis][doubt]")
{
    Behind b;
    LockStateService const locks{b.direct, {.ttl = 1h}};
    auto released = locks.acquire("released");
    auto asynchronously = locks.acquire("asynchronously");
    auto written = locks.acquire("x");
    auto ensured = locks.acquire("ensured");
    auto const version = b.direct.load("x").value().version;
    b.server.pause();
    auto const began = std::chrono::steady_clock::now();
    std::promise<error_code> done;
    locks.async_release(std::move(asynchronously), [&](error_code error) { done.set_value(error); });
    std::thread writing([&] {
        auto const write = locks.write(written, version, Stock{"x", 1});
        // Whoever needs a connection of its own has not got as far as sending anything.
        CHECK((write.errc() == Errc::outcome_unknown || write.errc() == Errc::unavailable));
        CHECK(std::chrono::steady_clock::now() - began < 8s);
    });
    std::thread ensuring([&] {
        CHECK_FALSE(ensured.ensure(1h));
        CHECK(std::chrono::steady_clock::now() - began < 8s);
    });
    auto const release = locks.release(std::move(released));
    CHECK(release.errc() == Errc::outcome_unknown);
    CHECK(std::chrono::steady_clock::now() - began < 8s);
    CHECK(done.get_future().get() == make_error_code(Errc::outcome_unknown));
    CHECK(std::chrono::steady_clock::now() - began < 8s);
    writing.join();
    ensuring.join();
    b.server.resume();
    CHECK(eventually([&] { return b.is_free("released") && b.is_free("asynchronously"); }));
}

}  // namespace redis_doubt_test
