// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_ALARM_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_ALARM_IPP

#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL AlarmClock& AlarmClock::instance()
{
    // Its thread goes on until the process ends.
    return immortal_of_process<AlarmClock>();
}

INTERLOCK_DECL void AlarmClock::arm(Alarm& alarm, TimePoint at)
{
    bool wake = false;
    {
        std::lock_guard lock(mutex_);
        if (!started_) {
            std::thread([this] { run(); }).detach();
            started_ = true;
        }
        take_back(alarm);
        AlarmAccess::at(alarm) = at;
        AlarmAccess::queue(alarm) = this;
        AlarmAccess::armed(alarm) = true;
        queue_.insert(alarm);
        wake = at < sleeping_until_;
    }
    if (wake)
        changed_.notify_one();
}

INTERLOCK_DECL bool AlarmClock::disarm(Alarm& alarm) noexcept
{
    std::lock_guard lock(mutex_);
    return take_back(alarm);
}

INTERLOCK_DECL void AlarmClock::cancel(Alarm& alarm) noexcept
{
    WithoutCancellation const whole;
    std::unique_lock lock(mutex_);
    take_back(alarm);
    if (std::this_thread::get_id() != thread_)
        returned_.wait(lock, [&] { return ringing_ != &alarm; });
}

INTERLOCK_DECL bool AlarmClock::take_back(Alarm& alarm) noexcept
{
    if (!AlarmAccess::armed(alarm))
        return false;
    // An alarm that was armed before a fork is in the parent's queue.
    if (AlarmAccess::queue(alarm) == this)
        queue_.erase(queue_.iterator_to(alarm));
    AlarmAccess::armed(alarm) = false;
    return true;
}

INTERLOCK_DECL void AlarmClock::run()
{
    std::unique_lock lock(mutex_);
    thread_ = std::this_thread::get_id();
    for (;;) {
        sleeping_until_ = TimePoint::max();
        if (queue_.empty()) {
            changed_.wait(lock);
            continue;
        }
        auto& alarm = *queue_.begin();
        auto const at = AlarmAccess::at(alarm);
        auto const now = boottime_now();
        if (now < at) {
            sleeping_until_ = at;
            changed_.wait_for(lock, at - now);
            continue;
        }
        take_back(alarm);
        ringing_ = &alarm;
        lock.unlock();
        alarm.ring();
        lock.lock();
        ringing_ = nullptr;
        returned_.notify_all();
    }
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_ALARM_IPP
