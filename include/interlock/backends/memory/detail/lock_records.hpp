// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCK_RECORDS_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCK_RECORDS_HPP

/// @file
/// The lock records of the store in memory: leases, their owners, and the line of those who wait for them.

#include <interlock/backends/memory/detail/shards.hpp>
#include <interlock/core/contracts/store.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// What the store does about leases. Every public member may be called from several threads at once.
template <class T, class R>
class LockRecords : public Shards<T, R> {
    using Base = Shards<T, R>;

public:
    using Base::Base;
    using Base::drop_if_unused;
    using Base::find_or_make;
    using Base::shard_of;
    using typename Base::Node;
    using typename Base::Shard;

    /// How many tokens one grant reserves. 2^53 / 2^10 leaves 2^43 grants.
    static constexpr std::uint32_t token_block = 1024;

    /// How long only the first subscriber may take a free lock record. After that anybody may, since the
    /// first one's executor may stand still.
    static constexpr std::chrono::nanoseconds first_subscribers_patience = std::chrono::seconds{1};

    /// Takes the lock record of `key`, or says who has it and for how long. `state`, if it is not null, gets
    /// the value that is there, in the same step.
    Outcome<Grant> create(verb::Create const& create, std::optional<Versioned<T>>* state)
    {
        auto result = try_create(create, state);
        if (result.errc() == Errc::overloaded && make_room()) [[unlikely]]
            return try_create(create, state);
        return result;
    }

    Outcome<Grant> try_create(verb::Create const& create, std::optional<Versioned<T>>* state)
    {
        auto const& key = create.key;
        auto const owner = create.owner;
        auto const ttl = create.ttl.value();
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* node = find_or_make(shard, key);
        if (node == nullptr)
            return Failure{Errc::overloaded, "keys: the limit is reached"};
        auto& entry = node->second;
        if (!entry.lock)
            entry.lock = std::make_unique<LockRecord>();
        auto& record = *entry.lock;
        auto const now = runtime_.now();
        bool const live = record.owner && now < record.expires;
        if (!live || record.owner != owner) {
            if (live) {
                record.wanted = true;
                return Failure::busy(Errc::lock_busy, record.expires - now);
            }
            // Somebody else is next; but only for a while, since that one's executor may stand still.
            if (!record.subscribers.empty() && record.subscribers.front().owner != owner &&
                now < interlock::detail::add(record.expires, first_subscribers_patience))
                return Failure::busy(Errc::lock_busy, std::chrono::milliseconds{10});
            record.holder = create.holder;
            record.granted = now;
            record.owner = owner;
            record.first = FencingToken{next_token_.fetch_add(token_block, std::memory_order_relaxed)};
            record.mark = record.first;  // from here on every earlier holder is fenced out
            record.wanted = record.subscribers.size() > 1;
        }
        // The lease begins anew also when the record was this owner's already: the caller counts it from this
        // request, and not from the one whose answer was lost.
        record.ttl = ttl;
        record.expires = interlock::detail::add(now, ttl);
        shard.leases_end = std::min(shard.leases_end, record.expires);
        if (state != nullptr && entry.value)
            state->emplace(Versioned<T>{*entry.value, entry.version});
        return Grant{record.first, token_block, record.ttl};
    }

    /// Lets the lease of `owner` begin anew.
    Outcome<std::chrono::nanoseconds> renew(Key const& key, OwnerToken owner, std::chrono::nanoseconds ttl)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* record = record_of(shard, key);
        if (record == nullptr || !record->owner)
            return Failure::because(Errc::lock_lost, Errc::not_found);
        if (record->owner != owner)
            return Failure::because(Errc::lock_lost, Errc::lock_busy);
        record->ttl = ttl;
        record->expires = interlock::detail::add(runtime_.now(), ttl);
        shard.leases_end = std::min(shard.leases_end, record->expires);
        return ttl;
    }

    /// Frees the record if it is this owner's. `owner` null: frees it, whoever has it.
    Removal remove(Key const& key, OwnerToken const* owner)
    {
        auto& shard = shard_of(key);
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        auto* node = find(shard, key);
        if (node == nullptr || !node->second.lock || !node->second.lock->owner)
            return Removal::gone;
        if (owner != nullptr && node->second.lock->owner != *owner)
            return Removal::taken;
        release_record(shard, node, wakeup);
        return Removal::removed;
    }

    /// Frees the record if it is that of the acquisition with this first token.
    Removal break_lock(Key const& key, FencingToken seen)
    {
        auto& shard = shard_of(key);
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        auto* node = find(shard, key);
        if (node == nullptr || !node->second.lock || !node->second.lock->owner)
            return Removal::gone;
        if (node->second.lock->first != seen)
            return Removal::taken;
        release_record(shard, node, wakeup);
        return Removal::removed;
    }

    /// Who holds the record, if anybody does.
    std::optional<LockInfo> inspect(Key const& key)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto const* record = record_of(shard, key);
        return record != nullptr ? info_of(*record, runtime_.now()) : std::nullopt;
    }

    /// Calls `visit` for every record that somebody holds, without holding a mutex.
    template <class Visit>
    void for_each_lock(Visit& visit)
    {
        for (auto& shard : shards_) {
            std::vector<std::pair<Key, LockInfo>> held;
            {
                std::lock_guard lock(shard.mutex);
                auto const now = runtime_.now();
                for (auto const& [key, entry] : shard.entries)
                    if (entry.lock)
                        if (auto info = info_of(*entry.lock, now))
                            held.emplace_back(key, *std::move(info));
            }
            for (auto const& [key, info] : held)
                visit(key, info);
        }
    }

    /// Enters `waiter` into the queue of `key`'s record. Without room nothing happens, and the next `create`
    /// says `overloaded`.
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* node = find_or_make(shard, key);
        if (node == nullptr)
            return;  // the next create says overloaded
        if (!node->second.lock)
            node->second.lock = std::make_unique<LockRecord>();
        node->second.lock->subscribers.push_back({owner, &waiter});
        node->second.lock->wanted = true;
    }

    /// Once it returns, `waiter` is not being woken and will not be.
    void unsubscribe(Key const& key, Waiter& waiter) noexcept
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* node = find(shard, key);
        if (node == nullptr || !node->second.lock)
            return;
        auto& record = *node->second.lock;
        bool const was_first = !record.subscribers.empty() && record.subscribers.front().waiter == &waiter;
        record.subscribers.remove_if([&](Subscriber const& s) { return s.waiter == &waiter; });
        if (!record.owner) {
            if (record.subscribers.empty()) {
                node->second.lock.reset();
                drop_if_unused(shard, node);
            } else if (was_first) {
                record.expires = runtime_.now();
                record.subscribers.front().waiter->wake();
            }
        }
    }

    /// Whether somebody has asked in vain for what `owner` holds.
    bool wanted(Key const& key, OwnerToken owner)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* record = record_of(shard, key);
        return record != nullptr && record->owner == owner && record->wanted;
    }

    /// Forgets in all shards what is over: operation records behind their retention, and lock records behind
    /// their lease that nobody waits for, on keys without a value. It is called by whoever found the store
    /// full, since a bound counts only what is kept. True: something was forgotten. The caller holds no
    /// mutex.
    bool make_room()
    {
        bool made = false;
        for (auto& shard : shards_) {
            std::lock_guard lock(shard.mutex);
            made = purge(shard) || made;
            made = drop_ended_leases(shard) || made;
        }
        return made;
    }

protected:
    using Base::find;
    using Base::key_count_;
    using Base::next_token_;
    using Base::purge;
    using Base::record_of;
    using Base::runtime_;
    using Base::shards_;

    /// Frees the record, and wakes the first subscriber.
    void release_record(Shard& shard, Node* node, Wakeup& wakeup) noexcept
    {
        INTERLOCK_ASSERT(
            interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its lock records");
        auto& record = *node->second.lock;
        record.owner = OwnerToken{};
        if (record.subscribers.empty()) {
            node->second.lock.reset();
            drop_if_unused(shard, node);
        } else {
            record.expires = runtime_.now();
            wakeup = record.subscribers.front().waiter->wake_later();
        }
    }

private:
    static std::optional<LockInfo> info_of(LockRecord const& record, TimePoint now)
    {
        if (!record.owner || now >= record.expires)
            return std::nullopt;
        auto const waiters = record.subscribers.size();
        return LockInfo{
            std::string(record.holder.text()),
            record.first,
            std::nullopt,
            now - record.granted,
            record.expires - now,
            waiters};
    }

    /// Drops lock records whose lease is over. Such a lease guards nothing that anybody waits for, and a
    /// write under it is `fenced_out` without the record, too.
    bool drop_ended_leases(Shard& shard)
    {
        INTERLOCK_ASSERT(
            interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its lock records");
        auto const now = runtime_.now();
        if (now < shard.leases_end)
            return false;
        shard.leases_end = TimePoint::max();
        shard.recent = nullptr;
        bool dropped = false;
        for (auto it = shard.entries.begin(); it != shard.entries.end();) {
            auto& entry = it->second;
            if (entry.lock && entry.lock->owner) {
                if (now < entry.lock->expires)
                    shard.leases_end = std::min(shard.leases_end, entry.lock->expires);
                else if (entry.lock->subscribers.empty() && !entry.value)
                    entry.lock.reset();
            }
            if (!entry.unused()) {
                ++it;
                continue;
            }
            it = shard.entries.erase(it);
            key_count_.fetch_sub(1, std::memory_order_relaxed);
            dropped = true;
        }
        return dropped;
    }
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCK_RECORDS_HPP
