// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP

/// @file
/// What all handles of one `memory::StateRepository` share: values, row locks, lock records and operation
/// records, in shards with a mutex each. A call that touches several shards locks them in the order of their
/// index, so that two such calls cannot wait for each other.

#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

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
#include <span>
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
    FencingToken first;   // the first token of the grant's block
    FencingToken mark;    // law P1: a write with a lower token is refused
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
    Version erased{no_version};  // no insert starts at or below this version (law P3)
    TransactionId transactions{0};  // row transactions that began here
    TimePoint leases_end{TimePoint::max()};  // no lock record here ends before
};

/// The store itself. Every public member may be called from several threads at once, unless it says that a
/// mutex is held.
template <class T, class R>
class Store {
public:
    static constexpr std::size_t shard_count = 64;
    /// How many tokens one grant reserves. 2^53 / 2^10 leaves 2^43 grants.
    static constexpr std::uint32_t token_block = 1024;
    /// How long only the first subscriber may take a free lock record. After that anybody may, since the
    /// first one's executor may stand still.
    static constexpr std::chrono::nanoseconds first_subscribers_patience = std::chrono::seconds{1};

    using Shard = detail::Shard<T>;
    using Node = typename Shard::Node;

    Store(RepositoryOptions options, R runtime) : options_(options), runtime_(std::move(runtime)) {}

    R const& runtime() const noexcept { return runtime_; }
    RepositoryOptions const& options() const noexcept { return options_; }

    Shard& shard_of(Key const& key) noexcept { return shards_[index_of(key)]; }

    /// Refuses a value that is larger than the options allow. The size of a trivially copyable type is its
    /// own bound.
    Outcome<void> check_value(T const& value) const
    {
        if constexpr (requires { StateTraits<T>::encoded_size(value); }) {
            if constexpr (!std::is_trivially_copyable_v<T>) {
                auto const size = StateTraits<T>::encoded_size(value);
                if (size > options_.max_value_bytes)
                    return Failure{
                        Errc::invalid_argument,
                        "value has " + std::to_string(size) + " bytes, the limit is " +
                            std::to_string(options_.max_value_bytes)};
            }
        }
        return success();
    }

    /// A copy of a value, made where the value is wanted.
    struct Snapshot {
        Entry<T> const& entry;
        operator Versioned<T>() const { return {*entry.value, entry.version}; }  // NOLINT
    };

    // ---- values -------------------------------------------------------------------------------------------

