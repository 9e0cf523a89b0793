// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/idempotency_store.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/recording_observer.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace memory_idempotency_store_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::ManualRuntime;

using Store = memory::BasicIdempotencyStore<ManualRuntime>;
static_assert(interlock::IdempotencyStore<Store>);

OwnerToken owner(std::uint64_t n)
{
    return OwnerToken{{n, n}};
}
IdempotentRequest request(std::string const& key, std::string const& body = "body")
{
    return {key, Scope("tenant"), fingerprint(body)};
}

struct World {
    explicit World(memory::IdempotencyStoreOptions options = {.retention = 1h}) : store(options, runtime) {}
    ManualRuntime runtime;
    Store store;
    Claim claim(std::string const& key, std::uint64_t who, AfterLease after = AfterLease::take_over) const
    {
        return store.claim(request(key), owner(who), 10s, after).value();
    }
};

TEST_CASE("the first claim is granted, and the others learn how long it lasts", "[memory][idempotency_store]")
{
    World const world;
    CHECK(world.claim("k", 1).state == ClaimState::claimed);
    CHECK(world.claim("k", 1).state == ClaimState::claimed);  // idempotent for its owner
    world.runtime.advance(4s);
    auto const other = world.claim("k", 2);
    CHECK(other.state == ClaimState::in_progress);
    CHECK(other.retry_after == 6s);
    CHECK(world.claim("k2", 2).state == ClaimState::claimed);
    CHECK(
        world.store.claim({"k", Scope("other tenant")}, owner(3), 10s, AfterLease::refuse)->state ==
        ClaimState::claimed);
}

TEST_CASE(
    "another fingerprint is a mismatch in every state and changes nothing", "[memory][idempotency_store]")
{
    World const world;
    auto const other = request("k", "another body");
    CHECK(world.claim("k", 1).state == ClaimState::claimed);
    CHECK(world.store.claim(other, owner(2), 10s, AfterLease::take_over)->state == ClaimState::mismatch);
    world.runtime.advance(11s);
    CHECK(world.store.claim(other, owner(2), 10s, AfterLease::take_over)->state == ClaimState::mismatch);
    CHECK(world.store.complete(request("k"), owner(1), "answer", false));
    CHECK(world.store.claim(other, owner(2), 10s, AfterLease::take_over)->state == ClaimState::mismatch);
    CHECK(world.claim("k", 3).answer == "answer");
}

TEST_CASE(
    "an answer is kept byte for byte for the retention, to the millisecond", "[memory][idempotency_store]")
{
    World const world;
    static_cast<void>(world.claim("k", 1));
    std::string const answer("a\0b", 3);
    CHECK(world.store.complete(request("k"), owner(1), answer, true));
    world.runtime.advance(1h - 1ms);
    auto const late = world.claim("k", 2);
    CHECK(late.state == ClaimState::completed);
    CHECK(late.answer == answer);
    CHECK(late.rejected);
    world.runtime.advance(1ms);
    CHECK(world.claim("k", 2).state == ClaimState::claimed);
    static_cast<void>(world.claim("empty", 1));
    CHECK(world.store.complete(request("empty"), owner(1), "", false));
    CHECK(world.claim("empty", 2).state == ClaimState::completed);
}

TEST_CASE(
    "a claim is taken over, or refused, as soon as its lease ends, to the millisecond",
    "[memory][idempotency_store]")
{
    World const world;
    static_cast<void>(world.claim("k", 1));
    world.runtime.advance(10s - 1ms);
    CHECK(world.claim("k", 2).state == ClaimState::in_progress);
    world.runtime.advance(1ms);
    CHECK(world.claim("k", 2, AfterLease::refuse).state == ClaimState::abandoned);
    CHECK(world.claim("k", 2).state == ClaimState::taken_over);
    CHECK(world.claim("k", 3).state == ClaimState::in_progress);
    // The former owner can neither answer nor give back what is not its own any more.
    CHECK(world.store.complete(request("k"), owner(1), "late", false).errc() == Errc::fenced_out);
    CHECK(world.store.give_back(request("k"), owner(1)).errc() == Errc::fenced_out);
    CHECK(world.store.complete(request("k"), owner(2), "mine", false));
    CHECK(world.store.complete(request("k"), owner(2), "twice", false).errc() == Errc::fenced_out);
    CHECK(world.claim("k", 3).answer == "mine");
    CHECK(world.store.complete(request("unknown"), owner(1), "", false).errc() == Errc::fenced_out);
}

TEST_CASE(
    "a claim that is given back is free, and its fingerprint is forgotten", "[memory][idempotency_store]")
{
    World const world;
    static_cast<void>(world.claim("k", 1));
    CHECK(world.store.give_back(request("k"), owner(2)).errc() == Errc::fenced_out);
    CHECK(world.store.give_back(request("k"), owner(1)));
    CHECK(world.store.size() == 0);
    CHECK(
        world.store.claim(request("k", "corrected"), owner(2), 10s, AfterLease::refuse)->state ==
        ClaimState::claimed);
}

TEST_CASE(
    "waiters are woken by an answer, and one of them by a claim given back", "[memory][idempotency_store]")
{
    World const world;
    CountingWaiter first;
    CountingWaiter second;
    static_cast<void>(world.claim("k", 1));
    world.store.subscribe(request("k"), first);
    world.store.subscribe(request("k"), second);
    CHECK(world.store.give_back(request("k"), owner(1)));
    CHECK(first.count() == 1);
    CHECK(second.count() == 0);
    CHECK(world.claim("k", 2).state == ClaimState::claimed);
    CHECK(world.store.complete(request("k"), owner(2), "a", false));
    CHECK(first.count() == 2);
    CHECK(second.count() == 1);
    world.store.unsubscribe(request("k"), first);
    world.store.unsubscribe(request("k"), second);

    static_cast<void>(world.claim("k2", 1));
    world.store.subscribe(request("k2"), first);
    world.store.subscribe(request("k2"), second);
    CHECK(world.store.give_back(request("k2"), owner(1)));
    world.store.unsubscribe(request("k2"), first);  // did not want it after all: the next one is told
    CHECK(second.count() == 2);
    world.store.unsubscribe(request("k2"), second);
    CHECK(world.store.size() == 1);
}

TEST_CASE("arguments out of range are refused and a full store is overloaded", "[memory][idempotency_store]")
{
    World const world({.retention = 1h, .max_records = 2});
    CHECK(world.store.claim(request(""), owner(1), 10s, AfterLease::refuse).errc() == Errc::invalid_argument);
    CHECK(
        world.store.claim(request("a\n"), owner(1), 10s, AfterLease::refuse).errc() ==
        Errc::invalid_argument);
    CHECK(world.store.claim(request("k"), owner(1), 0s, AfterLease::refuse).errc() == Errc::invalid_argument);
    static_cast<void>(world.claim("1", 1));
    static_cast<void>(world.claim("2", 1));
    CHECK(world.store.claim(request("3"), owner(1), 10s, AfterLease::refuse).errc() == Errc::overloaded);
    CHECK(world.claim("1", 1).state == ClaimState::claimed);
    CHECK(world.store.give_back(request("1"), owner(1)));
    CHECK(world.claim("3", 1).state == ClaimState::claimed);
}

TEST_CASE("a running claim outlives a short retention", "[memory][idempotency_store]")
{
    World const world({.retention = 1s});
    static_cast<void>(world.claim("k", 1));
    world.runtime.advance(5s);
    CHECK(world.claim("k", 2).state == ClaimState::in_progress);
    world.runtime.advance(6s);
    CHECK(world.claim("k", 2).state == ClaimState::claimed);
}

TEST_CASE("a retention of next to nothing forgets at once and never hangs", "[memory][idempotency_store]")
{
    auto finished = std::make_shared<std::promise<void>>();
    auto done = finished->get_future();
    std::thread([finished] {
        World const world({.retention = 1ns});
        static_cast<void>(world.claim("k", 1));
        static_cast<void>(world.claim("k2", 2));
        finished->set_value();
    }).detach();
    CHECK(done.wait_for(10s) == std::future_status::ready);
}

TEST_CASE("claims that are given back take no room", "[memory][idempotency_store][bounds]")
{
    World const world({.retention = 24h, .max_records = 2});
    std::string const name(200, 'k');
    auto const claim = [&](int count) {
        for (int i = 0; i < count; ++i) {
            static_cast<void>(world.claim(name, 1));
            static_cast<void>(world.store.give_back(request(name), owner(1)));
        }
        return interlock_test::kept_memory();
    };
    auto const before = claim(1000);
    CHECK(claim(50'000) - before < 100'000);  // two bytes for each
    CHECK(world.store.size() == 0);
}

TEST_CASE("of many claims at once exactly one is granted", "[memory][idempotency_store]")
{
    World const world;
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> granted{0};
        interlock_test::run_threads(8, [&](std::size_t i) {
            granted += world.claim("k" + std::to_string(round), i + 1).state == ClaimState::claimed ? 1 : 0;
        });
        CHECK(granted == 1);
    }
}

}  // namespace memory_idempotency_store_test
