// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_ALARM_HPP
#define INTERLOCK_CORE_RUNTIME_ALARM_HPP

/// @file
/// One thread per process that calls back at points of time: for renewals, lease ends, and deadlines of
/// asynchronous waits.
///
/// The first alarm starts the thread. It outlives every service, so that nothing has to join it. A service
/// that goes away takes its alarms back instead: `cancel` waits for an alarm that is ringing.
///
///     struct Reminder final : Alarm {
///         void ring() noexcept override { due.store(true); }
///         std::atomic<bool> due{false};
///     } reminder;
///     runtime.arm(reminder, runtime.now() + std::chrono::seconds{1});
///
/// **Cost.** Arming allocates nothing; it takes one mutex, and wakes the thread only when the new alarm is
/// the earliest one.

#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime/random.hpp>
#include <interlock/separate_compilation.hpp>

#include <boost/intrusive/set.hpp>
#include <boost/intrusive/set_hook.hpp>

#include <time.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace interlock {
inline namespace v0 {

/// Something that wants to be called at a point of time. Its owner keeps it alive while it is armed or rings.
class Alarm {
public:
    /// Called once for each arming, on the runtime's alarm thread, while no mutex is held. It must not block,
    /// since every other alarm of the process waits for it.
    virtual void ring() noexcept = 0;

    Alarm() = default;
    Alarm(Alarm const&) = delete;
    Alarm& operator=(Alarm const&) = delete;

protected:
    ~Alarm() = default;

private:
    friend struct AlarmAccess;
    using Place = boost::intrusive::set_member_hook<
        boost::intrusive::link_mode<boost::intrusive::normal_link>, boost::intrusive::optimize_size<true>>;
    /// When it is to ring.
    TimePoint at_{};
    /// Where it is linked in its queue, so that arming allocates nothing.
    Place place_;
    /// The queue that it is linked in. A forked child must not touch a queue of its parent.
    void const* queue_{nullptr};
    bool armed_{false};
};

/// For runtimes only: the members of an `Alarm` that an alarm queue uses.
struct AlarmAccess {
    /// When it goes off, and whether it is to.
    static TimePoint& at(Alarm& a) noexcept { return a.at_; }
    static bool& armed(Alarm& a) noexcept { return a.armed_; }
    /// The queue that `place` belongs to, while the alarm is linked.
    static void const*& queue(Alarm& a) noexcept { return a.queue_; }

    /// The order of the queue.
    struct Earlier {
        bool operator()(Alarm const& a, Alarm const& b) const noexcept { return a.at_ < b.at_; }
    };
    using place = boost::intrusive::member_hook<Alarm, Alarm::Place, &Alarm::place_>;
};

namespace detail {

/// CLOCK_BOOTTIME: it is monotonic and counts suspend. The standard's steady clock stops in suspend on Linux.
inline TimePoint boottime_now() noexcept
{
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return TimePoint{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
}

/// The thread, and the queue of alarms in the order of their times.
class AlarmClock {
public:
    /// The alarm clock of this process. A forked child gets one of its own, since the parent's thread does
    /// not exist in the child.
    static AlarmClock& instance();

    /// Arms an alarm, or moves one that is armed.
    void arm(Alarm& alarm, TimePoint at);

    /// True: the alarm was armed and will not ring. False: it was not armed, or is ringing now.
    bool disarm(Alarm& alarm) noexcept;

    /// Disarms the alarm. If it is ringing, waits until `ring` has returned, unless `ring` itself is the
    /// caller.
    void cancel(Alarm& alarm) noexcept;

private:
    // Unlinks the alarm; false when it was not armed. The caller holds the mutex.
    bool take_back(Alarm& alarm) noexcept;

    // The thread: sleeps until the first alarm is due, and rings it without the mutex.
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;   // the queue has an earlier alarm than the one that is slept for
    std::condition_variable returned_;  // an alarm has rung
    boost::intrusive::multiset<
        Alarm, AlarmAccess::place, boost::intrusive::compare<AlarmAccess::Earlier>,
        boost::intrusive::constant_time_size<false>>
        queue_;
    Alarm* ringing_{nullptr};                     // the alarm whose `ring` is running; null: none
    TimePoint sleeping_until_{TimePoint::max()};  // when the thread looks at the queue again by itself
    std::thread::id thread_;                      // the alarm thread; `cancel` on it must not wait for itself
    bool started_{false};                         // whether the thread exists
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/alarm.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_ALARM_HPP