    /// A copy of the value and its version, or `not_found`.
    Outcome<Versioned<T>> load(Key const& key)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto const* node = find(shard, key);
        if (node == nullptr || !node->second.value)
            return Errc::not_found;
        return Outcome<Versioned<T>>{std::in_place, Snapshot{node->second}};
    }

    /// One change without an operation record. This is the common case, and it takes one mutex.
    Outcome<Version> change_one(Change<T> const& change, TransactionId transaction)
    {
        auto result = try_change_one(change, transaction);
        if (result.error() == Errc::overloaded && make_room()) [[unlikely]]
            return try_change_one(change, transaction);
        return result;
    }
    /// Without another attempt when a bound is reached.
    Outcome<Version> try_change_one(Change<T> const& change, TransactionId transaction)
    {
        auto& shard = shard_of(*change.key);
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        auto* node = find(shard, *change.key);
        if (auto const code = check(shard, node, change, transaction); code != Errc::ok)
            return code;
        return apply(shard, node, change, wakeup);
    }

    /// All changes and the operation's record, or nothing. A commit that a bound refuses is tried once more
    /// after `make_room`.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, TransactionId transaction = 0)
    {
        auto result = try_commit(changes, operation, transaction);
        if (result.error() == Errc::overloaded && make_room()) [[unlikely]]
            return try_commit(changes, operation, transaction);
        return result;
    }
    Outcome<CommitResult> try_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, TransactionId transaction)
    {
        Wakeup wakeup;
        Locks const locks(*this, changes, operation);
        if (operation != nullptr) {
            auto& home = shard_of(*operation->home);
            purge(home);
            auto const it = home.operations.find(operation_key(*operation->home, *operation->id));
            if (it != home.operations.end()) {
                auto const& record = it->second.record;
                if (record.answered)
                    return CommitResult{true, record.answer};
                if (operation->attempt <= record.attempt)
                    return Errc::superseded;
            } else if (operation_count_.load(std::memory_order_relaxed) >= options_.max_operations) {
                return Failure{Errc::overloaded, "operation records: the limit is reached"};
            }
        }
        std::vector<Node*> nodes(changes.size());
        CommitRefusal refusal{changes.size()};
        for (std::size_t i = 0; i < changes.size(); ++i) {
            auto& shard = shard_of(*changes[i].key);
            nodes[i] = find(shard, *changes[i].key);
            refusal.add(changes[i].key->bytes(), check(shard, nodes[i], changes[i], transaction));
        }
        if (refusal)
            return std::move(refusal).failure();
        // All or nothing: everything that may throw comes before the first change.
        struct Prepared {
            ~Prepared()
            {
                for (std::size_t i = 0; i < made.size(); ++i)
                    if (made[i] != nullptr)
                        store.drop_if_unused(store.shard_of(made[i]->first), made[i]);
            }
            Store& store;
            std::vector<Node*> made;  // dropped again unless they get a value
            std::vector<std::optional<T>> values;
        } prepared{*this, std::vector<Node*>(changes.size()), std::vector<std::optional<T>>(changes.size())};
        for (std::size_t i = 0; i < changes.size(); ++i)
            if (changes[i].kind == ChangeKind::write) {
                if (nodes[i] == nullptr) {
                    nodes[i] = find_or_make(shard_of(*changes[i].key), *changes[i].key);
                    if (nodes[i] == nullptr)
                        return Failure{Errc::overloaded, "keys: the limit is reached"};
                    prepared.made[i] = nodes[i];
                }
                prepared.values[i].emplace(*changes[i].value);
            }
        if (operation != nullptr) {
            OperationRecord record{
                next_sequence_.fetch_add(1, std::memory_order_relaxed),
                operation->attempt,
                true,
                std::string(operation->answer)};
            put_operation(shard_of(*operation->home), *operation->home, *operation->id, std::move(record));
        }
        for (std::size_t i = 0; i < changes.size(); ++i) {
            auto* const value = prepared.values[i] ? &*prepared.values[i] : nullptr;
            changes[i].version =
                apply_prepared(shard_of(*changes[i].key), nodes[i], changes[i], value, wakeup);
        }
        prepared.made.clear();
        return CommitResult{};
    }

    // ---- operation records --------------------------------------------------------------------------------

    /// The record of an operation id, as long as it is kept.
    std::optional<OperationRecord> find_operation(Key const& home, OperationId const& id)
    {
        auto& shard = shard_of(home);
        std::lock_guard lock(shard.mutex);
        purge(shard);
        auto const it = shard.operations.find(operation_key(home, id));
        if (it == shard.operations.end())
            return std::nullopt;
        return it->second.record;
    }

    /// Plants a tombstone for `attempt`, unless the record has an answer or forbids that attempt already.
    /// Returns the record.
    Outcome<OperationRecord> forbid_operation(Key const& home, OperationId const& id, std::uint32_t attempt)
    {
        auto result = try_forbid_operation(home, id, attempt);
        if (result.error() == Errc::overloaded && make_room()) [[unlikely]]
            return try_forbid_operation(home, id, attempt);
        return result;
    }
    Outcome<OperationRecord> try_forbid_operation(
        Key const& home, OperationId const& id, std::uint32_t attempt)
    {
        auto& shard = shard_of(home);
        std::lock_guard lock(shard.mutex);
        purge(shard);
        auto const it = shard.operations.find(operation_key(home, id));
        if (it != shard.operations.end()) {
            if (!it->second.record.answered && it->second.record.attempt < attempt)
                put_operation(shard, home, id, {0, attempt, false, {}});  // the retention begins anew
            return it->second.record;
        }
        if (operation_count_.load(std::memory_order_relaxed) >= options_.max_operations)
            return Failure{Errc::overloaded, "operation records: the limit is reached"};
        OperationRecord tombstone{0, attempt, false, {}};
        put_operation(shard, home, id, tombstone);
        return tombstone;
    }

    /// Calls `visit` for every answered operation record, in no order. What is recorded meanwhile may be
    /// missing.
    template <class Visit>
    void for_each_operation(Visit&& visit)
    {
        for (auto& shard : shards_) {
            std::vector<std::tuple<Key, OperationId, OperationRecord>> copies;
            {
                std::lock_guard lock(shard.mutex);
                purge(shard);
                copies.reserve(shard.operations.size());
                for (auto const& [name, stored] : shard.operations)
                    if (stored.record.answered)
                        copies.emplace_back(Key{stored.home}, OperationId{stored.id}, stored.record);
            }
            // Without the mutex, since the visitor may use the store.
            for (auto const& [key, id, record] : copies)
                visit(key, id, record);
        }
    }

    // ---- row locks ----------------------------------------------------------------------------------------

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
        return ++shard.transactions * shard_count + static_cast<std::size_t>(&shard - shards_.data());
    }

    /// Makes one change of a row that `transaction` has locked, and ends that lock, in one step.
    Outcome<Version> change_and_unlock(
        Shard& shard, Node* node, Change<T> const& change, TransactionId transaction)
    {
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        struct Unlock {  // also when copying the value throws
            ~Unlock() { store.unlock_row(shard, node, wakeup); }
            Store& store;
            Shard& shard;
            Node* node;
            Wakeup& wakeup;
        } const unlock{*this, shard, node, wakeup};
        if (auto const code = check(shard, node, change, transaction); code != Errc::ok)
            return code;
        return apply(shard, node, change, wakeup);
    }

    /// Drops an entry that says nothing any more. The caller holds the shard's mutex.
    void drop_if_unused(Shard& shard, Node* node) noexcept
    {
        if (node->second.unused()) {
            shard.recent = nullptr;
            shard.entries.erase(shard.entries.find(node->first));
            key_count_.fetch_sub(1, std::memory_order_relaxed);
        }
    }

    /// Gives the row to the next in line, or to nobody. The caller holds the shard's mutex.
    void unlock_row(Shard& shard, Node* node, Wakeup& wakeup) noexcept
    {
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

    // ---- lock records -------------------------------------------------------------------------------------

    /// Takes the lock record of `key`, or says who has it and for how long. `state`, if it is not null, gets
    /// the value that is there, in the same step.
    Outcome<Grant> create(
        Key const& key, OwnerToken owner, std::chrono::nanoseconds ttl, std::optional<Versioned<T>>* state)
    {
        auto result = try_create(key, owner, ttl, state);
        if (result.error() == Errc::overloaded && make_room()) [[unlikely]]
            return try_create(key, owner, ttl, state);
        return result;
    }
    Outcome<Grant> try_create(
        Key const& key, OwnerToken owner, std::chrono::nanoseconds ttl, std::optional<Versioned<T>>* state)
    {
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
            // Only for a while: the first subscriber's executor may stand still.
            if (!record.subscribers.empty() && record.subscribers.front().owner != owner &&
                now < interlock::detail::add(record.expires, first_subscribers_patience))
                // Somebody else is next.
                return Failure::busy(Errc::lock_busy, std::chrono::milliseconds{10});
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

    std::size_t key_count() const noexcept { return key_count_.load(std::memory_order_relaxed); }
    std::size_t waiter_count() const noexcept { return waiter_count_.load(std::memory_order_relaxed); }

private:
    static std::size_t index_of(Key const& key) noexcept
    {
        return (key.hash() ^ key.hash() >> 17) % shard_count;
    }

    /// The mutexes of all shards that a commit touches, taken in the order of their index.
    class Locks {
    public:
        Locks(Store& store, std::span<Change<T> const> changes, OperationCommit const* operation)
            : store_(store)
        {
            for (auto const& change : changes)
                wanted_ |= std::uint64_t{1} << index_of(*change.key);
            if (operation != nullptr)
                wanted_ |= std::uint64_t{1} << index_of(*operation->home);
            for (std::size_t i = 0; i < shard_count; ++i)
                if ((wanted_ >> i & 1) != 0)
                    store_.shards_[i].mutex.lock();
        }
        Locks(Locks const&) = delete;
        Locks& operator=(Locks const&) = delete;
        ~Locks()
        {
            for (std::size_t i = 0; i < shard_count; ++i)
                if ((wanted_ >> i & 1) != 0)
                    store_.shards_[i].mutex.unlock();
        }

    private:
        static_assert(shard_count <= 64);
        Store& store_;
        std::uint64_t wanted_{0};
    };

    /// The caller of this and of all members below holds the shard's mutex.
    static Node* find(Shard& shard, Key const& key) noexcept
    {
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

    /// Whether the change is allowed: `ok`, or the reason why not.
    Errc check(Shard const& shard, Node* node, Change<T> const& change, TransactionId transaction) const
    {
        if (change.fence != nullptr) {
            auto const* record = node == nullptr ? nullptr : node->second.lock.get();
            // Law P1. No clock is asked: a lease that is over but not taken yet still names its owner.
            if (record == nullptr || !record->owner || record->owner != change.fence->owner ||
                change.fence->token < record->mark)
                return Errc::fenced_out;
        }
        if (change.kind == ChangeKind::guard)
            return Errc::ok;
        if (node != nullptr && node->second.row_owner != 0 && node->second.row_owner != transaction)
            return Errc::lock_busy;
        bool const exists = node != nullptr && node->second.value.has_value();
        if (change.version < no_version)
            return Errc::corrupt_state;
        if (change.version == no_version) {
            if (exists)
                return Errc::already_exists;
            if (shard.erased == last_version)
                return Errc::version_exhausted;
        } else {
            if (!exists)
                return Errc::not_found;
            if (node->second.version != change.version)
                return Errc::version_conflict;
        }
        if (change.kind == ChangeKind::write) {
            if (change.version == last_version)
                return Errc::version_exhausted;
            if (node == nullptr && key_count_.load(std::memory_order_relaxed) >= options_.max_keys)
                return Errc::overloaded;
        }
        return Errc::ok;
    }

    /// Precondition: `check` said ok, and the mutex was held since. Returns the version after the change.
    Version apply(Shard& shard, Node* node, Change<T> const& change, Wakeup& wakeup)
    {
        if (change.kind != ChangeKind::write)
            return apply_prepared(shard, node, change, static_cast<T*>(nullptr), wakeup);
        if constexpr (std::is_nothrow_copy_constructible_v<T> && std::is_nothrow_copy_assignable_v<T>) {
            if (node == nullptr) {
                node = &*shard.entries.try_emplace(*change.key).first;
                key_count_.fetch_add(1, std::memory_order_relaxed);
            }
            return apply_prepared(shard, node, change, change.value, wakeup);
        } else {
            T value(*change.value);  // may throw; nothing has changed yet
            if (node == nullptr) {
                node = &*shard.entries.try_emplace(*change.key).first;
                key_count_.fetch_add(1, std::memory_order_relaxed);
            }
            return apply_prepared(shard, node, change, &value, wakeup);
        }
    }

    /// Does not throw, unless moving a `T` does. A `value` that is not const is moved from.
    template <class V>
    Version apply_prepared(Shard& shard, Node* node, Change<T> const& change, V* value, Wakeup& wakeup)
    {
        Version version = change.version;
        if (change.kind == ChangeKind::write) {
            auto& entry = node->second;
            if (entry.value) {
                *entry.value = std::move(*value);
                version = ++entry.version;
            } else {
                entry.value.emplace(std::move(*value));
                version = entry.version = shard.erased + 1;
            }
        } else if (change.kind == ChangeKind::erase && node != nullptr) {
            auto& entry = node->second;
            entry.value.reset();
            if (entry.version > shard.erased)
                shard.erased = entry.version;  // law P3: a later insert continues above it
        }
        if (change.fence != nullptr) {
            auto& record = *node->second.lock;
            if (record.mark < change.fence->token)
                record.mark = change.fence->token;
            if (change.release) {
                release_record(shard, node, wakeup);
                return version;
            }
        }
        if (change.kind == ChangeKind::erase && node != nullptr)
            drop_if_unused(shard, node);
        return version;
    }

    /// Frees the record, and wakes the first subscriber.
    void release_record(Shard& shard, Node* node, Wakeup& wakeup) noexcept
    {
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

    /// Drops lock records whose lease is over. Such a lease guards nothing that anybody waits for, and a
    /// write under it is `fenced_out` without the record, too.
    bool drop_ended_leases(Shard& shard)
    {
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

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP
