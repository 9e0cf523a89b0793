// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_ASSERTION_HPP
#define INTERLOCK_CORE_KIT_ASSERTION_HPP

/// @file
/// `INTERLOCK_ASSERT(condition, text)`: what must hold here, said to the compiler and not only to the reader.
///
/// A debug build (`NDEBUG` is not defined) and a build with the address or thread sanitizer check the
/// condition. When it does not hold they print `text` and end the program. Every other build does not
/// evaluate the condition at all.
///
///     void take_back(Alarm& alarm)  // the caller holds the mutex
///     {
///         INTERLOCK_ASSERT(is_locked(mutex_), "the queue is changed under its mutex");
///
/// The text says what must hold, as a sentence that a reader of the source needs anyway.

#include <interlock/separate_compilation.hpp>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERLOCK_ASSERTS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERLOCK_ASSERTS 1
#endif
#endif

#ifdef INTERLOCK_ASSERTS
#define INTERLOCK_ASSERT(condition, text) \
    ((condition) ? static_cast<void>(0)   \
                 : ::interlock::detail::assertion_failed(#condition, text, __FILE__, __LINE__))
#else
#define INTERLOCK_ASSERT(condition, text) static_cast<void>(0)
#endif

namespace interlock {
inline namespace v0 {
namespace detail {

/// Prints where and what, and ends the program.
[[noreturn]] void assertion_failed(
    char const* condition, char const* text, char const* file, int line) noexcept;

/// Whether some thread holds `mutex`; for assertions only. POSIX defines this for the holder, too: the
/// attempt fails.
inline bool is_locked(std::mutex& mutex) noexcept
{
    if (!mutex.try_lock())
        return true;
    mutex.unlock();
    return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/assertion.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_ASSERTION_HPP
