// SPDX-License-Identifier: BSL-1.0

// The Redis repository where the contract suite cannot ask: exact versions, tokens and expiry, how many round
// trips and writes a call takes, wake-ups and their order, and foreign hands on the keys.
//
// How it works: a real server. Cases read the server's keys, and its own counts of commands (`INFO`), beside
// the answers of the repository. A second process is this test program again, running a hidden case.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_state_repository_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

Key const x{"x"};

TEST_CASE("one server, database and name space is one store, by whatever client", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const a{redis::Client{o}};
    Repository const b{redis::Client{o}};
    CHECK(a.identity() == b.identity());
    CHECK(a.identity() != Repository{redis::Client{redis_options()}}.identity());
    auto other_database = o;
    other_database.database = 1;
    CHECK(a.identity() != Repository{redis::Client{other_database}}.identity());
    CHECK(a.insert(Stock{"x", 1}));
    CHECK(b.load("x").value().value.quantity == 1);
    CHECK(Repository{redis::Client{other_database}}.load("x").errc() == Errc::not_found);
}

TEST_CASE("redis repository options out of range are refused", "[redis][state_repository]")
{
    redis::Client const client{redis_options()};
    CHECK_THROWS_AS(Repository(client, {.name_space = "a{b}"}), Error);
    CHECK_THROWS_AS(Repository(client, {.shards = 0}), Error);
    CHECK_THROWS_AS(Repository(client, {.shards = 16385}), Error);
    CHECK_THROWS_AS(Repository(client, {.retention = 0s}), Error);
    CHECK_THROWS_AS(Repository(client, {.max_value_bytes = std::size_t{1} << 40}), Error);
}

TEST_CASE(
    "a value that somebody deletes by hand comes back with a version that it never had",
    "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    auto version = repository.insert(Stock{"x", 1}).value();
    for (int i = 0; i < 100; ++i)
        version = repository.compare_and_set("x", version, Stock{"x", i}).value();
    // Unlike an erase this raises no floor: the version comes from the server's clock.
    auto const name = redis::detail::KeySpace{o.name_space, 1}.name("value", "x").text();
    CHECK(interlock_test::redis_server().command({"DEL", name}) == "1");
    CHECK(repository.compare_and_set("x", version, Stock{"x", 2}).errc() == Errc::not_found);
    CHECK(repository.insert(Stock{"x", 1}).value() > version);
}

TEST_CASE("one transaction cannot have keys of several shards", "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}, {.shards = 16}};
    std::vector<Key> keys;
    for (int i = 0; i < 32; ++i)
        keys.emplace_back("k" + std::to_string(i));
    int refused = 0;
    int accepted = 0;
    Stock const value{"", 1};
    for (std::size_t i = 1; i < keys.size(); ++i) {
        std::array changes{
            Change<Stock>{.key = &keys[0], .kind = ChangeKind::verify},
            Change<Stock>{.key = &keys[i], .kind = ChangeKind::write, .value = &value}};
        auto const done = repository.commit(changes, nullptr);
        refused += done.errc() == Errc::invalid_argument ? 1 : 0;
        accepted += done ? 1 : 0;
        CHECK(repository.load(keys[i]).errc() == (done ? Errc::ok : Errc::not_found));
    }
    CHECK(refused > 0);
    CHECK(refused + accepted == 31);
}

TEST_CASE("a version is kept exactly up to its end, and never wraps", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    auto const prefix = "v1:{" + o.name_space + ".0}:";
    std::string bytes;
    StateTraits<Stock>::encode(Stock{"x", 1}, bytes);
    redis_server().command({"SET", prefix + "value:1:x", "9007199254740990" + bytes});
    CHECK(repository.load("x").value().version == 9007199254740990);
    CHECK(repository.compare_and_set("x", 9007199254740990, Stock{"x", 2}).value() == 9007199254740991);
    CHECK(repository.load("x").value().version == 9007199254740991);
    CHECK(repository.compare_and_set("x", 9007199254740991, Stock{"x", 3}).errc() == Errc::version_exhausted);
    CHECK(repository.compare_and_set("x", last_version, Stock{"x", 3}).errc() == Errc::version_conflict);
    CHECK(repository.load("x").value().value.quantity == 2);
    CHECK(repository.erase("x", 9007199254740991).value() == 9007199254740991);
    CHECK(repository.insert(Stock{"x", 1}).errc() == Errc::version_exhausted);
    CHECK(repository.load("x").errc() == Errc::not_found);
    redis_server().command({"HSET", prefix + "counter", "token", "9007199254740800"});
    CHECK(repository.create(x, owner(1), 10s).errc() == Errc::version_exhausted);
    CHECK(repository.remove(x, owner(1)).value() == Removal::gone);
}

