// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in a PostgreSQL server; states in the user's own table, or in one of
/// ours.
///
///     postgres::Pool const pool{"postgres://app@db/shop"};
///     postgres::StateRepository<Stock> const stock{pool, {.table = "stock", .key = "sku"}};
///     TransactionService service{PessimisticRowLock{}, stock};
///     service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/joint_store.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/backends/postgres/row_transaction.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/state_traits.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// States, locks and operation records in a PostgreSQL server.
///
/// **Guarantee.** The repository models every concept: `VersionedRepository`, `AtomicRepository`,
/// `OperationRepository`, `RowLockingRepository`, `LeaseRepository`, `FencedRepository` and
/// `FusedRepository`. A guarded write is applied only while the lock record names its acquisition (law P1);
/// one statement decides that and makes the write. In the library's own table a version is drawn from a
/// sequence and never used again.
/// **Does not guarantee.** That at most one holder believes in its lease (P2) when the server's wall clock
/// jumps, or when a replica without the latest commits is promoted; the fence then refuses the writes of the
/// former holder. What a failover to an asynchronous replica, or a crash with `synchronous_commit = off`,
/// forgets is forgotten together: value, lock and record. On a user's table P3 needs a `version_sequence`,
/// and that nobody writes the rows without moving the version. Versions of one key that always grow: an
/// insert draws its version before it waits for the former row of its key to be erased, so the new row may
/// have a version below that row's last one, though never one of its versions.
/// **Outcomes.** If nothing was sent: `unavailable`, `deadline_exceeded` or `overloaded`. If the reply to a
/// commit is lost: `outcome_unknown`, unless the server can still be asked what became of the transaction.
/// The call may then be made again with the same owner token (`create`, `renew`, `remove`) or operation id
/// (`commit`). What a constraint refuses is `constraint_violated`, with the constraint's name. Tables or
/// rights that are not as they should be are `misconfigured`. What the user's own triggers raise is
/// `constraint_violated`, with its SQLSTATE and its text in the detail, whatever that SQLSTATE means
/// elsewhere; it is never taken for a signal of this library. Only a state that asks to run the transaction
/// again (`40001`, `40P01`) is followed first.
/// What a trigger, a column's type or a default makes of a row is the state that is remembered and handed on.
/// A change of which a trigger or a rule makes nothing is `constraint_violated`, and leaves no trace; one
/// that they store elsewhere, where the table shows it, is applied once.
/// A commit may end before its synchronous standby has confirmed it, because the deadline or an operator
/// ended the wait (`synchronous_standby_names`). Such a commit is `outcome_unknown`: everybody sees it on
/// this server, and a failover may forget it. Its operation id then says what this server has: applied. A
/// failover that forgets the effect forgets the record with it, so that the same id makes the effect again.
/// **Deadlines.** If the server has not answered by the call's deadline, the connection is given up, and the
/// caller does not wait on; that is so for a ROLLBACK, too. The answer to a commit is waited for a tenth of a
/// second more, because the cancel request makes it definite.
/// **Lifetimes.** A shared handle; it keeps its pool alive.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** One round trip per member, also for a guarded commit of one key with its operation record. A
/// commit of several keys costs two; to tell a conflict from a missing row costs one more. A row transaction
/// costs two: one to begin and lock, one to change and commit. It occupies a connection while it is open, and
/// so does a caller that waits for a row.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`).
template <class T, class K, class Runtime>
class StateRepository
    : public CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>> {
    using Members =
        CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>>;
    using StateTable = detail::StateTable<T, interlock::detail::repository_key_t<T, K>, Runtime>;

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = Runtime;
    using transaction_type = RowTransaction<T, key_type, Runtime>;
    using events_type = BasicEventRepository<Runtime>;
    using joint_store = detail::JointStore<Runtime>;
    static constexpr std::string_view name = "postgres";
    static constexpr std::string_view system = "postgresql";  // see `StoreInfo`
    static constexpr bool takes_before_locks = true;          // see `verb::BeforeLocks`

    /// Throws `Error` (`invalid_argument`) for options out of range, and for a type that does not fit a
    /// table. Does not connect.
    explicit StateRepository(BasicPool<Runtime> pool, RepositoryOptions options = {})
        : store_(std::make_shared<StateTable>(pool.state_, detail::check_retention(std::move(options))))
    {
        static_assert(detail::some_table_can_hold<T>());
    }

    /// A handle of the same repository for one tenant, user or request: each of its transactions gets these
    /// settings besides those of `RepositoryOptions::settings`; one of the same name takes its place. They
    /// are sent with the first statement at no extra trip, in an asynchronous call, too, and end with the
    /// transaction.
    ///
    ///     auto const hers = invoices.with_settings({{"app.tenant", "ann"}});
    ///     auto const traced = hers.with_settings({{"app.user", name, postgres::SettingUse::audit}});
    ///
    /// Pool, connections and prepared statements are shared; the call asks the server nothing. Where
    /// row-level policies apply to the table, handles with different settings of `SettingUse::scope` are
    /// different tenants: operation ids and stored answers are each tenant's own. The lock record of a key is
    /// one for all. Throws `Error` (`invalid_argument`) with the name of a setting that cannot be made.
    StateRepository with_settings(std::vector<Setting> settings) const
    {
        return StateRepository{std::make_shared<StateTable>(*store_, std::move(settings))};
    }

    Runtime const& runtime() const noexcept { return store_->pool->runtime(); }
    /// Equal for all repositories of this process with the same server address, database, user, settings of
    /// the session in the URL (`options`), name space, table and condition. One server reached by two
    /// addresses is two stores here, and so is one table by two names.
    void const* identity() const noexcept { return store_->handle_identity(); }
    /// Whose threads make the blocking calls: one set for all handles, however many tenants there are.
    void const* threads_owner() const noexcept { return store_->identity.get(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return detail::place_of_table(store_->table.name); }
    /// Calls block, as many at a time as the pool has connections.
    Capabilities capabilities() const noexcept
    {
        return {.blocking_calls = store_->pool->options().max_connections};
    }

    // ---- values: VersionedRepository, AtomicRepository ------------------------------------------
    using Members::carry_out;

    /// `corrupt_state`: the row is there, and it is not a `T`, or its version is not at least 1.
    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const
    {
        auto const reply = store_->load(load.key, deadline);
        if (!reply)
            return reply.failure();
        if (reply->rows() == 0)
            return Errc::not_found;
        return store_->read(*reply, 0, &load.key);
    }
    /// As many statements in one trip. Each value is of the moment of its own statement.
    Outcome<std::vector<std::optional<Versioned<T>>>> carry_out(
        verb::LoadAll<T> const& load, Deadline deadline) const
    {
        auto const replies = store_->load_all(load.keys, deadline);
        if (!replies)
            return replies.failure();
        std::vector<std::optional<Versioned<T>>> all(replies->size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            if ((*replies)[i].rows() == 0)
                continue;
            auto state = store_->read((*replies)[i], 0, &load.keys[i]);
            if (!state)
                return std::move(state).failure();
            all[i].emplace(*std::move(state));
        }
        return all;
    }

    /// One statement for each key, where the server takes more than one text for a value of the key's type;
    /// no trip where it does not.
    Outcome<verb::FindSameKeys::answer> carry_out(verb::FindSameKeys const& find, Deadline deadline) const
    {
        return store_->find_same_keys(find.keys, deadline);
    }

    /// Where the server makes keys (an identity, a sequence, a uuid by default), a state whose key nobody has
    /// set, so that it is 0 or empty, gets a new one; `insert_new` says which. To store a row under the key 0
    /// in such a table, name the key: `insert(0, state)`.
    Outcome<Version> carry_out(verb::Insert<T> const& insert, Deadline deadline) const
    {
        if constexpr (KeyedState<T>)
            if (insert.key_of_value) {
                Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
                auto const wants = store_->wants_key(insert.value, until);
                if (!wants)
                    return wants.failure();
                if (*wants) {
                    auto made = store_->insert_new(insert.value, nullptr, until);
                    if (made)
                        return made->version;
                    // The default may be gone; then 0 is a key as any other.
                    auto const wants_still =
                        made.errc() == Errc::misconfigured ? store_->wants_key(insert.value, until) : wants;
                    if (!wants_still || *wants_still)
                        return std::move(made).failure();
                }
            }
        return Members::carry_out(insert, deadline);
    }

    /// One statement, one trip; one more where a trigger may change the row once more. The columns of the key
    /// that have a default, or are identities, get it; other parts of a key are those of the state. Without
    /// any such column: `misconfigured`. A row that a trigger stores elsewhere cannot be found:
    /// `constraint_violated`, and nothing is stored. An operation id's record is kept as any other.
    Outcome<Versioned<T>> carry_out(verb::InsertNew<T> const& insert, Deadline deadline) const
        requires KeyedState<T>
    {
        if (!deadline.valid())
            return detail::failed(Errc::invalid_argument, "the deadline is not a number");
        return store_->insert_new(insert.value, insert.id, Deadline{deadline.at(runtime().now())});
    }

    /// Of one key: one statement, one trip. Of several: one transaction, keys in the order of their bytes,
    /// two trips.
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const
    {
        if (!deadline.valid())
            return detail::failed(Errc::invalid_argument, "the deadline is not a number");
        Deadline const until{deadline.at(runtime().now())};
        auto result = commit.changes.size() > 1 ? commit_several(commit.changes, commit.operation, until)
                                                : commit_one(commit.changes, commit.operation, until);
        if (commit.operation != nullptr && result)
            store_->count_record(until);
        return result;
    }

    // ---- operation records: OperationRepository -------------------------------------------------
    Outcome<std::optional<OperationRecord>> carry_out(
        verb::FindOperation const& find, Deadline deadline) const
    {
        return store_->find_operation(find.key, find.id, deadline);
    }
    /// Waits for a commit of this id that is in flight.
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
    {
        return store_->forbid_operation(forbid, deadline);
    }

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed
    /// before the call, in no particular order; sort by `sequence` for the order of the commits of one key.
    /// One trip for each thousand answers. The deadline bounds all of them together.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        Deadline const until{deadline.at(runtime().now())};
        std::string key;
        std::string id;
        for (;;) {
            auto const page = store_->operations_behind(key, id, until);
            if (!page)
                return page.failure();
            if (page->empty())
                return success();
            for (auto const& found : *page)
                if (found.key)
                    visit(Key{*found.key}, OperationId{found.id}, found.record);
            key = page->back().stored_key;
            id = page->back().id;
        }
    }

    // ---- row locks: RowLockingRepository --------------------------------------------------------
    /// BEGIN and the locking reads in one trip. The deadline ends the wait for a lock. Should this process no
    /// longer be there to do so, the server does it, by `lock_timeout`, `statement_timeout` and
    /// `idle_in_transaction_session_timeout`: not before the deadline, and at the latest when twice the time
    /// has passed. These are settings of the session, and stay as they are while they fit. A key without a
    /// value is locked by an advisory lock of its 64-bit hash: two such keys may exclude each other without
    /// need, but two callers never have one key. That costs a second trip, except for `RowLock::advisory`,
    /// which locks every key so.
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        if (!deadline.valid())
            return detail::failed(Errc::invalid_argument, "the deadline is not a number");
        for (auto const* key : rows.keys)
            if (!key->valid())
                return key->validate().failure();
        return open(
            deadline, [&](transaction_type& tx) { return tx.open(rows.keys, rows.wait, rows.before); });
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -----------------------
    /// Busy: the holder's remaining lease as `retry_after`.
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        auto both = store_->create(create, false, deadline);
        if (!both)
            return std::move(both).failure();
        return both->grant;
    }
    /// Two statements in one trip and one transaction: the state is read after the lock was granted.
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline deadline) const
    {
        auto const both =
            store_->create({create.key, create.owner, create.ttl, create.holder}, true, deadline);
        if (!both)
            return both.failure();
        GrantAndState<T> out{both->grant, std::nullopt};
        if (both->row.rows() == 0)
            return out;
        auto state = store_->read(both->row, 0, &create.key);
        if (!state)  // the lock is ours by now, and of no use
            return interlock::detail::after_undoing(
                std::move(state).failure(), store_->remove(create.key, &create.owner, deadline));
        out.state.emplace(*std::move(state));
        return out;
    }
    /// `lock_lost`: the record names another acquisition (cause `lock_busy`) or none (`not_found`).
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline deadline) const
    {
        return store_->renew(renew, deadline);
    }
    /// Wakes those who wait for the lock, if somebody has asked for it in vain.
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline deadline) const
    {
        return store_->remove(remove.key, &remove.owner, deadline);
    }
    /// Who holds the lock. In a table of locks that an older release has made nobody has a name or a
    /// beginning, until `schema_sql` was run again and the program has been restarted. That somebody waits is
    /// known, but not how many: `waiters` is 1 then.
    Outcome<std::optional<LockInfo>> carry_out(verb::Inspect const& inspect, Deadline deadline) const
    {
        return store_->inspect(inspect.key, deadline);
    }
    Outcome<Removal> carry_out(verb::BreakLock const& broken, Deadline deadline) const
    {
        return store_->break_lock(broken, deadline);
    }
    /// Calls `visit(Key const&, LockInfo const&)` for every lock of the repository's table that is held
    /// throughout the call, in the order of the stored keys. One trip for each thousand locks. The deadline
    /// bounds all of them together.
    template <class Visit>
    Outcome<void> for_each_lock(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        Deadline const until{deadline.at(runtime().now())};
        for (std::string key;;) {
            auto const page = store_->locks_behind(key, until);
            if (!page)
                return page.failure();
            if (page->empty())
                return success();
            for (auto const& found : *page)
                visit(Key{found.key}, found.info);
            key = page->back().stored_key;
        }
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and
    /// its next renewal finds the lock lost. For operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return store_->remove(make_key<T, key_type>(key), nullptr, deadline);
    }

    /// The fence counter is as durable as the data it guards: both are in one server, and commit together.
    /// `misconfigured` when the sequence of the tokens, or of the versions, has a cache or a cycle.
    Outcome<void> carry_out(verb::VerifyFencing const&, Deadline deadline) const
    {
        return store_->verify_fencing(deadline);
    }

    /// `waiter` is woken when the lock of `key` is removed, here or elsewhere, after some `create` of it was
    /// in vain; not when it expires. So: subscribe, then ask, then wait.
    void subscribe(Key const& key, OwnerToken, Waiter& waiter) const
    {
        store_->pool->subscriber().subscribe(store_->wake_hash(key), waiter);
    }
    /// Once the call returns, `waiter` is not being woken and will not be.
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
    {
        store_->pool->subscriber().unsubscribe(store_->wake_hash(key), waiter);
    }
    /// Whether somebody asked for the lock of `owner` in vain within the last second. Costs no trip: it is
    /// heard by the connection for wake-ups, from the first question on.
    bool wanted(Key const& key, OwnerToken owner) const
    {
        return store_->pool->subscriber().wanted(store_->wake_hash(key), owner);
    }

    /// What the server says about itself. One round trip.
    Outcome<ServerCheck> server_check(Deadline deadline = {}) const { return store_->server_check(deadline); }

