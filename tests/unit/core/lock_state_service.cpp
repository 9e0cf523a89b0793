// SPDX-License-Identifier: BSL-1.0

// What a `LockStateService` promises on the caller's thread: one holder, order, deadlines, bounds, renewal,
// loss and the budget of hand-ons.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
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
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace lock_state_service_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::eventually;
using interlock_test::ManualRuntime;
using interlock_test::RecordingObserver;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;
using Locks = LockStateService<Stock, Repository>;
using ManualRepository = memory::StateRepository<Stock, void, ManualRuntime>;

Key const sku1{std::string("sku-1")};

Errc code_of(auto call)
{
    try {
        call();
        return Errc::ok;
    } catch (Error const& error) {
        return error.errc();
    }
}

TEST_CASE("one holder at a time, and a released lock is free", "[core][lock_state_service]")
{
    LockStateService const locks{Repository{}};
    auto lock = locks.acquire("sku-1");
    CHECK_FALSE(locks.try_acquire("sku-1"));
    CHECK(locks.try_acquire("sku-2"));
    CHECK(locks.release(lock));
    CHECK_FALSE(lock);
    CHECK(locks.try_acquire("sku-1"));
    CHECK(locks.release(lock));  // twice: nothing to do, and fine
    CHECK(locks.repository().key_count() == 0);
}

TEST_CASE("a later grant has a greater token", "[core][lock_state_service]")
{
    LockStateService const locks{Repository{}};
    FencingToken before;
    for (int i = 0; i < 100; ++i) {
        auto const lock = locks.acquire("sku-1");
        if (!(lock.fencing_token() > before))
            FAIL("the token did not rise");
        before = lock.fencing_token();
    }
    CHECK(before.value() < (std::uint64_t{1} << 53));
}

TEST_CASE("many threads never hold one lock together and each gets it", "[core][lock_state_service]")
{
    RecordingObserver observer;
    LockStateService const locks{Repository{}, LockOptions{.observer = &observer}};
    int unguarded = 0;
    std::atomic<int> inside{0};
    std::atomic<int> together{0};
    std::mutex mutex;
    std::vector<FencingToken> tokens;
    run_threads(8, [&](std::size_t) {
        for (int i = 0; i < 200; ++i) {
            auto const lock = locks.acquire("sku-1", {.deadline = 60s});
            together += inside++ == 0 ? 0 : 1;
            ++unguarded;
            {
                std::lock_guard const guard(mutex);
                tokens.push_back(lock.fencing_token());
            }
            --inside;
        }
    });
    CHECK(together == 0);
    CHECK(unguarded == 1600);
    CHECK(std::adjacent_find(tokens.begin(), tokens.end(), [](auto a, auto b) {
              return !(a < b);
          }) == tokens.end());
    CHECK(observer.acquires().size() == 1600);
    CHECK(observer.releases().size() == 1600);
    for (auto const& event : observer.acquires()) {
        if (event.result != Errc::ok || !event.token || event.local_queue < 0ns || event.store < 0ns ||
            event.wake_up < 0ns || (event.handed_on ? event.store_attempts != 0 : event.store_attempts < 1))
            FAIL("an event makes no sense");
    }
}

TEST_CASE("waiting threads get the lock in the order in which they came", "[core][lock_state_service]")
{
    LockStateService const locks{Repository{}};
    std::optional lock{locks.acquire("sku-1")};
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
            auto const mine = locks.acquire("sku-1", {.deadline = 60s});
            std::lock_guard const guard(mutex);
            order.push_back(i);
        });
        REQUIRE(eventually([&] { return locks.waiter_count() == static_cast<std::size_t>(i) + 1; }));
    }
    lock.reset();
    for (auto& thread : threads)
        thread.join();
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(locks.waiter_count() == 0);
}

TEST_CASE(
    "asking again within an operation on the same key is would_deadlock at once",
    "[core][lock_state_service]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"sku-1", 1}).value());
    Locks const locks{repository};
    TransactionService const service{SetNxLock{}, locks};
    Errc acquired{};
    Errc tried{};
    Errc nested{};
    Errc other{};
    service.do_in_transaction("sku-1", [&](Stock&) {
        acquired = code_of([&] { static_cast<void>(locks.acquire("sku-1", {.deadline = 60s})); });
        tried = code_of([&] { static_cast<void>(locks.try_acquire("sku-1")); });
        nested = code_of([&] { service.do_in_transaction("sku-1", [](Stock&) {}, {.deadline = 60s}); });
        other = code_of([&] { static_cast<void>(locks.acquire("sku-2")); });
    });
    CHECK(acquired == Errc::would_deadlock);
    CHECK(tried == Errc::would_deadlock);
    CHECK(nested == Errc::would_deadlock);
    CHECK(other == Errc::ok);
    CHECK(code_of([&] { static_cast<void>(locks.acquire("sku-1")); }) == Errc::ok);
}

TEST_CASE("a wait ends at its deadline and leaves no trace", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 1h}};
    LockStateService const others{repository, LockOptions{.ttl = 1h}};
    auto const lock = locks.acquire("sku-1");
    runtime.waits_advance(true);
    auto const began = runtime.now();
    CHECK(code_of([&] {
              static_cast<void>(locks.acquire("sku-1", {.deadline = 3s}));
          }) == Errc::deadline_exceeded);
    CHECK(runtime.now() == began + 3s);
    CHECK(code_of([&] {
              static_cast<void>(others.acquire("sku-1", {.deadline = 3s}));
          }) == Errc::deadline_exceeded);
    CHECK(runtime.now() <= began + 6s + 1ms);
    // Finite by default.
    CHECK(code_of([&] { static_cast<void>(locks.acquire("sku-1")); }) == Errc::deadline_exceeded);
    CHECK(locks.waiter_count() == 0);
    CHECK(lock.status() == LockStatus::held);
}

TEST_CASE("a deadline of zero still takes a free lock, and a wait has none", "[core][lock_state_service]")
{
    LockStateService const locks{Repository{}};
    auto const lock = locks.acquire("sku-1", {.deadline = 0s});
    CHECK(lock);
    CHECK(code_of([&] { static_cast<void>(locks.acquire("sku-1", {.deadline = 0s})); }) == Errc::lock_busy);
    CHECK(code_of([&] {
              static_cast<void>(locks.acquire("sku-1", {.deadline = -1s}));
          }) == Errc::deadline_exceeded);
}

TEST_CASE("attempts at the store are bounded by the call and by the service", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 1h}};
    LockStateService const others{repository, LockOptions{.ttl = 1h}};
    LockStateService const few{repository, LockOptions{.ttl = 1h, .max_attempts = 2}};
    auto const lock = locks.acquire("sku-1");
    runtime.waits_advance(true);
    CHECK(code_of([&] {
              static_cast<void>(others.acquire("sku-1", {.deadline = 1h, .max_attempts = 3}));
          }) == Errc::lock_busy);
    CHECK(code_of([&] { static_cast<void>(few.acquire("sku-1", {.deadline = 1h})); }) == Errc::lock_busy);
    CHECK(code_of([&] {
              static_cast<void>(few.acquire("sku-2", {.max_attempts = 0}));
          }) == Errc::invalid_argument);
}

TEST_CASE("more waiters than allowed are overloaded", "[core][lock_state_service]")
{
    LockStateService const locks{Repository{}, LockOptions{.max_waiters = 2}};
    std::optional lock{locks.acquire("sku-1")};
    std::vector<std::thread> threads;
    std::atomic<int> got{0};
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&] {
            auto const mine = locks.acquire("sku-1", {.deadline = 60s});
            ++got;
        });
    REQUIRE(eventually([&] { return locks.waiter_count() == 2; }));
    CHECK(code_of([&] { static_cast<void>(locks.acquire("sku-1", {.deadline = 60s})); }) == Errc::overloaded);
    CHECK(code_of([&] { static_cast<void>(locks.acquire("sku-2")); }) == Errc::ok);
    lock.reset();
    for (auto& thread : threads)
        thread.join();
    CHECK(got == 2);
}

TEST_CASE(
    "options and arguments out of range are refused before the store is asked", "[core][lock_state_service]")
{
    BlockingRepository const repository{Repository{}};
    std::atomic<int> calls{0};
    repository.before_calls([&](std::string_view) { ++calls; });
    auto const refused = [&](LockOptions options, std::string const& what) {
        LockStateService const locks{repository, options};
        auto const outcome = locks.acquire_outcome("sku-1", Wait::no, {});
        return outcome.errc() == Errc::invalid_argument &&
               outcome.detail().find("lock options: " + what) != std::string::npos;
    };
    auto const not_a_number = std::numeric_limits<double>::quiet_NaN();
    CHECK(refused({.ttl = 0s}, "ttl"));
    CHECK(refused({.ttl = -1s}, "ttl"));
    CHECK(refused({.ttl = 1ms}, "ttl"));
    CHECK(refused({.ttl = 25h}, "ttl"));
    CHECK(refused({.ttl = std::chrono::nanoseconds::max()}, "ttl"));
    CHECK(refused({.ttl = std::chrono::duration<double>(not_a_number)}, "ttl"));
    CHECK(refused({.hand_on_time = -1ns}, "hand_on_time"));
    CHECK(refused({.drift = -0.1}, "drift"));
    CHECK(refused({.drift = 0.5}, "drift"));
    CHECK(refused({.drift = not_a_number}, "drift"));
    CHECK(refused({.margin = -1ns}, "margin"));
    CHECK(refused({.poll = {.initial = -1ns}}, "poll"));
    CHECK(refused({.max_attempts = 0}, "max_attempts"));
    CHECK(refused({.hand_on_count = -1}, "hand_on_count"));
    CHECK(refused({.holder = std::string(113, 'x')}, "a holder"));

    LockStateService const locks{repository};
    CHECK(code_of([&] { static_cast<void>(locks.acquire("")); }) == Errc::invalid_argument);
    CHECK(
        code_of([&] { static_cast<void>(locks.acquire(std::string(513, 'x'))); }) == Errc::invalid_argument);
    CHECK(code_of([&] { static_cast<void>(locks.acquire("a\0b")); }) == Errc::invalid_argument);
    auto const refused_acquire = [&](AcquireOptions const& options, std::string_view what) {
        auto const blocking = locks.acquire_outcome("sku-1", Wait::until_deadline, options);
        auto const other =
            locks.async_acquire_outcome("sku-1", Wait::until_deadline, options, boost::asio::use_future)
                .get();
        return blocking.errc() == Errc::invalid_argument && other.errc() == Errc::invalid_argument &&
               blocking.detail().find(what) != std::string_view::npos &&
               other.detail().find(what) != std::string_view::npos;
    };
    CHECK(refused_acquire({.deadline = std::chrono::duration<double>(not_a_number)}, "deadline"));
    CHECK(refused_acquire({.max_attempts = 0}, "max_attempts"));
    CHECK(calls == 0);
}

TEST_CASE("renewal keeps a short lease for much longer", "[core][lock_state_service]")
{
    Repository const repository;
    RecordingObserver observer;
    Locks const locks{repository, LockOptions{.ttl = 900ms, .observer = &observer}};
    Locks const others{repository, LockOptions{.ttl = 900ms}};
    auto lock = locks.acquire("sku-1");
    auto const end = std::chrono::steady_clock::now() + 2s;
    bool held = true;
    bool exclusive = true;
    while (std::chrono::steady_clock::now() < end) {
        held = held && lock.status() == LockStatus::held;
        exclusive = exclusive && !others.try_acquire("sku-1");
        std::this_thread::sleep_for(10ms);
    }
    CHECK(held);
    CHECK(exclusive);
    CHECK(observer.renewals().size() >= 3);
    for (auto const& [code, lag] : observer.renewals()) {
        CHECK(code == Errc::ok);
        CHECK(lag >= 0ns);
    }
    CHECK(locks.release(lock));
    auto const renewals = observer.renewals().size();
    std::this_thread::sleep_for(700ms);
    CHECK(observer.renewals().size() == renewals);  // law P9
}

