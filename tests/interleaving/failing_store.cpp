// SPDX-License-Identifier: BSL-1.0

// What callers are told, and what is really in the store, when it fails before, during or after a step.

#include <interlock/interlock.hpp>

#include "support/catch.hpp"
#include "support/simulation/world.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

namespace {
namespace failing_store {

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using interlock::Effect;
using interlock::Errc;
using interlock::LockStatus;
using interlock::OperationId;
using interlock::Outcome;
using scripted::Call;
using scripted::Fault;
using simulation::Blocking;
using simulation::Counter;
using simulation::Locks;
using simulation::World;

constexpr Fault faults[]{Fault::refused, Fault::lost_request, Fault::lost_reply};
constexpr Call calls[]{Call::load,       Call::compare_and_set, Call::commit,
                       Call::row_commit, Call::find_operation,  Call::forbid_operation,
                       Call::open_rows,  Call::create,          Call::renew};

struct Policies {
    interlock::OptimisticVersioning optimistic{};
    interlock::PessimisticRowLock row_lock{};
    interlock::SetNxLock lease{.lock = {.ttl = 300ms}};
};

/// Checks that `end` is honest about what became of one increment of "a".
void check_honest(World& world, Outcome<std::int64_t> const& end)
{
    auto const value = world.value("a");
    switch (end.effect()) {
    case Effect::applied: CHECK(value == 1); break;
    case Effect::not_applied: CHECK(value == 0); break;
    case Effect::unknown: CHECK((value == 0 || value == 1)); break;
    }
    if (end)
        CHECK(*end == 1);
}

template <class Policy>
void fail_each_call_once(Policy const& policy)
{
    auto const increment = [](Counter& a) { return ++a.value; };
    for (bool const with_id : {false, true})
        for (bool const in_place : {true, false})
            for (auto const call : calls)
                for (auto const fault : faults)
                    for (std::uint64_t nth = 1; nth <= 3; ++nth) {
                        World world{1, Blocking::nested};
                        REQUIRE(world.store.insert(Counter{"a", 0}));
                        world.script->fail(call, nth, fault);
                        interlock::TransactionService const service{policy, world.repository(0, in_place)};
                        INFO(
                            "id " << with_id << ", in place " << in_place << ", call "
                                  << static_cast<int>(call));
                        INFO("fault " << static_cast<int>(fault) << " at " << nth);
                        auto const once = [&]() -> Outcome<std::int64_t> {
                            if (with_id)
                                return service.try_do_in_transaction(OperationId{"once"}, "a", increment);
                            return service.try_do_in_transaction("a", increment);
                        };
                        auto const end = once();
                        check_honest(world, end);
                        if (with_id) {  // overcome, and asking again gives the same answer
                            CHECK(end);
                            auto const again = once();
                            CHECK(again);
                            CHECK(again.replayed());
                            CHECK(*again == 1);
                            CHECK(world.value("a") == 1);
                        } else if (fault == Fault::refused || scripted::reads(call)) {
                            CHECK(end);
                        }
                        world.context.run_for(1s);
                        CHECK(world.is_free("a"));
                    }
}

}  // namespace failing_store
}  // namespace

TEST_CASE("One failure of any call of the store is reported honestly", "[interleaving][failing_store]")
{
    using namespace failing_store;
    SECTION("optimistic")
    {
        fail_each_call_once(Policies{}.optimistic);
    }
    SECTION("row lock")
    {
        fail_each_call_once(Policies{}.row_lock);
    }
    SECTION("lease")
    {
        fail_each_call_once(Policies{}.lease);
    }
}

TEST_CASE(
    "A grant whose reply was lost is recognised, and believed no longer than the store does",
    "[interleaving][failing_store]")
{
    using namespace failing_store;
    World world{1, Blocking::nested};
    world.script->fail(Call::create, 1, Fault::lost_reply);
    auto const start = world.context.now();
    interlock::Backoff const slow{.initial = 250ms, .cap = 250ms, .immediate = 0};
    Locks const locks{world.repository(0), {.ttl = 300ms, .renew = false, .poll = slow}};
    auto const lock = locks.acquire("a");
    CHECK(world.script->calls(Call::create) == 2);
    CHECK(world.context.now() - start > 50ms);  // the second attempt is that much later than the grant
    CHECK(lock.status() == LockStatus::held);
    Locks const others{world.repository(1), {.ttl = 300ms}};
    while (world.context.now() < start + 1s) {
        auto const other = others.try_acquire("a");
        INFO((world.context.now() - start).count() << " ns after the first attempt");
        if (other) {
            CHECK(lock.status() == LockStatus::lost);  // law P2: never two valid handles
            break;
        }
        world.context.run_for(1ms);
    }
    CHECK(lock.status() == LockStatus::lost);
}

TEST_CASE(
    "Renewals that fail make the lock doubtful, then lost, and no write gets through",
    "[interleaving][failing_store]")
{
    using namespace failing_store;
    for (bool const in_place : {true, false})
        for (auto const fault : faults) {
            World world{1, Blocking::nested};
            auto const inserted = world.store.insert(Counter{"a", 0});
            REQUIRE(inserted);
            world.script->fail_between(Call::renew, 1, 1000000, fault);
            Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
            auto const lock = locks.acquire("a");
            auto const start = world.context.now();
            CHECK(lock.status() == LockStatus::held);
            world.context.run_until(start + 150ms);
            CHECK(lock.status() == LockStatus::in_doubt);
            world.context.run_until(start + 293ms);
            CHECK(lock.status() == LockStatus::lost);
            CHECK(lock.lost_reason() == interlock::LostReason::expired);
            CHECK(lock.stop_token().stop_requested());
            CHECK(locks.write(lock, *inserted, Counter{"a", 9}).errc() == Errc::lock_lost);
            CHECK(world.value("a") == 0);
        }
}

TEST_CASE("A renewal that succeeds ends the doubt", "[interleaving][failing_store]")
{
    using namespace failing_store;
    World world{1, Blocking::nested};
    world.script->fail(Call::renew, 1, Fault::lost_reply);
    Locks const locks{world.repository(0), {.ttl = 300ms}};
    auto const lock = locks.acquire("a");
    auto const start = world.context.now();
    world.context.run_until(start + 101ms);
    CHECK(lock.status() == LockStatus::in_doubt);
    world.context.run_until(start + 150ms);
    CHECK(lock.status() == LockStatus::held);
    world.context.run_until(start + 5s);
    CHECK(lock.status() == LockStatus::held);
}

TEST_CASE("A removal that fails is tried again until the lease is over", "[interleaving][failing_store]")
{
    using namespace failing_store;
    for (bool const in_place : {true, false})
        for (auto const fault : faults) {
            World world{1, Blocking::nested};
            world.script->fail_between(Call::remove, 1, 2, fault);
            Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
            auto lock = locks.acquire("a");
            CHECK(locks.release(std::move(lock)));
            CHECK(world.script->calls(Call::remove) == 3);
            CHECK(world.is_free("a"));

            world.script->fail_between(Call::remove, 1, 1000000, fault);
            auto second = locks.acquire("a");
            auto const start = world.context.now();
            CHECK(locks.release(std::move(second)).errc() != Errc::ok);
            CHECK(world.context.now() <= start + 300ms);
            world.script->fault = nullptr;
            world.context.run_for(301ms);
            CHECK(locks.try_acquire("a"));
        }
}

TEST_CASE(
    "A removal that may have been made is unknown, whatever came of further attempts",
    "[interleaving][failing_store]")
{
    using namespace failing_store;
    for (bool const in_place : {true, false})
        for (auto const first : {Fault::lost_request, Fault::lost_reply, Fault::refused}) {
            World world{1, Blocking::nested};
            Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
            auto lock = locks.acquire("a");
            world.script->fail_between(Call::remove, 2, 1000000, Fault::refused);
            world.script->fail(Call::remove, 1, first);
            auto const released = locks.release(std::move(lock));
            CHECK(world.script->calls(Call::remove) > 1);
            CHECK(released.errc() == (first == Fault::refused ? Errc::unavailable : Errc::outcome_unknown));
        }
}

TEST_CASE("Releasing twice is fine, and releasing a lost lock says so", "[interleaving][lease]")
{
    using namespace failing_store;
    for (bool const in_place : {true, false}) {
        World world{1, Blocking::nested};
        Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
        auto lock = locks.acquire("a");
        auto const hold = interlock::LockAccess::hold(lock);
        CHECK(locks.release(lock));
        CHECK(locks.release(lock));
        CHECK(hold->release_and_report());  // the other handle of the same acquisition
        CHECK(world.is_free("a"));

        auto lost = locks.acquire("a");
        REQUIRE(world.store.force_release(interlock::Key{"a"sv}));
        Locks const others{world.repository(1, in_place), {.ttl = 300ms}};
        auto const taken = others.acquire("a");
        CHECK(locks.release(lost).errc() == Errc::lock_lost);
        CHECK(taken.status() == LockStatus::held);
        world.context.run_for(1s);
        CHECK(taken.status() == LockStatus::held);  // the other's record was not touched
    }
}

TEST_CASE("A lease outlives neither a stalled process nor its next call", "[interleaving][lease]")
{
    using namespace failing_store;
    for (bool const in_place : {true, false}) {
        World world{1, Blocking::nested};
        auto const inserted = world.store.insert(Counter{"a", 0});
        REQUIRE(inserted);
        Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
        auto const lock = locks.acquire("a");
        world.context.stall(600ms);  // twice the lease; no alarm could ring
        CHECK(lock.status() == LockStatus::lost);
        CHECK(locks.write(lock, *inserted, Counter{"a", 9}).errc() == Errc::lock_lost);

        interlock::TransactionService const service{Policies{}.lease, locks};
        auto const stalling = [&](Counter& a) {
            world.context.stall(600ms);
            return ++a.value;
        };
        // The lock above is dead, and gives way.
        auto const end = service.try_do_in_transaction("a", stalling);
        CHECK(end.errc() == Errc::lock_lost);
        CHECK(world.value("a") == 0);
        CHECK(service.do_in_transaction("a", [](Counter& a) { return ++a.value; }) == 1);
    }
}

TEST_CASE("A row is loaded again when the look-up after a wait fails", "[interleaving][failing_store]")
{
    using namespace failing_store;
    World world{1, Blocking::nested};
    REQUIRE(world.store.insert(Counter{"a long enough name to live on the heap", 41}));
    interlock::TransactionService const service{Policies{}.row_lock, world.repository(0)};
    world.script->fail(Call::find_operation, 2, Fault::refused);  // the second is the one after the wait
    interlock::Key const key{"a long enough name to live on the heap"sv};
    auto const* const keys = &key;
    std::optional<Outcome<simulation::Repository::transaction_type>> other{
        world.repository(1).load_for_update(std::span{&keys, 1}, interlock::Wait::no, {})};
    REQUIRE(*other);
    world.context.add_timer(1, world.context.now() + 10ms, [&] { other.reset(); });
    auto const end =
        service.try_do_in_transaction(OperationId{"once"}, key, [](Counter& a) { return ++a.value; });
    CHECK(end.errc() == Errc::ok);
    auto const loaded = world.store.load(key);
    REQUIRE(loaded);
    CHECK(loaded->value == Counter{"a long enough name to live on the heap", 42});
}

TEST_CASE("A wake-up during a blocking call is not lost", "[interleaving][failing_store]")
{
    using namespace failing_store;
    World world{1, Blocking::nested};
    REQUIRE(world.store.insert(Counter{"a", 0}));
    interlock::Key const key{"a"sv};
    auto const* const keys = &key;
    std::optional<Outcome<simulation::Repository::transaction_type>> other{
        world.repository(1).load_for_update(std::span{&keys, 1}, interlock::Wait::no, {})};
    REQUIRE(*other);
    // The row becomes free after the waiter was queued and before its call has returned.
    world.script->after = [&](Call call, std::uint64_t) {
        if (call == Call::open_rows && other) {
            world.script->after = nullptr;
            other.reset();
            while (world.context.ready() != 0)
                world.context.step();
        }
    };
    interlock::TransactionService const service{Policies{}.row_lock, world.repository(0, false)};
    auto const start = world.context.now();
    std::optional<Errc> result;
    auto const increment = [](Counter& a) { return ++a.value; };
    service.async_try_do_in_transaction(
        "a", increment, {.deadline = 5s},
        [&](std::exception_ptr, Outcome<std::int64_t> end) { result = end.errc(); });
    while (!result && world.context.step()) {
    }
    CHECK(result == Errc::ok);
    CHECK(world.context.now() - start < 1s);
}
