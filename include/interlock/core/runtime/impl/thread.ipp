// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_THREAD_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_THREAD_IPP

#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL void CallThreads::add(std::unique_ptr<Call> next)
{
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

INTERLOCK_DECL void CallThreads::serve()
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
        call.reset();  // what the call kept alive is dropped without the mutex
        lock.lock();
    }
}

/// All `CallThreads` of this process, by the store and the kind of calls that they belong to.
class ThreadRegistry {
public:
    struct Name {
        void const* store;
        unsigned kind;
        friend bool operator==(Name const&, Name const&) noexcept = default;
    };

    static std::shared_ptr<CallThreads> find(Name const& name, std::size_t most);

private:
    std::mutex mutex_;
    struct Hash {
        std::size_t operator()(Name const& name) const noexcept
        {
            return std::hash<void const*>{}(name.store) ^ name.kind;
        }
    };

    std::unordered_map<Name, std::weak_ptr<CallThreads>, Hash>
        known_;  // the threads themselves keep these objects alive
};

INTERLOCK_DECL std::shared_ptr<CallThreads> ThreadRegistry::find(Name const& name, std::size_t most)
{
    auto& registry = immortal_of_process<ThreadRegistry>();  // threads may outlive main
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

INTERLOCK_DECL std::shared_ptr<CallThreads> CallThreads::unbounded()
{
    return ThreadRegistry::find({nullptr, ~0U}, std::numeric_limits<std::size_t>::max());
}

INTERLOCK_DECL std::shared_ptr<CallThreads> CallThreads::of(
    void const* store, unsigned kind, std::size_t most)
{
    return ThreadRegistry::find({store, kind}, most == 0 ? 1 : most);
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_THREAD_IPP
