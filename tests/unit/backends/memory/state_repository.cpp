// SPDX-License-Identifier: BSL-1.0

// The store in memory, member by member, where the contract suite cannot ask: exact bounds, exact times, the
// order in which waiters are served, and what is forgotten.
//
// How it works: the runtime is a `ManualRuntime`, whose clock moves only when a case says so, so that "to the
// millisecond" can be checked at both sides. Waiters are counters (`CountingWaiter`), so that a case sees who
// is woken and when. Cases about exclusion run threads against each other and check a sum.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace memory_state_repository_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::ManualRuntime;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock, void, ManualRuntime>;
using Strings = memory::StateRepository<std::string, std::string, ManualRuntime>;

static_assert(
    VersionedRepository<Repository> && AtomicRepository<Repository> && OperationRepository<Repository>);
static_assert(
    RowLockingRepository<Repository> && LeaseRepository<Repository> && FencedRepository<Repository>);
static_assert(FusedRepository<Repository>);

Key key(std::string name)
{
    return Key{std::move(name)};
}
OwnerToken owner(std::uint64_t n)
{
    return OwnerToken{{n, n}};
}

TEST_CASE("handles of one store are equal, and handles of two stores are not", "[memory][state_repository]")
{
    Repository const a;
    auto const b = a;
    Repository const c;
    CHECK(a.identity() == b.identity());
    CHECK(a.identity() != c.identity());
    CHECK(a.insert(Stock{"x", 1}));
    CHECK(b.load("x"));
    CHECK(c.load("x").errc() == Errc::not_found);
}

TEST_CASE("a version is never used again, not even after erasing", "[memory][state_repository]")
{
    Repository const repository;
    Version highest = no_version;
    for (int round = 0; round < 50; ++round) {
        auto version = repository.insert(Stock{"x", 0}).value();
        CHECK(version > highest);
        for (int i = 0; i < 3; ++i) {
            auto const next = repository.compare_and_set("x", version, Stock{"x", i}).value();
            CHECK(next > version);
            version = next;
        }
        CHECK(repository.erase("x", version).value() == version);
        highest = version;
        CHECK(repository.compare_and_set("x", version, Stock{"x", 9}).errc() == Errc::not_found);
    }
    CHECK(repository.key_count() == 0);
}

TEST_CASE("versions out of range are refused and the last one never wraps", "[memory][state_repository]")
{
    Repository const repository;
    auto const version = repository.insert(Stock{"x", 1}).value();
    CHECK(repository.compare_and_set("x", 0, Stock{"x", 2}).errc() == Errc::invalid_argument);
    CHECK(repository.compare_and_set("x", -1, Stock{"x", 2}).errc() == Errc::invalid_argument);
    CHECK(repository.compare_and_set("x", last_version, Stock{"x", 2}).errc() == Errc::version_conflict);
    CHECK(repository.erase("x", 0).errc() == Errc::invalid_argument);
    auto const where = key("x");
    Stock const value{"x", 2};
    std::array changes{Change<Stock>{.key = &where, .version = -5, .value = &value}};
    CHECK(repository.commit(changes, nullptr).errc() == Errc::corrupt_state);
    CHECK(repository.load("x")->version == version);

    // Only a store that is made so reaches the end of the versions.
    memory::detail::Store<Stock, ManualRuntime> store{{}, ManualRuntime{}};
    store.shard_of(where).erased = last_version - 1;
    CHECK(
        store.change_one({.key = &where, .version = no_version, .value = &value}, 0).value() == last_version);
    CHECK(
        store.change_one({.key = &where, .version = last_version, .value = &value}, 0).errc() ==
        Errc::version_exhausted);
    CHECK(store.load(where)->version == last_version);
    CHECK(store.change_one({.key = &where, .kind = ChangeKind::erase, .version = last_version}, 0));
    CHECK(
        store.change_one({.key = &where, .version = no_version, .value = &value}, 0).errc() ==
        Errc::version_exhausted);
}

