// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_BLOCKING_WAITER_HPP
#define INTERLOCK_CORE_KIT_BLOCKING_WAITER_HPP

/// @file
/// A waiter that blocks the thread it was made on: what synchronous calls wait with. A policy that waits in
/// steps is driven by a loop:
///
///     BlockingWaiter waiter{runtime};
///     for (auto step = transaction.begin(waiter); !step.done(); step = transaction.begin(waiter))
///         waiter.wait_until(std::min(deadline, step.wake_at()));
///
/// A wake-up that comes before the wait is not lost: the wait then returns at once.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Blocks a thread until woken. The object must stay until no queue knows it any more.
///
/// **Thread safety.** `wake` and `wake_later` may be called from any thread, `wait_until` by the one that
/// waits.
/// **Cost.** A waiter that never waits allocates nothing; the first wait makes what is waited for.
template <Runtime R>
class BlockingWaiter final : public Waiter {
public:
    /// Waits by the clock of `runtime`.
    explicit BlockingWaiter(R runtime) : runtime_(std::move(runtime)) {}

    /// Ends the wait that is under way, or the next one.
    void wake() noexcept override { static_cast<void>(wake_later()); }

    /// As `wake`, once the caller lets the result go: for a caller that holds a mutex which the woken thread
    /// would need.
    Wakeup wake_later() noexcept override;

    /// Returns when woken since the last call, or at `at`.
    void wait_until(TimePoint at);

private:
    // What is waited for. Made by the first wait (most calls never wait), and shared with those who are about
    // to wake.
    struct Signal final : Waiter {
        void wake() noexcept override
        {
            {
                std::lock_guard lock(mutex);
                woken = true;
            }
            changed.notify_one();
        }
        std::mutex mutex;
        std::condition_variable changed;
        bool woken{false};
    };

    R runtime_;
    std::mutex mutex_;
    std::shared_ptr<Signal> signal_;  // set once, under the mutex
    bool woken_{false};               // before there was a signal
};

namespace detail {

/// Wakes a waiter, for as long as this lives, when a stop is requested. A token that no source can stop costs
/// nothing. The destructor waits for a wake-up that is under way on another thread.
class WakeOnStop {
public:
    WakeOnStop(std::stop_token const& stop, Waiter& waiter) : callback_(stop, Wake{&waiter}) {}
    WakeOnStop(WakeOnStop const&) = delete;
    WakeOnStop& operator=(WakeOnStop const&) = delete;

private:
    struct Wake {
        void operator()() const noexcept { waiter->wake(); }
        Waiter* waiter;
    };
    std::stop_callback<Wake> callback_;
};

}  // namespace detail

/// Whether a row transaction of R can be waited for without blocking: opened first, then polled.
template <class R>
inline constexpr bool polls_rows =
    requires(R r, typename R::transaction_type tx, std::span<Key const* const> keys, Waiter& waiter) {
        tx.poll(Wait::no, waiter);
        tx.abandon();
        r.open_transaction(keys);
    };

/// `load_for_update` for repositories whose transactions can be polled: blocks the calling thread. A key out
/// of range is `invalid_argument`.
template <class R>
Outcome<typename R::transaction_type> wait_for_rows(
    R const& repository, std::span<Key const* const> keys, Wait wait, Deadline deadline);

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/blocking_waiter.ipp>

#endif  // INTERLOCK_CORE_KIT_BLOCKING_WAITER_HPP
