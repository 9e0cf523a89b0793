// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STATE_CACHE_HPP
#define INTERLOCK_CORE_KIT_STATE_CACHE_HPP

/// @file
/// The states that a service saw last, with their versions. Never believed: whoever starts from one names its version in a
/// commit, or looks at the store before it answers.

#include <interlock/core/key.hpp>
#include <interlock/core/versioned.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Bounded; forgets what was not used for longest.
template <class T>
class StateCache {
public:
    /// `capacity`: how many states it keeps; 0: none, and nothing is locked.
    explicit StateCache(std::size_t capacity) : capacity_(capacity) {}
    /// Does it keep nothing?
    bool off() const noexcept { return capacity_ == 0; }

    /// A copy of what is kept for `key`, which then counts as just used.
    std::optional<Versioned<T>> find(Key const& key)
    {
        std::lock_guard lock(mutex_);
        auto const it = places_.find(key);
        if (it == places_.end())
            return std::nullopt;
        states_.splice(states_.begin(), states_, it->second);
        return it->second->second;
    }

    /// What belongs to another life of the store (`life_of`) is forgotten.
    void live(std::uint64_t life) noexcept
    {
        std::lock_guard lock(mutex_);
        if (std::exchange(life_, life) == life)
            return;
        places_.clear();
        states_.clear();
    }

    /// An older version never replaces a newer one, nor does one of another life. Without memory it is not remembered.
    void put(Key const& key, T const& value, Version version, std::uint64_t life) noexcept
    {
        try {
            std::lock_guard lock(mutex_);
            if (life != life_)
                return;
            if (auto const it = places_.find(key); it != places_.end()) {
                if (it->second->second.version < version)
                    it->second->second = Versioned<T>{value, version};
                states_.splice(states_.begin(), states_, it->second);
                return;
            }
            states_.emplace_front(key, Versioned<T>{value, version});
            try {
                places_.emplace(key, states_.begin());
            } catch (...) {
                states_.pop_front();
                throw;
            }
            if (states_.size() > capacity_) {
                places_.erase(states_.back().first);
                states_.pop_back();
            }
        } catch (std::bad_alloc const&) {
        }
    }

    /// Forgets `key`: what is kept was found to be wrong, or may be.
    void drop(Key const& key) noexcept
    {
        std::lock_guard lock(mutex_);
        auto const it = places_.find(key);
        if (it == places_.end())
            return;
        states_.erase(it->second);
        places_.erase(it);
    }

private:
    using States = std::list<std::pair<Key, Versioned<T>>>;

    std::size_t capacity_;
    std::mutex mutex_;
    std::uint64_t life_{0};
    States states_;  // the last used first
    std::unordered_map<Key, typename States::iterator> places_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_STATE_CACHE_HPP
