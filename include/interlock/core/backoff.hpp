// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_BACKOFF_HPP
#define INTERLOCK_CORE_BACKOFF_HPP

/// @file
/// How long to wait before trying again.

#include <interlock/fwd.hpp>

#include <chrono>
#include <cstdint>

namespace interlock {
inline namespace v0 {

/// Full jitter: before retry *n* (counted from 1) wait a time drawn evenly from
/// `[0, min(cap, initial * 2^(n-1-immediate))]`. The draw comes *after* capping, so that callers stay spread
/// out at the cap as well. Source: M. Brooker, "Exponential Backoff And Jitter", AWS 2015.
struct Backoff {
    /// Upper end of the first random wait. Must not be negative.
    std::chrono::nanoseconds initial{std::chrono::microseconds{100}};
    /// No wait is longer. Must not be below `initial`.
    std::chrono::nanoseconds cap{std::chrono::milliseconds{50}};
    /// That many first retries do not wait at all.
    int immediate{1};

    constexpr bool valid() const noexcept
    {
        return initial.count() >= 0 && cap >= initial && immediate >= 0;
    }

    /// The longest wait before retry `n` (from 1).
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

    /// The wait before retry `n` (from 1), given 64 random bits.
    constexpr std::chrono::nanoseconds delay(int n, std::uint64_t random) const noexcept
    {
        auto const span = static_cast<std::uint64_t>(limit(n).count()) + 1;
        // High half of the 128-bit product: even over [0, span) to within 2^-64, without a division.
        __extension__ using Wide = unsigned __int128;
        return std::chrono::nanoseconds{static_cast<std::int64_t>((static_cast<Wide>(random) * span) >> 64)};
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_BACKOFF_HPP
