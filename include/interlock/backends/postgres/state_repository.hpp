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
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/backends/postgres/row_transaction.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/lock_call.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// States, locks and operation records in a PostgreSQL server.
///
/// **Guarantee.** Models every concept: `VersionedRepository`, `AtomicRepository`, `OperationRepository`,
/// `RowLockingRepository`, `LeaseRepository`, `FencedRepository` and `FusedRepository`. A guarded write is
/// applied only while the lock record names its acquisition (law P1), decided in one statement with the
/// write. Of the library's own table versions are drawn from a sequence and never used again. An insert draws
/// its version first: one that was begun before the former row of its key was changed and erased may get a
/// version below that row's last. **Does not guarantee.** That at most one holder believes in its lease (P2)
/// when the server's wall clock jumps, or when a replica without the latest commits is promoted; the fence
/// refuses writes of the former holder. What a failover to an asynchronous replica, or a crash with
/// `synchronous_commit = off`, forgets is forgotten together. On a user's table P3 needs a
/// `version_sequence`, and that nobody writes the rows without moving the version. **Outcomes.** Nothing
/// sent: `unavailable`, `deadline_exceeded` or `overloaded`. A commit without a reply: `outcome_unknown`,
/// unless the server can still be asked what became of the transaction. Ask again with the same owner token
/// (`create`, `renew`, `remove`) or operation id (`commit`). What a constraint refuses is
/// `constraint_violated`, with the constraint's name; tables or rights that are not as they should be:
/// `misconfigured`. What the user's own triggers raise has the meaning of its SQLSTATE, and its text in the
/// detail; it is never taken for a signal of this library. A commit that was made while its synchronous
/// standby did not confirm it (`synchronous_standby_names`, the wait ended by the deadline or an operator) is
/// `outcome_unknown`: everybody sees it here, and a failover may forget it. Its operation id then says what
/// this server has: applied. A failover that forgets the effect forgets the record with it, so that the same
/// id makes it again. **Deadlines.** What the server has not answered by the call's deadline costs the
/// connection, not the caller's time, a ROLLBACK included; the answer to a commit is waited for a tenth of a
/// second more, because cancelling makes it definite. **Lifetimes.** A shared handle; it keeps its pool
/// alive. **Thread safety.** Everything: safe. **Cost.** One round trip per member, also for a guarded commit
/// of one key with its operation record; a commit of several keys two; one more to tell a conflict from a
/// missing row. A row transaction two: one to begin and lock, one to change and commit; it occupies a
/// connection while it is open, and so does waiting for a row.
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
    static constexpr std::string_view name = "postgres";

    /// Throws `Error` (`invalid_argument`) for options out of range, and for a type that does not fit a
    /// table. Does not connect.
    explicit StateRepository(BasicPool<Runtime> pool, RepositoryOptions options = {})
        : store_(std::make_shared<StateTable>(pool.state_, detail::check_retention(std::move(options))))
    {}

    Runtime const& runtime() const noexcept { return store_->pool->runtime(); }
    /// Equal for all repositories of this process with the same server address, database, name space and
    /// table. One server reached by two addresses is two stores here.
    void const* identity() const noexcept { return store_->identity.get(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return "postgres table \"" + store_->table.name + "\""; }
    /// Calls block, as many at a time as the pool has connections.
    Capabilities capabilities() const noexcept
    {
        return {.blocking_calls = store_->pool->options().max_connections};
    }

    // ---- values: VersionedRepository, AtomicRepository ------------------------------------------
    using Members::carry_out;

    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const
    {
        if (!load.key.valid())
            return load.key.validate().failure();
        detail::Params params;
        if (!store_->add_key(params, load.key))
            return StateTable::bad_key();
        auto reply =
            store_->pool->execute(store_->statements.load, std::move(params), detail::Access::read, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->rows() == 0)
            return Errc::not_found;
        return store_->read(*reply, 0);
    }
    /// As many statements in one trip. Each value is of the moment of its own statement.
    Outcome<std::vector<std::optional<Versioned<T>>>> carry_out(
        verb::LoadAll<T> const& load, Deadline deadline) const
    {
        std::vector<std::optional<Versioned<T>>> all;
        if (load.keys.empty())
            return all;
        detail::Batch batch;
        for (auto const& key : load.keys) {
            if (!key.valid())
                return key.validate().failure();
            detail::Params params;
            if (!store_->add_key(params, key))
                return StateTable::bad_key();
            batch.add(store_->statements.load, std::move(params));
        }
        auto replies = store_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        all.reserve(load.keys.size());
        for (auto const& reply : *replies) {
            all.emplace_back();
            if (reply.rows() == 0)
                continue;
            auto state = store_->read(reply, 0);
            if (!state)
                return std::move(state).failure();
            all.back().emplace(*std::move(state));
        }
        return all;
    }

    /// Of one key: one statement, one trip. Of several: one transaction, keys in the order of their bytes,
    /// two trips.
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        Deadline const until{deadline.at(runtime().now())};
        auto result = commit.changes.size() > 1 ? commit_several(commit.changes, commit.operation, until)
                                                : commit_one(commit.changes, commit.operation, until);
        if (commit.operation != nullptr && result &&
            store_->recorded.fetch_add(1, std::memory_order_relaxed) % 4096 == 4095)
            static_cast<void>(forget_expired(until));
        return result;
    }

    // ---- operation records: OperationRepository -------------------------------------------------
    Outcome<std::optional<OperationRecord>> carry_out(
        verb::FindOperation const& find, Deadline deadline) const
    {
        return store_->find_operation(find.key, find.id, deadline);
    }

    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
    {
        detail::Batch batch;
        detail::Params params;
        params.bytes(forbid.key.bytes());
        params.bytes(forbid.id.value());
        params.number(forbid.attempt);
        params.number(detail::whole_microseconds(forbid.id.kept_for(store_->options.retention)));
        // Waits for a commit of this id that is in flight.
        batch.add(store_->statements.forbid, std::move(params));
        detail::Params again;
        again.bytes(forbid.key.bytes());
        again.bytes(forbid.id.value());
        batch.add(store_->statements.find_operation, std::move(again));
        auto replies = store_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto record = StateTable::record_of((*replies)[1]);
        if (!record)
            return std::move(record).failure();
        if (!*record)
            return detail::damaged("a tombstone is gone");
        return **std::move(record);
    }

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed
    /// before the call, in no particular order; sort by `sequence` for the order of the commits of one key.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        Deadline const until{deadline.at(runtime().now())};
        std::string key;
        std::string id;
        for (;;) {
            detail::Params params;
            params.bytes(key);
            params.bytes(id);
            auto page = store_->pool->execute(
                store_->statements.all_operations, std::move(params), detail::Access::read, until);
            if (!page)
                return std::move(page).failure();
            for (std::size_t row = 0; row < page->rows(); ++row) {
                auto const sequence = page->number(row, 2);
                auto const attempt = page->number(row, 3);
                auto const bytes = page->bytes(row, 0);
                auto const identifier = page->bytes(row, 1);
                auto answer = page->bytes(row, 4);
                if (!sequence || !attempt || !bytes || !identifier || !answer)
                    return detail::damaged("an operation record is damaged");
                key = *bytes;
                id = *identifier;
                visit(
                    Key{*bytes}, OperationId{*identifier},
                    OperationRecord{
                        static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), true,
                        *std::move(answer)});
            }
            if (page->rows() == 0)
                return success();
        }
    }

    // ---- row locks: RowLockingRepository --------------------------------------------------------
    /// BEGIN and the locking reads in one trip. The deadline ends the wait for a lock. Should this process no
    /// longer be there to do so, the server does, by `lock_timeout`, `statement_timeout` and
    /// `idle_in_transaction_session_timeout`: not before the deadline, and at the latest when twice the time
    /// has passed. They are settings of the session, and stay as they are while they fit. A key without a
    /// value is locked by an advisory lock of its 64-bit hash: two such keys may exclude each other without
    /// need, never the other way round. That costs a second trip, except for `RowLock::advisory`, which locks
    /// every key so.
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        for (auto const* key : rows.keys)
            if (!key->valid())
                return key->validate().failure();
        return open(deadline, [&](transaction_type& tx) { return tx.open(rows.keys, rows.wait); });
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -----------------------
    /// Busy: the holder's remaining lease as `retry_after`.
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        return acquire(create, deadline, nullptr);
    }
    /// Two statements in one trip and one transaction: the state is read after the lock was granted.
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline deadline) const
    {
        GrantAndState<T> both;
        auto grant = acquire({create.key, create.owner, create.ttl}, deadline, &both.state);
        if (!grant)
            return std::move(grant).failure();
        both.grant = *grant;
        return both;
    }
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline deadline) const
    {
        if (auto valid = check(renew.key, renew.ttl); !valid)
            return std::move(valid).failure();
        auto const granted = std::chrono::ceil<std::chrono::microseconds>(renew.ttl.value());
        detail::Params params;
        params.bytes(renew.key.bytes());
        params.bytes(detail::as_text(renew.owner.bytes()));
        params.number(granted.count());
        auto reply = store_->pool->execute(
            store_->statements.renew, std::move(params), detail::Access::commit, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->boolean(0, 0))
            return std::chrono::nanoseconds{granted};
        return Failure::because(Errc::lock_lost, reply->boolean(0, 1) ? Errc::lock_busy : Errc::not_found);
    }
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline deadline) const
    {
        return take_away(remove.key, &remove.owner, deadline);
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and
    /// its next renewal finds the lock lost. For operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return take_away(make_key<T, key_type>(key), nullptr, deadline);
    }

    /// The fence counter is as durable as the data it guards: both are in one server, and commit together.
    /// `misconfigured` when the sequence of the tokens, or of the versions, has a cache or a cycle.
    Outcome<void> carry_out(verb::VerifyFencing const&, Deadline deadline) const
    {
        auto const& ns = store_->pool->options().name_space;
        std::vector<std::string> names{ns + "_token", ns + "_record"};
        if (!store_->mapped)
            names.push_back(ns + "_version");
        else if (!store_->options.version_sequence.empty())
            names.push_back(store_->options.version_sequence);
        detail::Batch batch;
        for (auto const& sequence : names)
            batch.add(
                "SELECT seqcache = 1 AND NOT seqcycle AND seqincrement > 0 FROM pg_sequence WHERE seqrelid = "
                "'" +
                sequence + "'::regclass");
        auto replies = store_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        for (std::size_t i = 0; i < names.size(); ++i)
            if ((*replies)[i].rows() != 1 || !(*replies)[i].boolean(0, 0))
                return Failure{
                    Errc::misconfigured, "postgres: the sequence " + names[i] +
                                             " must have CACHE 1, a positive increment and no CYCLE"};
        return success();
    }

    /// `waiter` is woken when the lock of `key` is removed, here or elsewhere, after some `create` of it was
    /// in vain; not when it expires. So: subscribe, then ask, then wait.
    void subscribe(Key const& key, OwnerToken, Waiter& waiter) const
    {
        store_->pool->subscriber().subscribe(store_->lock_hash(key), waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
    {
        store_->pool->subscriber().unsubscribe(store_->lock_hash(key), waiter);
    }
    /// Whether somebody asked for the lock of `owner` in vain within the last second. Costs no trip: it is
    /// heard by the connection for wake-ups, from the first question on.
    bool wanted(Key const& key, OwnerToken owner) const
    {
        return store_->pool->subscriber().wanted(store_->lock_hash(key), owner);
    }

    /// What the server says about itself. One round trip.
    Outcome<ServerCheck> server_check(Deadline deadline = {}) const
    {
        detail::Batch batch;
        batch.add(
            "SELECT current_setting('server_version_num'), current_setting('synchronous_commit'), "
            "current_setting('fsync') = 'on'");
        auto replies = store_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto const& reply = (*replies)[0];
        return ServerCheck{
            static_cast<int>(reply.number(0, 0).value_or(0)), std::string(reply.text(0, 1)),
            reply.boolean(0, 2)};
    }

private:
    template <class, class, class>
    friend class FreeRows;

    /// A new transaction that `begin` has begun.
    template <class F>
    Outcome<transaction_type> open(Deadline deadline, F begin) const
    {
        auto const until = deadline.at(runtime().now());
        for (bool again = true;; again = false) {
            bool fresh = false;
            auto session = store_->pool->take(until, fresh);
            if (!session)
                return std::move(session).failure();
            transaction_type tx{store_, *std::move(session), until};
            auto opened = begin(tx);
            if (opened)
                return tx;
            // It had died in the pool, or its plans were too old; nothing was changed by reading.
            if (again && (tx.healed_ || (opened.errc() == Errc::unavailable && !fresh)))
                continue;
            return std::move(opened).failure();
        }
    }

    static Outcome<void> check(Key const& key, Ttl ttl) { return validate_lock_call(key, ttl); }

    Outcome<CommitResult> commit_one(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline until) const
    {
        Key const none{"-"};
        Change<T> nothing{.key = &none, .kind = ChangeKind::guard};
        auto& change = changes.empty() ? nothing : changes[0];
        if (operation != nullptr && !operation->home->valid())
            return operation->home->validate().failure();
        if (operation == nullptr && !StateTable::has_effect(change)) {
            if (auto valid = StateTable::check(change); !valid)
                return std::move(valid).failure();
            return Outcome<CommitResult>{std::in_place};
        }
        detail::Batch batch;
        if (auto added = store_->add_change(batch, change, operation); !added)
            return std::move(added).failure();
        auto exchange = store_->pool->run(batch, detail::Access::commit, until);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            if (detail::is_race(*exchange->error))
                return store_->or_duplicate(Failure{Errc::superseded}, operation, until);
            return failure_of(*exchange->error, detail::Access::commit);
        }
        auto const& reply = exchange->replies[0];
        if (operation != nullptr && !reply.null(0, detail::old_answered)) {
            if (reply.boolean(0, detail::old_answered)) {
                if (auto answer = reply.bytes(0, detail::old_answer))
                    return CommitResult{true, *std::move(answer)};
                return detail::damaged("an operation record is damaged");
            }
            if (reply.null(0, detail::new_version))
                return store_->or_duplicate(Failure{*StateTable::judge(reply, change)}, operation, until);
        }
        auto code = StateTable::judge(reply, change);
        if (!code) {
            auto const there = store_->exists(change, until);
            if (!there)
                return there.failure();
            code = *there ? Errc::version_conflict : Errc::not_found;
        }
        if (code == Errc::ok) {
            StateTable::set_version(reply, change);
            return Outcome<CommitResult>{std::in_place};
        }
        return store_->or_duplicate(Failure{*code}, operation, until);
    }

    Outcome<CommitResult> commit_several(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) const
    {
        auto const until = deadline.at(runtime().now());
        auto session = store_->pool->take(until);
        if (!session)
            return std::move(session).failure();
        transaction_type tx{store_, *std::move(session), until};  // begins with its changes
        return tx.commit(changes, operation, Deadline{until});
    }

    Outcome<Grant> acquire(
        verb::Create const& create, Deadline deadline, std::optional<Versioned<T>>* state) const
    {
        auto const& key = create.key;
        auto const owner = create.owner;
        auto const ttl = create.ttl;
        if (auto valid = check(key, ttl); !valid)
            return std::move(valid).failure();
        auto const granted = std::chrono::ceil<std::chrono::microseconds>(ttl.value());
        detail::Batch batch;
        detail::Params params;
        params.bytes(key.bytes());
        params.bytes(detail::as_text(owner.bytes()));
        params.number(granted.count());
        params.text(detail::hex(store_->lock_hash(key), 16));
        batch.add(store_->statements.create, std::move(params));
        if (state != nullptr) {
            detail::Params loaded;
            if (!store_->add_key(loaded, key))
                return StateTable::bad_key();
            batch.add(store_->statements.load, std::move(loaded));
        }
        auto replies = store_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto const& reply = (*replies)[0];
        auto const first = reply.number(0, 0);
        if (!first) {
            std::chrono::microseconds const left{std::max<std::int64_t>(reply.number(0, 1).value_or(0), 0)};
            return Failure::busy(Errc::lock_busy, left);
        }
        if (state != nullptr && (*replies)[1].rows() > 0) {
            auto read = store_->read((*replies)[1], 0);
            if (!read) {
                static_cast<void>(take_away(key, &owner, deadline));  // ours by now, and of no use
                return std::move(read).failure();
            }
            state->emplace(*std::move(read));
        }
        return Grant{FencingToken{static_cast<std::uint64_t>(*first)}, detail::token_block, granted};
    }

    Outcome<Removal> take_away(Key const& key, OwnerToken const* owner, Deadline deadline) const
    {
        if (!key.valid())
            return key.validate().failure();
        detail::Params params;
        params.bytes(key.bytes());
        if (owner != nullptr)
            params.bytes(detail::as_text(owner->bytes()));
        else
            params.null();
        params.text(store_->free_message(key));
        auto reply = store_->pool->execute(
            store_->statements.remove, std::move(params), detail::Access::commit, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->boolean(0, 0))
            return Removal::removed;
        return reply->boolean(0, 1) ? Removal::taken : Removal::gone;
    }

    /// A little of what `purge` does, by those who make it necessary.
    Outcome<void> forget_expired(Deadline deadline) const
    {
        auto const table = store_->pool->options().name_space + "_operation";
        detail::Batch batch;
        batch.add(
            "DELETE FROM " + table + " WHERE ctid = ANY(ARRAY(SELECT ctid FROM " + table +
            " WHERE kept_until < clock_timestamp() LIMIT 8192 FOR UPDATE SKIP LOCKED))");
        auto done = store_->pool->execute(batch, detail::Access::commit, deadline);
        return done ? success() : Outcome<void>{std::move(done).failure()};
    }

    std::shared_ptr<StateTable> store_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP
