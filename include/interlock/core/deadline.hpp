// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DEADLINE_HPP
#define INTERLOCK_CORE_DEADLINE_HPP

/// @file
/// When a call must have ended (`Deadline`), what may end it earlier (`StopSignal`), and how long a lease
/// lives (`Ttl`).
///
///     interlock::Deadline const soon = 200ms;              // relative: counts from the call that gets it
///     auto lock = locks.acquire("seat-12", {.deadline = soon});
///     interlock::LockStateService<Seat, Repository> locks{repository, {.ttl = 10s}};
///
/// No clock is read in this header: a time line is a type here, and a `Runtime` reads the clock.

#include <interlock/fwd.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <ratio>
#include <stop_token>
#include <type_traits>

namespace interlock {
inline namespace v0 {

/// The time line of deadlines and leases. It is monotonic, counts the time in which the machine sleeps, and
/// has nothing to do with wall clocks or with the clocks of other machines. The type is a tag without
/// `now()`: only a `Runtime` can read the clock, so that a test can put a virtual one in its place.
struct MonotonicClock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<MonotonicClock, duration>;
    static constexpr bool is_steady = true;
};

/// A point of time on that time line.
using TimePoint = MonotonicClock::time_point;

namespace detail {

/// Any duration as nanoseconds, clamped to what 63 bits hold. `valid` is false for a NaN, and only then.
struct Nanoseconds {
    std::chrono::nanoseconds value{0};
    bool valid{true};
};

/// Converts a duration of any unit. A duration that nanoseconds cannot express becomes the nearest one that
/// they can, and never wraps to the other sign.
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
        __extension__ using Wide = __int128;  // holds 63 bits times every ratio that 64 bits can hold
        auto const ns = static_cast<Wide>(d.count()) * Ratio::num / Ratio::den;
        if (ns > static_cast<Wide>(nanoseconds::max().count()))
            return {nanoseconds::max(), true};
        if (ns < static_cast<Wide>(nanoseconds::min().count()))
            return {nanoseconds::min(), true};
        return {nanoseconds{static_cast<nanoseconds::rep>(ns)}, true};
    }
}

/// `a + b`, which stays at the end of the time line where the sum would overflow.
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

/// When a call must have ended.
///
/// A user writes a duration (`{.deadline = 200ms}`). The service turns it into a point of time once, when the
/// call begins, and every part of the call shares that point: the local queue, the store, the wake-up and
/// all retries together (law P7). A `TimePoint` is taken as it is.
///
/// **Guarantee.** The deadline bounds everything except the user's own callable, and no commit starts after
/// it. A call whose deadline comes before its effect was sent to the store fails with `deadline_exceeded`.
/// **Values.** The default is 5 seconds. With zero, a call of a service tries once and waits for nobody: what
/// is in use is `lock_busy`, a conflict is a conflict, and neither is tried again. The trips of that one
/// attempt have a second (`one_attempt`). With zero a repository's own verb, and with a negative duration
/// every call, ends with `deadline_exceeded` unless it needs no wait at all. NaN is refused with
/// `invalid_argument`. A duration beyond 292 years means 292 years.
class Deadline {
public:
    /// 5 seconds, or what the store says about calls that name no deadline (`Capabilities::call_deadline`).
    constexpr Deadline() noexcept = default;
    /// A relative deadline: it counts from the moment at which a call gets it.
    template <class Rep, class Period>
    constexpr Deadline(std::chrono::duration<Rep, Period> after) noexcept  // NOLINT: reads as a duration
        : when_(detail::saturate(after).value),
          kind_(detail::saturate(after).valid ? Kind::relative : Kind::invalid)
    {}
    /// An absolute deadline. Several calls that share one end together, however late each of them begins.
    constexpr Deadline(TimePoint at) noexcept
        : when_(at.time_since_epoch()), kind_(Kind::absolute) {}  // NOLINT

    /// False when the deadline was made from a NaN.
    constexpr bool valid() const noexcept { return kind_ != Kind::invalid; }

    /// The point of time that this deadline stands for. A relative deadline counts from `now`.
    constexpr TimePoint at(TimePoint now) const noexcept
    {
        return kind_ == Kind::absolute ? TimePoint{when_} : detail::add(now, when_);
    }

    /// How long the one attempt of a deadline of zero may take.
    static constexpr std::chrono::nanoseconds one_attempt{std::chrono::seconds{1}};
    /// Whether this is a duration of zero: a service makes one attempt, which waits for nobody.
    constexpr bool tries_once() const noexcept { return kind_ == Kind::relative && when_.count() == 0; }
    /// When a call of a service ends that gets this deadline at `now`.
    constexpr TimePoint end_of_call(TimePoint now) const noexcept
    {
        return tries_once() ? detail::add(now, one_attempt) : at(now);
    }
    /// True when nobody has said how long the call may last.
    constexpr bool unnamed() const noexcept { return kind_ == Kind::unnamed; }

    /// True when the deadline is absolute, so that no later call of `at` can move it.
    constexpr bool pinned() const noexcept { return kind_ == Kind::absolute; }

private:
    enum class Kind : unsigned char { unnamed, relative, absolute, invalid };
    // For a relative deadline the duration; for an absolute one the distance from the clock's epoch.
    std::chrono::nanoseconds when_{std::chrono::seconds{5}};
    Kind kind_{Kind::unnamed};
};

/// How long a lease lives when nobody renews it.
///
/// From 50 ms to 24 h are accepted. Everything else, NaN included, is refused with `invalid_argument` before
/// any I/O, by every backend alike: the stores themselves disagree about other values (some accept 292
/// million years). The default is 10 seconds.
class Ttl {
public:
    /// What is accepted.
    static constexpr std::chrono::nanoseconds min{std::chrono::milliseconds{50}};
    static constexpr std::chrono::nanoseconds max{std::chrono::hours{24}};

    /// 10 seconds.
    constexpr Ttl() noexcept = default;
    template <class Rep, class Period>
    constexpr Ttl(std::chrono::duration<Rep, Period> ttl) noexcept  // NOLINT: reads as a duration
        : value_(detail::saturate(ttl).valid ? detail::saturate(ttl).value : std::chrono::nanoseconds{-1})
    {}

    /// Whether the value lies between `min` and `max`.
    constexpr bool valid() const noexcept { return value_ >= min && value_ <= max; }
    /// The duration as it was given, in nanoseconds; it may be one that `valid` refuses.
    constexpr std::chrono::nanoseconds value() const noexcept { return value_; }

private:
    std::chrono::nanoseconds value_{std::chrono::seconds{10}};  // -1 stands for a NaN, which is never valid
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
        static_assert(
            std::is_lvalue_reference_v<S>,
            "name it first: auto const stop = source.get_token(); {.stop = stop}");
    }
    template <class S>
        requires std::is_same_v<std::remove_cvref_t<S>, std::stop_source>
    constexpr StopSignal(S&& source) noexcept : source_(&source)  // NOLINT: reads as a source
    {
        static_assert(
            std::is_lvalue_reference_v<S>, "name it first: std::stop_source source; {.stop = source}");
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
