// SPDX-License-Identifier: BSL-1.0

// The rivals: a std::mutex alone, a std::mutex around a map that is searched for the key, and two fair
// mutexes that are made of a std::mutex and condition variables.

#include "contestants.hpp"

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>

namespace {

/// A mutex that serves its waiters in the order in which they came. Each waiter has a condition variable of
/// its own; whoever leaves hands the mutex to the first waiter and wakes nobody else.
class FifoMutex {
public:
    void lock()
    {
        std::unique_lock lock(mutex_);
        if (!taken_) {
            taken_ = true;
            return;
        }
        Waiter self;
        waiters_.push_back(&self);
        self.changed.wait(lock, [&] { return self.granted; });
    }

    void unlock()
    {
        std::lock_guard lock(mutex_);
        if (waiters_.empty()) {
            taken_ = false;
            return;
        }
        auto* const next = waiters_.front();
        waiters_.pop_front();
        next->granted = true;
        next->changed.notify_one();  // under the mutex, since `next` may be gone afterwards
    }

private:
    struct Waiter {
        std::condition_variable changed;
        bool granted{false};
    };

    std::mutex mutex_;
    std::list<Waiter*> waiters_;
    bool taken_{false};
};

/// The shorter way to a fair mutex: each waiter draws a ticket, and all look at the counter whenever somebody
/// leaves.
class TicketMutex {
public:
    void lock()
    {
        std::unique_lock lock(mutex_);
        auto const ticket = next_++;
        changed_.wait(lock, [&] { return served_ == ticket; });
    }

    void unlock()
    {
        {
            std::lock_guard lock(mutex_);
            ++served_;
        }
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t next_{0};
    std::uint64_t served_{0};
};

template <class Mutex>
Result run(Plan const& plan)
{
    Mutex mutex;
    Counter counter{"hits", 0};
    return measure(
        plan,
        [&](auto&& operation) {
            std::lock_guard lock(mutex);
            operation(counter);
        },
        [&] { return counter.count; });
}

}  // namespace

Result plain_mutex(Plan const& plan)
{
    return run<std::mutex>(plan);
}
Result map_under_mutex(Plan const& plan)
{
    std::mutex mutex;
    std::string const key = "hits";
    std::unordered_map<std::string, Counter> counters{{key, {key, 0}}};
    return measure(
        plan,
        [&](auto&& operation) {
            std::lock_guard lock(mutex);
            operation(counters.at(key));
        },
        [&] { return counters.at(key).count; });
}
Result fifo_mutex(Plan const& plan)
{
    return run<FifoMutex>(plan);
}
Result ticket_mutex(Plan const& plan)
{
    return run<TicketMutex>(plan);
}
