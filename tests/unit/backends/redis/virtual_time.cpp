// SPDX-License-Identifier: BSL-1.0

// Time-outs, pauses and leases against a real server, with a clock that moves only when the test says so:
// nobody sleeps for what is due in a minute or an hour. What the server and the network do takes the time
// that it takes; `run_until` waits for that.

#include <interlock/backends/redis/connection.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace redis_virtual_time_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::ManualRuntime;
using interlock_test::RedisServer;
using interlock_test::Stock;
using redis::Access;
using redis::Command;
using redis::Reply;
using Connection = redis::BasicConnection<ManualRuntime>;
using Repository = redis::StateRepository<Stock, void, ManualRuntime>;
using Result = std::optional<Outcome<Reply>>;

/// One connection, whose handlers run when the test runs `io`.
struct World {
    explicit World(redis::Options options) : connection{runtime, io.get_executor(), std::move(options)} {}

    void execute(Command command, Access access, Deadline deadline, Result& result)
    {
        connection.async_execute(std::move(command), access, deadline, [&result](Outcome<Reply> outcome) {
            result.emplace(std::move(outcome));
        });
    }
    void ask(Result& result, std::chrono::nanoseconds within)
    {
        execute(Command{"PING"}, Access::read, within, result);
    }

    /// False: it did not become true in ten seconds of real time.
    template <class Condition>
    bool run_until(Condition condition)
    {
        for (int i = 0; i < 1000 && !condition(); ++i) {
            io.restart();
            io.run_for(10ms);
        }
        return condition();
    }
    /// Whatever can happen without a step of the clock has happened.
    void run()
    {
        io.restart();
        io.run_for(50ms);
    }

    ManualRuntime runtime;
    asio::io_context io;
    Connection connection;
};

TEST_CASE(
    "redis: a server that stops answering is given up when the reply is due, by the runtime's clock",
    "[redis][time]")
{
    RedisServer const server;
    auto options = server.operator_options();
    options.reply_timeout = 30min;
    World world{options};
    Result first;
    world.ask(first, 10h);
    REQUIRE(world.run_until([&] { return first.has_value(); }));
    CHECK(first->value().root().text() == "PONG");

    server.pause();
    Result read;
    Result write;
    world.ask(read, 10h);
    world.execute(Command{"INCR", "x"}, Access::write, 10h, write);
    world.run();
    world.runtime.advance(29min);
    world.run();
    CHECK_FALSE(read);
    CHECK_FALSE(write);
    world.runtime.advance(2min);
    REQUIRE(world.run_until([&] { return read && write; }));
    CHECK(read->errc() == Errc::unavailable);
    CHECK(read->detail().find("stopped answering") != std::string::npos);
    CHECK(write->errc() == Errc::outcome_unknown);
    CHECK(write->cause() == Errc::unavailable);
    server.resume();
}

TEST_CASE("redis: a deadline is kept by the runtime's clock, sent or not", "[redis][time]")
{
    RedisServer server;
    World world{server.operator_options()};
    Result first;
    world.ask(first, 10h);
    REQUIRE(world.run_until([&] { return first.has_value(); }));

    server.pause();
    Result sent;
    world.execute(Command{"INCR", "x"}, Access::write, 20s, sent);
    world.run();
    world.runtime.advance(19s);
    world.run();
    CHECK_FALSE(sent);
    world.runtime.advance(2s);
    REQUIRE(world.run_until([&] { return sent.has_value(); }));
    CHECK(sent->errc() == Errc::outcome_unknown);
    CHECK(sent->cause() == Errc::deadline_exceeded);

    server.resume();
    server.kill();
    Result waiting;
    world.ask(waiting, 5min);
    world.run();
    CHECK_FALSE(waiting);
    for (int i = 0; i < 10 && !waiting; ++i) {  // an attempt to connect at each
        world.runtime.advance(40s);
        world.run();
    }
    REQUIRE(waiting);
    CHECK((waiting->errc() == Errc::unavailable || waiting->errc() == Errc::deadline_exceeded));
    CHECK(waiting->effect() == Effect::not_applied);
}

TEST_CASE("redis: the next attempt to connect waits for its pause, by the runtime's clock", "[redis][time]")
{
    RedisServer server;
    auto options = server.operator_options();
    options.reconnect = {.initial = 24h, .cap = 24h, .immediate = 0};
    World world{options};
    Result first;
    world.ask(first, 10h);
    REQUIRE(world.run_until([&] { return first.has_value(); }));
    server.kill();
    Result lost;
    world.ask(
        lost, 100h);  // the server's end is seen before anything is sent; the first attempt to connect fails
    world.run();
    CHECK_FALSE(lost);
    server.start();
    world.run();
    CHECK_FALSE(lost);
    CHECK(world.connection.statistics().reconnects == 0);
    world.runtime.advance(25h);
    REQUIRE(world.run_until([&] { return lost.has_value(); }));
    CHECK(lost->value().root().text() == "PONG");
    CHECK(world.connection.statistics().reconnects == 1);
}

TEST_CASE(
    "redis: a server that accepts and says nothing is given up after connect_timeout, by the runtime's clock",
    "[redis][time]")
{
    RedisServer const server;
    auto options = server.operator_options();
    options.connect_timeout = 2h;
    options.reconnect = {.initial = 0ns, .cap = 0ns, .immediate = 0};
    World world{options};
    server.pause();
    Result result;
    world.ask(result, 3h);
    world.run();
    world.runtime.advance(119min);
    world.run();
    CHECK_FALSE(result);
    world.runtime.advance(2min);  // the next attempt begins
    world.run();
    CHECK_FALSE(result);
    world.runtime.advance(1h);
    REQUIRE(world.run_until([&] { return result.has_value(); }));
    CHECK(result->errc() == Errc::unavailable);
    CHECK(result->detail().find("timed out") != std::string::npos);
    server.resume();
}

TEST_CASE(
    "redis: a lock is lost when its lease is over by the runtime's clock, whatever the server still has",
    "[redis][time]")
{
    RedisServer const server;
    ManualRuntime const runtime;
    redis::BasicClient<ManualRuntime> const client{runtime, server.operator_options()};
    LockStateService<Stock, Repository> const locks{
        Repository{client}, LockOptions{.ttl = 10min, .renew = false}};
    auto const lock = locks.acquire("apple");
    CHECK(lock.status() == LockStatus::held);
    runtime.advance(9min);
    CHECK(lock.status() == LockStatus::held);
    runtime.advance(1min);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::expired);
}

}  // namespace redis_virtual_time_test
