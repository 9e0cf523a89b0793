// SPDX-License-Identifier: BSL-1.0

// Asynchronous commits with an event each leave as one command. Each of them ends as it would have ended
// alone, and what it stores is what a commit of its own, and an append, store and go on from.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/event.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace redis_shared_commits_test {

using namespace interlock;
namespace asio = boost::asio;
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

/// What is known of a state.
struct Known {
    Key key;
    int quantity;
    Version version;
};

/// A server, and two clients: `stock` starts its commits on `io`, which this thread runs; `other` is somebody
/// else.
struct Shop {
    /// Whether all but the first of the commits left as one of so many commands. The first one looks at the
    /// log, as one does in a millisecond, and leaves alone; on a slow machine another one does so, too.
    static bool at_once(std::uint64_t commands) { return commands <= 2; }

    explicit Shop(int states = 0)
    {
        for (int i = 0; i < states; ++i) {
            auto const version = other.insert(Stock{std::to_string(i), 1000}).value();
            known.push_back({Key{std::to_string(i)}, 1000, version});
        }
    }
    std::string name(std::string_view kind, std::string_view key) const
    {
        return redis::detail::KeySpace{o.name_space, 1}.name(kind, key).text();
    }
    std::string log() const { return "v1:{" + o.name_space + ".0}:log"; }

    /// One sale of each of `states`, all started before the first one left.
    std::vector<Outcome<CommitResult>> sell(std::vector<Known> const& states)
    {
        std::vector<CountingWaiter> waiters(states.size());
        std::vector<StartedCall<CommitResult>> calls;
        for (std::size_t i = 0; i < states.size(); ++i) {
            auto const& [key, quantity, version] = states[i];
            Stock const next{std::string(key.bytes()), quantity - 1};
            std::vector<NewEvent> facts{new_event(Sold{next.sku, next.quantity})};
            facts[0].id = std::to_string(++ids);
            std::vector<Change<Stock>> changes{
                {.key = &key, .version = version, .value = &next, .events = facts}};
            calls.push_back(stock.start(verb::Commit<Stock>{changes, nullptr}, 20s, waiters[i]));
        }
        std::vector<Outcome<CommitResult>> outcomes;
        for (auto& call : calls)
            for (bool ended = false; !ended;) {
                if (auto outcome = call->poll()) {
                    outcomes.push_back(*std::move(outcome));
                    ended = true;
                } else if (io.run_one() == 0)
                    io.restart();
            }
        return outcomes;
    }
    /// Likewise of all that are known, each of which succeeds. How many commands left.
    std::uint64_t sell_all()
    {
        auto const before = client.statistics().commands;
        auto const outcomes = sell(known);
        for (std::size_t i = 0; i < known.size(); ++i) {
            REQUIRE(outcomes[i]);
            CHECK(outcomes[i]->version == known[i].version + 1);
            known[i].version = outcomes[i]->version;
            --known[i].quantity;
        }
        return client.statistics().commands - before;
    }
    /// Until all have left at once.
    void sell_all_at_once()
    {
        CHECK(eventually([&] { return at_once(sell_all()); }));
    }
    /// That the stock of `key` went down by one with each of its events, from 1000 on, and is where the last
    /// one says; and that each event is found by its number.
    void check_sales(Key const& key) const
    {
        auto const left = other.load(key).value().value.quantity;
        auto const sold = log_of_other.read_stream(key, 0, 1000).value();
        REQUIRE(static_cast<int>(sold.size()) == 1000 - left);
        Position before = 0;
        for (std::size_t i = 0; i < sold.size(); ++i) {
            auto const number = static_cast<std::int64_t>(i);
            CHECK(sold[i].number == number + 1);
            CHECK(sold[i].as<Sold>()->left == 999 - static_cast<int>(i));
            CHECK(std::exchange(before, sold[i].position) < sold[i].position);
            CHECK(log_of_other.read_stream(key, number, 1).value().at(0).id == sold[i].id);
        }
    }

    RedisServer server;
    redis::Options o{redis_options(server)};
    asio::io_context io;
    redis::Client client{io, o};
    redis::EventRepository events{client};
    Repository stock{client, {.events = events}};
    redis::Client client_of_other{o};
    redis::EventRepository log_of_other{client_of_other};
    Repository other{client_of_other, {.events = log_of_other}};
    std::vector<Known> known;
    int ids{0};
};

