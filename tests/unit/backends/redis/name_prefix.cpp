// SPDX-License-Identifier: BSL-1.0

// A team that shares a Redis server may use only the keys and channels that begin with its prefix. Every name
// that the library uses begins with it then: those of values, locks, records, counters and wake-ups. Without
// a prefix each name is what it was in version 0.1, byte by byte, since stores hold it.

#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/open.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace redis_name_prefix_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_name_space;
using interlock_test::RedisServer;
using interlock_test::Stock;
using redis::detail::KeySpace;

/// A server of our own, since its keys are listed, with a user who may do what README says on names that
/// begin with `prefix`.
struct TeamServer {
    explicit TeamServer(std::string const& prefix)
    {
        std::vector<std::string> words{
            "ACL", "SETUSER", "team", "reset", "on", ">pw", "~" + prefix + "*", "&" + prefix + "*"};
        std::istringstream rights{std::string(interlock_test::library_rights)};
        for (std::string word; rights >> word;)
            if (word.starts_with('+'))
                words.push_back(word);
        redis::detail::Command command{words[0]};
        for (std::size_t i = 1; i < words.size(); ++i)
            command.add(words[i]);
        auto const until = interlock::detail::add(SystemRuntime::now(), 20s);
        auto const options = server.operator_options();
        redis::detail::Connection connection{options};
        connection.connect(options, until).value();
        connection.exchange(command.bytes(), redis::Access::read, until).value();
        REQUIRE(connection.reply().text() == "OK");
    }
    redis::Options options() const
    {
        auto options = server.operator_options();
        options.user = "team";
        options.password = "pw";
        return options;
    }
    std::vector<std::string> names() const
    {
        std::vector<std::string> out;
        std::istringstream lines{server.command({"KEYS", "*"})};
        for (std::string line; std::getline(lines, line);)
            out.push_back(line);
        return out;
    }
    RedisServer server;
};

struct Counted {
    int quantity = 0;
    static constexpr EventType event{"stock.counted", 1};
};
BOOST_DESCRIBE_STRUCT(Counted, (), (quantity))

/// Does everything that a client can do with events of a name space.
void use_events(redis::Client const& client, std::string const& name_space)
{
    redis::EventRepository const events{client, {.name_space = name_space}};
    redis::StateRepository<Stock> const states{client, {.name_space = name_space, .events = events}};
    TransactionService const service{OptimisticVersioning{}, states};
    auto const first =
        events.append(OperationId{"a-1"}, Key{"a"}, Expected::none(), std::vector{new_event(Counted{1})});
    CHECK(first);
    CHECK(events.note_consumer("me", 0, 0));
    service.do_in_transaction("a", [](Stock& s, Recorder& record) { record(Counted{s.quantity}); });
    CHECK(events.read_stream(Key{"a"}).value().size() == 2);
    CHECK(events.read(0, 0).value().events.size() == 2);
    CHECK(events.note_consumer("me", 0, first->position));
    CHECK(events.trim(0, first->position).value() == first->position);
}

