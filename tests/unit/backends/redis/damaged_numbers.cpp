// SPDX-License-Identifier: BSL-1.0

// Numbers that somebody has set by hand, or that a full server did not store: nothing is half done, and no
// token is given that was not reserved. And channels: one that the user may not use costs the others nothing.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/event.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace redis_damaged_numbers_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

struct Sold {
    std::string sku;
    int left{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, left))

TEST_CASE("a counter of operations that is no number refuses a commit as a whole", "[redis]")
{
    RedisServer const server;
    auto const options = redis_options(server);
    redis::Client const client{options};
    redis::EventRepository const events{client};
    Repository const stock{client, {.events = events}};
    auto const version = stock.insert(Stock{"x", 10}).value();
    std::string const counter = "v1:{" + options.name_space + ".0}:counter";
    Key const key{"x"};
    for (std::string const bad : {"-0", "-1", "0x10", "nan", "1.5", "9007199254740993"}) {
        CAPTURE(bad);
        server.command({"HSET", counter, "sequence", bad});
        for (bool const records : {false, true}) {
            OperationId const id{"id" + bad + (records ? "r" : "")};
            Stock const next{"x", 9};
            std::vector<NewEvent> facts;
            if (records)
                facts.push_back(new_event(Sold{"x", 9}));
            std::vector<Change<Stock>> changes{
                {.key = &key, .version = version, .value = &next, .events = facts}};
            OperationCommit const operation{&key, &id, 1, "answer"};
            auto const done = stock.carry_out(verb::Commit<Stock>{changes, &operation}, 20s);
            CHECK(done.errc() == Errc::corrupt_state);
            CHECK(done.effect() == Effect::not_applied);
            CHECK(stock.load(key).value().value.quantity == 10);
            CHECK(events.read_stream(key).value().empty());
        }
    }
}

TEST_CASE("a counter beyond 2^53 is damage, and is not changed", "[redis]")
{
    RedisServer const server;
    auto const options = redis_options(server);
    redis::Counters const counters{redis::Client{options}};
    CHECK(counters.atomic_once(OperationId{"1"}, Key{"sold"}, increment(1)).value().value == 1);
    auto const name = redis::detail::KeySpace{options.name_space, 1}.name("count", "sold").text();
    for (std::string const bad : {"9007199254740993", "-9007199254740993", "9007199254740992"}) {
        CAPTURE(bad);
        server.command({"SET", name, bad});
        for (auto const amount : {-1, 1})
            CHECK(
                counters
                    .atomic_once(OperationId{bad + std::to_string(amount)}, Key{"sold"}, increment(amount))
                    .errc() == Errc::corrupt_state);
        CHECK(server.command({"GET", name}) == bad);
    }
}

TEST_CASE("a full server gives no token that the counter does not know", "[redis]")
{
    RedisServer const server;
    std::string const head = "v1:{full.0}:";
    std::string const mine = "0123456789abcdef";
    // A lock that is held by who asks for it again stands between two that are free.
    server.command({"SET", head + "lock:2", mine + std::string(30, '0') + "10"});
    server.command({"HSET", head + "counter", "token", "9000000000000000"});  // ahead of any clock
    server.command({"CONFIG", "SET", "maxmemory", "1"});
    server.command(
        {"EVAL", redis::detail::create_script().text, "4", head + "counter", head + "lock:1", head + "lock:2",
         head + "lock:3", "10000", "0", mine, mine, mine});
    server.command({"CONFIG", "SET", "maxmemory", "0"});
    auto const counter = std::stoll(server.command({"HGET", head + "counter", "token"}));
    for (std::string const lock : {"lock:1", "lock:3"}) {
        CAPTURE(lock);
        auto const record = server.command({"GET", head + lock});
        if (!record.empty())
            CHECK(std::stoll(record.substr(16, 16)) <= counter);
    }
}

TEST_CASE("a channel that the user may not use costs the others no wake-up", "[redis]")
{
    RedisServer server;
    auto options = redis_options(server);
    server.command({"ACL", "SETUSER", "less", "on", ">password", "+@all", "~*", "&v1:{mine.*"});
    options.user = "less";
    options.password = "password";
    redis::Client const client{options};
    redis::EventRepository const others{client, {.name_space = "others"}};
    redis::EventRepository const mine{client, {.name_space = "mine"}};
    CountingWaiter no_one;
    CountingWaiter waiter;
    server.pause();  // so that both are asked for at the same time
    others.subscribe(0, no_one);
    mine.subscribe(0, waiter);
    server.resume();
    CHECK(eventually([&] { return waiter.count() > 0; }));  // the channel is subscribed to
    CHECK(no_one.count() == 0);
    others.unsubscribe(0, no_one);
    mine.unsubscribe(0, waiter);
}

TEST_CASE("a connection of which it is not known where it leads, since a script runs, is not kept", "[redis]")
{
    redis::Options const options;
    redis::detail::Life life;
    redis::detail::Greeting const greeting{options, &life};
    redis::detail::ReplyReader reader;
    redis::Reply reply;
    reader.feed(std::string_view{"-BUSY Redis is busy running a script.\r\n"});
    CHECK(reader.next(reply) == redis::detail::ReplyReader::Status::ready);
    auto const refused = greeting.refused(greeting.replies(), reply.root());
    REQUIRE(refused);
    CHECK(refused->errc() == Errc::unavailable);
}

}  // namespace redis_damaged_numbers_test
