// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_UNWOUND_HPP
#define INTERLOCK_TESTS_SUPPORT_UNWOUND_HPP

/// @file
/// A thread that is cancelled by `pthread_cancel` at a place of the test's choice.

#include <pthread.h>
#include <unistd.h>

namespace interlock_test {

/// The place where the thread is cancelled.
struct CancelHere {
    /// Cancels this thread: it does not return.
    void operator()() const
    {
        soon();
        for (;;)
            ::pthread_testcancel();
    }
    /// Asks for the cancellation, which acts at the next place of the system's where it can.
    void soon() const { ::pthread_cancel(::pthread_self()); }
};

/// Runs `f(here)` on a thread of its own. True: the thread was cancelled; false: it returned.
template <class F>
bool cancelled_in(F const& f)
{
    pthread_t thread{};
    auto const start = [](void* argument) -> void* {
        (*static_cast<F const*>(argument))(CancelHere{});
        return nullptr;
    };
    if (::pthread_create(&thread, nullptr, start, const_cast<void*>(static_cast<void const*>(&f))) != 0)
        return false;
    void* result = nullptr;
    ::pthread_join(thread, &result);
    return result == PTHREAD_CANCELED;
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_UNWOUND_HPP
