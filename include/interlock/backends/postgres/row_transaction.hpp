// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP

/// @file
/// An open row transaction of a `postgres::StateRepository`: BEGIN, locking reads, the user's own statements,
/// COMMIT.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// An open row transaction of a `postgres::StateRepository`. Models `interlock::RowTransaction`.
template <class T, class K, class Runtime>
class RowTransaction : public BasicTransaction<Runtime> {
    using Base = BasicTransaction<Runtime>;
    using StateTable = detail::StateTable<T, K, Runtime>;

public:
    /// What operations get of it: nothing that ends it.
    using operation_type = BasicTransaction<Runtime>;
    using async_operation_type = BasicAsyncTransaction<Runtime>;

    RowTransaction(RowTransaction&&) noexcept = default;
    RowTransaction& operator=(RowTransaction&&) noexcept = default;
    ~RowTransaction() = default;

    /// The i-th locked row as the locking read returned it; nothing when the key has no value.
    std::optional<Versioned<T>>& state(std::size_t i) { return rows_[i].state; }

    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
    {
        if (async_ && !async_->idle())
            return async_operation_type::not_awaited();
        if (own_key_)
            for (auto& change : changes)
                change.key = &*own_key_;
        auto result = do_commit(changes, operation, deadline);
        end();
        return result;
    }
    void rollback() noexcept
    {
        async_.reset();
        end();
    }

    /// For one run of an asynchronous operation.
    explicit operator async_operation_type&()
    {
        async_.reset(new async_operation_type(*this));
        return *async_;
    }
    /// Whether a commit writes something although no state has changed.
    bool writes_more() const noexcept { return before_commit_.size() > 0; }

    /// What a statement of the operation came to that must not be committed. `serialization_failure` and
    /// `deadlock`: run again.
    std::optional<Failure> const& failure() const noexcept { return failure_; }

private:
    template <class, class, class>
    friend class StateRepository;
    template <class, class, class>
    friend class FreeRows;
    using Base::before_commit_;
    using Base::end;
    using Base::failure_;
    using Base::life_;
    using Base::pool_;
    using Base::session_;
    using Base::step;
    using Base::until_;
    using Base::used_;
    using Base::xid_;

    RowTransaction(
        std::shared_ptr<StateTable> store, typename detail::PoolState<Runtime>::Session session,
        TimePoint until)
        : Base(store->pool, std::move(session), until), store_(std::move(store))
    {}

    /// BEGIN and the locking reads, in one trip when all rows are there. Keys are locked in their order, each
    /// by its advisory lock before its row, as commits do; two that follow one order cannot deadlock. Whether
    /// a key needs the advisory lock, because it has no row, is known only once it was looked for. Rows
    /// behind it that were locked meanwhile are then let go, and all are locked again.
    Outcome<void> open(std::span<Key const* const> keys, Wait wait)
    {
        bool const advisory = store_->options.row_lock == RowLock::advisory;
        rows_.resize(keys.size());
        for (auto& row : rows_)
            row.hashed = advisory;
        bool begins = true;
        for (std::size_t from = 0;;) {
            detail::Batch batch;
            if (begins && begun_)
                batch.add("ROLLBACK");
            if (begins)
                batch.add(store_->begin);
            auto at = batch.size();
            for (auto i = from; i < keys.size(); ++i) {
                if (rows_[i].hashed)
                    add_hash_lock(batch, *keys[i], wait);
                if (!add_row_lock(batch, *keys[i], wait))
                    return StateTable::bad_key();
            }
            using Bounded = detail::Connection::Bounded;
            auto exchange = step(batch, until_, begun_ ? Bounded::by_caller : Bounded::by_transaction);
            if (!exchange)
                return std::move(exchange).failure();
            if (exchange->error) {
                healed_ = pool_->heal(*session_, *exchange->error);
                return refused(*exchange->error, wait);
            }
            begun_ = true;
            auto unlocked = keys.size();  // the first key of which nothing is locked
            bool behind = false;          // something behind it is
            for (auto i = from; i < keys.size(); ++i) {
                rows_[i].state.reset();
                bool const has_hash = rows_[i].hashed;
                if (has_hash) {
                    auto const& lock = exchange->replies[at++];
                    if (wait == Wait::no && !lock.boolean(0, 0))
                        return Errc::lock_busy;
                    learn_identity(lock);
                }
                auto const& row = exchange->replies[at++];
                if (row.rows() > 0) {
                    if (auto done = read(row, i); !done)
                        return done;
                }
                if (row.rows() > 0 || has_hash) {
                    behind = behind || unlocked < i;
                } else {
                    unlocked = std::min(unlocked, i);
                    rows_[i].hashed = true;
                }
            }
            if (unlocked == keys.size())
                return success();
            begins = behind;
            from = behind ? 0 : unlocked;
        }
    }

    /// Some row that nobody has locked; `statement` names none and waits for none. No row: `not_found`.
    Outcome<void> open_free(detail::Statement const& statement, detail::Params params)
    {
        detail::Batch batch;
        batch.add(store_->begin);
        batch.add(statement, std::move(params));
        auto exchange = step(batch, until_, detail::Connection::Bounded::by_transaction);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            healed_ = pool_->heal(*session_, *exchange->error);
            return refused(*exchange->error, Wait::no);
        }
        begun_ = true;
        if (exchange->replies[1].rows() == 0)
            return Failure{Errc::not_found, "postgres: no row of " + store_->table.name + " is free"};
        rows_.resize(1);
        if (auto done = read(exchange->replies[1], 0); !done)
            return done;
        own_key_.emplace(KeyTraits<K>::encode(StateTraits<T>::key(rows_[0].state->value)));
        return success();
    }

    /// What the transaction can be asked for later; `reply` has its id in the last column.
    void learn_identity(detail::Reply const& reply)
    {
        xid_ = reply.text(0, reply.columns() - 1);
        life_ = session_->life();
    }

    void add_hash_lock(detail::Batch& batch, Key const& key, Wait wait) const
    {
        auto const& statements = store_->statements;
        detail::Params number;
        number.number(store_->lock_number(key));
        batch.add(wait == Wait::no ? statements.lock_hash_now : statements.lock_hash, std::move(number));
    }

    bool add_row_lock(detail::Batch& batch, Key const& key, Wait wait) const
    {
        auto const& statements = store_->statements;
        detail::Params params;
        if (!store_->add_key(params, key))
            return false;
        batch.add(wait == Wait::no ? statements.lock_row_now : statements.lock_row, std::move(params));
        return true;
    }

    Outcome<void> read(detail::Reply const& row, std::size_t i)
    {
        auto state = store_->read(row, 0);
        if (!state)
            return std::move(state).failure();
        rows_[i].state.emplace(*std::move(state));
        learn_identity(row);
        return success();
    }

    static Failure refused(detail::SqlError const& error, Wait wait)
    {
        auto failure = failure_of(error, detail::Access::write);
        if (failure.errc() == Errc::lock_busy && wait == Wait::until_deadline)
            return Failure{Errc::deadline_exceeded, "postgres: a row is locked by somebody else"};
        return failure;
    }

    Outcome<CommitResult> do_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline)
    {
        if (failure_)
            return *failure_;
        auto const& runtime = pool_->runtime();
        auto const until = std::min(deadline.at(runtime.now()), until_);
        if (runtime.now() >= until)
            return Failure{Errc::deadline_exceeded, "the deadline came before the commit was sent"};
        if (!session_ || !session_->is_open())
            return Failure{Errc::unavailable, "postgres: the connection is lost; nothing was committed"};
        if (changes.size() == 1 && !used_ && changes[0].fence == nullptr &&
            (changes[0].kind != ChangeKind::guard || operation != nullptr))
            return commit_one(changes[0], operation, until);
        return commit_all(changes, operation, until);
    }

    /// The change and COMMIT in one trip. Where anything else is committed with it, or it is not the change
    /// of a row that is locked, the statement fails when it may not change the row, so that nothing is
    /// committed.
    Outcome<CommitResult> commit_one(Change<T>& change, OperationCommit const* operation, TimePoint until)
    {
        auto batch = std::move(before_commit_);
        auto const at = batch.size();
        bool const plain = at == 0 && operation == nullptr && change.version != no_version;
        if (auto added = store_->add_change(
                batch, change, operation, plain ? detail::Refusal::reply : detail::Refusal::error);
            !added)
            return std::move(added).failure();
        batch.add(store_->commit);
        auto done = Base::commit(batch, until);
        if (!done)
            return std::move(done).failure();
        if (done->error) {
            end();
            if (detail::is_race(*done->error))
                return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
            return failure_of(*done->error, detail::Access::write);
        }
        if (done->replies.empty())  // its reply was lost, but it was committed
            return Outcome<CommitResult>{std::in_place};
        if (plain)
            if (auto const code = StateTable::judge(done->replies[at], change); code != Errc::ok)
                return code.value_or(Errc::version_conflict);
        StateTable::set_version(done->replies[at], change);
        return Outcome<CommitResult>{std::in_place};
    }

    Outcome<CommitResult> commit_all(
        std::span<Change<T>> changes, OperationCommit const* operation, TimePoint until)
    {
        std::vector<std::size_t> order(changes.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(
            order.begin(), order.end(), [&](auto a, auto b) { return *changes[a].key < *changes[b].key; });
        auto batch = std::move(before_commit_);
        if (!begun_) {
            batch.add(store_->begin);
            batch.add(store_->transaction_id);
        }
        auto const found = batch.size();
        if (operation != nullptr) {
            detail::Params params;
            params.bytes(operation->home->bytes());
            params.bytes(operation->id->value());
            batch.add(store_->statements.find_operation, std::move(params));
        }
        auto const first = batch.size();
        std::vector<std::size_t> asked;
        for (auto const i : order)
            if (StateTable::has_effect(changes[i])) {
                if (auto added = store_->add_change(batch, changes[i], nullptr); !added)
                    return std::move(added).failure();
                asked.push_back(i);
            } else if (auto valid = StateTable::check(changes[i]); !valid) {
                return std::move(valid).failure();
            }
        if (operation != nullptr) {  // last, so that its number is drawn while the rows are locked
            detail::Params params;
            store_->add_operation(params, *operation);
            params.text(detail::race_word());
            batch.add(
                store_->statements.change(detail::RowAction::nothing, detail::Fencing::none, true),
                std::move(params));
        }
        std::vector<detail::Reply> replies;
        if (batch.size() > 0) {
            using Bounded = detail::Connection::Bounded;
            auto stepped = step(batch, until, begun_ ? Bounded::by_caller : Bounded::by_transaction);
            if (!stepped)
                return std::move(stepped).failure();
            if (!begun_ && !stepped->error)
                learn_identity(stepped->replies[1]);
            if (stepped->error) {
                end();
                if (detail::is_race(*stepped->error))
                    return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
                return failure_of(*stepped->error, detail::Access::write);
            }
            if (operation != nullptr) {
                auto record = StateTable::record_of(stepped->replies[found]);
                if (!record)
                    return std::move(record).failure();
                if (*record && (*record)->answered)
                    return CommitResult{true, std::move((*record)->answer)};
                if (*record && (*record)->attempt >= operation->attempt)
                    return Errc::superseded;
            }
            std::vector<Errc> codes(changes.size(), Errc::ok);
            bool refused = false;
            bool unclear = false;
            for (std::size_t n = 0; n < asked.size(); ++n) {
                auto const code = StateTable::judge(stepped->replies[first + n], changes[asked[n]]);
                unclear = unclear || !code;
                codes[asked[n]] = code.value_or(Errc::version_conflict);
                refused = refused || codes[asked[n]] != Errc::ok;
            }
            if (refused) {
                end();
                if (unclear)
                    for (std::size_t n = 0; n < asked.size(); ++n)
                        if (!StateTable::judge(stepped->replies[first + n], changes[asked[n]])) {
                            auto const there = store_->exists(changes[asked[n]], Deadline{until});
                            if (there && !*there)
                                codes[asked[n]] = Errc::not_found;
                        }
                return store_->or_duplicate(failing(changes, codes), operation, Deadline{until});
            }
            if (operation != nullptr && !stepped->replies.back().number(0, detail::new_version)) {
                end();
                return store_->or_duplicate(Failure{Errc::superseded}, operation, Deadline{until});
            }
            replies = std::move(stepped->replies);
        }
        detail::Batch last;
        last.add(store_->commit);
        auto done = Base::commit(last, until);
        if (!done)
            return std::move(done).failure();
        if (done->error)
            return failure_of(*done->error, detail::Access::write);
        for (std::size_t n = 0; n < asked.size(); ++n)
            StateTable::set_version(replies[first + n], changes[asked[n]]);
        return Outcome<CommitResult>{std::in_place};
    }

    static Failure failing(std::span<Change<T>> changes, std::vector<Errc> const& codes)
    {
        CommitRefusal refusal{changes.size()};
        for (std::size_t i = 0; i < changes.size(); ++i)
            refusal.add(changes[i].key->bytes(), codes[i]);
        return std::move(refusal).failure();
    }

    std::shared_ptr<StateTable> store_;
    struct Locked {
        std::optional<Versioned<T>> state;
        bool hashed{false};  // it has its advisory lock, too
    };
    std::vector<Locked> rows_;
    std::optional<Key> own_key_;  // of the one row, where the call's key named it by something else
    bool begun_{false};
    bool healed_{false};                           // opening it again may help
    std::unique_ptr<async_operation_type> async_;  // goes first: it waits for what was not awaited
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP
