// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_THREAD_HPP
#define INTERLOCK_CORE_RUNTIME_THREAD_HPP

// Threads for what must listen for as long as somebody is interested: wake-ups of a store; and for calls that may wait
// for each other.

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

/// Runs `work` on a thread of its own that nobody joins, so that whatever it keeps alive may be dropped on it. `work`
/// must own all it touches, and must not throw. Throws `std::system_error` when the system has no thread to give.
template <class F>
void start_detached_thread(F work)
{
    std::thread(std::move(work)).detach();
}

/// Threads on which calls are made that may block: at most `most` at a time, made when they are needed; what comes beyond
/// waits in line. One that has nothing to do is kept for a few seconds. Nobody joins them: they own what they need.
class CallThreads : public std::enable_shared_from_this<CallThreads> {
public:
    explicit CallThreads(std::size_t most) : most_(most) {}

    /// Throws `std::system_error` when the system has no thread to give, and there is none yet.
    template <class F>
    void run(F call)
    {
        std::unique_ptr<Call> next = std::make_unique<CallOf<F>>(std::move(call));
        std::unique_lock lock(mutex_);
        if (idle_ <= calls_.size() && threads_ < most_) {
            try {
                start_detached_thread([threads = shared_from_this()] { threads->serve(); });
                ++threads_;
            } catch (std::system_error const&) {
                if (threads_ == 0)
                    throw;
            }
        }
        calls_.push(std::move(next));
        called_.notify_one();
    }

    /// As many threads as there are calls: none waits for another's thread. A forked child has its own.
    static std::shared_ptr<CallThreads> unbounded();
    /// Those for the calls of one `kind` of the store `store`, shared by all that ask for them while they are there. A
    /// forked child has its own.
    static std::shared_ptr<CallThreads> of(void const* store, unsigned kind, std::size_t most);

private:
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

    void serve()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            bool const called = called_.wait_for(lock, std::chrono::seconds{5}, [&] { return !calls_.empty(); });
            --idle_;
            if (!called) {
                --threads_;
                return;
            }
            auto call = std::move(calls_.front());
            calls_.pop();
            lock.unlock();
            call->make();
            call.reset();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable called_;
    std::queue<std::unique_ptr<Call>> calls_;
    std::size_t const most_;
    std::size_t threads_{0};
    std::size_t idle_{0};
};

/// The threads of this process.
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
        std::erase_if(registry.known_, [](auto const& entry) { return entry.second.expired(); });
        auto threads = std::make_shared<CallThreads>(most);
        registry.known_[name] = threads;
        return threads;
    }

private:
    static ThreadRegistry& instance()
    {
        // Never destroyed: threads may outlive main. A forked child leaves its parent's alone, which may be locked.
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
    std::map<Name, std::weak_ptr<CallThreads>> known_;  // alive as long as one of their threads is
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
