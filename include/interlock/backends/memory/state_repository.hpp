// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in this process's memory. Strict: it models every concept and breaks
/// no promise while the process lives.

#include <interlock/backends/memory/detail/store.hpp>
#include <interlock/backends/memory/fwd.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/lock_call.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {

/// An open row transaction of a `memory::StateRepository`. Models `RowTransaction`.
///
/// **Lifetimes.** Made by `load_for_update` it keeps the store alive; made by `open_transaction` the
/// repository must outlive it. Must not be moved while `poll` is pending: a queue knows its waiter. **Thread
/// safety.** One thread at a time.
template <class T, class R>
class Transaction {
    using Store = detail::Store<T, R>;

public:
    /// Takes the locked rows over; the other one then holds nothing.
    Transaction(Transaction&& other) noexcept
        : owner_(std::move(other.owner_)), store_(other.store_), id_(std::exchange(other.id_, 0)),
          first_(std::move(other.first_)), more_(std::move(other.more_))
    {
        other.first_.where = RowState::open;
        other.more_.clear();
    }
    Transaction& operator=(Transaction&& other) noexcept
    {
        if (this != &other) {
            rollback();
            owner_ = std::move(other.owner_);
            store_ = other.store_;
            id_ = std::exchange(other.id_, 0);
            first_ = std::move(other.first_);
            other.first_.where = RowState::open;
            more_ = std::move(other.more_);
            other.more_.clear();
        }
        return *this;
    }
    ~Transaction() { rollback(); }

    /// The i-th locked row as it was when it was locked; nothing when the key has no value.
    std::optional<Versioned<T>>& state(std::size_t i) { return row(i).state; }

    /// Applies `changes` and the operation's record, or nothing, and ends the transaction.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline = {})
    {
        for (auto const& change : changes)
            if (change.kind == ChangeKind::write)
                if (auto checked = store_->check_value(*change.value); !checked) {
                    rollback();
                    return std::move(checked).failure();
                }
        if (changes.size() == 1 && operation == nullptr && more_.empty() &&
            first_.where == RowState::locked &&
            *changes[0].key == first_.node->first) {  // the common case: write and unlock in one step
            first_.where = RowState::open;
            auto version =
                store_->change_and_unlock(*first_.shard, first_.node, changes[0], std::exchange(id_, 0));
            if (!version)
                return std::move(version).failure();
            changes[0].version = *version;
            return Outcome<CommitResult>{std::in_place};
        }
        Outcome<CommitResult> result = CommitResult{};
        if (changes.size() == 1 && operation == nullptr) {
            if (auto version = store_->change_one(changes[0], id_))
                changes[0].version = *version;
            else
                result = std::move(version).failure();
        } else {
            result = store_->commit(changes, operation, id_);
        }
        rollback();  // unlocks the rows, whatever became of the changes
        return result;
    }

    /// Unlocks all rows; the next waiter of each gets it.
    void rollback() noexcept
    {
        abandon();
        if (id_ == 0)
            return;
        unlock(first_);
        for (auto& row : more_)
            unlock(row);
        id_ = 0;
    }

    /// Locks the rows not yet locked, in order. Pending: `waiter` is queued and is woken when it is its turn.
    Step<void> poll(Wait wait, Waiter& waiter)
    {
        if (auto done = poll(first_, wait, waiter); !done.done() || !done.outcome())
            return done;
        for (auto& row : more_)
            if (auto done = poll(row, wait, waiter); !done.done() || !done.outcome())
                return done;
        return success();
    }

    /// Leaves the queue: after it no waiter passed to `poll` is woken. What is locked stays locked.
    void abandon() noexcept
    {
        abandon(first_);
        for (auto& row : more_)
            abandon(row);
    }

private:
    template <class, class, class>
    friend class StateRepository;

    enum class RowState : unsigned char { open, queued, locked };
    struct Row {
        Key const* key{nullptr};  // the caller's, needed until the row is locked
        typename Store::Shard* shard{nullptr};
        typename Store::Node* node{nullptr};
        std::list<detail::RowWaiter>::iterator place{};
        RowState where{RowState::open};
        std::optional<Versioned<T>> state{};
    };