TEST_CASE("values up to the limit are stored and larger ones refused", "[memory][state_repository]")
{
    Strings const repository{{.max_value_bytes = 65537}};
    for (std::size_t size : {0U, 1U, 65536U, 65537U}) {
        auto const name = std::to_string(size);
        CHECK(repository.insert(name, std::string(size, 'x')));
        CHECK(repository.load(name)->value.size() == size);
    }
    auto const refused = repository.insert("large", std::string(65538, 'x'));
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("65537"));
    auto const version = repository.load("1")->version;
    CHECK(repository.compare_and_set("1", version, std::string(65538, 'x')).errc() == Errc::invalid_argument);
    auto const where = key("1");
    std::string const large(65538, 'x');
    std::array changes{Change<std::string>{.key = &where, .version = version, .value = &large}};
    CHECK(repository.commit(changes, nullptr).errc() == Errc::invalid_argument);
    CHECK(repository.load("1")->version == version);
    CHECK(Strings{}.insert("mebibyte", std::string(1 << 20, 'x')));
    CHECK(Strings{}.insert("mebibyte", std::string((1 << 20) + 1, 'x')).errc() == Errc::invalid_argument);
}

TEST_CASE("keys are checked by every member", "[memory][state_repository]")
{
    Repository const repository;
    for (auto const& bad : {Key{}, key(std::string(513, 'k'))}) {
        Stock const value{"x", 1};
        CHECK(repository.load(bad).errc() == Errc::invalid_argument);
        CHECK(repository.insert(bad, value, {}).errc() == Errc::invalid_argument);
        CHECK(repository.compare_and_set(bad, 1, value, {}).errc() == Errc::invalid_argument);
        CHECK(repository.erase(bad, 1, {}).errc() == Errc::invalid_argument);
        CHECK(repository.create(bad, owner(1), 1s).errc() == Errc::invalid_argument);
        CHECK(repository.create_and_load(bad, owner(1), 1s).errc() == Errc::invalid_argument);
        CHECK(repository.renew(bad, owner(1), 1s).errc() == Errc::invalid_argument);
        std::array changes{Change<Stock>{.key = &bad, .value = &value}};
        CHECK(repository.commit(changes, nullptr).errc() == Errc::invalid_argument);
    }
    for (Ttl ttl : {Ttl{0s}, Ttl{-1s}, Ttl{49ms}, Ttl{25h}})
        CHECK(repository.create(key("x"), owner(1), ttl).errc() == Errc::invalid_argument);
    CHECK(repository.key_count() == 0);
}

TEST_CASE(
    "a commit applies all of its changes or none, and names every key that failed",
    "[memory][state_repository]")
{
    Repository const repository;
    auto const stale = key("stale");
    auto const fenced = key("fenced");
    auto const missing = key("missing");
    auto const good = key("good");
    auto const version = repository.insert(Stock{"stale", 1}).value();
    static_cast<void>(repository.insert(Stock{"fenced", 1}).value());
    static_cast<void>(repository.insert(Stock{"good", 1}).value());
    auto const grant = repository.create(fenced, owner(1), 10s).value();
    Fence const wrong{owner(2), grant.first};
    Stock const value{"x", 9};
    std::array changes{
        Change<Stock>{.key = &good, .version = 1, .value = &value},
        Change<Stock>{.key = &stale, .version = version + 1, .value = &value},
        Change<Stock>{.key = &fenced, .version = 1, .value = &value, .fence = &wrong},
        Change<Stock>{.key = &missing, .version = 1, .value = &value},
    };
    OperationId const id{"op"};
    OperationCommit const operation{&good, &id, 1, "answer"};
    auto const refused = repository.commit(changes, &operation);
    CHECK_FALSE(refused);
    CHECK(refused.effect() == Effect::not_applied);
    for (auto const* text : {"stale: version_conflict", "fenced: fenced_out", "missing: not_found"})
        CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring(text));
    CHECK_THAT(refused.detail(), !Catch::Matchers::ContainsSubstring("good"));
    for (auto const* name : {"good", "stale", "fenced"})
        CHECK(repository.load(name)->value.quantity == 1);
    CHECK(repository.load("missing").errc() == Errc::not_found);
    CHECK_FALSE(*repository.find_operation(good, id));

    Fence const right{owner(1), grant.first};
    changes[1].version = version;
    changes[2].fence = &right;
    changes[3].version = no_version;
    CHECK(repository.commit(changes, &operation));
    CHECK(changes[0].version == 2);
    CHECK(changes[3].version > no_version);
    for (auto const* name : {"good", "stale", "fenced", "missing"})
        CHECK(repository.load(name)->value.quantity == 9);
    CHECK((*repository.find_operation(good, id))->answer == "answer");
    auto const again = repository.commit(changes, &operation);
    CHECK(again->duplicate);
    CHECK(again->answer == "answer");
}

