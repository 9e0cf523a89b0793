// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_ALARM_HPP
#define INTERLOCK_CORE_RUNTIME_ALARM_HPP

/// @file
/// One thread per process that calls back at points of time: for renewals, lease ends, and deadlines of
/// asynchronous waits.
///
/// The first alarm starts the thread. It outlives every service, so that nothing has to join it. A service
/// that goes away takes its alarms back instead: `cancel` waits for an alarm that is ringing.

#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime/random.hpp>

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
    using Place =
        boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;
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
    static AlarmClock& instance()
    {
        static std::atomic<AlarmClock*> current{nullptr};
        static std::atomic<std::uint64_t> generation{0};
        static std::mutex creating;
        auto const now = process_generation();
        auto* clock = current.load(std::memory_order_acquire);
        if (clock != nullptr && generation.load(std::memory_order_acquire) == now)
            return *clock;
        std::lock_guard lock(creating);
        if (current.load() == nullptr || generation.load() != now) {
            // Never destroyed: its thread goes on until the process ends
            current.store(new AlarmClock, std::memory_order_release);
            generation.store(now, std::memory_order_release);
        }
        return *current.load();
    }

    /// Arms an alarm, or moves one that is armed.
    void arm(Alarm& alarm, TimePoint at)
    {
        bool wake = false;
        {
            std::lock_guard lock(mutex_);
            if (!started_) {
                std::thread([this] { run(); }).detach();
                started_ = true;
            }
            take_back(alarm);
            AlarmAccess::at(alarm) = at;
            AlarmAccess::queue(alarm) = this;
            AlarmAccess::armed(alarm) = true;
            queue_.insert(alarm);
            wake = at < sleeping_until_;
        }
        if (wake)
            changed_.notify_one();
    }

    /// True: the alarm was armed and will not ring. False: it was not armed, or is ringing now.
    bool disarm(Alarm& alarm) noexcept
    {
        std::lock_guard lock(mutex_);
        return take_back(alarm);
    }

    /// Disarms the alarm. If it is ringing, waits until `ring` has returned, unless `ring` itself is the
    /// caller.
    void cancel(Alarm& alarm) noexcept
    {
        std::unique_lock lock(mutex_);
        take_back(alarm);
        if (std::this_thread::get_id() != thread_)
            returned_.wait(lock, [&] { return ringing_ != &alarm; });
    }

private:
    // Unlinks the alarm; false when it was not armed. The caller holds the mutex.
    bool take_back(Alarm& alarm) noexcept
    {
        if (!AlarmAccess::armed(alarm))
            return false;
        // An alarm that was armed before a fork is in the parent's queue.
        if (AlarmAccess::queue(alarm) == this)
            queue_.erase(queue_.iterator_to(alarm));
        AlarmAccess::armed(alarm) = false;
        return true;
    }

    // The thread: sleeps until the first alarm is due, and rings it without the mutex.
    void run()
    {
        std::unique_lock lock(mutex_);
        thread_ = std::this_thread::get_id();
        for (;;) {
            sleeping_until_ = TimePoint::max();
            if (queue_.empty()) {
                changed_.wait(lock);
                continue;
            }
            auto& alarm = *queue_.begin();
            auto const at = AlarmAccess::at(alarm);
            auto const now = boottime_now();
            if (now < at) {
                sleeping_until_ = at;
                changed_.wait_for(lock, at - now);
                continue;
            }
            take_back(alarm);
            ringing_ = &alarm;
            lock.unlock();
            alarm.ring();
            lock.lock();
            ringing_ = nullptr;
            returned_.notify_all();
        }
    }

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

#endif  // INTERLOCK_CORE_RUNTIME_ALARM_HPP
