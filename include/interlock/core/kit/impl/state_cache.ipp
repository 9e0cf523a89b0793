// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_STATE_CACHE_IPP
#define INTERLOCK_CORE_KIT_IMPL_STATE_CACHE_IPP

#include <interlock/core/kit/state_cache.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {

template <class T>
std::optional<Versioned<T>> StateCache<T>::find(Key const& key)
{
    std::lock_guard lock(mutex_);
    auto const it = places_.find(key);
    if (it == places_.end())
        return std::nullopt;
    states_.splice(states_.begin(), states_, it->second);
    return it->second->second;
}

template <class T>
void StateCache<T>::live(std::uint64_t life) noexcept
{
    std::lock_guard lock(mutex_);
    if (std::exchange(life_, life) == life)
        return;
    places_.clear();
    states_.clear();
}

template <class T>
void StateCache<T>::put(Key const& key, T const& value, Version version, std::uint64_t life) noexcept
{
    // Copying and moving a `T` is code of a user's, in which a thread may be cancelled: behind this, then.
    detail::WithoutCancellation const whole;
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
    } catch (...) {  // no memory, or the state cannot be copied: what is known of it may be half of it
        drop(key);
    }
}

template <class T>
void StateCache<T>::drop(Key const& key) noexcept
{
    std::lock_guard lock(mutex_);
    auto const it = places_.find(key);
    if (it == places_.end())
        return;
    states_.erase(it->second);
    places_.erase(it);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_STATE_CACHE_IPP