TEST_CASE("a reader of several keys never sees half of a commit", "[memory][state_repository]")
{
    Repository const repository;
    constexpr int count = 4;
    std::vector<Key> keys;
    for (int i = 0; i < count; ++i) {
        keys.push_back(key("k" + std::to_string(i)));
        static_cast<void>(repository.insert(Stock{"k" + std::to_string(i), 0}).value());
    }
    std::atomic<bool> stop{false};
    std::atomic<int> torn{0};
    std::atomic<int> seen{0};
    run_threads(3, [&](std::size_t thread) {
        if (thread == 0) {
            for (int n = 1; n <= 3000 || seen < 100; ++n) {
                std::vector<Stock> values;
                for (auto const& k : keys)
                    values.push_back({std::string(k.bytes()), n});
                std::vector<Change<Stock>> changes;
                for (std::size_t i = 0; i < keys.size(); ++i)
                    changes.push_back({.key = &keys[i], .version = n, .value = &values[i]});
                if (!repository.commit(changes, nullptr))
                    ++torn;
            }
            stop = true;
        } else {
            while (!stop) {
                // A read of several keys: load them, then verify that none has moved.
                std::vector<Versioned<Stock>> values;
                std::vector<Change<Stock>> changes;
                for (auto const& k : keys) {
                    values.push_back(repository.load(k).value());
                    changes.push_back(
                        {.key = &k, .kind = ChangeKind::verify, .version = values.back().version});
                }
                if (!repository.commit(changes, nullptr))
                    continue;
                ++seen;
                for (auto const& v : values)
                    torn += v.value.quantity == values[0].value.quantity ? 0 : 1;
            }
        }
    });
    CHECK(torn == 0);
    CHECK(seen >= 100);
}

TEST_CASE(
    "a guarded write needs the record, its owner and a token that is not below the mark",
    "[memory][state_repository]")
{
    ManualRuntime const runtime;
    Repository const repository{{}, runtime};
    auto const x = key("x");
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    Stock const value{"x", 1};
    auto const write = [&](Fence fence) {
        auto const version = repository.load("x")->version;
        std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence}};
        return repository.commit(changes, nullptr).errc();
    };
    CHECK(write({owner(1), FencingToken{1}}) == Errc::fenced_out);  // no record
    auto const first = repository.create(x, owner(1), 1s).value();
    CHECK(first.count > 1);
    CHECK(write({owner(2), first.first}) == Errc::fenced_out);
    CHECK(write({owner(1), FencingToken{first.first.value() - 1}}) == Errc::fenced_out);
    CHECK(write({owner(1), first.first}) == Errc::ok);
    FencingToken const handed_on{first.first.value() + 1};
    CHECK(write({owner(1), handed_on}) == Errc::ok);
    CHECK(write({owner(1), first.first}) == Errc::fenced_out);  // the mark rose with the write
    runtime.advance(2s);
    CHECK(write({owner(1), handed_on}) == Errc::ok);  // over, but nobody else's: no clock in the argument
    auto const second = repository.create(x, owner(2), 1s).value();
    CHECK(second.first > handed_on);
    CHECK(write({owner(1), handed_on}) == Errc::fenced_out);  // the mark rises at grant
    CHECK(write({owner(1), second.first}) == Errc::fenced_out);
    CHECK(*repository.force_release(x) == Removal::removed);
    CHECK(write({owner(2), second.first}) == Errc::fenced_out);

    // A guard looks and changes nothing; a release removes the record in the same step.
    auto const third = repository.create(x, owner(3), 1s).value();
    Fence const fence{owner(3), third.first};
    auto const before = repository.load("x")->version;
    std::array guard{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &fence}};
    CHECK(repository.commit(guard, nullptr));
    CHECK(repository.load("x")->version == before);
    std::array last{
        Change<Stock>{.key = &x, .version = before, .value = &value, .fence = &fence, .release = true}};
    CHECK(repository.commit(last, nullptr));
    CHECK(*repository.remove(x, owner(3)) == Removal::gone);
}

