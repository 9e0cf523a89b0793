// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_RUNTIME_HPP
#define INTERLOCK_CORE_RUNTIME_RUNTIME_HPP

/// @file
/// The only door to the outside: clock, alarms, blocking waits, randomness and executors.
///
/// Everything else in the library asks the `runtime_type` of its repository. Production uses `SystemRuntime`.
/// Tests put a deterministic runtime in its place, with virtual time and seeded scheduling, and run the same
/// code.

#include <interlock/core/deadline.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/random.hpp>
#include <interlock/core/runtime/thread.hpp>
#include <interlock/separate_compilation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/system_executor.hpp>

#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Why a store call blocks a thread. Calls of one kind never wait for the threads of another kind: if a call
/// that waits could take the thread of the call that ends the wait, both would wait for ever.
enum class BlockingCalls : unsigned char {
    waiting,  ///< it may wait for what other callers hold, or for a connection
    ending,   ///< it ends what others may wait for, and already has what it needs for that
    keeping,  ///< renewals and removals of locks, which must never be kept from their threads
};

/// What the library needs of the outside world. A runtime is a copyable handle, and its members may be called
/// from several threads at once.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `r.now()` | `TimePoint` | the monotonic time, which counts suspend |
/// | `r.random_bits()` | `std::uint64_t` | 64 unpredictable bits (predictable only in a simulator) |
/// | `r.arm(alarm, at)` | | calls `alarm.ring()` once, at or after `at`, never from within this call |
/// | `r.disarm(alarm)` | `bool` | true: the alarm was armed and will not ring |
/// | `r.cancel(alarm)` | | disarms; once it returns, `ring` is not running (unless `ring` called it) |
/// | `r.wait_until(cv, lock, at)` | | blocks like a condition variable, at most until `at` |
/// | `r.sleep_until(at)` | | blocks the calling thread |
/// | `r.executor()` | executor | runs handlers that have no executor of their own |
/// | `r.blocking_executor()` | executor | runs blocking store calls on behalf of asynchronous callers |
/// | `r.store_executor(kind, store, most)` | executor | optional, see below |
/// | `r.generation()` | `std::uint64_t` | differs between a process and its forked children |
/// | `r.process_name()` | `std::string` | optional: what this process calls itself in lock records |
///
/// `store_executor` is like `blocking_executor`, with threads that make nothing but calls of this
/// `BlockingCalls` kind to the store with this `identity()`, at most `most` at a time.
// clang-format off
template <class R>
concept Runtime = std::copyable<R> &&
    requires(R const& r, Alarm& alarm, TimePoint at, std::condition_variable& cv,
             std::unique_lock<std::mutex>& lock) {
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

namespace detail {

/// Runs blocking calls on the threads that belong to one store and one `BlockingCalls` kind.
class StoreExecutor {
public:
    StoreExecutor(void const* store, BlockingCalls kind, std::size_t most) noexcept
        : store_(store), most_(most), kind_(kind)
    {}

    // `execute` never runs the call on the thread that asks for it.
    static constexpr boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) noexcept
    {
        return boost::asio::execution::blocking.never;
    }
    StoreExecutor require(boost::asio::execution::blocking_t::never_t) const noexcept { return *this; }

    template <class F>
    void execute(F call) const
    {
        CallThreads::of(store_, static_cast<unsigned>(kind_), most_)->run(std::move(call));
    }

    friend bool operator==(StoreExecutor const&, StoreExecutor const&) noexcept = default;

private:
    void const* store_;
    std::size_t most_;
    BlockingCalls kind_;
};

}  // namespace detail

/// The real world. The class is empty: using it costs no more than calling the system directly.
///
/// **Threads.** There are none until they are needed. The first alarm starts one thread for all alarms:
/// renewals, lease ends, and deadlines of asynchronous waits. Each store has threads for the blocking calls
/// that are made for asynchronous callers and for locks: as many as there are calls at a time, with a bound
/// for each kind (see `BlockingCalls`). A store that hangs therefore takes no thread from another store, and
/// a call that waits takes none from the call that ends the wait. Such a thread ends when it has had nothing
/// to do for some seconds. No thread is ever joined.
/// **Thread safety.** Every member may be called from several threads at once.
class SystemRuntime {
public:
    /// Its clock is the one by which the system's sockets wait; see `detail::socket_deadline`.
    using waits_in_real_time = void;

    static TimePoint now() noexcept { return detail::boottime_now(); }
    static std::uint64_t random_bits() { return detail::random_bits(); }
    static std::uint64_t generation() noexcept { return detail::process_generation(); }
    /// `host:pid:program`, of 112 bytes at most. Throws nothing but `std::bad_alloc`.
    static std::string process_name();

    static void arm(Alarm& alarm, TimePoint at) { detail::AlarmClock::instance().arm(alarm, at); }
    static bool disarm(Alarm& alarm) noexcept { return detail::AlarmClock::instance().disarm(alarm); }
    static void cancel(Alarm& alarm) noexcept { detail::AlarmClock::instance().cancel(alarm); }

    static void wait_until(std::condition_variable& cv, std::unique_lock<std::mutex>& lock, TimePoint at);

    static void sleep_until(TimePoint at);

    static boost::asio::system_executor executor() noexcept { return {}; }

    static detail::StoreExecutor blocking_executor() noexcept { return {nullptr, BlockingCalls::ending, 16}; }
    static detail::StoreExecutor store_executor(
        BlockingCalls kind, void const* store, std::size_t most) noexcept
    {
        return {store, kind, most};
    }

private:
    // No single wait is longer, since the system's own conversions overflow on "for ever". The callers of
    // `wait_until` look again anyhow.
    static constexpr std::chrono::nanoseconds longest_wait = std::chrono::hours{1};
};

static_assert(Runtime<SystemRuntime>);

/// A new owner token: 128 random bits, never all zero.
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

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/runtime.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_RUNTIME_HPP
