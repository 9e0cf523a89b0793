// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_THREADS_HPP
#define INTERLOCK_TESTS_SUPPORT_THREADS_HPP

/// @file
/// Threads that start together, and waiting for what must happen. Assertions belong on the thread of the
/// test.

#include <malloc.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

namespace interlock_test {

/// Runs `work(i)` for i in [0, count) on a thread each, started together; rethrows the first exception.
template <class F>
void run_threads(std::size_t count, F work)
{
    std::latch ready(static_cast<std::ptrdiff_t>(count));
    std::exception_ptr failed;
    std::mutex mutex;
    std::vector<std::thread> threads;
    threads.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            ready.arrive_and_wait();
            try {
                work(i);
            } catch (...) {
                std::lock_guard const lock(mutex);
                if (!failed)
                    failed = std::current_exception();
            }
        });
    for (auto& thread : threads)
        thread.join();
    if (failed)
        std::rethrow_exception(failed);
}

/// True as soon as `condition` holds; false when it does not within `patience`.
template <class F>
bool eventually(F condition, std::chrono::milliseconds patience = std::chrono::seconds{20})
{
    auto const end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= end)
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return true;
}

/// Opens once; until then everybody waits. Its destructor opens it and lets everybody out.
class Gate {
public:
    Gate() = default;
    Gate(Gate const&) = delete;
    Gate& operator=(Gate const&) = delete;
    ~Gate()
    {
        std::unique_lock lock(mutex_);
        open_ = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return inside_ == 0; });
    }
    void open()
    {
        std::lock_guard const lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void pass()
    {
        std::unique_lock lock(mutex_);
        ++arrived_;
        ++inside_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_; });
        --inside_;
        changed_.notify_all();
    }
    /// Waits until `count` are at the gate or through it.
    bool wait_for(int count, std::chrono::seconds patience = std::chrono::seconds{20})
    {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return arrived_ >= count; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_{false};
    int arrived_{0};
    int inside_{0};
};

/// Wall time of `work`.
template <class F>
std::chrono::nanoseconds time_of(F work)
{
    auto const begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::steady_clock::now() - begin;
}

/// The memory, in bytes, that this process has allocated and not freed. Under a sanitizer, which has an
/// allocator of its own, it never changes.
inline long kept_memory()
{
    auto const info = ::mallinfo2();
    return static_cast<long>(info.uordblks + info.hblkhd);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_THREADS_HPP
