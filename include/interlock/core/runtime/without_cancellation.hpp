// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_WITHOUT_CANCELLATION_HPP
#define INTERLOCK_CORE_RUNTIME_WITHOUT_CANCELLATION_HPP

/// @file
/// Keeps the cancellation of a thread (`pthread_cancel`) out of the library's own waits.
///
///     WithoutCancellation const whole;
///     auto const ready = ::ppoll(polled.data(), 2, &time, nullptr);

#include <pthread.h>

namespace interlock {
inline namespace v0 {
namespace detail {

/// While an object of this class lives, `pthread_cancel` of its thread waits. For the library's own waits and
/// exchanges: many of them are in functions that must not throw, and each ends by its deadline anyway.
class WithoutCancellation {
public:
    WithoutCancellation() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    WithoutCancellation(WithoutCancellation const&) = delete;
    WithoutCancellation& operator=(WithoutCancellation const&) = delete;
    ~WithoutCancellation() { pthread_setcancelstate(before_, nullptr); }

private:
    int before_{PTHREAD_CANCEL_ENABLE};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_WITHOUT_CANCELLATION_HPP