TEST_CASE(
    "the floor of versions is exact, also in one commit that erases and inserts", "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}};
    Key const y{"y"};
    auto version = repository.insert(Stock{"x", 0}).value();
    for (int i = 0; i < 4; ++i)
        version = repository.compare_and_set("x", version, Stock{"x", i}).value();
    Stock const value{"y", 1};
    std::array changes{
        Change<Stock>{.key = &x, .kind = ChangeKind::erase, .version = version},
        Change<Stock>{.key = &y, .kind = ChangeKind::write, .value = &value}};
    CHECK(repository.commit(changes, nullptr));
    CHECK(changes[1].version > version);
    CHECK(repository.insert(Stock{"x", 0}).value() > version);
}

TEST_CASE("a lease that ran out fences its holder at once, taken over or not", "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}};
    auto version = repository.insert(Stock{"x", 0}).value();
    auto const first = repository.create(x, owner(1), 1s).value();
    Fence const fence{owner(1), first.first};
    Stock const value{"x", 9};
    auto const write = [&](Fence const& f) {
        std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &f}};
        auto const done = repository.commit(changes, nullptr);
        if (done)
            version = changes[0].version;
        return done.errc();
    };
    CHECK(write(fence) == Errc::ok);
    std::this_thread::sleep_for(1100ms);
    CHECK(write(fence) == Errc::fenced_out);  // nobody else has it, and yet
    auto const second = repository.create(x, owner(2), 10s).value();
    CHECK(second.first.value() >= first.first.value() + first.count);
    CHECK(write(fence) == Errc::fenced_out);
    CHECK(write({owner(2), FencingToken{second.first.value() + 5}}) == Errc::ok);
    // The mark rose with the write.
    CHECK(write({owner(2), FencingToken{second.first.value() + 4}}) == Errc::fenced_out);
    CHECK(write({owner(2), FencingToken{second.first.value() + 5}}) == Errc::ok);
    // The write that raised the mark kept the lease's end.
    CHECK(repository.create(x, owner(3), 10s).failure().retry_after() > 5s);
}

TEST_CASE(
    "an attempt to get a lock that is held writes nothing and uses up no token", "[redis][state_repository]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const repository{redis::Client{o}};
    auto const first = repository.create(x, owner(1), 30s).value();
    repository.insert(Stock{"x", 1}).value();
    auto const changes = [&] {
        auto const info = server.command({"INFO", "persistence"});
        auto const at = info.find("rdb_changes_since_last_save:");
        return info.substr(at, info.find('\r', at) - at);
    };
    auto const before = changes();
    CHECK(repository.create(x, owner(2), 30s).errc() == Errc::lock_busy);
    CHECK(repository.create_and_load(x, owner(2), 30s).errc() == Errc::lock_busy);
    CHECK(repository.remove(x, owner(2)).value() == Removal::taken);
    CHECK(changes() == before);
    CHECK(repository.remove(x, owner(1)).value() == Removal::removed);
    CHECK(
        server.command({"HGET", "v1:{" + o.name_space + ".0}:counter", "token"}) ==
        std::to_string(first.first.value() + first.count - 1));
    CHECK(repository.create(x, owner(2), 30s)->first.value() >= first.first.value() + first.count);
}

TEST_CASE(
    "a release needs no script where the server compares and deletes by itself", "[redis][state_repository]")
{
    RedisServer server;
    bool const delifeq = server.command({"DELIFEQ", "nothing", "x"}) == "0";
    bool const able = delifeq || server.command({"DELEX", "nothing", "IFEQ", "x"}) == "0";
    auto const calls = [&](std::string const& name) {
        auto const info = server.command({"INFO", "commandstats"});
        auto const at = info.find("cmdstat_" + name + ":calls=");
        return at == std::string::npos ? 0 : std::atoi(info.c_str() + info.find('=', at) + 1);
    };
    auto options = server.operator_options();
    options.name_space = "release";
    redis::Client const client{options};
    LockStateService const locks{Repository{client}, {.ttl = 30s}};
    auto const release = [&](auto lock, auto const& before) {
        before();
        server.command({"CONFIG", "RESETSTAT"});
        CHECK(locks.release(std::move(lock)));
        CHECK(calls("delifeq") + calls("delex") == (able ? 1 : 0));
        return calls("evalsha");
    };
    CHECK(release(locks.acquire("x"), [] {}) == (able ? 0 : 1));
    CHECK(release(locks.acquire("x"), [] {}) == (able ? 0 : 1));
    CHECK(server.command({"EXISTS", redis::detail::KeySpace{"release", 1}.name("lock", "x").text()}) == "0");

    // Its record became something else: it was asked for in vain, by somebody who stands in line, and it was
    // taken away.
    Repository const other{redis::Client{options}};
    CountingWaiter waiter;
    other.subscribe(x, owner(2), waiter);
    CHECK(release(locks.acquire("x"), [&] {
              CHECK(other.create(x, owner(2), 30s).errc() == Errc::lock_busy);
          }) == 1);
    CHECK(other.create(x, owner(2), 30s));
    other.unsubscribe(x, waiter);
    CHECK(other.remove(x, owner(2)).value() == Removal::removed);
    CHECK(release(locks.acquire("x"), [&] {
              CHECK(other.force_release("x").value() == Removal::removed);
          }) == 1);

    // Nobody has asked that client's server yet what it can do; it is asked once.
    EfficiencyLockStateService<Stock, Repository> const efficient{
        Repository{redis::Client{options}}, {.ttl = 30s}};
    for (int i = 0; i < 2; ++i) {
        auto lock = efficient.acquire("x");
        server.command({"CONFIG", "RESETSTAT"});
        CHECK(efficient.release(lock));
        CHECK(calls("delifeq") + calls("delex") == (able ? 1 : 0));
        CHECK(calls("info") == (i == 0 ? 1 : 0) + 2);  // two are ours
    }

    // Who has no right to it does without.
    auto limited = redis_options(server);
    LockStateService const others{Repository{redis::Client{limited}}, {.ttl = 30s}};
    for (int i = 0; i < 3; ++i)
        CHECK(others.release(others.acquire("x")));
    CHECK(others.try_acquire("x"));
}

TEST_CASE(
    "an expired lease leaves nothing behind, a held one exactly its record", "[redis][state_repository]")
{
    RedisServer server;
    Repository const repository{redis::Client{redis_options(server)}};
    for (int i = 0; i < 20; ++i)
        CHECK(repository.create(Key{"k" + std::to_string(i)}, owner(1), 2s));
    CHECK(server.command({"DBSIZE"}) == "21");  // and the counter of the shard
    CHECK(eventually([&] { return server.command({"DBSIZE"}) == "1"; }));
}

TEST_CASE("many leases are renewed in few trips, each by its own owner", "[redis][state_repository]")
{
    RedisServer server;
    Repository const repository{redis::Client{redis_options(server)}, {.shards = 3}};
    std::vector<Key> names;
    for (int i = 0; i < 600; ++i)
        names.emplace_back("job " + std::to_string(i));
    for (std::size_t i = 0; i < names.size(); ++i)
        if (i != 7)
            repository.create(names[i], owner(i == 8 ? 1000 : i), 60s).value();
    std::vector<Renewal> renewals;
    for (std::size_t i = 0; i < names.size(); ++i)
        renewals.push_back({&names[i], owner(i)});
    auto const calls = [&] {
        auto const all = server.command({"INFO", "commandstats"});
        auto const at = all.find("cmdstat_evalsha:calls=");
        return at == std::string::npos ? 0 : std::stoi(all.substr(at + 22));
    };
    auto const before = calls();
    repository.renew_all(renewals, 1h);
    CHECK(calls() - before <= 6);
    int renewed = 0;
    for (auto const& renewal : renewals)
        renewed += renewal.granted && *renewal.granted == 1h;
    CHECK(renewed == 598);
    CHECK(renewals[7].key == &names[7]);
    CHECK(renewals[7].granted.errc() == Errc::lock_lost);
    CHECK(renewals[7].granted.cause() == Errc::not_found);
    CHECK(renewals[8].granted.cause() == Errc::lock_busy);
    CHECK(repository.create(names[9], owner(9999), 60s).failure().retry_after() > 50min);
    CHECK(repository.create(names[8], owner(9999), 60s).failure().retry_after() <= 1min);
    server.kill();
    repository.renew_all(std::span{renewals}.first(2), 1h, Deadline{200ms});
    CHECK(renewals[0].granted.errc() != Errc::ok);
    CHECK(renewals[0].granted.errc() != Errc::lock_lost);
}

TEST_CASE(
    "operation records end with their retention, in the order of commits, all of them shown",
    "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}, {.shards = 4, .retention = 1s}};
    std::set<std::string> expected;
    for (int i = 0; i < 300; ++i) {
        Key const key{std::string("k:\0", 3) + std::to_string(i % 7)};
        OperationId const id{"id:" + std::to_string(i)};
        OperationCommit const operation{&key, &id, 1, "a"};
        std::array changes{Change<Stock>{.key = &key, .kind = ChangeKind::guard}};
        CHECK(repository.commit(changes, &operation).errc() == Errc::ok);
        expected.insert(std::string(key.bytes()) + "/" + id.value());
    }
    CHECK(repository.forbid_operation(x, OperationId{"tombstone"}, 7).value().attempt == 7);
    CHECK(repository.forbid_operation(x, OperationId{"tombstone"}, 3).value().attempt == 7);
    std::set<std::string> shown;
    CHECK(repository.for_each_operation(
        [&](Key const& key, OperationId const& id, OperationRecord const& record) {
            CHECK(record.answer == "a");
            CHECK(record.sequence > 0);
            CHECK(shown.insert(std::string(key.bytes()) + "/" + id.value()).second);
        }));
    CHECK(shown == expected);
    CHECK(eventually([&] { return !*repository.find_operation(x, OperationId{"tombstone"}); }));
    int left = 0;
    CHECK(repository.for_each_operation([&](auto const&...) { ++left; }));
    CHECK(left == 0);
}

TEST_CASE(
    "operation records that are too large for one reply are shown by several", "[redis][state_repository]")
{
    auto options = redis_options();
    options.max_reply_bytes = 3 << 20;
    Repository const repository{
        redis::Client{options}, {.name_space = "large", .max_value_bytes = 1 << 20, .retention = 60s}};
    std::string const answer(1 << 20, 'a');
    for (int i = 0; i < 8; ++i) {
        OperationId const id{"id:" + std::to_string(i)};
        OperationCommit const operation{&x, &id, 1, answer};
        std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::guard}};
        CHECK(repository.commit(changes, &operation));
    }
    int shown = 0;
    CHECK(repository.for_each_operation([&](Key const&, OperationId const&, OperationRecord const& record) {
        shown += record.answer == answer;
    }));
    CHECK(shown == 8);
}

TEST_CASE("a lock that is removed wakes its own waiters and no others", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    Repository const waiting{redis::Client{o}};
    CountingWaiter waiter;
    CountingWaiter foreign;
    CHECK(holder.create(x, owner(1), 10s));
    waiting.subscribe(x, owner(2), waiter);
    waiting.subscribe(Key{"y"}, owner(2), foreign);
    // It listens now: look again.
    CHECK(eventually([&] { return waiter.count() > 0 && foreign.count() > 0; }));
    auto const before = waiter.count();
    auto const before_foreign = foreign.count();
    // Who waits has looked; so the release is announced.
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.remove(x, owner(1)));
    CHECK(eventually([&] { return waiter.count() > before; }));
    CHECK(waiting.remove(x, owner(2)).value() == Removal::removed);  // it was its turn
    // By the fused way, too.
    auto const grant = holder.create(x, owner(1), 10s).value();
    Fence const fence{owner(1), grant.first};
    std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &fence, .release = true}};
    auto const again = waiter.count();
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.create(x, owner(1), 10s).value().first == grant.first);
    CHECK(holder.commit(changes, nullptr));
    CHECK(eventually([&] { return waiter.count() > again; }));
    CHECK(foreign.count() == before_foreign);
    waiting.unsubscribe(x, waiter);
    CHECK(waiting.remove(x, owner(2)).value() == Removal::removed);
    auto const last = waiter.count();
    CHECK(holder.create(x, owner(1), 10s));
    CHECK(holder.remove(x, owner(1)));
    waiting.unsubscribe(Key{"y"}, foreign);
    std::this_thread::sleep_for(50ms);
    CHECK(waiter.count() == last);
}

TEST_CASE(
    "wake-up channels are in the cluster slots of their shards, and their number is bounded",
    "[redis][state_repository]")
{
    using redis::detail::KeySpace;
    for (std::size_t const shards : {1U, 2U, 5U, 64U, 100U, 16384U}) {
        CAPTURE(shards);
        KeySpace const keys{"ns", shards};
        CHECK(keys.channel_count() <= std::max<std::size_t>(KeySpace::least_channels, shards));
        std::set<std::string> names;
        for (std::size_t i = 0; i < keys.channel_count(); ++i)
            names.insert(keys.channel(i));
        CHECK(names.size() == keys.channel_count());
        std::set<std::size_t> used;
        for (int i = 0; i < 500; ++i) {
            auto const key = std::to_string(i);
            auto const name = keys.name("lock", key).text();
            auto const heard = keys.wake_name("lock", key);
            CHECK(heard.hash == redis::detail::stable_hash(name));
            REQUIRE(heard.channel < keys.channel_count());
            auto const channel = keys.channel(heard.channel);
            auto const slot = [](std::string const& text) { return text.substr(0, text.find('}')); };
            CHECK(slot(channel) == slot(name));
            used.insert(heard.channel);
        }
        CHECK(used.size() > 40);  // spread
    }
    for (std::size_t const shards : {3U, 1000U}) {
        CAPTURE(shards);
        auto const o = redis_options();
        Repository const holder{redis::Client{o}, {.shards = shards}};
        Repository const other{redis::Client{o}, {.shards = shards}};
        for (int i = 0; i < 10; ++i) {
            Key const key{std::to_string(i)};
            CountingWaiter waiter;
            CHECK(holder.create(key, owner(1), 10s));
            other.subscribe(key, owner(2), waiter);
            CHECK(eventually([&] { return waiter.count() > 0; }));
            CHECK(other.create(key, owner(2), 10s).errc() == Errc::lock_busy);
            auto const before = waiter.count();
            CHECK(holder.remove(key, owner(1)));
            CHECK(eventually([&] { return waiter.count() > before; }));
            other.unsubscribe(key, waiter);
        }
    }
}

TEST_CASE("a holder hears that somebody elsewhere waits for its lock", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    Repository const other{redis::Client{o}};
    CountingWaiter waiter;
    CHECK(holder.create(x, owner(1), 10s));
    CHECK_FALSE(holder.wanted(x, owner(1)));
    for (int i = 0; i < 3; ++i) {
        CHECK(other.create(x, owner(2), 10s).errc() == Errc::lock_busy);
        std::this_thread::sleep_for(20ms);
        CHECK_FALSE(holder.wanted(x, owner(1)));  // who only tries does not wait
    }
    other.subscribe(x, owner(2), waiter);
    CHECK(eventually([&] {
        CHECK(other.create(x, owner(2), 10s).errc() == Errc::lock_busy);
        return holder.wanted(x, owner(1));
    }));
    CHECK_FALSE(holder.wanted(x, owner(3)));  // a later holder is not blamed for it
    CHECK(eventually([&] { return !holder.wanted(x, owner(1)); }));
    other.unsubscribe(x, waiter);
}

// ---- the line -----------------------------------------------------------------------------------

namespace {

/// A client that waits in line.
struct InLine {
    InLine(redis::Options const& options, unsigned char n) : repository(redis::Client{options}), me(owner(n))
    {
        repository.subscribe(x, me, waiter);
        REQUIRE(eventually([&] { return waiter.count() > 0; }));
    }
    ~InLine() { repository.unsubscribe(x, waiter); }
    InLine(InLine const&) = delete;
    InLine& operator=(InLine const&) = delete;
    bool ask() const { return repository.create(x, me, 10s).errc() == Errc::ok; }
    Repository repository;
    OwnerToken me;
    CountingWaiter waiter;
};

}  // namespace

TEST_CASE(
    "waiters of several clients get the lock in the order in which they asked", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    InLine second{o, 2};
    InLine third{o, 3};
    auto const grant = holder.create(x, owner(1), 10s).value();
    CHECK_FALSE(second.ask());
    CHECK_FALSE(third.ask());
    CHECK_FALSE(second.ask());  // again: its place is the same
    auto const before = third.waiter.count();

    CHECK(holder.remove(x, owner(1)).value() == Removal::removed);
    CHECK(holder.create(x, owner(4), 10s).errc() == Errc::lock_busy);  // faster than the one whose turn it is
    CHECK(eventually([&] { return second.waiter.count() > 1; }));
    CHECK(third.waiter.count() == before);  // only the one whose turn it is is woken
    CHECK_FALSE(third.ask());
    auto const next = second.repository.create(x, second.me, 10s).value();
    CHECK(next.first.value() >= grant.first.value() + grant.count);
    CHECK(second.repository.wanted(x, second.me));  // came with the grant

    // The former holder is fenced out from the moment of its release on, taken up or not.
    Fence const old{owner(1), grant.first};
    std::array late{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &old}};
    CHECK(holder.commit(late, nullptr).errc() == Errc::fenced_out);

    // And by the fused way.
    Fence const fence{second.me, next.first};
    std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &fence, .release = true}};
    CHECK(second.repository.commit(changes, nullptr));
    CHECK(eventually([&] { return third.waiter.count() > before; }));
    CHECK(third.ask());
    CHECK_FALSE(third.repository.wanted(x, third.me));
    CHECK(third.repository.remove(x, third.me).value() == Removal::removed);
    CHECK(holder.create(x, owner(4), 10s));  // nobody is left in line
}

TEST_CASE("a waiter that leaves the line holds up nobody behind it", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    InLine second{o, 2};
    InLine third{o, 3};
    CHECK(holder.create(x, owner(1), 10s));
    CHECK_FALSE(second.ask());
    CHECK_FALSE(third.ask());
    SECTION("before its turn")
    {
        CHECK(second.repository.remove(x, second.me).value() == Removal::taken);
        CHECK(holder.renew(x, owner(1), 10s));  // the holder's lease is what it was
        CHECK(holder.remove(x, owner(1)));
    }
    SECTION("in its turn")
    {
        CHECK(holder.remove(x, owner(1)));
        CHECK(second.repository.remove(x, second.me).value() == Removal::removed);
    }
    SECTION("when the holder is removed by force")
    {
        CHECK(second.repository.remove(x, second.me));
        CHECK(holder.force_release(x).value() == Removal::removed);
    }
    CHECK(third.ask());
}

TEST_CASE("a waiter that died in line holds up the others for a moment only", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    {
        InLine dead{o, 2};
        CHECK(holder.create(x, owner(1), 60s));
        CHECK_FALSE(dead.ask());
    }
    CHECK(holder.remove(x, owner(1)));
    CHECK(holder.create(x, owner(3), 60s).failure().retry_after() <= 500ms);
    CHECK(eventually([&] { return holder.create(x, owner(3), 60s).errc() == Errc::ok; }));
    CHECK(holder.remove(x, owner(3)));
}

TEST_CASE(
    "the line of waiters is bounded, and can be left on a server without memory", "[redis][state_repository]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const holder{redis::Client{o}};
    CHECK(holder.create(x, owner(1), 60s));
    CountingWaiter waiter;
    for (int i = 0; i < 200; ++i) {
        holder.subscribe(x, owner(static_cast<unsigned char>(10 + i)), waiter);
        CHECK(holder.create(x, owner(static_cast<unsigned char>(10 + i)), 60s).errc() == Errc::lock_busy);
        holder.unsubscribe(x, waiter);
    }
    CHECK(
        server.command({"STRLEN", redis::detail::KeySpace{o.name_space, 1}.name("lock", x.bytes()).text()}) ==
        std::to_string(64 + 16 * redis::detail::longest_line));
    server.command({"CONFIG", "SET", "maxmemory", "1"});
    CHECK(holder.remove(x, owner(1)).value() == Removal::removed);
    server.command({"CONFIG", "SET", "maxmemory", "0"});
    CHECK(holder.create(x, owner(2), 60s));  // at once: free, since nobody could be made its next holder
}

