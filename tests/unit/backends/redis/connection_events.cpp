// SPDX-License-Identifier: BSL-1.0

// What an observer is told of the connections of a client: of blocking calls and of the shared one.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/connection_notes.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <chrono>
#include <string>

namespace connection_events_test {

using namespace interlock;
using interlock_test::eventually;
using interlock_test::RedisServer;
using interlock_test::Stock;

void end_sessions(RedisServer const& server)
{
    server.command({"CLIENT", "KILL", "TYPE", "normal"});
}

TEST_CASE("connections that are opened and lost are told", "[redis][connection_events]")
{
    RedisServer const server;
    interlock_test::ConnectionNotes notes;
    auto options = redis_options(server);
    options.observer = &notes;
    redis::StateRepository<Stock> const stock{redis::Client{options}};

    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("redis opened") == 1);
    REQUIRE(notes.waits().size() == 1);
    CHECK(notes.waits()[0].result == Errc::ok);
    CHECK(notes.waits()[0].connections == 1);
    end_sessions(server);
    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("redis lost") == 1);
    CHECK(notes.count("redis opened") == 2);

    boost::asio::io_context context;
    auto const ask = [&] {
        auto code = Errc::ok;
        stock.async_load(
            std::string("sku-1"),
            boost::asio::bind_executor(
                context.get_executor(), [&](Outcome<Versioned<Stock>> const& end) { code = end.errc(); }));
        context.run();
        context.restart();
        return code;
    };
    CHECK(ask() == Errc::not_found);
    CHECK(notes.count("redis opened") == 3);
    end_sessions(server);
    // It notices before it writes that the connection is gone, and makes another one.
    CHECK(eventually([&] { return ask() == Errc::not_found && notes.count("redis opened") == 4; }));
    CHECK(notes.count("redis lost") == 2);
}

TEST_CASE("the error of a reply has its word in the events of store calls", "[redis][connection_events]")
{
    RedisServer const server;
    interlock_test::ConnectionNotes notes;
    ObservedRepository const stock{
        redis::StateRepository<Stock>{redis::Client{redis_options(server)}}, notes};
    TransactionService const service{OptimisticVersioning{}, stock};
    stock.insert(Stock{"sku-1", 10}).value();
    server.command({"CONFIG", "SET", "maxmemory", "1"});
    auto const take = [](Stock& s) { --s.quantity; };
    CHECK_FALSE(service.try_do_in_transaction("sku-1", take, {.deadline = std::chrono::milliseconds{500}}));
    server.command({"CONFIG", "SET", "maxmemory", "0"});
    auto const calls = notes.calls();
    CHECK(std::count(calls.begin(), calls.end(), "compare_and_set unavailable OOM") > 0);
}

}  // namespace connection_events_test