TEST_CASE("commits with an event each leave as one command", "[redis][events]")
{
    Shop shop{20};
    shop.sell_all_at_once();
    // An append and a commit of one's own go on from there, and are gone on from.
    for (int round = 0; round < 20; ++round) {
        shop.sell_all();
        auto& [key, quantity, version] = shop.known[static_cast<std::size_t>(round)];
        Stock const next{std::string(key.bytes()), quantity - 1};
        std::vector<NewEvent> const events{new_event(Sold{next.sku, next.quantity})};
        if (round % 2 == 0) {
            std::vector<Change<Stock>> changes{
                {.key = &key, .version = version, .value = &next, .events = events}};
            REQUIRE(shop.other.carry_out(verb::Commit<Stock>{changes, nullptr}, 20s));
            version = changes[0].version;
        } else {
            REQUIRE(shop.log_of_other.append(key, Expected::any(), events));
            version = shop.other.compare_and_set(key, version, next).value();
        }
        --quantity;
    }
    for (auto const& one : shop.known)
        shop.check_sales(one.key);
    // A server that has forgotten the script.
    shop.server.command({"SCRIPT", "FLUSH"});
    shop.sell_all();
    shop.sell_all_at_once();
    shop.check_sales(Key{"7"});
}

TEST_CASE("commits that leave as one command end each with an outcome of its own", "[redis][events]")
{
    Shop shop{11};
    shop.sell_all_at_once();
    auto states = shop.known;
    states[10].version -= 1;
    shop.other.erase(states[1].key, states[1].version).value();
    shop.server.command({"DEL", shop.name("value", "2")});
    shop.server.command({"RPUSH", shop.name("value", "2"), "x"});
    shop.server.command({"SET", shop.name("value", "3"), "short"});
    shop.server.command({"DEL", shop.name("stream", "4")});
    shop.server.command({"RPUSH", shop.name("stream", "4"), "x"});
    shop.server.command({"SET", shop.name("stream", "5"), "000000000001and more"});
    states[7] = states[6];  // twice the same: the second one is too late
    std::vector<Errc> const expected{
        Errc::ok,
        Errc::not_found,
        Errc::corrupt_state,
        Errc::corrupt_state,
        Errc::corrupt_state,
        Errc::corrupt_state,
        Errc::ok,
        Errc::version_conflict,
        Errc::ok,
        Errc::ok,
        Errc::version_conflict};
    auto const length = std::stoi(shop.server.command({"XLEN", shop.log()}));
    // Again, until all have left as one command; what has succeeded is put back.
    CHECK(eventually([&] {
        auto const before = shop.client.statistics().commands;
        auto const outcomes = shop.sell(states);
        for (std::size_t i = 0; i < states.size(); ++i) {
            CAPTURE(i);
            CHECK(outcomes[i].errc() == expected[i]);
            if (!outcomes[i])
                CHECK(outcomes[i].effect() == Effect::not_applied);
        }
        for (std::size_t const i : {0U, 6U, 8U, 9U}) {
            states[i].version = outcomes[i].value().version;
            --states[i].quantity;
        }
        states[7] = states[6];
        return Shop::at_once(shop.client.statistics().commands - before);
    }));
    auto const sold = shop.known[9].quantity - states[9].quantity;
    CHECK(std::stoi(shop.server.command({"XLEN", shop.log()})) == length + 4 * sold);
    for (auto const* key : {"0", "6", "8", "9", "10"})
        shop.check_sales(Key{key});
    for (std::size_t const i : {4U, 5U})  // nothing of it is there
        CHECK(shop.other.load(states[i].key).value().version == states[i].version);
}

TEST_CASE("a log that takes no event leaves every state that leaves at once as it was", "[redis][events]")
{
    Shop shop{5};
    shop.sell_all_at_once();
    auto const check = [&](Errc code) {
        CHECK(eventually([&] {
            auto const before = shop.client.statistics().commands;
            for (auto const& outcome : shop.sell(shop.known))
                CHECK(outcome.errc() == code);
            return Shop::at_once(shop.client.statistics().commands - before);
        }));
        for (auto const& one : shop.known)
            CHECK(shop.other.load(one.key).value().version == one.version);
    };
    shop.server.command({"CONFIG", "SET", "maxmemory", "1"});
    check(Errc::overloaded);
    shop.server.command({"CONFIG", "SET", "maxmemory", "0"});
    shop.sell_all_at_once();
    for (auto const& one : shop.known)
        shop.check_sales(one.key);
    shop.server.command({"RENAME", shop.log(), "v1:log"});
    shop.server.command({"SET", shop.log(), "by hand"});
    check(Errc::corrupt_state);
    shop.server.command({"RENAME", "v1:log", shop.log()});
    shop.sell_all_at_once();
    for (auto const& one : shop.known)
        shop.check_sales(one.key);
}

