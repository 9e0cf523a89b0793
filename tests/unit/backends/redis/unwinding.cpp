// SPDX-License-Identifier: BSL-1.0

// A thread that is cancelled in a call on Redis: the call ends first, no connection is given back half-read,
// and what the thread held is free afterwards. Where the library closes a socket, looks a host up or wakes
// another thread, the C library would throw the cancellation out of a function that must not throw.

#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/observability/log.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "support/unwound.hpp"

#include <unistd.h>

#include <chrono>
#include <future>
#include <string>
#include <string_view>
#include <thread>

namespace redis_unwinding_test {

using namespace interlock;
using namespace std::chrono_literals;
using boost::asio::use_future;
using interlock_test::cancelled_in;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;

auto const add_one = [](Stock& stock) { return ++stock.quantity; };

struct Bench {
    explicit Bench(redis::Options const& options = redis_options()) : client(options)
    {
        static_cast<void>(stock.insert(Stock{"x", 1}).value());
    }
    redis::Client client;
    redis::StateRepository<Stock> stock{client};
};

TEST_CASE("a thread that is cancelled in its operation on Redis leaves nothing", "[redis][unwinding]")
{
    Bench const bench;
    auto const check = [&](auto const& service) {
        for (int i = 0; i < 3; ++i) {
            CHECK(cancelled_in([&](auto const& here) {
                service.do_in_transaction("x", [&](Stock& s) {
                    s.quantity = 100;
                    here();
                });
            }));
            auto const next = service.try_do_in_transaction("x", add_one, {.deadline = 5s});
            REQUIRE(next);
            CHECK(*next == 2 + i);
        }
        CHECK(bench.client.connection_count() <= 2);
    };
    SECTION("optimistic")
    {
        check(TransactionService{OptimisticVersioning{}, bench.stock});
    }
    SECTION("lease")
    {
        check(TransactionService{SetNxLock{}, bench.stock});
    }
}

TEST_CASE("a thread that is to be cancelled ends its calls on Redis first", "[redis][unwinding]")
{
    RedisServer server{{"--port", "@PORT@"}};
    auto options = redis_options(server);
    bool const by_name = GENERATE(false, true);
    if (by_name) {
        options.unix_path.clear();
        options.host = "localhost";
        options.port = server.port();
    }
    Bench const bench{options};
    auto const held = LockStateService{bench.stock}.acquire("x");
    int done = 0;
    CHECK(cancelled_in([&](auto const& here) {
        here.soon();
        done += bench.stock.load("x") ? 1 : 0;
        // By a connection that the server has ended meanwhile.
        server.command({"CLIENT", "KILL", "TYPE", "normal"});
        done += bench.stock.load("x") ? 1 : 0;
        // By one whose reply does not come in time.
        server.pause();
        done += bench.stock.load("x", 50ms) ? 0 : 1;
        server.resume();
        redis::StateRepository<Stock> const other{redis::Client{options}};
        done +=
            LockStateService{other}.acquire_outcome("x", Wait::until_deadline, {.deadline = 100ms}) ? 0 : 1;
        auto nowhere = options;
        nowhere.unix_path.clear();
        nowhere.host = "no.such.host.invalid";
        done += redis::StateRepository<Stock>{redis::Client{nowhere}}.load("x", 200ms) ? 0 : 1;
        here();
    }));
    CHECK(done == 5);
    auto const loaded = bench.stock.load("x");
    REQUIRE(loaded);
    CHECK(loaded->value.quantity == 1);
}

TEST_CASE("a lock that a cancelled thread drops is free", "[redis][unwinding]")
{
    Bench const bench;
    LockStateService const locks{bench.stock};
    CHECK(cancelled_in([&](auto const& here) {
        auto const lock = locks.acquire("x");
        here();
    }));
    CHECK(locks.acquire_outcome("x", Wait::until_deadline, {.deadline = 5s}));
}

TEST_CASE("an asynchronous call is begun by a thread that is to be cancelled", "[redis][unwinding]")
{
    Bench const bench;  // its first asynchronous call makes the shared connection
    TransactionService const service{SetNxLock{}, bench.stock};
    std::future<Outcome<Versioned<Stock>>> load;
    std::future<Outcome<int>> change;
    CHECK(cancelled_in([&](auto const& here) {
        here.soon();
        load = bench.stock.async_load("x", Deadline{5s}, use_future);
        change = service.async_try_do_in_transaction("x", add_one, use_future);
        here();
    }));
    CHECK(load.get());
    CHECK(change.get());
}

TEST_CASE("an executor of the user's is woken by a thread that is to be cancelled", "[redis][unwinding]")
{
    boost::asio::io_context io;
    auto const work = boost::asio::make_work_guard(io);
    std::thread runs{[&] { io.run(); }};
    {
        redis::Client const client{io, redis_options()};
        redis::StateRepository<Stock> const stock{client};
        CHECK(stock.insert(Stock{"x", 1}));
        std::this_thread::sleep_for(20ms);  // until the executor waits for events
        std::future<Outcome<Versioned<Stock>>> load;
        CHECK(cancelled_in([&](auto const& here) {
            here.soon();
            load = stock.async_load("x", Deadline{5s}, use_future);
            redis::Client{io, client.options()};
            here();
        }));
        CHECK(load.get());
    }
    io.stop();
    runs.join();
}

TEST_CASE("the request of a cancelled operation on Redis may come again", "[redis][unwinding]")
{
    Bench const bench;
    IdempotentRequest const request{"r1", Scope{"ann"}};
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, redis::IdempotencyStore{bench.client}}, bench.stock};
    CHECK(cancelled_in([&](auto const& here) {
        service.do_in_transaction(request, "x", [&](Stock& s) {
            s.quantity = 100;
            here();
            return 0;
        });
    }));
    // The claim is given back by another thread.
    CHECK(interlock_test::eventually([&] {
        auto const again = service.try_do_in_transaction(request, "x", add_one, {.deadline = 5s});
        return again && again->value() == 2;
    }));
}

TEST_CASE("an observer that writes to a file hears of the calls of a cancelled thread", "[redis][unwinding]")
{
    int lines = 0;
    LogObserver log{
        [&](LogLevel, std::string_view line) {
            int const nothing = ::dup(2);
            ::close(nothing);  // where a thread is cancelled, as it is in write(2)
            lines += line.empty() ? 0 : 1;
        },
        {.least = LogLevel::debug}};
    auto options = redis_options();
    options.observer = &log;
    Bench const bench{options};
    TransactionService const service{SetNxLock{.lock = {.observer = &log}}, bench.stock, {.observer = &log}};
    CHECK(cancelled_in([&](auto const& here) {
        here.soon();
        service.do_in_transaction("x", add_one);
        here();
    }));
    CHECK(lines > 1);
    CHECK(service.do_in_transaction("x", add_one) == 3);
}

}  // namespace redis_unwinding_test