    Transaction(Store* store, std::span<Key const* const> keys) : store_(store)
    {
        first_.key = keys[0];
        for (auto const* key : keys.subspan(1))
            more_.emplace_back().key = key;
    }

    Row& row(std::size_t i) { return i == 0 ? first_ : more_[i - 1]; }

    Step<void> poll(Row& row, Wait wait, Waiter& waiter)
    {
        auto polled = try_poll(row, wait, waiter);
        if (polled.done() && polled.outcome().errc() == Errc::overloaded && store_->make_room()) [[unlikely]]
            return try_poll(row, wait, waiter);
        return polled;
    }

    Step<void> try_poll(Row& row, Wait wait, Waiter& waiter)
    {
        if (row.where == RowState::locked)
            return success();
        if (row.shard == nullptr)
            row.shard = &store_->shard_of(*row.key);
        std::lock_guard lock(row.shard->mutex);
        if (id_ == 0)
            id_ = store_->new_transaction(*row.shard);
        if (row.where == RowState::queued) {
            if (row.node->second.row_owner != id_)
                return Step<void>::pending();
        } else {
            row.node = store_->find_or_make(*row.shard, *row.key);
            if (row.node == nullptr)
                return Failure{Errc::overloaded, "keys: the limit is reached"};
            auto& entry = row.node->second;
            if (entry.row_owner != 0) {
                if (wait == Wait::no)
                    return Errc::lock_busy;
                if (!store_->count_waiter())
                    return Failure{Errc::overloaded, "waiters for row locks: the limit is reached"};
                row.place = entry.row_waiters.insert(entry.row_waiters.end(), {id_, &waiter});
                row.where = RowState::queued;
                return Step<void>::pending();
            }
            entry.row_owner = id_;
        }
        row.where = RowState::locked;
        if (row.node->second.value)
            row.state.emplace(typename Store::Snapshot{row.node->second});
        return success();
    }

    void abandon(Row& row) noexcept
    {
        if (row.where != RowState::queued)
            return;
        std::lock_guard lock(row.shard->mutex);
        if (row.node->second.row_owner == id_) {  // it became ours while we were leaving
            row.where = RowState::locked;
            return;
        }
        row.node->second.row_waiters.erase(row.place);
        store_->uncount_waiter();
        row.where = RowState::open;
    }

    void unlock(Row& row) noexcept
    {
        if (row.where != RowState::locked)
            return;
        Wakeup wakeup;
        std::lock_guard lock(row.shard->mutex);
        store_->unlock_row(*row.shard, row.node, wakeup);
        row.where = RowState::open;
    }

    std::shared_ptr<Store> owner_;  // empty when the repository is known to live
    Store* store_;
    detail::TransactionId id_{0};
    Row first_;
    std::vector<Row> more_;
};

/// A store in this process's memory.
///
/// **Guarantee.** Models `VersionedRepository`, `AtomicRepository`, `OperationRepository`,
/// `RowLockingRepository`, `LeaseRepository`, `FencedRepository` and `FusedRepository`. Row locks and lock
/// records are granted first come, first served. Laws P1 to P10 hold without exception for as long as the
/// process lives. **Does not guarantee.** Anything across processes or restarts. **Lifetimes.** A shared
/// handle: copies are handles to the same store, which lives as long as any of them, or any service or
/// operation made from one. **Thread safety.** Everything: safe. **Cost.** One mutex of 64 per key touched;
/// no allocation for a change of an existing value.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`). Scalar values need
/// one: `memory::StateRepository<int, std::string>`.
template <class T, class K, class R>
class StateRepository
    : public CommittingMembers<StateRepository<T, K, R>, T, interlock::detail::repository_key_t<T, K>> {
    using Members = CommittingMembers<StateRepository<T, K, R>, T, interlock::detail::repository_key_t<T, K>>;
    using Store = detail::Store<T, R>;

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = R;
    using transaction_type = Transaction<T, R>;
    static constexpr std::string_view name = "memory";

    /// A new, empty store.
    explicit StateRepository(RepositoryOptions options = {}, R runtime = {})
        : store_(std::make_shared<Store>(options, std::move(runtime)))
    {}

    R const& runtime() const noexcept { return store_->runtime(); }
    void const* identity() const noexcept { return store_.get(); }
    /// For messages.
    std::string place() const { return "memory"; }

    static constexpr Capabilities capabilities() noexcept
    {
        return {.answers_in_place = true, .owns_threads = true};
    }

    // ---- values: VersionedRepository, AtomicRepository ------------------------------------------
    using Members::carry_out;

    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline) const
    {
        if (!load.key.valid())
            return load.key.validate().failure();
        return store_->load(load.key);
    }
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline) const
    {
        for (auto const& change : commit.changes) {
            if (!change.key->valid())
                return change.key->validate().failure();
            if (change.kind == ChangeKind::write)
                if (auto checked = store_->check_value(*change.value); !checked)
                    return std::move(checked).failure();
        }
        return store_->commit(commit.changes, commit.operation);
    }

    // ---- operation records: OperationRepository -------------------------------------------------
    Outcome<std::optional<OperationRecord>> carry_out(verb::FindOperation const& find, Deadline) const
    {
        return store_->find_operation(find.key, find.id);
    }
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline) const
    {
        return store_->forbid_operation(forbid.key, forbid.id, forbid.attempt);
    }
    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed
    /// before the call, in no particular order; sort by `sequence` for the order of commits.
    template <class Visit>
    void for_each_operation(Visit&& visit) const
    {
        store_->for_each_operation(std::forward<Visit>(visit));
    }

    // ---- row locks: RowLockingRepository --------------------------------------------------------
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        auto opened = wait_for_rows(*this, rows.keys, rows.wait, deadline);
        if (opened)
            opened->owner_ = store_;
        return opened;
    }
    /// `load_for_update` without blocking: `poll` the result until it is done. `keys` must live until then, a
    /// handle of this store as long as the result.
    transaction_type open_transaction(std::span<Key const* const> keys) const
    {
        return transaction_type{store_.get(), keys};
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -----------------------
    Outcome<Grant> carry_out(verb::Create const& create, Deadline) const
    {
        if (auto valid = check(create.key, create.ttl); !valid)
            return std::move(valid).failure();
        return store_->create(create.key, create.owner, create.ttl.value(), nullptr);
    }
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline) const
    {
        if (auto valid = check(create.key, create.ttl); !valid)
            return std::move(valid).failure();
        GrantAndState<T> both;
        auto grant = store_->create(create.key, create.owner, create.ttl.value(), &both.state);
        if (!grant)
            return std::move(grant).failure();
        both.grant = *grant;
        return both;
    }
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline) const
    {
        if (auto valid = check(renew.key, renew.ttl); !valid)
            return std::move(valid).failure();
        return store_->renew(renew.key, renew.owner, renew.ttl.value());
    }
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline) const
    {
        return store_->remove(remove.key, &remove.owner);
    }
    /// The fence counter lives and dies with the data it guards.
    Outcome<void> carry_out(verb::VerifyFencing const&, Deadline) const { return success(); }

    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and
    /// its next renewal finds the lock lost. For operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key) const
    {
        return store_->remove(make_key<T, key_type>(key), nullptr);
    }

    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
    {
        store_->subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept { store_->unsubscribe(key, waiter); }
    bool wanted(Key const& key, OwnerToken owner) const { return store_->wanted(key, owner); }

    /// Keys with a value or a lock, now.
    std::size_t key_count() const noexcept { return store_->key_count(); }
    /// Waiters for row locks, now.
    std::size_t waiter_count() const noexcept { return store_->waiter_count(); }

private:
    friend Members;

    /// Of one key: without a list.
    Outcome<Version> change(Change<T> const& change, Deadline) const
    {
        if (!change.key->valid())
            return change.key->validate().failure();
        if (change.value != nullptr)
            if (auto checked = store_->check_value(*change.value); !checked)
                return std::move(checked).failure();
        return store_->change_one(change, 0);
    }

    static Outcome<void> check(Key const& key, Ttl ttl) { return validate_lock_call(key, ttl); }

    std::shared_ptr<Store> store_;
};

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP
