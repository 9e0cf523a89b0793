// SPDX-License-Identifier: BSL-1.0

// The Redis repository where the contract suite cannot ask: exact versions, tokens and expiry, how many round
// trips and writes a call takes, and many processes.
//
// How it works: a real server. Cases read the server's keys, and its own counts of commands (`INFO`), beside
// the answers of the repository. A second process is this test program again, running a hidden case.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace redis_state_repository_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
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
    CHECK_THROWS_AS(Repository(client, {.max_value_bytes = SIZE_MAX}), Error);
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

/// A key, of another shard than "k0".
Key key_of_another_shard(Repository const& repository)
{
    Key const first{"k0"};
    for (int i = 1;; ++i) {
        Key const other{"k" + std::to_string(i)};
        std::array changes{
            Change<Stock>{.key = &first, .kind = ChangeKind::guard},
            Change<Stock>{.key = &other, .kind = ChangeKind::guard}};
        if (repository.commit(changes, nullptr).errc() == Errc::invalid_argument)
            return other;
    }
}

TEST_CASE(
    "a call whose keys are of several shards is refused before it runs, where it is to commit them together",
    "[redis][state_repository]")
{
    redis::Client const client{redis_options()};
    Repository const repository{client, {.shards = 16}};
    std::string const other{key_of_another_shard(repository).bytes()};
    auto const both = keys(std::string{"k0"}, other);
    std::vector<std::string> const names{"k0", other};
    for (auto const& name : names)
        static_cast<void>(repository.insert(Stock{name, 1}));
    int runs = 0;
    auto const change = [&](Stock& a, Stock& b) { return ++runs + ++a.quantity + ++b.quantity; };
    auto const hold = [&](Lock<Stock>&, Lock<Stock>&) { return ++runs; };
    auto const is_refused = [&](auto const& outcome) {
        CAPTURE(outcome.message());
        CHECK(outcome.errc() == Errc::invalid_argument);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK(outcome.detail().find("several shards") != std::string::npos);
        CHECK(runs == 0);
    };
    TransactionService const versions{OptimisticVersioning{}, repository};
    is_refused(versions.try_do_in_transaction(both, change));
    is_refused(versions.try_do_in_transaction(both, [&](Stock const&, Stock const&) { return ++runs; }));
    is_refused(versions.async_try_do_in_transaction(both, change, boost::asio::use_future).get());
    is_refused(versions.try_do_in_transaction(
        keys(names), [&](std::span<Stock> all) { return ++runs + ++all[0].quantity; }));
    TransactionService const leases{SetNxLock{}, repository};
    is_refused(leases.try_do_in_transaction(both, change));
    is_refused(leases.try_do_in_transaction(OperationId{"shards"}, both, hold));
    StateRepository<Stock> const erased{repository};
    is_refused(TransactionService{OptimisticVersioning{}, erased}.try_do_in_transaction(both, change));
    redis::IdempotencyStore const store{client};
    TransactionService const requests{IdempotencyKeys{SetNxLock{}, store}, repository};
    is_refused(requests.try_do_in_transaction(IdempotentRequest{"k", Scope("shards")}, both, hold));
    Repository const more{client, {.name_space = "more"}};
    TransactionService const joint{OptimisticVersioning{}, JointRepository{repository, more}};
    is_refused(joint.try_do_in_transaction(
        keys(in(repository, "k0"), in(repository, other), in(more, "k0")),
        [&](Stock& a, Stock&, Stock&) { return ++runs + ++a.quantity; }));

    // The locks of several keys are taken one after the other, wherever they are.
    CHECK(leases.try_do_in_transaction(both, hold).value() == 1);
}

// A lock without a fence guards no write, so that the record of an operation id is all that a call has to
// store. The record belongs to one key, and so to one shard, wherever the other keys of the call are.
TEST_CASE(
    "an operation id under locks without fences is recorded though the keys are of several shards",
    "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}, {.shards = 16}};
    std::string const other{key_of_another_shard(repository).bytes()};
    TransactionService const jobs{EfficiencySetNxLock{}, repository};
    int runs = 0;
    auto const work = [&](EfficiencyLock<Stock>&, EfficiencyLock<Stock>&) { return ++runs; };

    OperationId const blocking{"blocking"};
    auto const first = jobs.try_do_in_transaction(blocking, keys(std::string{"k0"}, other), work);
    INFO(first.detail());
    CHECK(first.value() == 1);
    CHECK_FALSE(first.replayed());
    // The record belongs to the smallest key, whichever is named first.
    auto const again = jobs.try_do_in_transaction(blocking, keys(other, std::string{"k0"}), work);
    CHECK(again.value() == 1);
    CHECK(again.replayed());

    OperationId const asynchronous{"asynchronous"};
    for (bool const replayed : {false, true}) {
        auto const end = jobs.async_try_do_in_transaction(
                                 asynchronous, keys(other, std::string{"k0"}), work, boost::asio::use_future)
                             .get();
        CHECK(end.value() == 2);
        CHECK(end.replayed() == replayed);
    }

    OperationId const range{"range"};
    auto const work_on_range = [&](std::span<EfficiencyLock<Stock>* const>) { return ++runs; };
    std::vector<std::string> const three{other, "k0", other + "x"};
    CHECK(jobs.do_in_transaction(range, three, work_on_range) == 3);
    CHECK(jobs.try_do_in_transaction(range, three, work_on_range).replayed());
    CHECK(runs == 3);
    for (auto const& name : three)  // what a call has locked is let go behind its end
        CHECK(eventually([&] { return LockStateService{repository}.try_acquire(name).has_value(); }));
}

// Nothing is sent to a server after the deadline of a call. An operation that made no guarded write and
// returned later has had its effect, but the record of its id is missing. To call that applied would promise
// its answer to whoever comes with the id again, so the call ends as unknown, and says what helps.
TEST_CASE(
    "an operation under a lock alone that returns after the deadline is applied, and with an id unknown",
    "[redis][state_repository]")
{
    Repository const repository{redis::Client{redis_options()}};
    int runs = 0;
    auto const check = [&](OperationId const& id, auto const& service, auto const& late) {
        runs = 0;
        CallOptions const soon{.deadline = 300ms};
        auto const without_id = service.try_do_in_transaction("job", late, soon);
        CHECK(without_id.value() == 1);
        auto const use_future = boost::asio::use_future;
        CHECK(service.async_try_do_in_transaction("job", late, soon, use_future).get().value() == 2);
        for (bool const asynchronous : {false, true}) {
            CAPTURE(id.value(), asynchronous);
            auto const end =
                asynchronous ? service.async_try_do_in_transaction(id, "job", late, soon, use_future).get()
                             : service.try_do_in_transaction(id, "job", late, soon);
            CHECK(end.errc() == Errc::outcome_unknown);
            CHECK(end.cause() == Errc::deadline_exceeded);
            CHECK_THAT(end.detail(), ContainsSubstring("name a longer one"));
        }
        CHECK(runs == 4);
        // With a deadline that is long enough the answer is kept.
        CHECK(service.try_do_in_transaction(id, "job", late, {.deadline = 60s}).value() == 5);
        CHECK(service.try_do_in_transaction(id, "job", late, {.deadline = 60s}).replayed());
        CHECK(runs == 5);
    };
    auto const run = [&] {
        std::this_thread::sleep_for(350ms);
        return ++runs;
    };
    check(
        OperationId{"no fence"}, TransactionService{EfficiencySetNxLock{}, repository},
        [&](EfficiencyLock<Stock>&) { return run(); });
    check(OperationId{"fence"}, TransactionService{SetNxLock{}, repository}, [&](Lock<Stock>&) {
        return run();
    });
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
    auto const release = [&](auto lock, auto const& before, Errc released = Errc::ok) {
        before();
        server.command({"CONFIG", "RESETSTAT"});
        CHECK(locks.release(std::move(lock)).errc() == released);
        CHECK(calls("delifeq") + calls("delex") == (able ? 1 : 0));
        return calls("evalsha") + calls("eval");  // the first one brings the script along
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
    auto const break_it = [&] { CHECK(other.force_release("x").value() == Removal::removed); };
    CHECK(release(locks.acquire("x"), break_it, Errc::lock_lost) == 1);

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
    for (Ttl const none : {Ttl{0s}, Ttl{-1s}, Ttl{25h}}) {
        repository.renew_all(std::span{renewals}.first(2), none);
        CHECK(renewals[0].granted.errc() == Errc::invalid_argument);
        CHECK(repository.create(names[0], owner(9999), 60s).failure().retry_after() > 50min);
    }
    Key const empty;
    std::array odd{Renewal{&empty, owner(1)}, Renewal{&names[1], owner(1)}};
    repository.renew_all(odd, 1h);
    CHECK(odd[0].granted.errc() == Errc::invalid_argument);
    CHECK(odd[1].granted);
    server.kill();
    repository.renew_all(odd, 1h, Deadline{200ms});
    CHECK(odd[1].granted.errc() != Errc::ok);
    CHECK(odd[1].granted.errc() != Errc::lock_lost);
    CHECK(!odd[1].granted.failure().detail().empty());
}

TEST_CASE(
    "leases on states of two types are renewed in a trip for each of their repositories",
    "[redis][state_repository][joint]")
{
    RedisServer const server;
    redis::Client const client{redis_options(server)};
    Repository const stock{client, {.name_space = "stock"}};
    redis::StateRepository<interlock_test::Account> const accounts{client, {.name_space = "accounts"}};
    JointRepository const both{accounts, stock};
    STATIC_REQUIRE(CarriesOut<std::remove_const_t<decltype(both)>, verb::RenewAll>);
    auto const named = both.call_target(keys(
        in(stock, "s1"), in(accounts, 1), in(stock, "s2"), in(accounts, 2), in(stock, "s3"), in(accounts, 3),
        in(stock, "s4")));
    std::vector<Renewal> renewals;
    for (auto const& key : named.keys) {
        auto const its = owner(renewals.size());
        if (renewals.size() != 3)
            both.carry_out(verb::Create{key, its, Ttl{60s}}, Deadline{10s}).value();
        renewals.push_back({&key, its});
    }
    auto const calls = [&] {
        auto const all = server.command({"INFO", "commandstats"});
        auto const at = all.find("cmdstat_evalsha:calls=");
        return at == std::string::npos ? 0 : std::stoi(all.substr(at + 22));
    };
    auto const before = calls();
    CHECK(both.carry_out(verb::RenewAll{renewals, Ttl{1h}}, Deadline{10s}));
    CHECK(calls() - before <= 3);  // two, and one more where the server did not know the script
    for (std::size_t i = 0; i < renewals.size(); ++i)
        CHECK(renewals[i].granted.errc() == (i == 3 ? Errc::lock_lost : Errc::ok));
    Key const number_3{KeyTraits<std::int64_t>::encode(3)};
    CHECK(stock.create(Key{"s4"}, owner(9999), 60s).failure().retry_after() > 50min);
    CHECK(accounts.create(number_3, owner(9999), 60s).failure().retry_after() > 50min);
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