TEST_CASE("a lock record is taken, kept and given up by its owner only", "[memory][state_repository]")
{
    ManualRuntime const runtime;
    Repository const repository{{}, runtime};
    auto const x = key("x");
    auto const grant = repository.create(x, owner(1), 1s).value();
    CHECK(grant.ttl == 1s);
    CHECK(repository.create(x, owner(1), 1s)->first == grant.first);  // idempotent for its own owner
    auto const busy = repository.create(x, owner(2), 1s);
    CHECK(busy.errc() == Errc::lock_busy);
    CHECK(busy.failure().retry_after() == 1s);
    CHECK(repository.renew(x, owner(2), 1s).errc() == Errc::lock_lost);
    CHECK(repository.renew(x, owner(2), 1s).cause() == Errc::lock_busy);
    CHECK(repository.renew(key("y"), owner(2), 1s).cause() == Errc::not_found);
    CHECK(*repository.remove(x, owner(2)) == Removal::taken);
    runtime.advance(900ms);
    CHECK(*repository.renew(x, owner(1), 2s) == 2s);
    runtime.advance(1999ms);
    CHECK(repository.create(x, owner(2), 1s).errc() == Errc::lock_busy);
    runtime.advance(1ms);
    CHECK(repository.create(x, owner(2), 1s)->first > grant.first);
    CHECK(repository.renew(x, owner(1), 1s).errc() == Errc::lock_lost);
    CHECK(*repository.remove(x, owner(1)) == Removal::taken);
    CHECK(*repository.remove(x, owner(2)) == Removal::removed);
    CHECK(*repository.remove(x, owner(2)) == Removal::gone);
    CHECK(repository.key_count() == 0);
}

TEST_CASE(
    "subscribers are woken when the record is free, in the order in which they came",
    "[memory][state_repository]")
{
    Repository const repository;
    auto const x = key("x");
    CountingWaiter first;
    CountingWaiter second;
    static_cast<void>(repository.create(x, owner(1), 10s).value());
    CHECK_FALSE(repository.wanted(x, owner(1)));
    repository.subscribe(x, owner(2), first);
    repository.subscribe(x, owner(3), second);
    CHECK(repository.wanted(x, owner(1)));
    static_cast<void>(repository.remove(x, owner(1)));
    CHECK(first.count() == 1);
    CHECK(second.count() == 0);
    CHECK(repository.create(x, owner(3), 10s).errc() == Errc::lock_busy);  // it is the first one's turn
    CHECK(repository.create(x, owner(4), 10s).errc() == Errc::lock_busy);
    repository.unsubscribe(x, first);  // gives up: the next one is told
    CHECK(second.count() == 1);
    CHECK(repository.create(x, owner(3), 10s));
    repository.unsubscribe(x, second);
    static_cast<void>(repository.remove(x, owner(3)));
    CHECK(repository.key_count() == 0);
}

TEST_CASE(
    "row locks are served in the order of the waiters, and exclude plain writes",
    "[memory][state_repository]")
{
    Repository const repository{{.max_waiters = 3}};
    auto const version = repository.insert(Stock{"x", 1}).value();
    auto const x = key("x");
    std::array const rows{&x};
    CountingWaiter waiter;
    auto holder = repository.open_transaction(rows);
    REQUIRE(holder.poll(Wait::no, waiter).done());
    CHECK(holder.state(0)->value.quantity == 1);
    CHECK(repository.compare_and_set("x", version, Stock{"x", 5}).errc() == Errc::lock_busy);
    CHECK(repository.erase("x", version).errc() == Errc::lock_busy);
    CHECK(repository.load("x"));  // reading is not locked

    std::array<CountingWaiter, 4> waiters;
    std::vector<Repository::transaction_type> queue;
    for (int i = 0; i < 4; ++i)
        queue.push_back(repository.open_transaction(rows));
    for (std::size_t i = 0; i < 3; ++i)
        CHECK_FALSE(queue[i].poll(Wait::until_deadline, waiters[i]).done());
    CHECK(queue[3].poll(Wait::no, waiters[3]).outcome().errc() == Errc::lock_busy);
    CHECK(queue[3].poll(Wait::until_deadline, waiters[3]).outcome().errc() == Errc::overloaded);
    CHECK(repository.waiter_count() == 3);
    queue[1].abandon();
    CHECK(repository.waiter_count() == 2);

    Stock const value{"x", 2};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value}};
    CHECK(holder.commit(changes, nullptr));
    CHECK(waiters[0].count() == 1);
    CHECK(waiters[2].count() == 0);
    REQUIRE(queue[0].poll(Wait::until_deadline, waiters[0]).done());
    CHECK(queue[0].state(0)->value.quantity == 2);  // as the locking read found it
    queue[0].rollback();
    CHECK(waiters[1].count() == 0);
    CHECK(waiters[2].count() == 1);
    CHECK(queue[2].poll(Wait::until_deadline, waiters[2]).done());
    queue.clear();
    CHECK(repository.compare_and_set("x", changes[0].version, Stock{"x", 3}));
}

