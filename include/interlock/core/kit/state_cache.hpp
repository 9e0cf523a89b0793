// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STATE_CACHE_HPP
#define INTERLOCK_CORE_KIT_STATE_CACHE_HPP

/// @file
/// The states that a service saw last, with their versions, for policies that begin without a reading trip.
///
/// A cached state is never believed. Whoever starts from one either names its version in a commit, so that
/// the store refuses the commit if the state has moved, or looks at the store before an answer leaves.
///
///     StateCache<Account> cache{1000};
///     auto seen = cache.find(key);                          // perhaps stale
///     cache.put(key, next, committed_version, life);        // after the commit has succeeded

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

/// A bounded cache. Beyond its capacity it forgets the state that was not used for longest.
///
/// **Cost.** Copies of `T`, made while a mutex is held.
/// **Thread safety.** Every member may be called from several threads at once.
template <class T>
class StateCache {
public:
    /// `capacity`: how many states are kept. 0 switches the cache off.
    explicit StateCache(std::size_t capacity) : capacity_(capacity) {}
    /// Does it keep nothing?
    bool off() const noexcept { return capacity_ == 0; }

    /// The state that was seen last, or nothing.
    std::optional<Versioned<T>> find(Key const& key);

    /// Tells in which life the store is now (`life_of`). If the store was emptied or replaced since (another
    /// life), versions may begin anew, so everything that belongs to another life is forgotten.
    void live(std::uint64_t life) noexcept;

    /// Remembers a state. An older version never replaces a newer one, nor is a state of another life taken.
    /// A state that cannot be copied, for want of memory, say, is forgotten.
    void put(Key const& key, T const& value, Version version, std::uint64_t life) noexcept;

    /// Forgets a state: its commit was refused, say.
    void drop(Key const& key) noexcept;

private:
    using States = std::list<std::pair<Key, Versioned<T>>>;

    std::size_t capacity_;
    std::mutex mutex_;
    std::uint64_t life_{0};  // the life of the store that the states belong to
    States states_;          // the most recently used first
    std::unordered_map<Key, typename States::iterator> places_;  // where each key is in the list
};

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/state_cache.ipp>

#endif  // INTERLOCK_CORE_KIT_STATE_CACHE_HPP
