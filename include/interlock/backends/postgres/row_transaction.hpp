// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP

/// @file
/// An open row transaction of a `postgres::StateRepository`: BEGIN, locking reads, the user's own statements,
/// COMMIT.
///
///     Key const key{"sku-1"};
///     std::array const keys{&key};
///     auto rows = stock.load_for_update(keys, Wait::until_deadline, 2s).value();
///     std::array changes{Change<Stock>{
///         .key = &key, .version = rows.state(0)->version, .value = &new_stock}};
///     rows.commit(changes, nullptr, 2s).value();

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/row_refusals.hpp>
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/versioned.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// An open row transaction of a `postgres::StateRepository`, as `load_for_update` gives it. Policies use it;
/// a user meets it when locking rows by hand. Models `interlock::RowTransaction`.
///
/// **Guarantee.** The rows of all keys that were asked for are locked, by `RepositoryOptions::row_lock`, from
/// the moment the object is given until `commit`, `rollback` or the destructor. A commit is applied as a
/// whole or not at all, together with the operation's record and with what the operation executed by itself.
/// **Outcomes.** `commit` ends the transaction, whatever comes of it. `version_conflict`, `not_found`,
/// `already_exists` and `superseded`: not applied, and of several changes the detail names the refused ones.
/// `constraint_violated`, `serialization_failure`, `deadlock`: not applied, as the server says.
/// `deadline_exceeded` before COMMIT was sent, and `unavailable`: not applied. If the reply to COMMIT is
/// lost,
/// the server is asked by the transaction's id what became of it; only where the server cannot tell, the
/// outcome is `outcome_unknown`.
/// **Deadlines.** `commit` ends by its own deadline or that of `load_for_update`, whichever is first; then
/// the server ends the transaction, too.
/// **Lifetimes.** Owns a connection of the pool until it ends. Keeps pool and repository alive. The changes
/// given to `commit` are read during the call only.
/// **Thread safety.** One thread at a time.
/// **Cost.** One round trip to commit one change; two for several, and where the operation has executed
/// statements of its own. The destructor rolls back what was not committed, in one trip.
template <class T, class K, class Runtime>
class RowTransaction : public detail::RowTransactionCore<Runtime> {
    using Core = detail::RowTransactionCore<Runtime>;
    using StateTable = detail::StateTable<T, K, Runtime>;

public:
    /// What operations get of it: nothing that ends it.
    using operation_type = BasicTransaction<Runtime>;
    using async_operation_type = BasicAsyncTransaction<Runtime>;

    RowTransaction(RowTransaction&&) noexcept = default;
    RowTransaction& operator=(RowTransaction&&) noexcept = default;
    ~RowTransaction() = default;

    /// The i-th locked row as the locking read returned it; nothing when the key has no value.
    std::optional<Versioned<T>>& state(std::size_t i) { return states_[i]; }

    /// Makes the changes, records `operation` if there is one, and sends COMMIT. `deadline` bounds all of it.
    /// The versions that the commit made stand in `changes` afterwards.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
    {
        return commit(changes, operation, deadline, false);
    }
    /// Ends the transaction without a trace. A ROLLBACK that the server does not answer by the deadline costs
    /// the connection, and is the server's to make.
    void rollback() noexcept { Core::roll_back(); }

    /// For one run of an asynchronous operation.
    explicit operator async_operation_type&() { return Core::asynchronous(); }
    /// Whether a commit writes something although no state has changed.
    bool writes_more() const noexcept { return Core::before_commit_.size() > 0; }

    /// What a statement of the operation came to that must not be committed. `serialization_failure` and
    /// `deadlock`: run again.
    std::optional<Failure> const& failure() const noexcept { return Core::failure_; }

private:
    template <class, class, class>
    friend class StateRepository;
    template <class, class, class>
    friend class FreeRows;

    RowTransaction(
        std::shared_ptr<StateTable> table, typename StateTable::Known known,
        typename detail::PoolState<Runtime>::Session session, TimePoint until)
        : Core(std::move(table), std::move(known), std::move(session), until)
    {}

    // `careful`: see `RowTransactionCore::commit_rows`.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline, bool careful)
    {
        auto const& table = static_cast<StateTable const&>(*Core::store_);
        std::vector<std::string> seen;
        for (auto const& change : changes)
            if (changes.size() > 1 && change.kind == ChangeKind::write && Core::known_ &&
                !table.is_new(*Core::known_, *change.value, seen))
                return Core::store_->one_row_twice();
        detail::RowChanges<T> rows{changes};
        auto result = Core::commit_rows(rows.rows(), operation, deadline, careful);
        rows.hand_over(table);
        return result;
    }

    // BEGIN and the locking reads of `keys`.
    Outcome<void> open(std::span<Key const* const> keys, Wait wait, verb::BeforeLocks* before)
    {
        if (auto locked = Core::lock_rows(keys, wait, before); !locked)
            return locked;
        return read_states(keys);
    }

    // BEGIN and a locking read that finds a row by itself.
    Outcome<void> open_free(std::string const& condition, detail::Params params, verb::BeforeLocks* before)
    {
        if (auto locked = Core::lock_free_row(condition, std::move(params), before); !locked)
            return locked;
        if (auto done = read_states({}); !done)
            return done;
        Core::own_key_.emplace(KeyTraits<K>::encode(StateTraits<T>::key(states_[0]->value)));
        return success();
    }

    // `keys`: of the rows; none where they are rows of a mapped table.
    Outcome<void> read_states(std::span<Key const* const> keys)
    {
        auto const& table = static_cast<StateTable const&>(*Core::store_);
        std::vector<std::string> seen;
        states_.resize(Core::row_count());
        for (std::size_t i = 0; i < states_.size(); ++i) {
            auto const row = Core::take_row(i);
            if (!row)
                continue;
            auto state = table.read(row, 0, keys.empty() ? nullptr : keys[i]);
            if (!state)
                return std::move(state).failure();
            if (states_.size() > 1 && !table.is_new(*Core::known_, state->value, seen))
                return Core::store_->one_row_twice();
            states_[i].emplace(*std::move(state));
        }
        return success();
    }

    std::vector<std::optional<Versioned<T>>> states_;  // of the rows, as the locking reads returned them
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_ROW_TRANSACTION_HPP