TEST_CASE("wake-ups work again after the server was away", "[redis][state_repository]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const holder{redis::Client{o}};
    Repository const waiting{redis::Client{o}};
    CountingWaiter waiter;
    waiting.subscribe(x, owner(2), waiter);
    CHECK(eventually([&] { return waiter.count() > 0; }));
    auto const before = waiter.count();
    server.kill();
    server.start();
    CHECK(eventually([&] { return waiter.count() > before; }));
    auto const again = waiter.count();
    CHECK(holder.create(x, owner(1), 10s));
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.remove(x, owner(1)));
    CHECK(eventually([&] { return waiter.count() > again; }));
    waiting.unsubscribe(x, waiter);
}

TEST_CASE(
    "the last handle may be dropped on the thread that is woken, or while the client connects",
    "[redis][state_repository]")
{
    for (int i = 0; i < 20; ++i) {
        Repository const repository{redis::Client{redis_options()}};
        CountingWaiter waiter;
        repository.subscribe(x, owner(1), waiter);
        repository.unsubscribe(x, waiter);
    }
    SUCCEED("nothing to join, nothing left");
}

TEST_CASE("a lock goes from one client to another faster than either polls", "[redis][state_repository]")
{
    auto const o = redis_options();
    LockOptions const locks{.poll = {.initial = 2s, .cap = 2s, .immediate = 0}};
    LockStateService const a{Repository{redis::Client{o}}, locks};
    LockStateService const b{Repository{redis::Client{o}}, locks};
    static_cast<void>(Repository{redis::Client{o}}.insert(Stock{"x", 0}).value());
    auto const began = std::chrono::steady_clock::now();
    std::atomic<int> inside{0};
    std::atomic<int> broken{0};
    run_threads(2, [&](std::size_t i) {
        auto const& service = i == 0 ? a : b;
        for (int n = 0; n < 10; ++n) {
            auto lock = service.acquire("x", {.deadline = 60s});
            broken += inside.fetch_add(1) == 0 ? 0 : 1;
            std::this_thread::sleep_for(2ms);
            inside.fetch_sub(1);
        }
    });
    CHECK(broken == 0);
    CHECK(std::chrono::steady_clock::now() - began < 10s);
}

/// The child's part of the next test; by itself it does nothing.
TEST_CASE("a second process counts", "[.][redis][second_process]")
{
    auto const* const socket = std::getenv("INTERLOCK_TEST_SOCKET");
    auto const* const name_space = std::getenv("INTERLOCK_TEST_NAME_SPACE");
    if (socket == nullptr || name_space == nullptr) {
        SUCCEED("not the second process");
        return;
    }
    Repository const repository{
        redis::Client{RedisServer::as_worker({.unix_path = socket, .name_space = name_space})}};
    TransactionService const optimistic{OptimisticVersioning{}, repository};
    TransactionService const locking{SetNxLock{}, repository};
    auto const add = [](Stock& s) { return ++s.quantity; };
    for (int i = 0; i < 100; ++i) {
        CHECK(optimistic.try_do_in_transaction("x", add, {.deadline = 60s}));
        CHECK(locking.try_do_in_transaction("y", add, {.deadline = 60s}));
    }
}

TEST_CASE("no update is lost between processes", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    static_cast<void>(repository.insert(Stock{"y", 0}).value());
    ::setenv("INTERLOCK_TEST_SOCKET", o.unix_path.c_str(), 1);
    ::setenv("INTERLOCK_TEST_NAME_SPACE", o.name_space.c_str(), 1);
    std::vector<pid_t> children;
    for (int process = 0; process < 2; ++process) {
        auto const child = ::fork();
        if (child == 0) {
            ::execl("/proc/self/exe", "second process", "[second_process]", static_cast<char*>(nullptr));
            ::_exit(127);
        }
        children.push_back(child);
    }
    ::unsetenv("INTERLOCK_TEST_SOCKET");
    for (auto const child : children) {
        int status = -1;
        ::waitpid(child, &status, 0);
        CHECK(status == 0);
    }
    CHECK(repository.load("x").value().value.quantity == 200);
    CHECK(repository.load("y").value().value.quantity == 200);
}

}  // namespace redis_state_repository_test