TEST_CASE(
    "a lock that is taken away is lost at the next renewal, and its holder is told",
    "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    RecordingObserver observer;
    LockStateService const locks{repository, LockOptions{.ttl = 9s, .observer = &observer}};
    LockStateService const others{repository, LockOptions{.ttl = 9s}};

    auto lock = locks.acquire("sku-1");
    auto const token = lock.fencing_token();
    auto const stop = lock.stop_token();
    CHECK(*repository.force_release(sku1) == Removal::removed);
    runtime.advance(3s);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::removed);
    CHECK(stop.stop_requested());
    REQUIRE(observer.lost().size() == 1);
    CHECK(observer.lost()[0] == std::pair{token, LostReason::removed});
    CHECK(locks.release(lock).errc() == Errc::lock_lost);

    auto second = locks.acquire("sku-1");
    static_cast<void>(repository.force_release(sku1));
    auto const thief = others.acquire("sku-1");
    runtime.advance(3s);
    CHECK(second.status() == LockStatus::lost);
    CHECK(second.lost_reason() == LostReason::taken);
    CHECK(locks.release(second).errc() == Errc::lock_lost);
    CHECK(thief.status() == LockStatus::held);  // not touched by the loser's release
    CHECK(others.repository().wanted(sku1, thief.fence().owner) == false);
}

TEST_CASE(
    "a lock without renewal is lost, its release says so, and others get it", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 1s, .renew = false}};
    LockStateService const others{repository, LockOptions{.ttl = 1s, .renew = false}};
    auto lock = locks.acquire("sku-1");
    runtime.advance(980ms);
    CHECK(lock.status() == LockStatus::held);
    runtime.advance(10ms);
    CHECK(lock.status() == LockStatus::lost);  // by its own clock ...
    CHECK_FALSE(others.try_acquire("sku-1"));  // ... before the store gives it to others
    runtime.advance(10ms);
    auto const next = others.try_acquire("sku-1");
    REQUIRE(next);
    CHECK(next->fencing_token() > lock.fencing_token());
    CHECK(locks.release(lock).errc() == Errc::lock_lost);
    CHECK(next->status() == LockStatus::held);
}

TEST_CASE("a guarded write is applied under the lock and refused after it", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 9s, .renew = false}};
    LockStateService const others{repository, LockOptions{.ttl = 9s}};
    auto const lock = locks.acquire("sku-1");
    auto const first = locks.write(lock, no_version, Stock{"sku-1", 1});
    REQUIRE(first);
    CHECK(locks.write(lock, no_version, Stock{"sku-1", 2}).errc() == Errc::already_exists);
    auto const second = locks.write(lock, *first, Stock{"sku-1", 2});
    REQUIRE(second);
    CHECK(*second > *first);
    CHECK(locks.write(lock, *first, Stock{"sku-1", 3}).errc() == Errc::version_conflict);
    // Not what was locked.
    CHECK(locks.write(lock, no_version, Stock{"sku-2", 3}).errc() == Errc::fenced_out);

    static_cast<void>(repository.force_release(sku1));
    CHECK(locks.write(lock, *second, Stock{"sku-1", 4}).errc() == Errc::fenced_out);
    auto const next = others.acquire("sku-1");
    CHECK(locks.write(lock, *second, Stock{"sku-1", 4}).errc() == Errc::fenced_out);
    CHECK(others.write(next, *second, Stock{"sku-1", 5}));
    runtime.advance(1min);
    CHECK(locks.write(lock, *second, Stock{"sku-1", 4}).errc() == Errc::lock_lost);
    CHECK(locks.write({}, *second, Stock{"sku-1", 4}).errc() == Errc::lock_lost);
    CHECK(repository.load("sku-1")->value.quantity == 5);
}

TEST_CASE("what is refused for the sake of a lock says why", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 9s, .renew = false}};
    auto lock = locks.acquire("sku-1");
    auto const refused = [&] { return locks.write(lock, no_version, Stock{"sku-1", 1}).message(); };

    CHECK(
        locks.write(lock, Version{7}, Stock{"sku-1", 1}).message() ==
        "not_found: memory: there is no value under this key");
    static_cast<void>(repository.force_release(sku1));
    CHECK(
        refused() ==
        "fenced_out: memory: the lock record names another acquisition, or there is none; "
        "nothing was written");
    runtime.advance(1min);
    CHECK(refused() == "lock_lost: memory: the lease ended before a renewal was confirmed");
    CHECK(lock.ensure(1s).message() == refused());
    CHECK(
        locks.release(lock).message() ==
        "lock_lost: memory: the lease ended, or could not be renewed in time");
    CHECK(refused() == "lock_lost: the lock was released, or never acquired");
}

TEST_CASE("two services on one store exclude each other and neither starves", "[core][lock_state_service]")
{
    Repository const repository;
    Locks const a{repository, LockOptions{.hand_on_count = 4}};
    Locks const b{repository, LockOptions{.hand_on_count = 4}};
    std::atomic<int> inside{0};
    std::atomic<int> together{0};
    std::atomic<bool> stop{false};
    std::array<std::atomic<int>, 2> got{};
    std::thread timer([&] {
        eventually([&] { return got[0] > 200 && got[1] > 200; });
        stop = true;
    });
    run_threads(6, [&](std::size_t i) {
        auto const& locks = i % 2 == 0 ? a : b;
        while (!stop) {
            auto const lock = locks.acquire("sku-1", {.deadline = 60s});
            together += inside++ == 0 ? 0 : 1;
            ++got[i % 2];
            --inside;
        }
    });
    timer.join();
    CHECK(together == 0);
    // Without the budget the service that has the lock would hand it on among its own threads for ever.
    CHECK(got[0] > 200);
    CHECK(got[1] > 200);
}

TEST_CASE(
    "the hand-on budget bounds local grants once somebody elsewhere waits", "[core][lock_state_service]")
{
    Repository const repository;
    Locks const a{repository, LockOptions{.hand_on_count = 3, .hand_on_time = 1h}};
    Locks const b{repository};
    std::optional lock{a.acquire("sku-1")};
    std::atomic<int> local{0};
    std::atomic<int> local_before_other{-1};
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i)
        threads.emplace_back([&] {
            auto const mine = a.acquire("sku-1", {.deadline = 60s});
            ++local;
        });
    threads.emplace_back([&] {
        auto const mine = b.acquire("sku-1", {.deadline = 60s});
        local_before_other = local.load();
    });
    REQUIRE(
        eventually([&] { return a.waiter_count() == 10 && repository.wanted(sku1, lock->fence().owner); }));
    lock.reset();
    for (auto& thread : threads)
        thread.join();
    CHECK(local == 10);
    CHECK(local_before_other >= 0);
    CHECK(local_before_other <= 3);
}

TEST_CASE("a lock may be released on another thread, and outlives its service", "[core][lock_state_service]")
{
    Repository const repository;
    std::optional<Locks> locks{std::in_place, repository};
    auto lock = locks->acquire("sku-1");
    locks.reset();
    CHECK(lock.status() == LockStatus::held);
    std::thread([other = std::move(lock)]() mutable { other = {}; }).join();
    CHECK(repository.key_count() == 0);
}

/// Grants other leases than it is asked for, as stores with coarse ones do.
class Coarse : public BlockingRepository<Repository> {
public:
    explicit Coarse(std::chrono::nanoseconds granted)
        : BlockingRepository<Repository>(Repository{}), granted_(granted)
    {}
    using BlockingRepository<Repository>::carry_out;
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        auto grant = BlockingRepository<Repository>::carry_out(
            verb::Create{create.key, create.owner, Ttl{granted_}}, deadline);
        if (grant)
            grant->ttl = granted_;
        return grant;
    }
    Outcome<GrantAndState<Stock>> carry_out(verb::CreateAndLoad<Stock> const& create, Deadline deadline) const
    {
        auto both = BlockingRepository<Repository>::carry_out(
            verb::CreateAndLoad<Stock>{create.key, create.owner, Ttl{granted_}}, deadline);
        if (both)
            both->grant.ttl = granted_;
        return both;
    }

private:
    std::chrono::nanoseconds granted_;
};

TEST_CASE("a lock is valid for what was granted, not for what was asked", "[core][lock_state_service]")
{
    LockStateService<Stock, Coarse> const longer{Coarse{20s}, LockOptions{.ttl = 1s, .renew = false}};
    auto const lock = longer.acquire("sku-1");
    CHECK(lock.remaining() > 15s);
    CHECK(lock.remaining() <= 20s);
    LockStateService<Stock, Coarse> const shorter{Coarse{100ms}, LockOptions{.ttl = 1h, .renew = false}};
    auto const brief = shorter.acquire("sku-1");
    CHECK(brief.remaining() <= 100ms);
    CHECK(eventually([&] { return brief.status() == LockStatus::lost; }));
}

}  // namespace lock_state_service_test
