// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in this process's memory: for threads of one process that change the
/// same states, for tests, and as the first store of a program that will have a server later. It models every
/// concept, and breaks no promise while the process lives.
///
///     interlock::memory::StateRepository<Account> accounts;
///     accounts.insert(Account{"alice", 100}).value();
///     interlock::TransactionService const service{interlock::PessimisticRowLock{}, accounts};
///     service.do_in_transaction("alice", [](Account& a) { a.balance -= 5; });
///     int const left = accounts.load("alice").value().value.balance;  // 95

#include <interlock/backends/memory/detail/joint_store.hpp>
#include <interlock/backends/memory/detail/locked_rows.hpp>
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
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace memory {

/// An open row transaction of a `memory::StateRepository`: the rows that `load_for_update` has locked. Models
/// `RowTransaction`.
///
/// **Guarantee.** Nobody else changes a locked row until the transaction ends. Who waits for a row gets it
/// in the order of arrival. **Does not guarantee.** Freedom from deadlocks between transactions that lock
/// the same keys in different orders: services sort their keys first. **Lifetimes.** Made by
/// `load_for_update` it keeps the store alive; made by `open_transaction` the repository must outlive it. It
/// must not be moved while `poll` is pending, since a queue knows its waiter. Its destructor rolls back.
/// **Thread safety.** One thread at a time. **Cost.** One mutex of 64 for each row, at its lock and at its
/// end; a transaction of one row that has a value and is free allocates nothing.
template <class T, class R>
class Transaction {
public:
    /// The i-th locked row as it was when it was locked; nothing when the key has no value.
    std::optional<Versioned<T>>& state(std::size_t i) { return rows_.state(i); }

    /// Applies `changes` and the operation's record, or nothing, and ends the transaction. On success each
    /// change has its new version. A failure names why nothing was applied; the rows are unlocked in any
    /// case.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline = {})
    {
        return rows_.commit(changes, operation);
    }

    /// Unlocks all rows; the next waiter of each gets it.
    void rollback() noexcept { rows_.rollback(); }

    /// Locks the rows not yet locked, in order. Pending: `waiter` is queued and is woken when it is its turn.
    /// With `Wait::no` a row that is taken is `lock_busy` at once; a full queue or store is `overloaded`.
    Step<void> poll(Wait wait, Waiter& waiter) { return rows_.poll(wait, waiter); }

    /// Leaves the queue: after it no waiter passed to `poll` is woken. What is locked stays locked.
    void abandon() noexcept { rows_.abandon(); }

private:
    template <class, class, class>
    friend class StateRepository;

    Transaction(detail::Store<T, R>* store, std::span<Key const* const> keys) : rows_(store, keys) {}

    detail::LockedRows<T, R> rows_;
};

/// A store in this process's memory.
///
/// **Guarantee.** Models `VersionedRepository`, `AtomicRepository`, `OperationRepository`,
/// `RowLockingRepository`, `LeaseRepository`, `FencedRepository` and `FusedRepository`. Row locks and lock
/// records are granted first come, first served. Laws P1 to P10 hold without exception for as long as the
/// process lives. **Does not guarantee.** Anything across processes or restarts; a forked child has a copy
/// of its own. **Failures.** Each bound of `RepositoryOptions` ends in `overloaded`, or for a value in
/// `invalid_argument`; nothing is ever unknown, and no call waits longer than for a mutex, but for
/// `load_for_update`, which waits for its rows until the deadline. **Lifetimes.** A shared handle: copies
/// are handles to the same store, which lives as long as any of them, or any service or operation made from
/// one. **Thread safety.** Everything: safe. **Cost.** No round trip. One mutex of 64 per key touched; a
/// copy of the value for each load and each write; no allocation for a change of an existing value.
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
    using events_type = BasicEventRepository<R>;
    using joint_store = detail::JointStore<R>;
    static constexpr std::string_view name = "memory";

    /// A new, empty store. `runtime`: the clock by which leases and retentions end. Throws `Error`
    /// (`invalid_argument`) for options out of range, and `std::bad_alloc`.
    explicit StateRepository(RepositoryOptions options = {}, R runtime = {})
        : store_(std::make_shared<Store>(options, std::move(runtime)))
    {}

    /// The clock and the executor of this store.
    R const& runtime() const noexcept { return store_->runtime(); }
    /// The same for all handles of one store, and for no other store that lives.
    void const* identity() const noexcept { return store_.get(); }
    /// What messages call this store.
    std::string place() const { return "memory"; }

    /// Every call answers at once, on the caller's thread.
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
            opened->rows_.keep(store_);
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
        if (auto valid = check(create.key, create.ttl, create.holder); !valid)
            return std::move(valid).failure();
        return store_->create(create, nullptr);
    }
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline) const
    {
        if (auto valid = check(create.key, create.ttl, create.holder); !valid)
            return std::move(valid).failure();
        GrantAndState<T> both;
        auto grant = store_->create({create.key, create.owner, create.ttl, create.holder}, &both.state);
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
    Outcome<std::optional<LockInfo>> carry_out(verb::Inspect const& inspect, Deadline) const
    {
        if (!inspect.key.valid())
            return inspect.key.validate().failure();
        return store_->inspect(inspect.key);
    }
    Outcome<Removal> carry_out(verb::BreakLock const& broken, Deadline) const
    {
        if (!broken.key.valid())
            return broken.key.validate().failure();
        return store_->break_lock(broken.key, broken.seen);
    }
    /// Calls `visit(Key const&, LockInfo const&)` for every lock that is held throughout the call. The time
    /// is this process's, which has no calendar: `since` is nothing.
    template <class Visit>
    Outcome<void> for_each_lock(Visit&& visit, Deadline = {}) const
    {
        store_->for_each_lock(visit);
        return success();
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

    // ---- wake-ups: who waits for a lock record is told that it may try

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
    friend CommittingVerbs<StateRepository, T>;
    friend joint_store;

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

    static Outcome<void> check(Key const& key, Ttl ttl, std::string_view holder = {})
    {
        return validate_lock_call(key, ttl, holder);
    }

    std::shared_ptr<Store> store_;
};

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_STATE_REPOSITORY_HPP
