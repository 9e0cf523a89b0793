// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_HUB_HPP
#define INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_HUB_HPP

/// @file
/// Where a run of a subscription waits.

#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Where those wait who have nothing to do: threads until the count of changes is another one, an
/// asynchronous operation until it is woken.
class SubscriptionHub {
public:
    SubscriptionHub() = default;
    SubscriptionHub(SubscriptionHub const&) = delete;
    SubscriptionHub& operator=(SubscriptionHub const&) = delete;

    std::uint64_t count() const
    {
        std::lock_guard const lock(mutex_);
        return count_;
    }
    void change() noexcept
    {
        std::lock_guard const lock(mutex_);
        ++count_;
        changed_.notify_all();
        if (waiter_ != nullptr)
            waiter_->wake();
    }
    /// Until something has changed since `count` was read, or `until`.
    template <Runtime R>
    void wait(R const& runtime, std::uint64_t count, TimePoint until)
    {
        std::unique_lock lock(mutex_);
        while (count_ == count && runtime.now() < until)
            runtime.wait_until(changed_, lock, until);
    }
    /// `waiter` is woken by changes. Null: nobody is, once this has returned.
    void wakes(Waiter* waiter) noexcept
    {
        std::lock_guard const lock(mutex_);
        waiter_ = waiter;
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t count_{0};
    Waiter* waiter_{nullptr};
};

/// Wakes those who wait at a hub when a stop is requested.
class HubWaiter final : public Waiter {
public:
    explicit HubWaiter(SubscriptionHub& hub) noexcept : hub_(hub) {}
    void wake() noexcept override { hub_.change(); }

private:
    SubscriptionHub& hub_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_HUB_HPP
