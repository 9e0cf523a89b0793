// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP
#define INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP

// Threads for what must listen for as long as somebody is interested: wake-ups of a store; and for calls that may wait
// for each other.

#include <interlock/core/detail/runtime_random.hpp>
#include <interlock/core/immortal.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Runs `work` on a thread of its own that nobody joins, so that whatever it keeps alive may be dropped on it. `work`
/// must own all it touches, and must not throw. Throws `std::system_error` when the system has no thread to give.
template <class F>
void start_detached_thread(F work)
{
    std::thread(std::move(work)).detach();
}

/// As many threads as there are calls at a time: none waits for another's thread. One that has nothing to do is kept
/// for a few seconds. Nobody joins them. A forked child has its own.
class CallThreads {
public:
    /// Throws `std::system_error` when the system has no thread to give.
    static void run(std::function<void()> call)
    {
        auto const threads = instance();
        {
            std::lock_guard lock(threads->mutex_);
            if (threads->idle_ > threads->calls_.size()) {
                threads->calls_.push(std::move(call));
                threads->called_.notify_one();
                return;
            }
        }
        start_detached_thread([threads, call = std::move(call)]() mutable {
            call();
            call = nullptr;
            threads->serve();
        });
    }

private:
    static std::shared_ptr<CallThreads> instance()
    {
        // Never destroyed: threads may outlive main.
        static auto& creating = immortal<std::mutex>();
        static auto& threads = immortal<std::shared_ptr<CallThreads>>();
        static std::uint64_t made_for = 0;
        std::lock_guard lock(creating);
        if (!threads || made_for != process_generation()) {
            if (threads)
                new std::shared_ptr<CallThreads>(std::move(threads));  // the parent's, perhaps locked: left alone
            threads = std::make_shared<CallThreads>();
            made_for = process_generation();
        }
        return threads;
    }

    void serve()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            bool const called = called_.wait_for(lock, std::chrono::seconds{5}, [&] { return !calls_.empty(); });
            --idle_;
            if (!called)
                return;
            auto call = std::move(calls_.front());
            calls_.pop();
            lock.unlock();
            call();
            call = nullptr;
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable called_;
    std::queue<std::function<void()>> calls_;
    std::size_t idle_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP
