// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_SHARDS_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_SHARDS_HPP

/// @file
/// What the store in memory keeps of its keys, in shards with a mutex each: values, row locks, lock records
/// and operation records; and the bookkeeping that all parts of the store need.

#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/assertion.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// Names an open row transaction; 0 means none.
using TransactionId = std::uint64_t;

/// A transaction that waits for a row.
struct RowWaiter {
    TransactionId transaction;
    Waiter* waiter;
};

/// An acquisition that waits for a lock record to become free.
struct Subscriber {
    OwnerToken owner;
    Waiter* waiter;
};

/// The lock record of one key. An empty `owner` means that the record is free.
struct LockRecord {
    OwnerToken owner;
    FencingToken first;  // the first token of the grant's block
    FencingToken mark;   // law P1: a write with a lower token is refused
    TimePoint granted{};
    HolderName holder{};  // in the record itself: a text would be one more allocation for each grant
    TimePoint expires{};  // of a free record: since when the first subscriber alone may take it
    std::chrono::nanoseconds ttl{0};
    bool wanted{false};                 // somebody has asked in vain since the grant
    std::list<Subscriber> subscribers;  // in the order in which they may take the record
};

/// All that is known of one key.
template <class T>
struct Entry {
    std::optional<T> value;  // empty: there is no value, though there may be locks
    Version version{no_version};
    TransactionId row_owner{0};        // the transaction that has locked the row
    std::list<RowWaiter> row_waiters;  // in the order in which they get the row
    std::unique_ptr<LockRecord> lock;  // most keys never have one

    /// Whether the entry says nothing any more and can be dropped.
    bool unused() const noexcept { return !value && row_owner == 0 && row_waiters.empty() && !lock; }
};

/// An operation record, and how long it is kept.
struct StoredOperation {
    OperationRecord record;
    TimePoint kept_until{};
    std::string_view home;  // points into the map's key
    std::string_view id;
};

/// The keys whose hash leads here. Aligned, so that two shards never share a cache line.
template <class T>
struct alignas(64) Shard {
    using Entries = std::unordered_map<Key, Entry<T>>;
    using Node = typename Entries::value_type;
    using Operations = std::unordered_map<std::string, StoredOperation>;

    std::mutex mutex;
    Node* recent{nullptr};  // the node that was found last, or null
    std::size_t recent_hash{0};
    Entries entries;
    Operations operations;
    std::vector<std::pair<TimePoint, std::string>> operation_order;  // a heap: what is over first comes first
    Version erased{no_version};              // no insert starts at or below this version (law P3)
    TransactionId transactions{0};           // row transactions that began here
    TimePoint leases_end{TimePoint::max()};  // no lock record here ends before
};

/// The shards of one store, and the bounds that are counted over all of them.
template <class T, class R>
class Shards {
public:
    static constexpr std::size_t shard_count = 64;
    using Shard = detail::Shard<T>;
    using Node = typename Shard::Node;

    Shards(RepositoryOptions options, R runtime)
        : options_(checked_retention(std::move(options))), runtime_(std::move(runtime))
    {}

    R const& runtime() const noexcept { return runtime_; }

    RepositoryOptions const& options() const noexcept { return options_; }

    Shard& shard_of(Key const& key) noexcept { return shards_[index_of(key)]; }

    /// The node of `key`, made if need be; null when the store is full. The caller holds the shard's mutex.
    Node* find_or_make(Shard& shard, Key const& key)
    {
        if (auto* node = find(shard, key))
            return node;
        if (key_count_.fetch_add(1, std::memory_order_relaxed) >= options_.max_keys) {
            key_count_.fetch_sub(1, std::memory_order_relaxed);
            return nullptr;
        }
        try {
            return &*shard.entries.try_emplace(key).first;
        } catch (...) {
            key_count_.fetch_sub(1, std::memory_order_relaxed);
            throw;
        }
    }

    /// A new name for a row transaction. The caller holds the shard's mutex.
    TransactionId new_transaction(Shard& shard) noexcept
    {
        INTERLOCK_ASSERT(
            interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its transactions");
        return ++shard.transactions * shard_count + static_cast<std::size_t>(&shard - shards_.data());
    }

    /// Drops an entry that says nothing any more. The caller holds the shard's mutex.
    void drop_if_unused(Shard& shard, Node* node) noexcept
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its entries");
        if (node->second.unused()) {
            shard.recent = nullptr;
            shard.entries.erase(shard.entries.find(node->first));
            key_count_.fetch_sub(1, std::memory_order_relaxed);
        }
    }