TEST_CASE(
    "a key without a value is locked as well, so that only one creates it", "[memory][state_repository]")
{
    Repository const repository;
    auto const x = key("x");
    std::array const rows{&x};
    CountingWaiter waiter;
    auto first = repository.open_transaction(rows);
    CHECK(first.poll(Wait::no, waiter).done());
    CHECK_FALSE(first.state(0));
    CHECK(repository.insert(Stock{"x", 1}).errc() == Errc::lock_busy);
    auto second = repository.open_transaction(rows);
    CHECK(second.poll(Wait::no, waiter).outcome().errc() == Errc::lock_busy);
    Stock const value{"x", 1};
    std::array changes{Change<Stock>{.key = &x, .value = &value}};
    CHECK(first.commit(changes, nullptr));
    CHECK(repository.insert(Stock{"x", 1}).errc() == Errc::already_exists);
    {
        auto moved = repository.open_transaction(rows);
        CHECK(moved.poll(Wait::no, waiter).done());
        auto target = std::move(moved);
        CHECK(target.state(0));
    }
    CHECK(repository.erase("x", changes[0].version));
    CHECK(repository.key_count() == 0);
}

TEST_CASE(
    "a tombstone forbids its attempts for good, and an answer is never replaced",
    "[memory][state_repository]")
{
    ManualRuntime const runtime;
    Repository const repository{{.retention = 1h}, runtime};
    auto const x = key("x");
    OperationId const id{"op"};
    auto const stone = repository.forbid_operation(x, id, 2).value();
    CHECK_FALSE(stone.answered);
    CHECK(stone.attempt == 2);
    CHECK(repository.forbid_operation(x, id, 1)->attempt == 2);
    Stock const value{"x", 1};
    auto const commit = [&](std::uint32_t attempt) {
        std::array changes{Change<Stock>{.key = &x, .value = &value}};
        OperationCommit const operation{&x, &id, attempt, "a"};
        return repository.commit(changes, &operation).errc();
    };
    CHECK(commit(1) == Errc::superseded);
    CHECK(commit(2) == Errc::superseded);
    CHECK(repository.load("x").errc() == Errc::not_found);
    CHECK(commit(3) == Errc::ok);
    auto const answered = repository.forbid_operation(x, id, 9).value();
    CHECK(answered.answered);
    CHECK(answered.attempt == 3);
    CHECK(answered.sequence > 0);
    runtime.advance(1h - 1ns);
    CHECK(*repository.find_operation(x, id));
    runtime.advance(1ns);
    CHECK_FALSE(*repository.find_operation(x, id));
}

TEST_CASE(
    "every answered record is shown, and its sequence tells the order of the commits",
    "[memory][state_repository]")
{
    Repository const repository;
    Stock const value{"x", 1};
    for (int i = 0; i < 100; ++i) {
        auto const k = key("k" + std::to_string(i));
        OperationId const id{std::to_string(i)};
        std::array changes{Change<Stock>{.key = &k, .value = &value}};
        OperationCommit const operation{&k, &id, 1, id.value()};
        static_cast<void>(repository.commit(changes, &operation).value());
    }
    static_cast<void>(repository.forbid_operation(key("none"), OperationId{"none"}, 1).value());
    std::vector<std::pair<std::uint64_t, std::string>> seen;
    repository.for_each_operation([&](Key const& k, OperationId const& id, OperationRecord const& record) {
        CHECK(k.bytes() == "k" + id.value());
        seen.emplace_back(record.sequence, record.answer);
    });
    std::sort(seen.begin(), seen.end());
    REQUIRE(seen.size() == 100);
    for (std::size_t i = 0; i < 100; ++i)
        CHECK(seen[i].second == std::to_string(i));
}

TEST_CASE("options of stores in memory that make no sense are refused by name", "[memory][state_repository]")
{
    using Catch::Matchers::ContainsSubstring;
    for (auto const retention : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
        auto const says = ContainsSubstring("retention must be more than 0");
        CHECK_THROWS_WITH((memory::StateRepository<Stock>{{.retention = retention}}), says);
        CHECK_THROWS_WITH((memory::IdempotencyStore{{.retention = retention}}), says);
    }
    CHECK_NOTHROW(memory::StateRepository<Stock>{{.retention = std::chrono::nanoseconds::max()}});
    for (auto const partitions : {0U, 16385U, ~0U})
        CHECK_THROWS_WITH(
            (memory::EventRepository{{.partitions = partitions}}),
            ContainsSubstring("1 to 16384 partitions"));
}

TEST_CASE("beyond its bounds a store is overloaded, and recovers", "[memory][state_repository]")
{
    Repository const repository{{.max_keys = 3, .max_operations = 2}};
    for (auto const* name : {"a", "b", "c"})
        CHECK(repository.insert(Stock{name, 1}));
    CHECK(repository.insert(Stock{"d", 1}).errc() == Errc::overloaded);
    CHECK(repository.create(key("d"), owner(1), 1s).errc() == Errc::overloaded);
    auto const d = key("d");
    std::array const rows{&d};
    CountingWaiter waiter;
    CHECK(repository.open_transaction(rows).poll(Wait::no, waiter).outcome().errc() == Errc::overloaded);
    CHECK(repository.create(key("a"), owner(1), 1s));  // known keys go on
    CHECK(repository.erase("c", 1));
    CHECK(repository.insert(Stock{"d", 1}));
    CHECK(repository.key_count() == 3);

    CHECK(repository.forbid_operation(d, OperationId{"1"}, 1));
    CHECK(repository.forbid_operation(d, OperationId{"2"}, 1));
    CHECK(repository.forbid_operation(d, OperationId{"3"}, 1).errc() == Errc::overloaded);
    Stock const value{"d", 2};
    OperationId const id{"3"};
    OperationCommit const operation{&d, &id, 1, ""};
    std::array changes{Change<Stock>{.key = &d, .version = repository.load("d")->version, .value = &value}};
    CHECK(repository.commit(changes, &operation).errc() == Errc::overloaded);
    CHECK(repository.load("d")->value.quantity == 1);
}

TEST_CASE(
    "records whose retention is over take no room, whichever keys they belong to",
    "[memory][state_repository][bounds]")
{
    ManualRuntime const runtime;
    Repository const repository{{.max_operations = 1, .retention = 1s}, runtime};
    for (int i = 0; i < 20; ++i) {
        CAPTURE(i);
        auto const k = key("k" + std::to_string(i));
        CHECK(repository.insert(Stock{"k" + std::to_string(i), 1}));
        Stock const value{"k" + std::to_string(i), 2};
        OperationId const id{"op"};
        OperationCommit const operation{&k, &id, 1, "answer"};
        std::array changes{Change<Stock>{.key = &k, .version = 1, .value = &value}};
        CHECK(repository.commit(changes, &operation));
        CHECK(repository.forbid_operation(k, OperationId{"other"}, 1).errc() == Errc::overloaded);
        runtime.advance(1s);
        CHECK(repository.forbid_operation(key("t" + std::to_string(i)), OperationId{"other"}, 1));
        runtime.advance(1s);
    }
    int shown = 0;
    repository.for_each_operation([&](auto const&...) { ++shown; });
    CHECK(shown == 0);
}