TEST_CASE(
    "of commits that leave as one command, one without a right costs the others nothing", "[redis][events]")
{
    Shop shop;
    auto less = shop.o;
    less.user = "less";
    less.password = "password";
    auto const allow = [&](std::string const& more) {
        std::string const head = "v1:{" + shop.o.name_space + ".0}:";
        shop.server.command({"ACL", "SETUSER", "less", "reset"});
        shop.server.command({"ACL", "SETUSER", "less", "on", ">password", "+@all"});
        shop.server.command({"ACL", "SETUSER", "less", "&*", "~" + head + "log", "~" + head + "readers"});
        shop.server.command({"ACL", "SETUSER", "less", "~" + head + "value:*", "~" + head + "lock:*"});
        shop.server.command({"ACL", "SETUSER", "less", "~" + head + "counter", "%R~" + head + "stream:*"});
        shop.server.command({"ACL", "SETUSER", "less", "~" + head + "stream:1:1", "~" + head + "stream:1:2"});
        if (!more.empty())
            shop.server.command({"ACL", "SETUSER", "less", more});
    };
    allow("");
    redis::Client const client{shop.io, less};
    redis::EventRepository const events{client};
    shop.client = client;
    shop.stock = Repository{client, {.events = events}};
    for (auto const* key : {"1", "0", "2"})
        shop.known.push_back({Key{key}, 1000, shop.other.insert(Stock{key, 1000}).value()});
    auto const check = [&](Errc others) {
        CHECK(eventually([&] {
            auto const before = client.statistics().commands;
            auto const outcomes = shop.sell(shop.known);
            CHECK(outcomes[0].errc() == others);
            CHECK(outcomes[1].errc() == Errc::misconfigured);
            CHECK(outcomes[2].errc() == others);
            for (std::size_t i = 0; i < 3; ++i)
                if (outcomes[i]) {
                    shop.known[i].version = outcomes[i]->version;
                    --shop.known[i].quantity;
                }
            return client.statistics().commands - before == 4;  // two left as one, and then each alone
        }));
        for (auto const& one : shop.known) {
            CHECK(shop.other.load(one.key).value().version == one.version);
            shop.check_sales(one.key);
        }
    };
    check(Errc::ok);
    allow("-mset");  // two writes will do
    check(Errc::ok);
    allow("-xadd");
    check(Errc::misconfigured);
}

TEST_CASE(
    "positions grow within one command while the server's clock is behind the last event", "[redis][events]")
{
    Shop shop{20};
    shop.sell_all_at_once();
    // As if the clock had been in 2033, and a million events been stored since it was set right.
    for (std::string const from : {"2000000000000-999995", "2000000000001-999985"}) {
        shop.server.command({"XSETID", shop.log(), from});
        shop.sell_all_at_once();
    }
    CHECK(shop.server.command({"XINFO", "STREAM", shop.log()}).find("2000000000002-") != std::string::npos);
    for (auto const& one : shop.known)
        shop.check_sales(one.key);
}

TEST_CASE("readers elsewhere are woken by commits that leave as one command", "[redis][events]")
{
    Shop shop{3};
    CountingWaiter here;
    CountingWaiter there;
    shop.events.subscribe(0, here);
    shop.log_of_other.subscribe(0, there);
    CHECK(shop.log_of_other.note_consumer("there", 0, 0));
    shop.sell_all_at_once();
    CHECK(eventually([&] {
        shop.io.restart();
        shop.io.run_for(1ms);
        return here.count() > 0 && there.count() > 0;
    }));
    for (int i = 0; i < 5; ++i) {
        auto const before = here.count();
        int heard = 0;
        CHECK(eventually([&] {
            std::this_thread::sleep_for(2ms);  // what was said before has been heard
            heard = there.count();
            return Shop::at_once(shop.sell_all());
        }));
        CHECK(eventually([&] { return there.count() > heard; }));
        CHECK(here.count() > before);
    }
    shop.events.unsubscribe(0, here);
    shop.log_of_other.unsubscribe(0, there);
}

TEST_CASE("readers elsewhere are woken by a commit behind one that was refused", "[redis][events]")
{
    Shop shop{1};
    CountingWaiter there;
    shop.log_of_other.subscribe(0, there);
    CHECK(shop.log_of_other.note_consumer("there", 0, 0));
    auto& known = shop.known[0];
    for (int i = 0; i < 10; ++i) {
        redis::Client const client{shop.o};  // has not heard of readers
        redis::EventRepository const events{client};
        Repository const stock{client, {.events = events}};
        auto const sell = [&](Version from) {
            Stock const next{std::string(known.key.bytes()), known.quantity - 1};
            std::vector<NewEvent> const facts{new_event(Sold{next.sku, next.quantity})};
            std::vector<Change<Stock>> changes{
                {.key = &known.key, .version = from, .value = &next, .events = facts}};
            auto const done = stock.carry_out(verb::Commit<Stock>{changes, nullptr}, 20s);
            if (done) {
                known.version = changes[0].version;
                --known.quantity;
            }
            return done.errc();
        };
        std::this_thread::sleep_for(2ms);  // what was said before has been heard
        auto const heard = there.count();
        CHECK(sell(known.version + 7) == Errc::version_conflict);
        CHECK(sell(known.version) == Errc::ok);
        CHECK(eventually([&] { return there.count() > heard; }));
    }
    shop.log_of_other.unsubscribe(0, there);
}

}  // namespace redis_shared_commits_test
