// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_TRANSACTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_TRANSACTION_HPP

/// @file
/// A user's own statements in the transaction that locks and commits the states.
///
///     interlock::TransactionService service{interlock::PessimisticRowLock{}, products};
///     service.do_in_transaction(17, [](Product& product, interlock::postgres::Transaction& tx) {
///         --product.inventory_count;
///         tx.exec("INSERT INTO orders (product, quantity) VALUES ($1, 1)", product.id);
///     });  // the product's row and the order are committed together, or not at all

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/backends/postgres/detail/values.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/result.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// Whether a failed statement can be undone alone.
enum class Savepoint : unsigned char { no, yes };

}  // namespace detail

/// The open transaction of an operation, for the operation's own statements, under `PessimisticRowLock`.
///
/// **Guarantee.** What is executed here is committed together with the states and the operation's record, or
/// not at all. Statements see the states' rows as they were locked; changes of the state objects are written
/// at commit only. There is no way to commit or roll back from here, nor to execute two statements in one
/// text. Values are parameters (`$1`, `$2`) and never become part of a text.
/// **Does not guarantee.** That a statement's own change of a row that the operation was given survives: the
/// state object is written over it. Anything for statements that reach outside of the transaction (`nextval`,
/// `dblink`). What a statement leaves in its session (SET, `set_config(..., false)`, LISTEN, temporary
/// tables, advisory locks of the session) is taken back before anybody else gets the session, as far as the
/// text shows it; after a statement of which nobody knows what it leaves (DO, CALL) the session is closed.
/// **Outcomes.** `exec` throws `Error`. A conflict that the server reports (`serialization_failure`,
/// `deadlock`) runs the whole operation again, whatever the operation makes of the exception. After any other
/// error the transaction cannot go on: if the operation returns all the same, its call ends with that error,
/// not applied. `try_exec` returns errors and undoes the one statement, so that the operation may go on;
/// `constraint_violated` names the constraint.
/// **Deadline.** A statement ends by the deadline of the call.
/// **Lifetimes.** One run of the operation.
/// **Thread safety.** Only the operation may use it.
/// **Cost.** One round trip for each statement; two for a `try_exec` that fails. An operation that takes a
/// transaction does not share its commit with others.
/// **Asynchronous operations** get an `AsyncTransaction` instead, on which nothing blocks their executor.
///
/// An operation executes several statements, and goes on although one of them failed:
///
///     tx.exec("UPDATE accounts SET spent = spent + $1 WHERE id = $2", amount, account);
///     if (auto noted = tx.try_exec("INSERT INTO notes VALUES ($1)", text); !noted)
///         log(noted.message());  // the update stands, and the operation goes on
///
/// `Transaction` is the one of the system's runtime.
template <class Runtime>
class BasicTransaction {
public:
    BasicTransaction(BasicTransaction const&) = delete;
    BasicTransaction& operator=(BasicTransaction const&) = delete;

    /// Executes one statement. Each of `parameters` stands for one of `$1`, `$2` and so on: a number, `bool`,
    /// a text, `Bytes`, an enumerator (as its number), `nullptr` or `std::nullopt` for NULL, an optional of
    /// those, or any other type that `pqxx::string_traits` knows. Throws `Error` when the statement fails;
    /// the operation then cannot be committed any more.
    template <class... A>
    Result exec(std::string_view sql, A const&... parameters)
    {
        return run(sql, detail::parameters_of(parameters...), detail::Savepoint::no).value();
    }
    /// Executes one statement behind a savepoint. A failure is returned, and is undone if the operation may
    /// go on.
    template <class... A>
    Outcome<Result> try_exec(std::string_view sql, A const&... parameters)
    {
        return run(sql, detail::parameters_of(parameters...), detail::Savepoint::yes);
    }

protected:
    using PoolState = detail::PoolState<Runtime>;

    BasicTransaction(std::shared_ptr<PoolState> pool, typename PoolState::Session session, TimePoint until);
    BasicTransaction(BasicTransaction&&) noexcept = default;
    BasicTransaction& operator=(BasicTransaction&& other) noexcept;
    ~BasicTransaction() { end(); }

    /// Rolls back what is open, and gives the connection back. If the rollback does not succeed by the
    /// transaction's deadline, the connection is closed instead, which makes the server roll back as soon as
    /// it can.
    void end() noexcept;

    /// Runs a batch of the open transaction.
    Outcome<detail::Exchange> step(
        detail::Batch const& batch, TimePoint until, detail::Bounded bounded = detail::Bounded::by_caller);

    /// Sends COMMIT, perhaps behind other statements: `batch` ends with it.
    ///
    /// If the reply is lost, its outcome is looked for. The server knows by a transaction's id what became of
    /// the transaction, though for a while it may say "in progress". The same is done for a COMMIT that no
    /// synchronous standby has confirmed: what the server then tells is true of this server only, so it
    /// counts once a later commit is confirmed.
    Outcome<detail::Exchange> commit(detail::Batch const& batch, TimePoint until);

    /// A time of the runtime as one of sockets.
    TimePoint socket_time(TimePoint time) const;

    std::shared_ptr<PoolState> pool_;
    typename PoolState::Session session_;  // the connection, borrowed; none: the transaction has ended
    TimePoint until_;                      // the deadline of the call
    detail::Batch before_commit_;          // statements that leave together with the changes
    std::string xid_;                      // the transaction's id, by which a lost COMMIT is looked for
    std::string life_;                // `Connection::life` of the session, without which the id means nothing
    std::optional<Failure> failure_;  // of a statement of the user's: nothing can be committed
    bool used_{false};                // the operation has executed a statement

private:
    template <class>
    friend class BasicTransactionalIdempotencyStore;
    template <class>
    friend class BasicAsyncTransaction;

    // Executes one statement of the user's, and notes a failure after which nothing can be committed.
    Outcome<Result> run(std::string_view sql, Outcome<detail::Params> params, detail::Savepoint savepoint);
    // Notes that the transaction cannot be committed any more.
    Failure fail(Failure failure);
    // Finds out what became of a COMMIT whose reply was lost, at most until `until`. An exchange is the
    // answer that the commit was made, though its replies are not known. Otherwise `unavailable`, when the
    // transaction was rolled back, or `unknown`, when the server cannot tell.
    Outcome<detail::Exchange> resolve(Failure unknown, TimePoint until);
    // One question of `resolve`; nothing: it must be asked again.
    std::optional<Outcome<detail::Exchange>> ask_what_became(Failure const& unknown, TimePoint until);
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/transaction.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_TRANSACTION_HPP