private:
    friend joint_store;
    template <class, class, class>
    friend class FreeRows;

    explicit StateRepository(std::shared_ptr<StateTable> store) noexcept : store_(std::move(store)) {}

    // A new transaction that `begin` has begun.
    template <class F>
    Outcome<transaction_type> open(Deadline deadline, F begin) const
    {
        auto const until = deadline.at(runtime().now());
        for (bool again = true;; again = false) {
            bool fresh = false;
            auto known = store_->know(Deadline{until});
            if (!known)
                return std::move(known).failure();
            auto session = store_->pool->take(until, fresh);
            if (!session)
                return std::move(session).failure();
            transaction_type tx{store_, *std::move(known), *std::move(session), until};
            auto opened = begin(tx);
            if (opened)
                return tx;
            // It had died in the pool, or its plans were too old; nothing was changed by reading.
            if (again && (tx.healed_ || (opened.errc() == Errc::unavailable && !fresh)))
                continue;
            return std::move(opened).failure();
        }
    }

    Outcome<CommitResult> commit_one(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline until) const
    {
        detail::RowChanges<T> rows{changes};
        bool unclear = false;
        auto result = store_->commit_one(rows.rows(), operation, until, unclear);
        if (unclear)
            return commit_several(changes, operation, until, true);
        rows.hand_over(*store_);
        return result;
    }

    Outcome<CommitResult> commit_several(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline,
        bool careful = false) const
    {
        auto const until = deadline.at(runtime().now());
        for (bool again = true;; again = false) {
            auto known = store_->know(Deadline{until});
            if (!known)
                return std::move(known).failure();
            auto session = store_->pool->take(until);
            if (!session)
                return std::move(session).failure();
            // It begins with its changes.
            transaction_type tx{store_, *std::move(known), *std::move(session), until};
            auto result = tx.commit(changes, operation, Deadline{until}, careful);
            if (!tx.healed_ || !again)
                return result;
        }
    }

    std::shared_ptr<StateTable> store_;  // shared by all copies of the handle, and by open transactions
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP
