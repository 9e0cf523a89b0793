// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_LOCK_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_LOCK_IPP

#include <interlock/core/lock.hpp>

#include <algorithm>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL char const* meaning_of(LostReason reason) noexcept
{
    switch (reason) {
    case LostReason::none: return "the lock is held";
    case LostReason::expired: return "the lease ended before a renewal was confirmed";
    case LostReason::taken: return "somebody else has been given the lock";
    case LostReason::removed: return "the lock's record was removed from the store";
    case LostReason::released: break;
    }
    return "the lock was released, or never acquired";
}

INTERLOCK_DECL std::string Hold::place() const
{
    return {};
}

INTERLOCK_DECL bool Hold::neglect() noexcept
{
    auto open = Offer::open;
    return offer_.compare_exchange_strong(open, Offer::neglected, std::memory_order_acq_rel) ||
           open == Offer::neglected;
}

INTERLOCK_DECL Failure Hold::lost() const
{
    auto text = place();
    if (!text.empty())
        text += ": ";
    return Failure{Errc::lock_lost, text + meaning_of(lost_reason())};
}

INTERLOCK_DECL void Hold::lose(LostReason reason) noexcept
{
    auto none = LostReason::none;
    if (!reason_.compare_exchange_strong(none, reason, std::memory_order_acq_rel))
        return;
    if (reason == LostReason::released)
        return;
    std::stop_source stop{std::nostopstate};
    {
        std::lock_guard lock(mutex_);
        if (stop_)
            stop = *stop_;
        if (listener_ != nullptr)
            listener_->wake();
    }
    stop.request_stop();
}

INTERLOCK_DECL std::stop_token Hold::stop_token()
{
    std::lock_guard lock(mutex_);
    if (!stop_)
        stop_.emplace();
    auto const reason = reason_.load(std::memory_order_acquire);
    if (reason != LostReason::none && reason != LostReason::released)
        stop_->request_stop();
    return stop_->get_token();
}

INTERLOCK_DECL std::chrono::nanoseconds LockHandleBase::remaining() const noexcept
{
    if (status() == LockStatus::lost)
        return std::chrono::nanoseconds{0};
    auto const left = hold_->valid_until() - hold_->now();
    return left.count() > 0 ? left : std::chrono::nanoseconds{0};
}

INTERLOCK_DECL Outcome<void> LockHandleBase::ensure(std::chrono::nanoseconds duration)
{
    if (status() == LockStatus::lost)
        return lost();
    if (remaining() >= duration)
        return success();
    auto renewed = hold_->renew_now(Deadline{std::min(hold_->valid_until(), Deadline{}.at(hold_->now()))});
    if (!renewed)
        return renewed;
    if (remaining() >= duration)
        return success();
    return Failure{Errc::invalid_argument, "ensure: the duration is longer than a whole lease"};
}

INTERLOCK_DECL Failure LockHandleBase::lost() const
{
    return hold_ ? hold_->lost() : Failure{Errc::lock_lost, meaning_of(LostReason::released)};
}

INTERLOCK_DECL void LockHandleBase::check() const
{
    if (status() == LockStatus::lost)
        lost().raise();
}

INTERLOCK_DECL Outcome<void> LockHandleBase::release()
{
    auto const hold = std::move(hold_);
    return hold ? hold->release_and_report() : success();
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_LOCK_IPP
