// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP

#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL void SystemRuntime::wait_until(
    std::condition_variable& cv, std::unique_lock<std::mutex>& lock, TimePoint at)
{
    detail::WithoutCancellation const whole;
    auto const left = at - now();
    if (left.count() > 0)
        cv.wait_for(lock, left < longest_wait ? left : longest_wait);
}

INTERLOCK_DECL void SystemRuntime::sleep_until(TimePoint at)
{
    detail::WithoutCancellation const whole;
    for (auto left = at - now(); left.count() > 0; left = at - now())
        std::this_thread::sleep_for(left < longest_wait ? left : longest_wait);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP
