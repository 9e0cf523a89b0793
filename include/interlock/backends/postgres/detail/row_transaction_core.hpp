// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_CORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_CORE_HPP

/// @file
/// An open row transaction, without the types of its keys and states.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/record_statements.hpp>
#include <interlock/backends/postgres/detail/table_changes.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/outcome.hpp>

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
namespace detail {

/// What a commit of several tables changes in one of them.
template <class R>
struct JointRows {
    std::shared_ptr<TableCore<R>> store;
    typename TableCore<R>::Known known;
    std::span<RowChange> changes;
    std::string place{};  // which table the name meant when rows of it were locked
};

/// A row transaction without the types of its keys and states: BEGIN, the locking reads, the changes, COMMIT.
/// `R`: the runtime.
///
/// **Thread safety.** One thread at a time.
template <class R>
class RowTransactionCore : public BasicTransaction<R> {
    using Base = BasicTransaction<R>;

protected:
    RowTransactionCore(
        std::shared_ptr<TableCore<R>> store, typename TableCore<R>::Known known,
        typename PoolState<R>::Session session, TimePoint until);
    RowTransactionCore(RowTransactionCore&&) noexcept = default;
    RowTransactionCore& operator=(RowTransactionCore&&) noexcept = default;
    ~RowTransactionCore() = default;

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

    /// BEGIN and the locking reads, in one trip when all rows are there. Keys are locked in their order, each
    /// by its advisory lock before its row, as commits do; two that follow one order cannot deadlock. Whether
    /// a key needs the advisory lock, because it has no row, is known only once it was looked for. Rows
    /// behind it that were locked meanwhile are then let go, and all are locked again. `before`, a
    /// `ClaimFirst`, comes first each time: `idempotency_in_progress`.
    Outcome<void> lock_rows(std::span<Key const* const> keys, Wait wait, verb::BeforeLocks* before = nullptr);

    struct TableLocks;
    /// The same for several tables, in the order in which all transactions lock them. A table costs a trip,
    /// and where a row is missing one or two more.
    Outcome<void> lock_tables(std::span<TableLocks> tables, Wait wait);

    /// Some row that nobody has locked; `condition`, see `free_rows`, names none and waits for none. No row:
    /// `not_found`.
    Outcome<void> lock_free_row(
        std::string const& condition, Params params, verb::BeforeLocks* before = nullptr);

    /// Commits, and ends the transaction, whatever came of it. `careful`: a change of these was sent before,
    /// and it is not known why nothing came of it, see `TableCore::add_careful_change`.
    Outcome<CommitResult> commit_rows(
        std::span<RowChange> changes, OperationCommit const* operation, Deadline deadline,
        bool careful = false);

    /// The same for several tables, in the order in which all transactions lock them; the operation's record
    /// is one of the first. One trip for each, and one for COMMIT. Unless rows are locked, it begins with its
    /// changes.
    Outcome<CommitResult> commit_tables(
        std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until);

    void roll_back() noexcept;
    /// For one run of an asynchronous operation.
    BasicAsyncTransaction<R>& asynchronous();

    std::size_t row_count() const noexcept { return rows_.size(); }
    /// The i-th row as the locking read returned it, once; no reply at all when there is none.
    Reply take_row(std::size_t i) noexcept { return std::move(rows_[i].row); }

    struct Locked {
        Reply row;
        bool hashed{false};  // it has its advisory lock, too
        // How often policies have shown the row and not let it be locked. Once may be a row that was deleted
        // in between.
        int hidden{0};
    };
    /// What is locked in one of several tables.
    struct TableLocks {
        std::shared_ptr<TableCore<R>> store;
        typename TableCore<R>::Known known;
        std::vector<Key const*> keys;
        std::vector<Locked> rows{};
        std::string place{};
    };

    std::shared_ptr<TableCore<R>> store_;
    typename TableCore<R>::Known known_;  // the store's table, as it was known at the beginning
    std::optional<Key> own_key_;          // of the one row, where the call's key named it by something else
    bool healed_{false};                  // opening it again may help

private:
    // What a round of locking found.
    struct Round {
        std::size_t unlocked;  // the first key of which nothing is locked
        bool behind{false};    // something behind it is
    };
    // A change of a commit of several, and where its replies are.
    struct Asked {
        std::size_t change;  // which one
        CarefulChange at;    // its own reply, if it is not careful, is `at.change`
        bool careful{false};
        std::optional<std::size_t> again{};  // the row, which was read once more
    };
    // The statements of a commit of several changes, and where their replies are.
    struct Steps {
        Batch batch;
        std::optional<std::size_t> place;  // which table the name means by now
        std::size_t records{0};            // how many of them, the first ones, are of a request's record
        std::size_t found{0};              // the operation's record
        std::vector<Asked> asked;          // the changes that have a statement, in the order of their keys
        bool events_later{false};          // they come behind the changes of other tables, too
        std::size_t events{0};             // where the statements of events begin
        std::size_t behind_events{0};
    };

    static std::vector<Locked> not_locked(TableCore<R> const& store, std::size_t rows);
    // The transaction of several tables is isolated as the one of them that asks for most.
    void begin_at_least_as(TableCore<R> const& table);
    // Locks the rows of the table that `store_` is. `begins`: with BEGIN, behind a ROLLBACK where something
    // was locked before. False: a row is missing, and something behind it is locked, so that all must be
    // locked again, from BEGIN on.
    Outcome<bool> lock_table(
        std::span<Key const* const> keys, Wait wait, verb::BeforeLocks* before, bool begins);
    // `claim`: the place of the first statement of a `ClaimFirst`, if there is one.
    Outcome<Exchange> send_locks(
        Batch const& batch, Wait wait, std::span<Key const* const> keys, std::optional<std::size_t> claim);
    Outcome<Round> take_rows(
        Exchange& exchange, std::size_t at, std::size_t from, std::span<Key const* const> keys, Wait wait);
    // What the transaction can be asked for later; `reply` has its id in the last column.
    void learn_identity(Reply const& reply);
    // Whether a row that seemed not to be there is looked at without a lock, too: policies may show it to
    // those who read it only.
    bool looks_first(std::size_t i) const noexcept;
    bool add_hash_lock(Batch& batch, Key const& key, Wait wait) const;
    bool add_row_lock(Batch& batch, Key const& key, Wait wait) const;
    Failure refused(SqlError const& error, Wait wait, std::span<Key const* const> keys) const;
    // Ends the transaction, which `error` has failed. Where the session itself is the reason, as with a plan
    // that is too old, it is not lent again: see `PoolState::heal`.
    void end_by(SqlError const& error) noexcept;
    // The failure of an error of the changes.
    Failure changes_refused(SqlError const& error, std::span<RowChange const> changes, TimePoint until);
    // A request's record, one of the first `records` statements, was stored by somebody else, and this
    // transaction, whose snapshot is older, has not found it. Another run finds it.
    static std::optional<Failure> answered_meanwhile(SqlError const& error, std::size_t records);
    // The failure of a change that was not sent. It may be possible by what is known of the table now.
    Failure not_sent(Failure failure, TimePoint until);
    // Another run begins with what is known now.
    Failure for_another_run(Failure const& failure, std::string_view why);

    // Why nothing can be committed, if so.
    std::optional<Failure> unfit_to_commit(TimePoint until) const;
    Outcome<CommitResult> do_commit(
        std::span<RowChange> changes, OperationCommit const* operation, Deadline deadline, bool careful);
    // Runs statements that only read, in the transaction if it has begun.
    Outcome<std::vector<Reply>> ask_before(Batch const& batch, TimePoint until);
    Outcome<CommitResult> do_commit_tables(
        std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until);
    // The events of all tables and COMMIT.
    Outcome<CommitResult> end_tables(
        std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until);
    // The failure of an error of statements that append events.
    Outcome<CommitResult> events_refused(
        SqlError const& error, OperationCommit const* operation, TimePoint until);
    // The change and COMMIT in one trip. Where anything else is committed with it, or it is not the change of
    // a row that is locked, the statement fails when it may not change the row, so that nothing is committed.
    Outcome<CommitResult> commit_one(RowChange& change, OperationCommit const* operation, TimePoint until);
    // Nothing came of the change, and nothing else was to be committed, so the transaction has ended without
    // a trace: what the row says of it, or the change once more, with care, in a transaction of its own.
    Outcome<CommitResult> made_nothing(RowChange& change, OperationCommit const* operation, TimePoint until);
    // The changes in one trip, COMMIT in another: what came of the changes is looked at in between.
    Outcome<CommitResult> commit_all(
        std::span<RowChange> changes, OperationCommit const* operation, TimePoint until, bool careful);
    Outcome<void> add_steps(
        Steps& steps, std::span<RowChange const> changes, OperationCommit const* operation, bool careful);
    Outcome<void> add_step(Steps& steps, RowChange const& change, std::size_t i, bool careful);
    // Sends the steps. An answer ends the commit: of the same operation, which was applied before.
    Outcome<std::optional<CommitResult>> run_steps(
        Steps const& steps, std::vector<Reply>& replies, std::span<RowChange const> changes,
        OperationCommit const* operation, TimePoint until);
    // The failure of statements of which the server refused one; the transaction has ended.
    Outcome<CommitResult> statement_failed(
        SqlError const& error, std::span<RowChange const> changes, OperationCommit const* operation,
        TimePoint until);
    // The failure of an error of changes, or of the inserts among them whose rows are there already.
    Outcome<CommitResult> error_refused(
        SqlError const& error, std::span<RowChange const> changes, OperationCommit const* operation,
        TimePoint until);
    // The failure of changes that were refused; nothing when none was. Ends the transaction in that case.
    std::optional<Failure> refusal_of(
        Steps const& steps, std::vector<Reply> const& replies, std::span<RowChange const> changes,
        TimePoint until);

    std::vector<Locked> rows_;
    bool begun_{false};  // BEGIN was answered
    Isolation isolation_{Isolation::read_committed};
    Statement const* begin_{nullptr};  // of the table of that isolation, for the present call; null: `store_`
    std::string place_;                // which table the name meant when the rows were locked
    // Goes first: it waits for what was not awaited.
    std::unique_ptr<BasicAsyncTransaction<R>> async_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/row_transaction_core.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_CORE_HPP
