// SPDX-License-Identifier: BSL-1.0

// A failover, or a restart, that has lost the last writes: what is granted and remembered afterwards.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_failover_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;
Key const x{"x"};

TEST_CASE(
    "a token is above those that a failover has lost with their counter, however the lock was granted",
    "[redis][failover]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    auto const counter = "v1:{" + o.name_space + ".0}:counter";
    repository.insert(Stock{"x", 1}).value();
    auto latest = repository.create(Key{"first"}, owner(1), 60s).value().first;
    // The last grants were not replicated: the counter is that of before, and nobody knows of them.
    auto const known = redis_server().command({"HGET", counter, "token"});
    // More than 4,096 grants a second would be beyond what the clock makes good.
    auto const lose = [&](Key const& key) {
        std::this_thread::sleep_for(1ms);
        latest = std::max(latest, repository.create(key, owner(2), 60s).value().first);
        static_cast<void>(repository.remove(key, owner(2)).value());
        redis_server().command({"HSET", counter, "token", known});
    };
    auto const grown = [&](Grant const& grant) {
        CHECK(grant.first > latest);
        latest = std::max(latest, grant.first);
    };
    lose(x);
    grown(repository.create(x, owner(3), 60s).value());
    CHECK(repository.remove(x, owner(3)).value() == Removal::removed);
    lose(x);
    grown(repository.create_and_load(x, owner(4), 60s).value().grant);
    lose(Key{"y"});
    {
        CountingWaiter waiter;
        repository.subscribe(x, owner(5), waiter);
        CHECK(repository.create(x, owner(5), 60s).errc() == Errc::lock_busy);
        CHECK(repository.remove(x, owner(4)).value() == Removal::removed);  // makes it the waiter's
        redis_server().command({"HSET", counter, "token", known});
        grown(repository.create(x, owner(5), 60s).value());
        repository.unsubscribe(x, waiter);
    }
    lose(Key{"y"});
    asio::io_context io;
    Repository const shared{redis::Client{io, o}};
    LockStateService const locks{shared};
    std::vector<FencingToken> tokens;
    std::vector<Lock<Stock>> held;
    for (char const* const key : {"a", "b", "c"})
        locks.async_acquire(key, asio::bind_executor(io, [&](boost::system::error_code, Lock<Stock> lock) {
                                tokens.push_back(lock.fencing_token());
                                held.push_back(std::move(lock));
                            }));
    io.run();
    REQUIRE(tokens.size() == 3);
    for (auto const token : tokens)
        CHECK(token > latest);
}

TEST_CASE("what a service remembers is forgotten when a server answers that has lost it", "[redis][failover]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const repository{redis::Client{o}};
    auto const add = [](Stock& stock) { return ++stock.quantity; };
    auto const lost_write = [&](auto const& states, auto run) {
        Repository const other{redis::Client{o}};
        server.command({"FLUSHALL"});
        auto const version = other.insert(Stock{"x", 1}).value();
        server.command({"SAVE"});
        TransactionService service{OptimisticVersioning{.remember = 10}, states};
        CHECK(run(service, add) == 2);
        CHECK(run(service, add) == 3);  // is remembered, and will be lost
        server.kill();
        server.start();
        Repository const somebody{redis::Client{o}};
        // Somebody else's writes get the very versions that those had.
        auto const again = somebody.compare_and_set(x, version, Stock{"x", 100}).value();
        CHECK(somebody.compare_and_set(x, again, Stock{"x", 101}).value() == version + 2);
        CHECK(run(service, add) == 102);
        CHECK(somebody.load(x).value().value.quantity == 102);
    };
    auto const blocking = [](auto& service, auto operation) {
        return service.do_in_transaction("x", operation);
    };
    auto const asynchronous = [](auto& service, auto operation) {
        return service.async_do_in_transaction("x", operation, asio::use_future).get();
    };
    SECTION("blocking")
    {
        lost_write(repository, blocking);
    }
    SECTION("asynchronous")
    {
        lost_write(repository, asynchronous);
    }
    SECTION("chosen at run time")
    {
        lost_write(StateRepository<Stock>{repository}, blocking);
    }
}

}  // namespace redis_failover_test
