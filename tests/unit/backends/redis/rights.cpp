// SPDX-License-Identifier: BSL-1.0

// A script is all or nothing. Whatever right the user lacks, and whatever somebody else has stored under the
// names that a script looks at, a call which says that it was not applied has written nothing.
//
// How it works: `calls()` lists every call of a repository, a store of requests and counters, each with what
// must be there before. The cases run the whole list once per documented right, as a user that lacks this one
// right, and once per foreign value under each of the library's names. Before and after the call, all that
// the name space contains is read (`stored`) and compared.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>

#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace redis_rights_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::fresh_name_space;
using interlock_test::owner;
using interlock_test::redis_server;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

Ttl const ttl{30s};
Key const x{"x"};
Key const y{"y"};
OwnerToken const ours = owner(0x1111111111111111);
OwnerToken const theirs = owner(0x2222222222222222);

/// One user's view of one name space.
struct Stores {
    explicit Stores(redis::Options const& options)
        : client(options), events(client), states(client, {.events = events}),
          requests(client, {.retention = 1h}), counters(client, {.retention = 1h})
    {}
    redis::Client client;
    redis::EventRepository events;
    Repository states;
    redis::IdempotencyStore requests;
    redis::Counters counters;
};

/// What a call has ended as, and whether it counts as applied.
struct End {
    Errc code;
    Effect effect;
};
template <class X>
End end_of(Outcome<X> const& outcome)
{
    return {outcome.errc(), outcome.effect()};
}

Change<Stock> change(
    Key const& key, ChangeKind kind, Version version, Stock const& value, Fence const* fence, bool release)
{
    Change<Stock> out;
    out.key = &key;
    out.kind = kind;
    out.version = version;
    out.value = &value;
    out.fence = fence;
    out.release = release;
    return out;
}

/// What is stored in a name space, expiry included as far as there is one.
std::string stored(std::string const& name_space)
{
    return redis_server().command(
        {"EVAL", R"lua(
local found = redis.call('KEYS', 'v1:{' .. ARGV[1] .. '.*')
table.sort(found)
local out = {}
for _, key in ipairs(found) do
  local kind, text = redis.call('TYPE', key).ok, ''
  if kind == 'string' then text = redis.call('GET', key) end
  if kind == 'hash' then
    local fields = redis.call('HKEYS', key)
    table.sort(fields)
    for _, field in ipairs(fields) do text = text .. field .. '=' .. redis.call('HGET', key, field) .. ' ' end
  end
  if kind == 'stream' then
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      text = text .. entry[1] .. ' ' .. table.concat(entry[2], ' ') .. ' '
    end
  end
  if kind == 'zset' then text = table.concat(redis.call('ZRANGE', key, '0', '-1', 'WITHSCORES'), ' ') end
  if kind == 'list' then text = table.concat(redis.call('LRANGE', key, '0', '-1'), ' ') end
  local ends = redis.call('PTTL', key) < 0 and 'stays ' or 'expires '
  out[#out + 1] = key .. ' ' .. kind .. ' ' .. ends .. text
end
return out
)lua",
         "0", name_space});
}

struct Call {
    char const* name;
    std::function<void(Stores const&, std::string const&)> before;
    std::function<End(Stores const&)> run;
};

std::string lock_name(std::string const& name_space, std::string_view key)
{
    return "v1:{" + name_space + ".0}:lock:" + std::to_string(key.size()) + ":" + std::string(key);
}

/// The record of a lock that `who` waits in line for.
void stand_in_line(std::string const& name_space, OwnerToken who)
{
    auto const bytes = who.bytes();
    auto const name = lock_name(name_space, "x");
    redis_server().command({"APPEND", name, "0000000000000001" + std::string(bytes.data(), bytes.size())});
}

OperationId const id{"once"};
std::string const answer{"answer"};

Stock const a{"x", 1};
Stock const b{"y", 2};

/// What must be there before a call, and what it needs to know of that.
struct Before {
    static void nothing(Stores const&, std::string const&) {}
    static void value(Stores const& admin, std::string const&)
    {
        version = admin.states.insert(x, a).value();
    }
    static void lock(Stores const& admin, std::string const&)
    {
        fence = {ours, admin.states.create(x, ours, ttl).value().first};
    }
    static void both(Stores const& admin, std::string const& name_space)
    {
        value(admin, name_space);
        lock(admin, name_space);
    }
    static void wanted(Stores const& admin, std::string const& name_space)
    {
        both(admin, name_space);
        stand_in_line(name_space, theirs);
    }
    static void claimed(Stores const& admin, std::string const&)
    {
        admin.requests.claim(request(), ours, ttl, AfterLease::take_over).value();
    }
    static IdempotentRequest request() { return IdempotentRequest{"key", Scope{"scope"}}; }

    static inline Version version{};
    static inline Fence fence{};
    static inline Position position{};
};

End commit(Stores const& user, std::vector<Change<Stock>> changes, bool once)
{
    OperationCommit const operation{&x, &id, 1, answer};
    return end_of(user.states.commit(changes, once ? &operation : nullptr));
}

std::vector<Call> calls_of_locks()
{
    return {
        {"acquire", Before::nothing,
         [](Stores const& user) { return end_of(user.states.create(x, ours, ttl)); }},
        {"acquire and load", Before::value,
         [](Stores const& user) { return end_of(user.states.create_and_load(x, ours, ttl)); }},
        {"acquire again", Before::lock,
         [](Stores const& user) { return end_of(user.states.create(x, ours, ttl)); }},
        {"acquire in vain", Before::lock,
         [](Stores const& user) { return end_of(user.states.create(x, theirs, ttl)); }},
        {"acquire from the line", Before::nothing,
         [](Stores const& user) {
             CountingWaiter waiter;
             user.states.subscribe(x, ours, waiter);
             auto const end = end_of(user.states.create(x, ours, ttl));
             user.states.unsubscribe(x, waiter);
             return end;
         }},
        {"renew", Before::lock, [](Stores const& user) { return end_of(user.states.renew(x, ours, ttl)); }},
        {"release", Before::lock, [](Stores const& user) { return end_of(user.states.remove(x, ours)); }},
        {"release to the next", Before::wanted,
         [](Stores const& user) { return end_of(user.states.remove(x, ours)); }},
        {"leave the line", Before::wanted,
         [](Stores const& user) { return end_of(user.states.remove(x, theirs)); }},
        {"take away", Before::wanted,
         [](Stores const& user) { return end_of(user.states.force_release(x)); }}};
}

std::vector<Call> calls_of_values()
{
    return {
        {"insert", Before::nothing, [](Stores const& user) { return end_of(user.states.insert(x, a)); }},
        {"write", Before::value,
         [](Stores const& user) { return end_of(user.states.compare_and_set(x, Before::version, a)); }},
        {"erase", Before::value,
         [](Stores const& user) {
             return commit(user, {change(x, ChangeKind::erase, Before::version, a, nullptr, false)}, false);
         }},
        {"write once", Before::value,
         [](Stores const& user) {
             return commit(user, {change(x, ChangeKind::write, Before::version, b, nullptr, false)}, true);
         }},
        {"write under a lock and release it", Before::both,
         [](Stores const& user) {
             return commit(
                 user, {change(x, ChangeKind::write, Before::version, b, &Before::fence, true)}, false);
         }},
        {"write once under a lock and release it", Before::both,
         [](Stores const& user) {
             return commit(
                 user, {change(x, ChangeKind::write, Before::version, b, &Before::fence, true)}, true);
         }},
        {"write under a lock and pass it on", Before::wanted,
         [](Stores const& user) {
             return commit(
                 user, {change(x, ChangeKind::write, Before::version, b, &Before::fence, true)}, true);
         }},
        {"write under a lock that was handed on", Before::both,
         [](Stores const& user) {
             Fence const next{ours, FencingToken{Before::fence.token.value() + 1}};
             return commit(user, {change(x, ChangeKind::write, Before::version, b, &next, false)}, true);
         }},
        {"write, insert and erase at once", Before::both,
         [](Stores const& user) {
             return commit(
                 user,
                 {change(x, ChangeKind::erase, Before::version, a, &Before::fence, true),
                  change(y, ChangeKind::write, no_version, b, nullptr, false)},
                 true);
         }},
        {"guard and verify", Before::both,
         [](Stores const& user) {
             return commit(
                 user,
                 {change(x, ChangeKind::verify, Before::version, a, nullptr, false),
                  change(y, ChangeKind::write, no_version, b, nullptr, false)},
                 false);
         }},
        {"forbid", Before::nothing,
         [](Stores const& user) { return end_of(user.states.forbid_operation(x, id, 1)); }}};
}

std::vector<Call> calls_of_requests()
{
    return {
        {"claim", Before::nothing,
         [](Stores const& user) {
             return end_of(user.requests.claim(Before::request(), ours, ttl, AfterLease::take_over));
         }},
        {"claim again", Before::claimed,
         [](Stores const& user) {
             return end_of(user.requests.claim(Before::request(), ours, ttl, AfterLease::take_over));
         }},
        {"complete", Before::claimed,
         [](Stores const& user) {
             return end_of(user.requests.complete(Before::request(), ours, answer, false));
         }},
        {"give back", Before::claimed,
         [](Stores const& user) { return end_of(user.requests.give_back(Before::request(), ours)); }},
        {"count", Before::nothing, [](Stores const& user) {
             return end_of(user.counters.atomic_once(id, x, CounterChange{.amount = 1}));
         }}};
}

/// With an event of each change.
End record(Stores const& user, std::vector<Change<Stock>> changes, bool once)
{
    std::vector<NewEvent> happened(1);
    happened[0].type = "happened";
    happened[0].id = "an id";
    for (auto& change : changes)
        change.events = happened;
    return commit(user, std::move(changes), once);
}
/// An append that is known by `id`, and its position.
Outcome<Appended> append(Stores const& user)
{
    std::vector<NewEvent> happened(2);
    for (auto& event : happened)
        event.type = "happened";
    return user.events.append(id, x, Expected::any(), happened);
}

std::vector<Call> calls_of_events()
{
    auto const appended = [](Stores const& admin, std::string const&) {
        Before::position = append(admin).value().position;
    };
    return {
        {"record", Before::value,
         [](Stores const& user) {
             return record(user, {change(x, ChangeKind::write, Before::version, b, nullptr, false)}, false);
         }},
        {"record under a lock and release it", Before::both,
         [](Stores const& user) {
             return record(
                 user, {change(x, ChangeKind::write, Before::version, b, &Before::fence, true)}, false);
         }},
        {"record once under a lock and pass it on", Before::wanted,
         [](Stores const& user) {
             return record(
                 user, {change(x, ChangeKind::write, Before::version, b, &Before::fence, true)}, true);
         }},
        {"record, insert and erase at once", Before::both,
         [](Stores const& user) {
             return record(
                 user,
                 {change(x, ChangeKind::erase, Before::version, a, &Before::fence, true),
                  change(y, ChangeKind::write, no_version, b, nullptr, false)},
                 true);
         }},
        {"record of what is not changed", Before::value,
         [](Stores const& user) {
             return record(user, {change(x, ChangeKind::verify, Before::version, a, nullptr, false)}, false);
         }},
        {"append", Before::nothing, [](Stores const& user) { return end_of(append(user)); }},
        {"append more", appended, [](Stores const& user) { return end_of(append(user)); }},
        {"read", appended, [](Stores const& user) { return end_of(user.events.read(0, 0)); }},
        {"read a stream", appended, [](Stores const& user) { return end_of(user.events.read_stream(x)); }},
        {"look at the log", appended, [](Stores const& user) { return end_of(user.events.extent(0)); }},
        {"note a consumer", appended,
         [](Stores const& user) { return end_of(user.events.note_consumer("me", 0, Before::position)); }},
        {"forget a consumer", appended,
         [](Stores const& user) { return end_of(user.events.forget_consumer("me")); }},
        {"trim", appended, [](Stores const& user) {
             std::this_thread::sleep_for(2ms);  // so that what is remembered of the append goes, too
             return end_of(user.events.trim(0, Before::position));
         }}};
}

std::vector<Call> calls()
{
    auto all = calls_of_locks();
    for (auto const& more : {calls_of_values(), calls_of_requests(), calls_of_events()})
        all.insert(all.end(), more.begin(), more.end());
    return all;
}

std::vector<std::string> documented_rights()
{
    std::vector<std::string> out;
    std::istringstream words{std::string(interlock_test::library_rights)};
    for (std::string word; words >> word;)
        if (word.starts_with('+'))
            out.push_back(word);
    return out;
}

/// The library's user without one right.
redis::Options without(std::string const& right, std::string const& name_space)
{
    auto user = "ACL SETUSER less reset on >password ~v1:* &v1:*";
    std::vector<std::string> words;
    std::istringstream in{user};
    for (std::string word; in >> word;)
        words.push_back(word);
    for (auto const& each : documented_rights())
        if (each != right)
            words.push_back(each);
    redis::detail::Command command{words[0]};
    for (std::size_t i = 1; i < words.size(); ++i)
        command.add(words[i]);
    auto const until = interlock::detail::add(SystemRuntime::now(), 20s);
    auto options = redis_server().operator_options();
    redis::detail::Connection connection{options};
    connection.connect(options, until).value();
    connection.exchange(command.bytes(), redis::Access::read, until).value();
    REQUIRE(connection.reply().text() == "OK");
    options.user = "less";
    options.password = "password";
    options.name_space = name_space;
    return options;
}

TEST_CASE(
    "a call that lacks any one of the rights is misconfigured and not applied, or applied as a whole",
    "[redis][rights]")
{
    std::map<std::string, std::set<std::string>> refused;
    for (auto const& right : documented_rights()) {
        for (auto const& call : calls()) {
            auto const name_space = fresh_name_space();
            auto options = redis_server().options();
            options.name_space = name_space;
            Stores const admin{options};
            Stores const user{without(right, name_space)};
            call.before(admin, name_space);
            auto const before = stored(name_space);
            auto const end = call.run(user);
            auto const after = stored(name_space);
            CAPTURE(right, call.name, name_of(end.code), before, after);
            CHECK(end.effect != Effect::unknown);
            if (end.effect == Effect::not_applied) {
                CHECK((end.code == Errc::misconfigured || end.code == Errc::lock_busy));
                CHECK((call.name == std::string("acquire in vain") || before == after));
            }
            // Of a server that has not met the script.
            if (end.code == Errc::misconfigured && right != "+eval")
                refused[call.name].insert(right);
        }
    }
    using Rights = std::set<std::string>;
    auto const script = [](Rights rights) {
        rights.insert("+evalsha");
        return rights;
    };
    // So that a script that asks for less, or a test that asks for nothing, is found out.
    CHECK(refused["acquire"] == script({"+hget", "+hset", "+time", "+set"}));
    CHECK(refused["write"] == script({"+getrange", "+set"}));
    CHECK(refused["write under a lock and release it"] == script({"+getrange", "+set", "+get", "+del"}));
    CHECK(refused["write once"] == script({"+getrange", "+set", "+get", "+hget", "+hincrby"}));
    CHECK(refused["erase"] == script({"+getrange", "+del", "+hget", "+hset"}));
    CHECK(refused["write under a lock that was handed on"].contains("+setrange"));
    // The first removal of a client sends the text of its script.
    CHECK(refused["release to the next"] == decltype(script({})){"+get"});
    CHECK(refused["renew"] == script({"+getrange", "+pexpire"}));
    CHECK(refused["claim"].contains("+pexpire"));
    CHECK(refused["complete"].contains("+pexpire"));
    CHECK(refused["count"].contains("+set"));
    CHECK(refused["record"] == script({"+getrange", "+get", "+xlen", "+xadd"}));
    CHECK(
        refused["record under a lock and release it"] ==
        script({"+getrange", "+get", "+xlen", "+xadd", "+del"}));
    CHECK(
        refused["record once under a lock and pass it on"] ==
        script({"+getrange", "+get", "+xlen", "+xadd", "+del", "+set", "+hget", "+hincrby"}));
    CHECK(
        refused["append"] == script({"+get", "+hget", "+zcard", "+xlen", "+xadd", "+set", "+hset", "+zadd"}));
    CHECK(refused["read"] == script({"+hget", "+xrange"}));
    CHECK(
        refused["trim"] == script({"+hgetall", "+xrevrange", "+zrangebyscore", "+hlen", "+xtrim", "+hset"}));
}

TEST_CASE("a right that a script lacks is misconfigured in the words of every server", "[redis][rights]")
{
    for (auto const* const text :
         {"NOPERM this user has no permissions to run the 'get' command",
          "NOPERM No permissions to access a key",
          "ERR The user executing the script can't run this command or subcommand script: 4e6d, on "
          "@user_script:1.",
          "ERR ACL failure in script: User a has no permissions to run the 'get' command script: 4e6d, on "
          "@user_script:1.",
          "ERR ACL failure in script: No permissions to access a channel"}) {
        CAPTURE(text);
        auto const failure = redis::detail::map_error(text, redis::Access::write);
        CHECK(failure.errc() == Errc::misconfigured);
        CHECK(redis::detail::denied(failure));
    }
}

TEST_CASE("a command that the server has renamed is misconfigured, and nothing is written", "[redis][rights]")
{
    // Providers do so in place of rights: rename-command in the server's configuration.
    for (std::string const renamed : {"SET", "INFO"}) {
        CAPTURE(renamed);
        interlock_test::RedisServer const server{{"--rename-command", renamed, ""}};
        auto options = server.options();
        options.name_space = fresh_name_space();
        Stores const user{options};
        auto const write = user.states.insert(x, Stock{"x", 1}, Deadline{5s});
        auto const lock = user.states.create(x, ours, ttl, Deadline{5s});
        if (renamed == "INFO") {  // as without the right to it
            CHECK((write && lock));
            CHECK(user.requests.claim(Before::request(), ours, ttl, AfterLease::take_over));
            CHECK_FALSE(user.client.server_check().value().verified);
            continue;
        }
        for (auto const* const failure : {&write.failure(), &lock.failure()}) {
            CHECK(failure->errc() == Errc::misconfigured);
            CHECK(failure->effect() == Effect::not_applied);
            CHECK_THAT(failure->detail(), Catch::Matchers::ContainsSubstring("disabled or renamed"));
        }
        CHECK(server.command({"KEYS", "*"}).empty());
    }
    for (auto const* const text :
         {"ERR Unknown Redis command called from script script: 4e6d, on @user_script:1.",
          "ERR Invalid command passed to redis.acl_check_cmd() script: 4e6d, on @user_script:1."})
        CHECK(redis::detail::raised_by_script(text, Errc::misconfigured));
}

using Words = std::vector<std::string>;

/// What somebody else might have stored under a name of ours, and the commands that store it.
struct Foreign {
    char const* what;
    std::function<std::vector<Words>(redis::detail::KeySpace const&)> commands;
};

/// A value of each type under one name.
template <class Name>
std::vector<Foreign> typed(Name name_of_it)
{
    return std::vector<Foreign>{
        {"a list",
         [=](auto const& keys) {
             return std::vector<Words>{{"DEL", name_of_it(keys)}, {"RPUSH", name_of_it(keys), "x"}};
         }},
        {"a hash",
         [=](auto const& keys) {
             return std::vector<Words>{{"DEL", name_of_it(keys)}, {"HSET", name_of_it(keys), "o", "x"}};
         }},
        {"a string",
         [=](auto const& keys) {
             return std::vector<Words>{{"DEL", name_of_it(keys)}, {"SET", name_of_it(keys), "by hand"}};
         }},
        {"a long string", [=](auto const& keys) {
             return std::vector<Words>{
                 {"DEL", name_of_it(keys)}, {"SET", name_of_it(keys), std::string(80, 'x')}};
         }}};
}

/// Every name that a script looks at, in the words of `KeySpace`, with what somebody might have stored there.
std::vector<Foreign> foreign_values()
{
    auto const text = [](auto const& name) { return name.text(); };
    std::vector<Foreign> all;
    for (auto const& foreign :
         {typed([=](auto const& keys) { return text(keys.counter(0)); }),
          typed([=](auto const& keys) { return text(keys.name("value", "x")); }),
          typed([=](auto const& keys) { return text(keys.name("value", "y")); }),
          typed([=](auto const& keys) { return text(keys.name("lock", "x")); }),
          typed([=](auto const& keys) { return text(keys.operation("x", id.value())); }),
          typed([=](auto const& keys) { return text(keys.name("count", "x")); }),
          typed([=](auto const& keys) { return text(keys.once("x", id.value())); }),
          typed([=](auto const& keys) {
              return text(keys.name("idem", IdempotentRequest{"key", Scope{"scope"}}.name()));
          }),
          typed([=](auto const& keys) { return text(keys.of_log(0, "log")); }),
          typed([=](auto const& keys) { return text(keys.of_log(0, "readers")); }),
          typed([=](auto const& keys) { return text(keys.of_log(0, "appends")); }),
          typed([=](auto const& keys) { return text(keys.of_log(0, "appended")); }),
          typed([=](auto const& keys) { return text(keys.name("stream", "x")); }),
          typed([=](auto const& keys) { return text(keys.name("stream", "y")); })})
        all.insert(all.end(), foreign.begin(), foreign.end());
    for (char const* const field : {"token", "floor", "sequence"})
        for (char const* const number :
             {"", "x", "007", "-5", "1e3", "nan", "inf", "9007199254740992", "99999999999999999999"})
            all.push_back({field, [=](auto const& keys) {
                               return std::vector<Words>{{"HSET", text(keys.counter(0)), field, number}};
                           }});
    auto const idem = [=](auto const& keys) {
        return text(keys.name("idem", IdempotentRequest{"key", Scope{"scope"}}.name()));
    };
    all.push_back({"a lease that is no number", [=](auto const& keys) {
                       return std::vector<Words>{{"HSET", idem(keys), "o", "somebody", "e", "soon"}};
                   }});
    return all;
}

TEST_CASE(
    "a call is applied as a whole or not at all, whatever somebody else has stored under our names",
    "[redis][rights]")
{
    int refused = 0;
    for (auto const& foreign : foreign_values()) {
        for (auto const& call : calls()) {
            auto const name_space = fresh_name_space();
            auto options = redis_server().options();
            options.name_space = name_space;
            Stores const user{options};
            call.before(user, name_space);
            for (auto const& words : foreign.commands(redis::detail::KeySpace{name_space, 1}))
                words.size() == 2   ? redis_server().command({words[0], words[1]})
                : words.size() == 3 ? redis_server().command({words[0], words[1], words[2]})
                : words.size() == 4
                    ? redis_server().command({words[0], words[1], words[2], words[3]})
                    : redis_server().command({words[0], words[1], words[2], words[3], words[4], words[5]});
            auto const before = stored(name_space);
            auto const end = call.run(user);
            auto const after = stored(name_space);
            CAPTURE(foreign.what, call.name, name_of(end.code), before, after);
            CHECK(end.effect != Effect::unknown);
            // What cannot be decoded was read with a grant, which was given back: that took a block of
            // tokens.
            bool const given_back =
                call.name == std::string("acquire and load") && end.code == Errc::corrupt_state;
            auto const beside_the_counter = [](std::string const& out) {
                return out.substr(std::min(out.find("}:value:"), out.size()));
            };
            if (end.effect == Effect::not_applied && call.name != std::string("acquire in vain"))
                CHECK(
                    (before == after ||
                     (given_back && beside_the_counter(before) == beside_the_counter(after))));
            refused += end.effect == Effect::not_applied;
        }
    }
    CHECK(refused > 100);
}

TEST_CASE(
    "a foreign value among locks that are renewed together does not cost the others their leases",
    "[redis][rights]")
{
    auto const options = interlock_test::redis_options();
    Repository const repository{redis::Client{options}};
    std::vector<Key> keys;
    for (int i = 0; i < 300; ++i)
        keys.emplace_back(std::to_string(i));
    for (auto const& key : keys)
        static_cast<void>(repository.create(key, ours, 30s).value());
    auto const foreign = lock_name(options.name_space, "7");
    redis_server().command({"DEL", foreign});
    redis_server().command({"RPUSH", foreign, "x"});
    std::vector<Renewal> renewals;
    for (auto const& key : keys)
        renewals.push_back({&key, ours});
    repository.renew_all(renewals, 60s);
    for (std::size_t i = 0; i < renewals.size(); ++i) {
        CAPTURE(i);
        CHECK(renewals[i].granted.errc() == (i == 7 ? Errc::corrupt_state : Errc::ok));
    }
}

TEST_CASE("a lock that the user may not touch costs the other renewals nothing", "[redis][rights]")
{
    auto options = interlock_test::redis_options();
    Repository const all{redis::Client{options}};
    std::vector<Key> const keys{Key{"a"}, Key{"b"}, Key{"c"}};
    std::vector<Renewal> renewals;
    for (auto const& key : keys) {
        auto const its = owner(renewals.size() + 1);
        static_cast<void>(all.create(key, its, 30s).value());
        renewals.push_back({&key, its});
    }
    auto const some = "~" + lock_name(options.name_space, "a");
    auto const others = "~" + lock_name(options.name_space, "c");
    redis_server().command({"ACL", "SETUSER", "some", "reset", "on", ">password", "+@all"});
    redis_server().command({"ACL", "SETUSER", "some", "&*", some, others});
    options.user = "some";
    options.password = "password";
    Repository const repository{redis::Client{options}};
    for (int round = 0; round < 2; ++round) {  // the server knows the script, or not
        for (auto& renewal : renewals)
            renewal.granted = Failure{Errc::outcome_unknown};
        repository.renew_all(renewals, 1h);
        CHECK(renewals[0].granted.value() == 1h);
        CHECK(renewals[1].granted.errc() == Errc::misconfigured);
        CHECK(renewals[2].granted.value() == 1h);
    }
    CHECK(all.create(keys[1], theirs, 30s).failure().retry_after() < 31s);
    CHECK(all.create(keys[2], theirs, 30s).failure().retry_after() > 50min);
}

TEST_CASE(
    "a long string under a lock's name is removed by force, and is not taken for a lock", "[redis][rights]")
{
    auto const options = interlock_test::redis_options();
    Repository const repository{redis::Client{options}};
    auto const name = lock_name(options.name_space, "x");
    for (std::size_t const size : {65U, 80U, 96U, 1000U}) {
        redis_server().command({"SET", name, std::string(size, 'x')});
        CHECK(repository.force_release(x).value() == Removal::removed);
        CHECK(redis_server().command({"EXISTS", name}) == "0");
    }
}

TEST_CASE("an error that is one word and nothing else is read", "[redis][rights]")
{
    for (char const* const word : {"CORRUPT", "ERR", "NOPERM", "WRONGTYPE", ""})
        CHECK(redis::detail::map_error(word, redis::Access::read).errc() != Errc::ok);
    CHECK(redis::detail::map_error("CORRUPT", redis::Access::read).errc() == Errc::corrupt_state);
}

}  // namespace redis_rights_test