/// Does everything that a client can do, with name spaces that begin with `name_space`.
void use_everything(redis::Options const& options, std::string const& name_space)
{
    redis::Client const client{options};
    redis::StateRepository<Stock> const states{client, {.name_space = name_space}};
    redis::IdempotencyStore const requests{client, {.name_space = name_space}};
    redis::Counters const counters{client, {.name_space = name_space}};

    TransactionService locking{SetNxLock{.missing = Missing::create}, states};
    locking.do_in_transaction("a", [](Stock& s) { ++s.quantity; });
    TransactionService versioned{OptimisticVersioning{}, states};
    CHECK(versioned.do_in_transaction(OperationId{"op-1"}, "a", [](Stock& s) { return ++s.quantity; }) == 2);
    CHECK(versioned.do_in_transaction(OperationId{"op-1"}, "a", [](Stock& s) { return ++s.quantity; }) == 2);
    locking.do_in_transaction(keys("a", "b"), [](Stock& a, Stock& b) { b.quantity = a.quantity; });

    TransactionService once{IdempotencyKeys{OptimisticVersioning{}, requests}, states};
    IdempotentRequest const request{"r-1", Scope{"orders"}};
    CHECK(*once.do_in_transaction(request, "a", [](Stock& s) { return ++s.quantity; }) == 3);
    CHECK(once.do_in_transaction(request, "a", [](Stock& s) { return ++s.quantity; }).replayed());

    CHECK(counters.atomic_once(OperationId{"c-1"}, Key{"n"}, increment(2)).value().value == 2);
    CHECK(counters.atomic_once(OperationId{"c-1"}, Key{"n"}, increment(2)).value().value == 2);
    CHECK(counters.load(Key{"n"}).value() == 2);

    std::set<std::string> found;  // the request has a record, too
    states
        .for_each_operation([&](Key const& key, OperationId const& id, OperationRecord const&) {
            found.insert(std::string(key.bytes()) + "/" + std::string(id.value()));
        })
        .value();
    CHECK((found.size() == 2 && found.contains("a/op-1")));
    use_events(client, name_space);
}

void check_names(std::string const& prefix, redis::Options options, std::string const& name_space)
{
    TeamServer const team{prefix};
    auto const place = team.options();
    options.unix_path = place.unix_path;
    options.user = place.user;
    options.password = place.password;
    CAPTURE(prefix, options.prefix, name_space);
    use_everything(options, name_space);
    auto const names = team.names();
    CHECK(names.size() >= 10);
    for (auto const& name : names) {
        CAPTURE(name);
        CHECK(name.starts_with(prefix));
        CHECK(name.find('{') != std::string::npos);
    }
}

TEST_CASE("all names begin with what a name space has up to its last colon", "[redis][prefix]")
{
    check_names("shop:", {}, "shop:states");
    check_names("shop:eu:", {}, "shop:eu:states/1");
    check_names("shop:", {}, "shop:");
    check_names(":", {}, ":x");
}

TEST_CASE("all names begin with the client's prefix, whatever the name space is", "[redis][prefix]")
{
    check_names("shop:", {.prefix = "shop:"}, "states");
    check_names("team-7_", {.prefix = "team-7_"}, "a.b/c");
    check_names("a|b#c@", {.prefix = "a|b#c@"}, "x");
    check_names("all:eu:", {.prefix = "all:"}, "eu:x");
}

TEST_CASE("waiters of a user with a prefix are woken by messages, not by polling", "[redis][prefix]")
{
    TeamServer const team{"shop:"};
    auto options = team.options();
    options.prefix = "shop:";
    redis::Client const first{options};
    redis::Client const second{options};
    redis::StateRepository<Stock> const here{first};
    redis::StateRepository<Stock> const there{second};
    LockStateService const holder{here, {.ttl = 30s}};
    LockStateService const waiting{there, {.ttl = 30s}};
    auto held = holder.acquire("x");
    std::atomic<bool> got{false};
    std::thread other{[&] {
        auto const lock = waiting.acquire("x", {.deadline = 20s});
        got = true;
    }};
    // The waiter listens on a channel of the prefix, which the server shows.
    auto const until = std::chrono::steady_clock::now() + 15s;
    std::string channels;
    while (channels.find("shop:v1:{") == std::string::npos && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(20ms);
        channels = team.server.command({"PUBSUB", "SHARDCHANNELS"});
    }
    CHECK(channels.starts_with("shop:v1:{interlock.0}:wake:"));
    held.release().value();
    other.join();
    CHECK(got);
}

