// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_BLOCKING_WAITER_IPP
#define INTERLOCK_CORE_KIT_IMPL_BLOCKING_WAITER_IPP

#include <interlock/core/kit/blocking_waiter.hpp>

namespace interlock {
inline namespace v0 {

template <Runtime R>
Wakeup BlockingWaiter<R>::wake_later() noexcept
{
    std::lock_guard lock(mutex_);
    if (signal_)
        return Wakeup{signal_};
    woken_ = true;
    return {};
}

template <Runtime R>
void BlockingWaiter<R>::wait_until(TimePoint at)
{
    {
        std::lock_guard lock(mutex_);
        if (!signal_)
            signal_ = std::make_shared<Signal>();
        if (std::exchange(woken_, false))
            return;
    }
    std::unique_lock lock(signal_->mutex);
    while (!signal_->woken && runtime_.now() < at)
        runtime_.wait_until(signal_->changed, lock, at);
    signal_->woken = false;
}

template <class R>
Outcome<typename R::transaction_type> wait_for_rows(
    R const& repository, std::span<Key const* const> keys, Wait wait, Deadline deadline)
{
    for (auto const* key : keys)
        if (!key->valid())
            return key->validate().failure();
    auto const& runtime = repository.runtime();
    BlockingWaiter<typename R::runtime_type> waiter{runtime};
    auto transaction = [&] {
        // One that cannot wait without blocking waits inside of `poll`, so it must know how long.
        if constexpr (requires { repository.open_transaction(keys, deadline); })
            return repository.open_transaction(keys, deadline);
        else
            return repository.open_transaction(keys);
    }();
    TimePoint until{};
    bool pinned = false;
    for (;;) {
        auto step = transaction.poll(wait, waiter);
        if (step.done()) {
            if (step.outcome())
                return transaction;
            return std::move(step.outcome()).failure();
        }
        if (!std::exchange(pinned, true))
            until = deadline.at(runtime.now());
        if (runtime.now() >= until) {
            transaction.abandon();
            return Errc::deadline_exceeded;
        }
        waiter.wait_until(std::min(until, step.wake_at()));
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_BLOCKING_WAITER_IPP
