// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_THREAD_HPP
#define INTERLOCK_CORE_RUNTIME_THREAD_HPP

/// @file
/// Threads that nobody joins: for those who listen as long as somebody is interested, such as the wake-ups of
/// a store, and for blocking calls that may wait for each other.

#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Runs `work` on a new thread that nobody joins, so that even the last handle of what `work` keeps alive may
/// be dropped on that thread. `work` must own all it touches, and must not throw. Throws `std::system_error`
/// when the system has no thread to give.
template <class F>
void start_detached_thread(F work)
{
    std::thread(std::move(work)).detach();
}

/// Threads on which blocking calls are made, at most `most` at a time. A thread is made when a call needs it;
/// calls beyond `most` wait in line. A thread that has nothing to do for 5 seconds ends. Nobody joins the
/// threads: each of them owns what it needs.
class CallThreads : public std::enable_shared_from_this<CallThreads> {
public:
    explicit CallThreads(std::size_t most) : most_(most) {}

    /// Makes `call` on one of the threads, or puts it in line. Throws `std::system_error` when there is no
    /// thread yet and the system has none to give.
    template <class F>
    void run(F call)
    {
        std::unique_ptr<Call> next = std::make_unique<CallOf<F>>(std::move(call));
        std::unique_lock lock(mutex_);
        // More calls are waiting than threads are free to take them.
        if (idle_ <= calls_.size() && threads_ < most_) {
            try {
                start_detached_thread([threads = shared_from_this()] { threads->serve(); });
                ++threads_;
            } catch (std::system_error const&) {
                // An existing thread will make the call, later.
                if (threads_ == 0)
                    throw;
            }
        }
        calls_.push(std::move(next));
        called_.notify_one();
    }

    /// Threads without a bound: no call waits for the thread of another call. A forked child has threads of
    /// its own.
    static std::shared_ptr<CallThreads> unbounded();
    /// The threads for the calls of one `kind` to the store `store`, shared by all who ask for them while any
    /// of them exists. A forked child has threads of its own.
    static std::shared_ptr<CallThreads> of(void const* store, unsigned kind, std::size_t most);

private:
    /// A call in line, without its type.
    struct Call {
        Call() = default;
        Call(Call const&) = delete;
        Call& operator=(Call const&) = delete;
        virtual ~Call() = default;
        virtual void make() = 0;
    };
    template <class F>
    struct CallOf final : Call {
        explicit CallOf(F f) : function(std::move(f)) {}
        void make() override { std::move(function)(); }
        F function;
    };

    // What each thread does: makes calls, one after the other, without the mutex.
    void serve()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            bool const called =
                called_.wait_for(lock, std::chrono::seconds{5}, [&] { return !calls_.empty(); });
            --idle_;
            if (!called) {
                --threads_;
                return;
            }
            auto call = std::move(calls_.front());
            calls_.pop();
            lock.unlock();
            call->make();
            call.reset();  // what the call kept alive is dropped without the mutex
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable called_;           // a call came in
    std::queue<std::unique_ptr<Call>> calls_;  // the line of calls that no thread has taken
    std::size_t const most_;
    std::size_t threads_{0};  // threads that exist
    std::size_t idle_{0};     // threads that wait for a call
};

/// All `CallThreads` of this process, by the store and the kind of calls that they belong to.
class ThreadRegistry {
public:
    using Name = std::tuple<void const*, unsigned>;

    static std::shared_ptr<CallThreads> find(Name const& name, std::size_t most)
    {
        auto& registry = instance();
        std::lock_guard lock(registry.mutex_);
        if (auto const it = registry.known_.find(name); it != registry.known_.end())
            if (auto threads = it->second.lock())
                return threads;
        // The threads of stores that are gone leave the list, so that the list does not grow for ever.
        std::erase_if(registry.known_, [](auto const& entry) { return entry.second.expired(); });
        auto threads = std::make_shared<CallThreads>(most);
        registry.known_[name] = threads;
        return threads;
    }

private:
    static ThreadRegistry& instance()
    {
        // The registry is never destroyed, since threads may outlive main. A forked child leaves its parent's
        // registry alone, whose mutex may be locked, and makes its own.
        static auto& creating = immortal<std::mutex>();
        static ThreadRegistry* registry = nullptr;
        static std::uint64_t made_for = 0;
        std::lock_guard lock(creating);
        if (registry == nullptr || made_for != process_generation()) {
            registry = new ThreadRegistry;
            made_for = process_generation();
        }
        return *registry;
    }

    std::mutex mutex_;
    std::map<Name, std::weak_ptr<CallThreads>> known_;  // the threads themselves keep these objects alive
};

inline std::shared_ptr<CallThreads> CallThreads::unbounded()
{
    return ThreadRegistry::find({nullptr, ~0U}, std::numeric_limits<std::size_t>::max());
}
inline std::shared_ptr<CallThreads> CallThreads::of(void const* store, unsigned kind, std::size_t most)
{
    return ThreadRegistry::find({store, kind}, most == 0 ? 1 : most);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_THREAD_HPP