TEST_CASE(
    "a record that is written again and again takes the room of one", "[memory][state_repository][bounds]")
{
    Repository const repository{{.max_operations = 2}};
    auto const k = key("k");
    OperationId const id{std::string(100, 'x')};
    auto const forbid = [&](std::uint32_t from, std::uint32_t to) {
        for (auto attempt = from; attempt < to; ++attempt)
            static_cast<void>(repository.forbid_operation(k, id, attempt));
        return interlock_test::kept_memory();
    };
    // While the clock stands still all its times are the same one; afterwards each is its own.
    auto const before = forbid(1, 1000);
    auto const spent = interlock_test::time_of([&] {
        CHECK(forbid(1000, 50'000) - before < 100'000);  // two bytes for each
    });
    CHECK(repository.find_operation(k, id).value()->attempt == 49'999);
    for (std::uint32_t attempt = 50'000; attempt < 100'000; ++attempt) {
        repository.runtime().advance(1ms);
        static_cast<void>(repository.forbid_operation(k, id, attempt));
    }
    CHECK(interlock_test::kept_memory() - before < 100'000);
    CHECK(spent < 60s);
}

TEST_CASE(
    "leases that are over take no room, values and running leases keep theirs",
    "[memory][state_repository][bounds]")
{
    ManualRuntime const runtime;
    Repository const repository{{.max_keys = 2}, runtime};
    CHECK(repository.insert(Stock{"value", 1}));
    for (int i = 0; i < 20; ++i) {
        CAPTURE(i);
        auto const k = key("k" + std::to_string(i));
        CHECK(repository.create(k, owner(1), 1s));
        CHECK(repository.create(key("other"), owner(1), 1s).errc() == Errc::overloaded);
        CHECK(repository.insert(Stock{"other", 1}).errc() == Errc::overloaded);
        runtime.advance(500ms);
        CHECK(repository.renew(k, owner(1), 1s));
        runtime.advance(500ms);
        CHECK(repository.insert(Stock{"other", 1}).errc() == Errc::overloaded);
        runtime.advance(500ms);
        auto const other = key("other");
        std::array const rows{&other};
        CountingWaiter waiter;
        switch (i % 3) {  // whoever needs the room gets it
        case 0: CHECK(repository.insert(Stock{"other", 1})); break;
        case 1: CHECK(repository.create(other, owner(2), 1s)); break;
        default: CHECK(repository.open_transaction(rows).poll(Wait::no, waiter).outcome()); break;
        }
        CHECK(repository.renew(k, owner(1), 1s).errc() == Errc::lock_lost);
        if (i % 3 == 0)
            CHECK(repository.erase("other", repository.load("other")->version));
        if (i % 3 == 1)
            CHECK(repository.remove(other, owner(2)).value() == Removal::removed);
    }
    CHECK(repository.load("value")->value.quantity == 1);
    CHECK(repository.key_count() == 1);
}

TEST_CASE(
    "the record of an ended lease stays while somebody waits for it", "[memory][state_repository][bounds]")
{
    ManualRuntime const runtime;
    Repository const repository{{.max_keys = 1}, runtime};
    CountingWaiter waiter;
    CHECK(repository.create(key("a"), owner(1), 1s));
    repository.subscribe(key("a"), owner(2), waiter);
    runtime.advance(2s);
    CHECK(repository.create(key("b"), owner(3), 1s).errc() == Errc::overloaded);
    CHECK(repository.create(key("a"), owner(2), 1s));
    repository.unsubscribe(key("a"), waiter);
    CHECK(repository.remove(key("a"), owner(2)).value() == Removal::removed);
    CHECK(repository.create(key("b"), owner(3), 1s));
}

TEST_CASE("one commit cannot go beyond the bound on keys either", "[memory][state_repository]")
{
    Repository const repository{{.max_keys = 1}};
    auto const a = key("a");
    auto const b = key("b");
    Stock const value{"a", 1};
    std::array changes{Change<Stock>{.key = &a, .value = &value}, Change<Stock>{.key = &b, .value = &value}};
    CHECK(repository.commit(changes, nullptr).errc() == Errc::overloaded);
    CHECK(repository.key_count() <= 1);
}

TEST_CASE(
    "a million locks on distinct keys are bounded by the options and leave nothing behind",
    "[memory][state_repository]")
{
    constexpr int count = 1'000'000;
    Repository const repository{{.max_keys = 50'000}};
    int granted = 0;
    int overloaded = 0;
    auto const before = interlock_test::kept_memory();
    auto most = before;
    auto const spent = interlock_test::time_of([&] {
        for (int i = 0; i < count; ++i) {
            auto const k = key("k" + std::to_string(i));
            auto const grant = repository.create(k, owner(7), 1h);
            granted += grant ? 1 : 0;
            overloaded += grant.errc() == Errc::overloaded ? 1 : 0;
        }
        most = interlock_test::kept_memory();
        for (int i = 0; i < count; ++i)
            static_cast<void>(repository.remove(key("k" + std::to_string(i)), owner(7)));
    });
    CHECK(granted == 50'000);
    CHECK(overloaded == count - 50'000);
    CHECK(most - before < 100'000'000);  // what 50,000 need, not what a million would
    CHECK(repository.key_count() == 0);
    CHECK(spent < 600s);  // what looks at all keys for each takes hours
}

}  // namespace memory_state_repository_test