    /// Gives the row to the next in line, or to nobody. The caller holds the shard's mutex.
    void unlock_row(Shard& shard, Node* node, Wakeup& wakeup) noexcept
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its rows");
        auto& entry = node->second;
        if (entry.row_waiters.empty()) {
            entry.row_owner = 0;
            drop_if_unused(shard, node);
            return;
        }
        auto const next = entry.row_waiters.front();
        entry.row_waiters.pop_front();
        waiter_count_.fetch_sub(1, std::memory_order_relaxed);
        entry.row_owner = next.transaction;
        wakeup = next.waiter->wake_later();
    }

    /// Takes one of the places for waiters of rows; false when all are taken.
    bool count_waiter() noexcept
    {
        if (waiter_count_.fetch_add(1, std::memory_order_relaxed) < options_.max_waiters)
            return true;
        waiter_count_.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }

    void uncount_waiter() noexcept { waiter_count_.fetch_sub(1, std::memory_order_relaxed); }

    std::size_t key_count() const noexcept { return key_count_.load(std::memory_order_relaxed); }

    std::size_t waiter_count() const noexcept { return waiter_count_.load(std::memory_order_relaxed); }

protected:
    static std::size_t index_of(Key const& key) noexcept
    {
        return (key.hash() ^ key.hash() >> 17) % shard_count;
    }

    // The caller of the following members holds the shard's mutex.

    static Node* find(Shard& shard, Key const& key) noexcept
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its entries");
        // A transaction asks for its key more than once, so the last node is kept.
        if (shard.recent != nullptr && shard.recent_hash == key.hash() && shard.recent->first == key)
            return shard.recent;
        auto const it = shard.entries.find(key);
        if (it == shard.entries.end())
            return nullptr;
        shard.recent = &*it;
        shard.recent_hash = key.hash();
        return shard.recent;
    }

    static LockRecord* record_of(Shard& shard, Key const& key) noexcept
    {
        auto* node = find(shard, key);
        return node == nullptr ? nullptr : node->second.lock.get();
    }

    /// Home key and id as one name. The length in front keeps two different pairs apart.
    static std::string operation_key(Key const& home, OperationId const& id)
    {
        std::string out;
        out.reserve(2 + home.bytes().size() + id.value().size());
        out += static_cast<char>(home.bytes().size() >> 8);  // at most 512
        out += static_cast<char>(home.bytes().size());
        out += home.bytes();
        out += id.value();
        return out;
    }

    /// Writes an operation record, new or again; its retention begins now.
    void put_operation(Shard& shard, Key const& home, OperationId const& id, OperationRecord record)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its records");
        auto const until = interlock::detail::add(runtime_.now(), id.kept_for(options_.retention));
        auto name = operation_key(home, id);
        forget_former_times(shard);
        shard.operation_order.emplace_back(until, name);
        auto it = shard.operations.end();
        try {
            bool fresh = false;
            std::tie(it, fresh) = shard.operations.try_emplace(std::move(name));
            if (fresh)
                operation_count_.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            shard.operation_order.pop_back();
            throw;
        }
        std::push_heap(shard.operation_order.begin(), shard.operation_order.end(), std::greater<>{});
        it->second.record = std::move(record);
        it->second.kept_until = until;
        std::string_view const stored = it->first;
        it->second.home = stored.substr(2, home.bytes().size());
        it->second.id = stored.substr(2 + home.bytes().size());
    }

    /// A record that is written again gets another place in the heap, with its new time, and its former place
    /// stays. Once there are twice as many places as records, the former ones are taken out, so that a record
    /// that is written again and again does not fill the memory.
    void forget_former_times(Shard& shard)
    {
        auto& order = shard.operation_order;
        if (order.size() <= 2 * shard.operations.size() + 64)
            return;
        std::erase_if(order, [&](auto const& place) {
            auto const it = shard.operations.find(place.second);
            return it == shard.operations.end() || it->second.kept_until != place.first;
        });
        // A record that was written twice at one time has two equal places, of which one is enough. Sorting
        // brings them together, and leaves a heap, since its first place is the earliest.
        std::sort(order.begin(), order.end());
        order.erase(std::unique(order.begin(), order.end()), order.end());
    }

    /// Forgets what need not be kept any longer, exactly then and not before. True: something was forgotten.
    bool purge(Shard& shard)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its records");
        if (shard.operation_order.empty())
            return false;
        auto const now = runtime_.now();
        bool purged = false;
        while (!shard.operation_order.empty() && now >= shard.operation_order.front().first) {
            auto const it = shard.operations.find(shard.operation_order.front().second);
            // A record that was written again is in the heap once more, with its new time; then this place is
            // a former one.
            if (it != shard.operations.end() &&
                it->second.kept_until == shard.operation_order.front().first) {
                shard.operations.erase(it);
                operation_count_.fetch_sub(1, std::memory_order_relaxed);
                purged = true;
            }
            std::pop_heap(shard.operation_order.begin(), shard.operation_order.end(), std::greater<>{});
            shard.operation_order.pop_back();
        }
        return purged;
    }

    RepositoryOptions options_;
    R runtime_;
    std::array<Shard, shard_count> shards_;
    std::atomic<std::uint64_t> next_token_{1};     // the first token of the next grant
    std::atomic<std::uint64_t> next_sequence_{1};  // the number of the next operation record
    std::atomic<std::size_t> key_count_{0};
    std::atomic<std::size_t> waiter_count_{0};
    std::atomic<std::size_t> operation_count_{0};
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_SHARDS_HPP
