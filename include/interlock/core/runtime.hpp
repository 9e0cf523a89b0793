// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_HPP
#define INTERLOCK_CORE_RUNTIME_HPP

/// @file
/// The only door to the outside: clock, alarms, blocking waits, randomness, executors.
///
/// Everything else in the library asks its repository's `runtime_type`. Production uses `SystemRuntime`;
/// tests put a deterministic one in its place, with virtual time and seeded scheduling, and run the same code.

#include <interlock/core/deadline.hpp>
#include <interlock/core/detail/runtime_alarm.hpp>
#include <interlock/core/detail/runtime_random.hpp>
#include <interlock/core/fencing_token.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace interlock {
inline namespace v0 {

/// What the library needs of the outside world. A copyable handle.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `r.now()` | `TimePoint` | monotonic, counts suspend |
/// | `r.random_bits()` | `std::uint64_t` | 64 unpredictable bits (predictable only in a simulator) |
/// | `r.arm(alarm, at)` | | calls `alarm.ring()` once, at or after `at`, not from within this call |
/// | `r.disarm(alarm)` | `bool` | true: it was armed and will not ring |
/// | `r.cancel(alarm)` | | disarms; when it returns, `ring` is not running (unless the caller is `ring`) |
/// | `r.wait_until(cv, lock, at)` | | blocks like a condition variable, at most until `at` |
/// | `r.sleep_until(at)` | | blocks the calling thread |
/// | `r.executor()` | executor | runs handlers that have no executor of their own |
/// | `r.blocking_executor()` | executor | runs blocking store calls on behalf of asynchronous callers |
/// | `r.waiting_executor()` | executor | optional: likewise, calls that may wait for what other callers hold |
/// | `r.generation()` | `std::uint64_t` | differs between a process and its forked children |
// clang-format off
template <class R>
concept Runtime = std::copyable<R> &&
    requires(R const& r, Alarm& alarm, TimePoint at, std::condition_variable& cv, std::unique_lock<std::mutex>& lock) {
    { r.now() } -> std::same_as<TimePoint>;
    { r.random_bits() } -> std::same_as<std::uint64_t>;
    r.arm(alarm, at);
    { r.disarm(alarm) } -> std::same_as<bool>;
    r.cancel(alarm);
    r.wait_until(cv, lock, at);
    r.sleep_until(at);
    r.executor();
    r.blocking_executor();
    { r.generation() } -> std::same_as<std::uint64_t>;
};
// clang-format on

/// The real world. Empty: using it costs nothing over calling the system directly.
///
/// **Threads.** None until needed: one for alarms (renewals, lease ends, deadlines of asynchronous waits),
/// started by the first alarm, and twice four for blocking store calls made asynchronously: those that may wait for a
/// row that another caller has locked must not keep that caller's commit from a thread. They live as long as the
/// process and are never joined.
/// **Thread safety.** Everything: safe.
class SystemRuntime {
public:
    static TimePoint now() noexcept { return detail::boottime_now(); }
    static std::uint64_t random_bits() { return detail::random_bits(); }
    static std::uint64_t generation() noexcept { return detail::process_generation(); }

    static void arm(Alarm& alarm, TimePoint at) { detail::AlarmClock::instance().arm(alarm, at); }
    static bool disarm(Alarm& alarm) noexcept { return detail::AlarmClock::instance().disarm(alarm); }
    static void cancel(Alarm& alarm) noexcept { detail::AlarmClock::instance().cancel(alarm); }

    static void wait_until(std::condition_variable& cv, std::unique_lock<std::mutex>& lock, TimePoint at)
    {
        auto const left = at - now();
        if (left.count() > 0)
            cv.wait_for(lock, left < longest_wait ? left : longest_wait);
    }

    static void sleep_until(TimePoint at)
    {
        for (auto left = at - now(); left.count() > 0; left = at - now())
            std::this_thread::sleep_for(left < longest_wait ? left : longest_wait);
    }

    static boost::asio::system_executor executor() noexcept { return {}; }

    static boost::asio::thread_pool::executor_type blocking_executor() { return pool<Calls::ending>(); }
    static boost::asio::thread_pool::executor_type waiting_executor() { return pool<Calls::waiting>(); }

private:
    enum class Calls : unsigned char { ending, waiting };

    template <Calls>
    static boost::asio::thread_pool::executor_type pool()
    {
        // Never destroyed: nothing joins it. A forked child gets one of its own, the parent's threads are not in it.
        static std::mutex creating;
        static boost::asio::thread_pool* pool = nullptr;
        static std::uint64_t made_for = 0;
        std::lock_guard lock(creating);
        if (pool == nullptr || made_for != generation()) {
            pool = new boost::asio::thread_pool(4);
            made_for = generation();
        }
        return pool->get_executor();
    }

    // The system's own conversions overflow on "for ever".
    static constexpr std::chrono::nanoseconds longest_wait = std::chrono::hours{1};
};

static_assert(Runtime<SystemRuntime>);

/// A new owner token: 128 bits of the runtime's randomness, never zero.
template <Runtime R>
OwnerToken new_owner_token(R const& runtime)
{
    for (;;) {
        OwnerToken const token{{runtime.random_bits(), runtime.random_bits()}};
        if (token)
            return token;
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_HPP
