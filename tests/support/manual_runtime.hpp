// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_MANUAL_RUNTIME_HPP
#define INTERLOCK_TESTS_SUPPORT_MANUAL_RUNTIME_HPP

/// @file
/// A `Runtime` whose clock moves only when a test says so.

#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/system_executor.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace interlock_test {

/// A settable clock. Alarms ring inside `advance`, in order, each at its own time, on the calling thread.
///
/// A thread that sleeps (`sleep_until`) moves the clock itself, so that backoff costs no time. A thread that
/// waits (`wait_until`) is woken by others or by `advance`; after `waits_advance(true)` it moves the clock,
/// too.
///
/// Copies are handles to one world. Random bits come from a seed.
class ManualRuntime {
public:
    using TimePoint = interlock::TimePoint;

    ManualRuntime() : ManualRuntime(1) {}
    explicit ManualRuntime(std::uint64_t seed) : world_(std::make_shared<World>(seed)) {}

    // ---- for tests ------------------------------------------------------------------------------
    void advance(std::chrono::nanoseconds by) const { advance_to(now() + by); }
    void advance_to(TimePoint target) const { world_->advance_to(target); }
    /// Alarms armed now.
    std::size_t armed() const
    {
        std::lock_guard const lock(world_->mutex);
        return world_->queue.size();
    }
    void waits_advance(bool value) const { world_->waits_advance = value; }
    void set_generation(std::uint64_t value) const { world_->generation = value; }
    void set_executor(boost::asio::any_io_executor executor) const { world_->executor = std::move(executor); }
    /// Of calls that may block.
    void set_blocking_executor(boost::asio::any_io_executor executor) const
    {
        world_->blocking_executor = std::move(executor);
    }

    // ---- Runtime --------------------------------------------------------------------------------
    TimePoint now() const noexcept { return TimePoint{std::chrono::nanoseconds{world_->now.load()}}; }

    std::uint64_t random_bits() const
    {
        auto z = world_->random.fetch_add(0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }

    std::uint64_t generation() const noexcept { return world_->generation; }

    void arm(interlock::Alarm& alarm, TimePoint at) const
    {
        using Access = interlock::AlarmAccess;
        std::lock_guard const lock(world_->mutex);
        if (Access::armed(alarm))
            world_->queue.erase({Access::at(alarm), &alarm});
        Access::at(alarm) = at;
        Access::armed(alarm) = true;
        world_->queue.emplace(at, &alarm);
    }

    bool disarm(interlock::Alarm& alarm) const noexcept
    {
        std::lock_guard const lock(world_->mutex);
        return world_->take_back(alarm);
    }

    void cancel(interlock::Alarm& alarm) const noexcept
    {
        std::unique_lock lock(world_->mutex);
        world_->take_back(alarm);
        if (world_->ringer != std::this_thread::get_id())
            world_->returned.wait(lock, [&] { return world_->ringing != &alarm; });
    }

    void wait_until(std::condition_variable& cv, std::unique_lock<std::mutex>& lock, TimePoint at) const
    {
        if (now() >= at)
            return;
        if (world_->waits_advance) {
            lock.unlock();
            advance_to(at);
            lock.lock();
        } else {
            cv.wait_for(lock, std::chrono::milliseconds{1});  // returning early is allowed
        }
    }

    void sleep_until(TimePoint at) const
    {
        if (now() < at)
            advance_to(at);
    }

    boost::asio::any_io_executor executor() const { return world_->executor; }
    boost::asio::any_io_executor blocking_executor() const { return world_->blocking_executor; }

private:
    struct World {
        explicit World(std::uint64_t seed) : random(seed) {}

        bool take_back(interlock::Alarm& alarm) noexcept
        {
            using Access = interlock::AlarmAccess;
            if (!Access::armed(alarm))
                return false;
            queue.erase({Access::at(alarm), &alarm});
            Access::armed(alarm) = false;
            return true;
        }

        void advance_to(TimePoint target)
        {
            std::lock_guard const one_at_a_time(advancing);
            std::unique_lock lock(mutex);
            while (!queue.empty() && queue.begin()->first <= target) {
                auto const [at, alarm] = *queue.begin();
                move_to(at);
                take_back(*alarm);
                ringing = alarm;
                ringer = std::this_thread::get_id();
                lock.unlock();
                alarm->ring();
                lock.lock();
                ringing = nullptr;
                ringer = {};
                returned.notify_all();
            }
            move_to(target);
        }

        void move_to(TimePoint at)
        {
            if (now.load() < at.time_since_epoch().count())
                now.store(at.time_since_epoch().count());
        }

        std::atomic<std::int64_t> now{1'000'000'000'000};
        std::atomic<std::uint64_t> random;
        std::atomic<std::uint64_t> generation{0};
        std::atomic<bool> waits_advance{false};
        boost::asio::any_io_executor executor{boost::asio::system_executor{}};
        boost::asio::any_io_executor blocking_executor{boost::asio::system_executor{}};
        std::recursive_mutex advancing;
        std::mutex mutex;
        std::condition_variable returned;
        std::set<std::pair<TimePoint, interlock::Alarm*>> queue;
        interlock::Alarm* ringing{nullptr};
        std::thread::id ringer;
    };

    std::shared_ptr<World> world_;
};

static_assert(interlock::Runtime<ManualRuntime>);

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_MANUAL_RUNTIME_HPP