TEST_CASE("without a prefix each name is the one of version 0.1", "[redis][prefix]")
{
    KeySpace const keys{"shop/states", 1};
    CHECK(keys.name("value", "sku-1").text() == "v1:{shop/states.0}:value:5:sku-1");
    CHECK(keys.name("lock", "").text() == "v1:{shop/states.0}:lock:0:");
    CHECK(keys.operation("k", "id").text() == "v1:{shop/states.0}:op:1:kid");
    CHECK(keys.once("n", "id").text() == "v1:{shop/states.0}:once:1:nid");
    CHECK(keys.counter(0).text() == "v1:{shop/states.0}:counter");
    CHECK(keys.operations(0) == "v1:{shop/states.0}:op:");
    CHECK(keys.channel(5) == "v1:{shop/states.0}:wake:5");
    CHECK(keys.wake_name("lock", "x").hash == interlock::detail::fnv1a("v1:{shop/states.0}:lock:1:x"));
    // The shard of a key does not depend on the prefix: what is in one transaction stays in one slot.
    KeySpace const many{"s", 128};
    KeySpace const prefixed{"shop:s", 128};
    for (auto const* key : {"a", "b", "sku-1"})
        CHECK(many.shard_of(key) == prefixed.shard_of(key));
    CHECK(KeySpace{"shop:s", 1}.name("value", "x").text() == "shop:v1:{s.0}:value:1:x");
    CHECK(KeySpace{"s", 1, "shop:"}.name("value", "x").text() == "shop:v1:{s.0}:value:1:x");
}

TEST_CASE("two prefixes are two places for the same name space", "[redis][prefix]")
{
    auto options = interlock_test::redis_server().operator_options();
    options.name_space = fresh_name_space();
    options.prefix = "one:";
    redis::StateRepository<Stock> const one{redis::Client{options}};
    options.prefix = "two:";
    redis::StateRepository<Stock> const two{redis::Client{options}};
    one.insert(Stock{"x", 1}).value();
    CHECK(two.load("x").errc() == Errc::not_found);
    CHECK(one.identity() != two.identity());
    // The same place, said in another way.
    auto const name_space = "one:" + options.name_space;
    options.prefix = "";
    redis::StateRepository<Stock> const same{redis::Client{options}, {.name_space = name_space}};
    CHECK(same.load("x").value().value.quantity == 1);
}

TEST_CASE("a URL names the prefix", "[redis][prefix]")
{
    CHECK(redis::Options::parse("redis://h?prefix=shop:").value().prefix == "shop:");
    CHECK(redis::Options::parse("redis://h?prefix=shop%3A&name_space=a:b").value().prefix == "shop:");
    TeamServer const team{"shop:"};
    auto const url = "unix://team:pw@" + team.server.socket() + "?prefix=shop:&name_space=states";
    StateRepository<Stock> const opened = open<Stock>(url, redis::unix_backend);
    opened.insert(Stock{"x", 1}).value();
    for (auto const& name : team.names())
        CHECK(name.starts_with("shop:v1:{states.0}:"));
}

TEST_CASE("what would break the names is refused, and the character is named", "[redis][prefix]")
{
    auto const said = [](redis::Options const& options) { return options.validate(); };
    for (auto const* prefix : {"{shop}:", "shop}", "sh*op", "a?", "[x]", "a\\b", "with space:"}) {
        auto const refused = said({.prefix = prefix});
        REQUIRE(refused.errc() == Errc::invalid_argument);
        CAPTURE(prefix, refused.failure().detail());
        CHECK(refused.failure().detail().find("prefix") != std::string_view::npos);
    }
    CHECK(said({.prefix = "{shop}:"}).failure().detail().ends_with("has '{'"));
    CHECK(said({.prefix = "a b"}).failure().detail().ends_with("has a space"));
    CHECK(said({.prefix = "a\nb"}).failure().detail().ends_with("has the byte 0x0a"));
    CHECK(said({.prefix = std::string(65, 'a')}).failure().detail().ends_with("has 65"));
    CHECK(said({.name_space = "shop:{x}"}).failure().detail().ends_with("has '{'"));
    CHECK(said({.name_space = "a b"}).failure().detail().ends_with("has a space"));
    CHECK(said({.name_space = ""}).errc() == Errc::invalid_argument);
    CHECK(redis::Options::parse("redis://h?prefix=%7Bx").failure().detail().ends_with("has '{'"));
    redis::Client const client{interlock_test::redis_options()};
    CHECK_THROWS_AS((redis::Counters{client, {.name_space = "shop:*"}}), Error);
}

}  // namespace redis_name_prefix_test
