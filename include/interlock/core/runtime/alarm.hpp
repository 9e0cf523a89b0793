// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_ALARM_HPP
#define INTERLOCK_CORE_RUNTIME_ALARM_HPP

// One thread per process that calls back at points of time: renewals, lease ends, deadlines of asynchronous
// waits. Started by the first alarm. It outlives every service, so nothing ever joins it; a service that goes
// away takes its alarms back instead (`cancel` waits for one that is ringing).

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

/// Something that wants to be called at a point of time. The owner keeps it alive while it is armed.
class Alarm {
public:
    /// Called once per arming, on the runtime's alarm thread, with no lock held. Must not block.
    virtual void ring() noexcept = 0;

    Alarm() = default;
    Alarm(Alarm const&) = delete;
    Alarm& operator=(Alarm const&) = delete;

protected:
    ~Alarm() = default;

private:
    friend struct AlarmAccess;
    using Place = boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;
    TimePoint at_{};
    Place place_;
    void const* queue_{nullptr};
    bool armed_{false};
};

/// For runtimes only: the fields an alarm queue keeps in the node.
struct AlarmAccess {
    /// When it goes off, and whether it is to.
    static TimePoint& at(Alarm& a) noexcept { return a.at_; }
    static bool& armed(Alarm& a) noexcept { return a.armed_; }
    /// The queue that `place` belongs to, where alarms are linked.
    static void const*& queue(Alarm& a) noexcept { return a.queue_; }

    /// The order of the queue.
    struct Earlier {
        bool operator()(Alarm const& a, Alarm const& b) const noexcept { return a.at_ < b.at_; }
    };
    using place = boost::intrusive::member_hook<Alarm, Alarm::Place, &Alarm::place_>;
};

namespace detail {

/// CLOCK_BOOTTIME: monotonic and counting suspend, where the standard's steady clock stops in suspend on Linux.
inline TimePoint boottime_now() noexcept
{
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return TimePoint{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
}

class AlarmClock {
public:
    /// The process's alarm clock. A forked child gets one of its own: the parent's thread is not in it.
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
            current.store(new AlarmClock, std::memory_order_release);  // never destroyed, see above
            generation.store(now, std::memory_order_release);
        }
        return *current.load();
    }

    /// Arms, or moves an armed alarm.
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

    /// True: it was armed and will not ring. False: it was not armed, or is ringing now.
    bool disarm(Alarm& alarm) noexcept
    {
        std::lock_guard lock(mutex_);
        return take_back(alarm);
    }

    /// Disarms and, unless called from `ring` itself, waits until a ringing one has returned.
    void cancel(Alarm& alarm) noexcept
    {
        std::unique_lock lock(mutex_);
        take_back(alarm);
        if (std::this_thread::get_id() != thread_)
            returned_.wait(lock, [&] { return ringing_ != &alarm; });
    }

private:
    bool take_back(Alarm& alarm) noexcept
    {
        if (!AlarmAccess::armed(alarm))
            return false;
        if (AlarmAccess::queue(alarm) == this)  // not one that was armed before a fork
            queue_.erase(queue_.iterator_to(alarm));
        AlarmAccess::armed(alarm) = false;
        return true;
    }

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
    std::condition_variable changed_;
    std::condition_variable returned_;
    boost::intrusive::multiset<
        Alarm, AlarmAccess::place, boost::intrusive::compare<AlarmAccess::Earlier>,
        boost::intrusive::constant_time_size<false>>
        queue_;
    Alarm* ringing_{nullptr};
    TimePoint sleeping_until_{TimePoint::max()};  // it looks then, or is woken
    std::thread::id thread_;
    bool started_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_ALARM_HPP
