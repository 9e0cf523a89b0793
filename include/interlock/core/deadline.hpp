// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DEADLINE_HPP
#define INTERLOCK_CORE_DEADLINE_HPP

/// @file
/// When an operation must have ended, what may end it earlier, and how long a lease lives. No clock is read
/// here.

#include <interlock/fwd.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <ratio>
#include <stop_token>
#include <type_traits>

namespace interlock {
inline namespace v0 {

/// The time line of deadlines and leases: monotonic, counts suspend, unrelated to wall clocks and to other
/// machines. A tag: only a `Runtime` can read it.
struct MonotonicClock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<MonotonicClock, duration>;
    static constexpr bool is_steady = true;
};

using TimePoint = MonotonicClock::time_point;

namespace detail {

/// Any duration as nanoseconds, clamped to what 63 bits hold; `valid` is false for NaN only.
struct Nanoseconds {
    std::chrono::nanoseconds value{0};
    bool valid{true};
};

template <class Rep, class Period>
constexpr Nanoseconds saturate(std::chrono::duration<Rep, Period> d) noexcept
{
    using std::chrono::nanoseconds;
    if constexpr (std::is_floating_point_v<Rep>) {
        if (d.count() != d.count())
            return {nanoseconds{0}, false};
        long double const ns = static_cast<long double>(d.count()) * Period::num / Period::den * 1e9L;
        if (ns >= 9.2233720368547758e18L)
            return {nanoseconds::max(), true};
        if (ns <= -9.2233720368547758e18L)
            return {nanoseconds::min(), true};
        return {nanoseconds{static_cast<nanoseconds::rep>(ns)}, true};
    } else {
        using Ratio = std::ratio_divide<Period, std::nano>;
        __extension__ using Wide = __int128;  // 63 bits times any ratio that a 64-bit one can hold
        auto const ns = static_cast<Wide>(d.count()) * Ratio::num / Ratio::den;
        if (ns > static_cast<Wide>(nanoseconds::max().count()))
            return {nanoseconds::max(), true};
        if (ns < static_cast<Wide>(nanoseconds::min().count()))
            return {nanoseconds::min(), true};
        return {nanoseconds{static_cast<nanoseconds::rep>(ns)}, true};
    }
}

/// `a + b` that stays at the ends of the time line instead of overflowing.
constexpr TimePoint add(TimePoint a, std::chrono::nanoseconds b) noexcept
{
    auto const x = a.time_since_epoch().count();
    if (b.count() > 0 && x > std::numeric_limits<decltype(x + 0)>::max() - b.count())
        return TimePoint::max();
    if (b.count() < 0 && x < std::numeric_limits<decltype(x + 0)>::min() - b.count())
        return TimePoint::min();
    return a + b;
}

}  // namespace detail

/// When a call must have ended. Written as a duration (`{.deadline = 200ms}`), which the service turns into
/// a point of time at entry, once: local queue, store, wake-up and retries share it (law P7). It bounds
/// everything except the user's callable; no commit starts after it.
///
/// Default: 5 seconds. Zero or negative: the call ends with `deadline_exceeded` unless it needs no wait at
/// all. NaN is `invalid_argument`. Durations beyond 292 years mean "292 years".
class Deadline {
public:
    constexpr Deadline() noexcept = default;
    template <class Rep, class Period>
    constexpr Deadline(std::chrono::duration<Rep, Period> after) noexcept  // NOLINT: reads as a duration
        : when_(detail::saturate(after).value), kind_(detail::saturate(after).valid ? Kind::relative : Kind::invalid)
    {}
    constexpr Deadline(TimePoint at) noexcept : when_(at.time_since_epoch()), kind_(Kind::absolute) {}  // NOLINT

    constexpr bool valid() const noexcept { return kind_ != Kind::invalid; }

    /// The point of time, counting a relative deadline from `now`.
    constexpr TimePoint at(TimePoint now) const noexcept
    {
        return kind_ == Kind::absolute ? TimePoint{when_} : detail::add(now, when_);
    }

    /// True when no later call of `at` can move it.
    constexpr bool pinned() const noexcept { return kind_ == Kind::absolute; }

private:
    enum class Kind : unsigned char { relative, absolute, invalid };
    std::chrono::nanoseconds when_{std::chrono::seconds{5}};
    Kind kind_{Kind::relative};
};

/// How long a lease lives without renewal. Accepted: 50 ms to 24 h; everything else, NaN included, is
/// `invalid_argument` before any I/O. Backends disagree about the rest (some take 292 million years).
class Ttl {
public:
    static constexpr std::chrono::nanoseconds min{std::chrono::milliseconds{50}};
    static constexpr std::chrono::nanoseconds max{std::chrono::hours{24}};

    constexpr Ttl() noexcept = default;
    template <class Rep, class Period>
    constexpr Ttl(std::chrono::duration<Rep, Period> ttl) noexcept  // NOLINT: reads as a duration
        : value_(detail::saturate(ttl).valid ? detail::saturate(ttl).value : std::chrono::nanoseconds{-1})
    {}

    constexpr bool valid() const noexcept { return value_ >= min && value_ <= max; }
    constexpr std::chrono::nanoseconds value() const noexcept { return value_; }

private:
    std::chrono::nanoseconds value_{std::chrono::seconds{10}};
};

/// What may end a call before its deadline: a `std::stop_token`, or the `std::stop_source` that it comes
/// from, as a program has one for its shutdown.
///
///     void worker(std::stop_token stop)  // of a std::jthread
///     {
///         auto lock = locks.acquire("nightly", {.deadline = 1h, .stop = stop});
///
/// Only refers to what it was made from, which therefore must have a name and live until the call was *made*;
/// an asynchronous call keeps a token of its own. (It is trivially destructible, so that options may be
/// written in braces inside a `co_await` on g++ 12, which destroys such temporaries twice.)
class StopSignal {
public:
    constexpr StopSignal() noexcept = default;
    template <class S>
        requires std::is_same_v<std::remove_cvref_t<S>, std::stop_token>
    constexpr StopSignal(S&& token) noexcept : token_(&token)  // NOLINT: reads as a token
    {
        static_assert(std::is_lvalue_reference_v<S>, "name it first: auto const stop = source.get_token(); {.stop = stop}");
    }
    template <class S>
        requires std::is_same_v<std::remove_cvref_t<S>, std::stop_source>
    constexpr StopSignal(S&& source) noexcept : source_(&source)  // NOLINT: reads as a source
    {
        static_assert(std::is_lvalue_reference_v<S>, "name it first: std::stop_source source; {.stop = source}");
    }

    /// One that can never be stopped when there is no signal.
    std::stop_token token() const noexcept
    {
        if (token_ != nullptr)
            return *token_;
        return source_ != nullptr ? source_->get_token() : std::stop_token{};
    }

private:
    std::stop_token const* token_{nullptr};
    std::stop_source const* source_{nullptr};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DEADLINE_HPP
