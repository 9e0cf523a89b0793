// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_BACKOFF_HPP
#define INTERLOCK_CORE_BACKOFF_HPP

/// @file
/// How long a policy waits before it tries again.
///
///     interlock::OptimisticVersioning policy{.backoff = {.initial = 200us, .cap = 20ms}};
///
/// No clock and no source of randomness is read here: the caller brings the random bits, so that a test can
/// choose them.

#include <interlock/fwd.hpp>

#include <chrono>
#include <cstdint>

namespace interlock {
inline namespace v0 {

/// Exponential backoff with full jitter. Before retry *n* (counted from 1) a caller waits for a time that is
/// drawn evenly from `[0, min(cap, initial * 2^(n-1-immediate))]`. The draw comes *after* the capping, so
/// that callers stay spread out once they have reached the cap. Source: M. Brooker, "Exponential Backoff And
/// Jitter", AWS 2015.
///
/// **Does not guarantee.** A total time: the deadline of the call bounds how long all retries take together.
struct Backoff {
    /// The upper end of the first random wait. A negative value makes the backoff invalid.
    std::chrono::nanoseconds initial{std::chrono::microseconds{100}};
    /// No single wait is longer than `cap`. A value below `initial` makes the backoff invalid.
    std::chrono::nanoseconds cap{std::chrono::milliseconds{50}};
    /// So many retries come first without any wait. A negative value makes the backoff invalid.
    int immediate{1};

    /// Whether all three values are in range. The services refuse an invalid backoff with `invalid_argument`.
    constexpr bool valid() const noexcept { return initial.count() >= 0 && cap >= initial && immediate >= 0; }

    /// The longest wait before retry `n`, counted from 1.
    constexpr std::chrono::nanoseconds limit(int n) const noexcept
    {
        if (n <= immediate || initial.count() == 0)
            return std::chrono::nanoseconds{0};
        auto ns = initial.count();
        for (int i = 1 + immediate; i < n; ++i) {
            if (ns >= cap.count() / 2 + 1)
                return cap;
            ns *= 2;
        }
        return ns < cap.count() ? std::chrono::nanoseconds{ns} : cap;
    }

    /// The wait before retry `n`, counted from 1. `random`: 64 random bits, which decide where between zero
    /// and `limit(n)` the wait lies.
    constexpr std::chrono::nanoseconds delay(int n, std::uint64_t random) const noexcept
    {
        auto const span = static_cast<std::uint64_t>(limit(n).count()) + 1;
        // The high half of the 128-bit product lies evenly in [0, span), to within 2^-64, and costs no
        // division.
        __extension__ using Wide = unsigned __int128;
        return std::chrono::nanoseconds{static_cast<std::int64_t>((static_cast<Wide>(random) * span) >> 64)};
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_BACKOFF_HPP
