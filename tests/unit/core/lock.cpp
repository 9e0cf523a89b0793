// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/lock_state_service.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"

#include <chrono>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace lock_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock, void, ManualRuntime>;

template <class L>
concept HasToken =
    requires(L const& lock) { lock.fencing_token(); } || requires(L const& lock) { lock.fence(); };
template <class L>
constexpr bool has_token = HasToken<L>;

struct World {
    ManualRuntime runtime;
    Repository repository{{}, runtime};
    LockStateService<Stock, Repository> locks{
        repository, LockOptions{.ttl = 10s, .drift = 0.01, .margin = 100ms}};
    LockStateService<Stock, Repository> fading{
        repository, LockOptions{.ttl = 10s, .renew = false, .drift = 0.01, .margin = 100ms}};
    // Law P6: ttl * (1 - drift) - margin.
    static constexpr auto usable = 9800ms;
};

TEST_CASE("an empty handle is lost and releases nothing", "[core][lock]")
{
    Lock<Stock> lock;
    CHECK_FALSE(lock);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::released);
    CHECK(lock.remaining() == 0ns);
    CHECK_FALSE(lock.fencing_token());
    CHECK_FALSE(lock.fence().owner);
    CHECK_FALSE(lock.stop_token().stop_possible());
    CHECK(lock.ensure(1ns).errc() == Errc::lock_lost);
}

TEST_CASE("a lock says what it locks and how long it may be believed", "[core][lock]")
{
    World world;
    auto const lock = world.locks.acquire("sku-1");
    CHECK(lock);
    CHECK(lock.state() == Stock{"sku-1", 0});
    CHECK(lock.status() == LockStatus::held);
    CHECK(lock.lost_reason() == LostReason::none);
    CHECK(lock.remaining() == World::usable);
    CHECK(lock.fencing_token());
    CHECK(world.locks.acquire(Stock{"sku-2", 5}).state().quantity == 5);
}

TEST_CASE(
    "a lock that is not renewed says lock_lost at the end of its lease less drift and margin", "[core][lock]")
{
    World world;
    auto const lock = world.fading.acquire("sku-1");
    auto const stop = lock.stop_token();
    world.runtime.advance(World::usable - 1ns);
    CHECK(lock.status() == LockStatus::held);
    CHECK(lock.remaining() == 1ns);
    CHECK_FALSE(stop.stop_requested());
    world.runtime.advance(1ns);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::expired);
    CHECK(lock.remaining() == 0ns);
    CHECK(stop.stop_requested());
    CHECK(lock.stop_token().stop_requested());
}

TEST_CASE("a lock is renewed at a third of its lease for as long as it is held", "[core][lock]")
{
    World world;
    auto lock = world.locks.acquire("sku-1");
    world.runtime.advance(3333ms);
    CHECK(lock.remaining() == World::usable - 3333ms);
    world.runtime.advance(1ms);
    CHECK(lock.remaining() > World::usable - 2ms);
    world.runtime.advance(10min);
    CHECK(lock.status() == LockStatus::held);
    CHECK(world.locks.release(lock));
    CHECK(world.runtime.armed() <= 1);
    world.runtime.advance(1h);
    CHECK(world.runtime.armed() == 0);  // law P9: nothing is renewed any more
}

TEST_CASE(
    "ensure() renews when too little of the lease is left, and refuses a time that no lease can have",
    "[core][lock]")
{
    World world;
    auto lock = world.fading.acquire("sku-1");
    world.runtime.advance(5s);
    CHECK(lock.ensure(1s));
    CHECK(lock.remaining() == World::usable - 5s);
    CHECK(lock.ensure(9s));
    CHECK(lock.remaining() == World::usable);
    CHECK(lock.ensure(11s).errc() == Errc::invalid_argument);
    world.runtime.advance(1min);
    CHECK(lock.ensure(1ns).errc() == Errc::lock_lost);
}

TEST_CASE(
    "check throws lock_lost from the moment at which the lease may be over, and names store and reason",
    "[core][lock]")
{
    World world;
    auto lock = world.fading.acquire("sku-1");
    CHECK_NOTHROW(lock.check());
    world.runtime.advance(World::usable - 1ns);
    CHECK_NOTHROW(lock.check());
    world.runtime.advance(1ns);
    try {
        lock.check();
        FAIL("no exception");
    } catch (Error const& error) {
        CHECK(error.errc() == Errc::lock_lost);
        CHECK(error.effect() == Effect::not_applied);
        CHECK(error.message() == "lock_lost: memory: the lease ended before a renewal was confirmed");
    }
    CHECK_THROWS_AS(Lock<Stock>{}.check(), Error);
    EfficiencyLockStateService<Stock, Repository> const efficient{world.repository};
    CHECK_NOTHROW(efficient.acquire("sku-2").check());
}

TEST_CASE(
    "release gives the lock back, says whether it was still held, and leaves the handle empty",
    "[core][lock]")
{
    World world;
    auto lock = world.locks.acquire("sku-1");
    CHECK(lock.release());
    CHECK_FALSE(lock);
    CHECK(lock.release());  // a second time is no mistake
    CHECK(lock.lost_reason() == LostReason::released);
    auto fading = world.fading.acquire("sku-1");
    world.runtime.advance(1min);
    CHECK(fading.release().errc() == Errc::lock_lost);
    EfficiencyLockStateService<Stock, Repository> const efficient{world.repository};
    auto other = efficient.acquire("sku-2");
    CHECK(other.release());
    CHECK(world.locks.try_acquire("sku-2"));
}

TEST_CASE("ensure() notices that the lock was taken away", "[core][lock]")
{
    World world;
    auto lock = world.locks.acquire("sku-1");
    CHECK(*world.repository.force_release(Key{std::string("sku-1")}) == Removal::removed);
    CHECK(lock.status() == LockStatus::held);  // nobody has told it yet
    CHECK(lock.ensure(9799ms));
    world.runtime.advance(1s);
    CHECK(lock.ensure(9799ms).errc() == Errc::lock_lost);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::removed);
}

TEST_CASE("a lock can be moved but not copied, and the one that was moved from holds nothing", "[core][lock]")
{
    static_assert(!std::is_copy_constructible_v<Lock<Stock>> && !std::is_copy_assignable_v<Lock<Stock>>);
    static_assert(std::is_nothrow_move_constructible_v<Lock<Stock>>);
    World world;
    auto first = world.locks.acquire("sku-1");
    auto const token = first.fencing_token();
    auto second = std::move(first);
    CHECK_FALSE(first);
    CHECK(first.status() == LockStatus::lost);
    CHECK(second.fencing_token() == token);
    CHECK_FALSE(world.locks.try_acquire("sku-1"));

    auto other = world.locks.acquire("sku-2");
    other = std::move(second);  // gives sku-2 back, keeps sku-1
    CHECK(world.locks.try_acquire("sku-2"));
    CHECK_FALSE(world.locks.try_acquire("sku-1"));
    CHECK(other.state().sku == "sku-1");
    other = Lock<Stock>{};
    CHECK(world.locks.try_acquire("sku-1"));
}

TEST_CASE("the destructor gives the lock back, and a stop token outlives it", "[core][lock]")
{
    World world;
    std::stop_token token;
    {
        auto const lock = world.locks.acquire("sku-1");
        token = lock.stop_token();
    }
    CHECK_FALSE(token.stop_requested());  // released, not lost
    CHECK(world.locks.try_acquire("sku-1"));
}

TEST_CASE("an efficiency lock has no fencing token", "[core][lock]")
{
    World world;
    EfficiencyLockStateService<Stock, Repository> const jobs{world.repository, LockOptions{.ttl = 10s}};
    auto const lock = jobs.acquire("sku-1");
    static_assert(std::is_same_v<decltype(lock), EfficiencyLock<Stock> const>);
    static_assert(decltype(lock)::assurance == Assurance::efficiency);
    CHECK_FALSE(has_token<EfficiencyLock<Stock>>);
    CHECK(has_token<Lock<Stock>>);
    CHECK(lock.status() == LockStatus::held);
    CHECK_FALSE(jobs.try_acquire("sku-1"));
}

}  // namespace lock_test
