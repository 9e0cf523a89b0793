// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP

/// @file
/// What all handles of one `memory::StateRepository` share: values, row locks, lock records and operation
/// records, in shards with a mutex each. A call that touches several shards locks them in the order of their
/// index, so that two such calls cannot wait for each other.

#include <interlock/backends/memory/detail/event_sink.hpp>
#include <interlock/backends/memory/detail/lock_records.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// A commit of one store in its stages; see `pending_commit.hpp`.
template <class T, class R>
class PendingCommit;

/// The store itself: values, commits and operation records on top of the lock records. Every public member
/// may be called from several threads at once, unless it says that a mutex is held.
template <class T, class R>
class Store : public LockRecords<T, R> {
    using Base = LockRecords<T, R>;

public:
    using Base::Base;
    using Base::drop_if_unused;
    using Base::find_or_make;
    using Base::make_room;
    using Base::shard_count;
    using Base::shard_of;
    using Base::unlock_row;
    using typename Base::Node;
    using typename Base::Shard;

    /// Refuses a value that is larger than the options allow, or has no stored form, so that other stores
    /// would refuse it. The size of a trivially copyable type is its own bound.
    Outcome<void> check_value(T const& value) const
    {
        if constexpr (requires { StateTraits<T>::encoded_size(value); }) {
            if constexpr (!std::is_trivially_copyable_v<T> || !interlock::detail::has_own_size<T>()) {
                auto const size = interlock::detail::encoded_size_of(value);
                if (!size)
                    return size.failure();
                if (*size > options_.max_value_bytes)
                    return Failure{
                        Errc::invalid_argument, "value has " + std::to_string(*size) +
                                                    " bytes, the limit is " +
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

    // ---- values ---------------------------------------------------------------------------------

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
        if (result.errc() == Errc::overloaded && make_room()) [[unlikely]]
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

    /// All changes and the operation's record, or nothing. A commit that a bound refuses is tried once more
    /// after `make_room`.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, TransactionId transaction = 0)
    {
        if (changes.size() == 1 && operation == nullptr && changes[0].events.empty()) {  // without lists
            auto version = change_one(changes[0], transaction);
            if (!version)
                return std::move(version).failure();
            changes[0].version = *version;
            return CommitResult{};
        }
        auto result = try_commit(changes, operation, transaction);
        if (result.errc() == Errc::overloaded && make_room()) [[unlikely]]
            return try_commit(changes, operation, transaction);
        return result;
    }

    Outcome<CommitResult> try_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, TransactionId transaction)
    {
        Wakeup wakeup;
        Locks const locks(*this, shards_of(changes, operation));
        PendingCommit<T, R> commit{*this, changes, operation, transaction};
        if (auto decided = commit.decided_by_record())
            return *std::move(decided);
        CommitRefusal refusal{changes.size()};
        commit.check(refusal);
        if (refusal)
            return std::move(refusal).failure();
        PendingAppend append;
        if (auto prepared = commit.prepare(append); !prepared)
            return std::move(prepared).failure();
        commit.apply(wakeup);
        append.keep();
        return CommitResult{};
    }

    /// The shards that a commit touches: a bit for each.
    static std::uint64_t shards_of(
        std::span<Change<T> const> changes, OperationCommit const* operation) noexcept
    {
        std::uint64_t wanted = 0;
        for (auto const& change : changes)
            wanted |= std::uint64_t{1} << index_of(*change.key);
        if (operation != nullptr)
            wanted |= std::uint64_t{1} << index_of(*operation->home);
        return wanted;
    }

    /// The mutexes of shards of a store, taken in the order of their index.
    class Locks {
    public:
        /// `wanted`: a bit for each shard.
        Locks(Store& store, std::uint64_t wanted) : store_(store), wanted_(wanted)
        {
            for (auto left = wanted_; left != 0; left &= left - 1)
                store_.shards_[static_cast<std::size_t>(std::countr_zero(left))].mutex.lock();
        }
        Locks(Locks const&) = delete;
        Locks& operator=(Locks const&) = delete;
        ~Locks()
        {
            for (auto left = wanted_; left != 0; left &= left - 1)
                store_.shards_[static_cast<std::size_t>(std::countr_zero(left))].mutex.unlock();
        }

    private:
        static_assert(shard_count <= 64);
        Store& store_;
        std::uint64_t wanted_;
    };

    // ---- operation records ----------------------------------------------------------------------

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
        if (result.errc() == Errc::overloaded && make_room()) [[unlikely]]
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

private:
    friend PendingCommit<T, R>;
    using Base::find;
    using Base::index_of;
    using Base::key_count_;
    using Base::next_sequence_;
    using Base::operation_count_;
    using Base::operation_key;
    using Base::options_;
    using Base::purge;
    using Base::put_operation;
    using Base::release_record;
    using Base::runtime_;
    using Base::shards_;

    /// What a commit of `operation` comes to by what is recorded of it, or for want of room for its record.
    /// Nothing: it is to be made.
    std::optional<Outcome<CommitResult>> decided_by_record(OperationCommit const& operation)
    {
        auto& home = shard_of(*operation.home);
        purge(home);
        auto const it = home.operations.find(operation_key(*operation.home, *operation.id));
        if (it == home.operations.end()) {
            if (operation_count_.load(std::memory_order_relaxed) >= options_.max_operations)
                return Failure{Errc::overloaded, "operation records: the limit is reached"};
            return std::nullopt;
        }
        auto const& record = it->second.record;
        if (record.answered)
            return CommitResult{true, record.answer};
        if (operation.attempt <= record.attempt)
            return Errc::superseded;
        return std::nullopt;
    }

    /// Adds the events of `changes`, if there are any, to the log, whose mutex is held from here on.
    Outcome<void> add_events(PendingAppend& append, std::span<Change<T> const> changes)
    {
        for (auto const& change : changes) {
            if (change.events.empty())
                continue;
            if (options_.events.get() == nullptr)
                return interlock::detail::no_event_repository();
            if (auto added = append.add(*options_.events.get(), *change.key, change.events); !added)
                return added;
        }
        return success();
    }

    /// Whether the change is allowed: `ok`, or the reason why not.
    Errc check(Shard& shard, Node* node, Change<T> const& change, TransactionId transaction) const
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its values");
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
        INTERLOCK_ASSERT(interlock::detail::is_locked(shard.mutex), "the shard's mutex guards its values");
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
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#include <interlock/backends/memory/detail/pending_commit.hpp>

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_STORE_HPP
