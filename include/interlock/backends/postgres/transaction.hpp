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

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statement_text.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/core/backoff.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// A parameter of type `bytea`, with any bytes, NUL included. It refers to the bytes, which must live until
/// the statement is executed.
struct Bytes {
    std::string_view value;
};

/// What a statement answered. The object owns its rows.
class Result {
public:
    /// An answer without rows.
    Result() = default;
    explicit Result(detail::Reply reply) noexcept : reply_(std::move(reply)) {}

    /// How many rows the statement returned.
    std::size_t size() const noexcept { return reply_.rows(); }
    bool empty() const noexcept { return size() == 0; }
    /// How many rows an INSERT, UPDATE, DELETE or MERGE changed.
    std::size_t affected_rows() const noexcept { return reply_.affected(); }

    /// Is the field NULL? Rows and columns count from 0.
    bool is_null(std::size_t row, std::size_t column) const noexcept { return reply_.null(row, column); }
    /// The value as the server writes it, valid as long as this object.
    std::string_view text(std::size_t row, std::size_t column) const noexcept
    {
        return reply_.text(row, column);
    }

    /// The value at a place, as a `T`: a number, `bool`, `std::string`, an optional of those (empty for a
    /// null), or any other type that `pqxx::string_traits` knows. Throws `Error` (`invalid_argument`) for a
    /// place that does not exist, for a null where `T` is no optional, and for a text that is no `T`.
    template <class T>
    T get(std::size_t row, std::size_t column) const
    {
        if (row >= reply_.rows() || column >= reply_.columns())
            throw Error(Errc::invalid_argument, "postgres: the result has no such row or column");
        if constexpr (interlock::detail::is_optional<T>::value) {
            if (reply_.null(row, column))
                return std::nullopt;
            return get<typename T::value_type>(row, column);
        } else {
            if (reply_.null(row, column))
                throw Error(Errc::invalid_argument, "postgres: the value is null");
            auto const text = reply_.text(row, column);
            if constexpr (std::is_same_v<T, std::string>) {
                return std::string(text);
            } else if constexpr (std::is_same_v<T, bool>) {
                return text == "t";
            } else if constexpr (std::is_arithmetic_v<T>) {
                T value{};
                auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
                if (end.ec != std::errc{} || end.ptr != text.data() + text.size())
                    throw Error(Errc::invalid_argument, "postgres: the value is not of the wanted type");
                return value;
            } else {
                try {
                    return detail::pqxx_value<T>(std::string(text));
                } catch (std::exception const&) {
                    throw Error(Errc::invalid_argument, "postgres: the value is not of the wanted type");
                }
            }
        }
    }
    /// The same for a column that is named.
    template <class T>
    T get(std::size_t row, std::string const& column) const
    {
        auto const at = reply_.column(column);
        if (!at)
            throw Error(Errc::invalid_argument, "postgres: the result has no column " + column);
        return get<T>(row, *at);
    }
    /// The only value of the only row. Throws `Error` (`invalid_argument`) if there are more or fewer.
    template <class T>
    T value() const
    {
        if (reply_.rows() != 1 || reply_.columns() != 1)
            throw Error(Errc::invalid_argument, "postgres: the result is not one value");
        return get<T>(0, 0);
    }

private:
    detail::Reply reply_;
};

namespace detail {

/// Adds `value` to `params`. Returns false for a text with a NUL, which no parameter of type text can hold.
template <class A>
bool add_parameter(Params& params, A const& value)
{
    using Value = std::remove_cvref_t<A>;
    if constexpr (std::is_same_v<Value, std::nullptr_t> || std::is_same_v<Value, std::nullopt_t>) {
        params.null();
    } else if constexpr (interlock::detail::is_optional<Value>::value) {
        if (value)
            return add_parameter(params, *value);
        params.null();
    } else if constexpr (std::is_same_v<Value, Bytes>) {
        params.bytes(value.value);
    } else if constexpr (std::is_same_v<Value, bool>) {
        params.boolean(value);
    } else if constexpr (std::is_arithmetic_v<Value>) {
        char buffer[64];
        auto const end = std::to_chars(buffer, buffer + sizeof buffer, value);
        params.text(std::string(buffer, end.ptr));
    } else if constexpr (std::is_enum_v<Value>) {
        return add_parameter(params, static_cast<std::underlying_type_t<Value>>(value));
    } else if constexpr (std::is_convertible_v<A const&, std::string_view>) {
        std::string_view const text{value};
        if (text.find('\0') != std::string_view::npos)
            return false;
        params.text(std::string(text));
    } else {
        auto text = pqxx_text(value);
        if (text.find('\0') != std::string::npos)
            return false;
        params.text(std::move(text));
    }
    return true;
}

/// The parameters of a user's statement.
template <class... A>
Outcome<Params> parameters_of(A const&... parameters)
{
    Params params;
    bool good = true;
    ((good = good && add_parameter(params, parameters)), ...);
    if (!good)
        return Failure{Errc::invalid_argument, "postgres: a text parameter has a NUL; see postgres::Bytes"};
    return params;
}

/// Why a user's statement may not be executed in the operation's transaction; nothing when it may. `word`:
/// its `first_word`.
inline std::optional<Failure> refusal_of(std::string_view sql, std::string_view word)
{
    if (sql.find('\0') != std::string_view::npos)
        return Failure{Errc::invalid_argument, "postgres: a statement has a NUL"};
    if (is_any(
            word,
            {"commit", "rollback", "abort", "end", "begin", "start", "savepoint", "release", "prepare"}))
        return Failure{Errc::invalid_argument, "postgres: the transaction is not the operation's to end"};
    return std::nullopt;
}

/// Asks the server what became of the transaction with the id `xid`. Two columns: the state, and whether
/// commits wait for a synchronous standby.
inline Batch status_of(std::string const& xid)
{
    static auto const& status = interlock::detail::immortal<Statement>(
        "SELECT pg_xact_status($1::text::xid8), current_setting('synchronous_standby_names') <> ''");
    Batch batch;
    Params params;
    params.text(xid);
    batch.add(status, std::move(params));
    return batch;
}

/// Whether a synchronous standby has what was committed before: it has, once it confirms a commit that comes
/// after. `until` is a time of sockets.
inline bool confirmed(Connection& connection, TimePoint until)
{
    Batch later;
    // The least that a commit waits for.
    later.add("SELECT pg_logical_emit_message(true, 'interlock', '')");
    auto const exchange = connection.run(later, until, Connection::Bounded::by_session, Access::commit);
    return exchange.progress == Progress::answered && !exchange.error && !exchange.unconfirmed;
}

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
/// `dblink`). Settings of the session that a statement makes in passing are gone afterwards: as far as the
/// text shows it, such a connection is closed and not used again.
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
/// `Transaction` is the one of the system's runtime.
template <class Runtime>
class BasicTransaction {
public:
    BasicTransaction(BasicTransaction const&) = delete;
    BasicTransaction& operator=(BasicTransaction const&) = delete;

    /// Executes one statement. Throws `Error` when it fails; the operation then cannot be committed any more.
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

    BasicTransaction(std::shared_ptr<PoolState> pool, typename PoolState::Session session, TimePoint until)
        : pool_(std::move(pool)), session_(std::move(session)), until_(until)
    {}
    BasicTransaction(BasicTransaction&&) noexcept = default;
    BasicTransaction& operator=(BasicTransaction&& other) noexcept
    {
        if (this != &other) {
            end();
            session_ = std::move(other.session_);
            pool_ = std::move(other.pool_);
            until_ = other.until_;
            before_commit_ = std::move(other.before_commit_);
            xid_ = std::move(other.xid_);
            life_ = std::move(other.life_);
            failure_ = std::move(other.failure_);
            used_ = other.used_;
        }
        return *this;
    }
    ~BasicTransaction() { end(); }

    /// Rolls back what is open, and gives the connection back. If the rollback does not succeed by the
    /// transaction's deadline, the connection is closed instead, which makes the server roll back as soon as
    /// it can.
    void end() noexcept
    {
        if (!session_)
            return;
        try {
            if (session_->is_open() && !session_->idle() && !pool_->forked()) {
                detail::Batch batch;
                batch.add("ROLLBACK");
                auto const soon = interlock::detail::add(pool_->runtime().now(), rollback_time);
                auto const by = std::min(soon, until_);
                static_cast<void>(
                    session_->run(batch, socket_time(by), detail::Connection::Bounded::by_caller));
            }
        } catch (...) {
            session_->close();
        }
        session_.release();
    }

    /// Runs a batch of the open transaction.
    Outcome<detail::Exchange> step(
        detail::Batch const& batch, TimePoint until,
        detail::Connection::Bounded bounded = detail::Connection::Bounded::by_caller)
    {
        auto exchange = session_->run(batch, socket_time(until), bounded);
        if (exchange.progress == detail::Progress::answered)
            return exchange;
        return failure_of(exchange, detail::Access::write);
    }

    /// Sends COMMIT, perhaps behind other statements: `batch` ends with it.
    ///
    /// If the reply is lost, its outcome is looked for. The server knows by a transaction's id what became of
    /// the transaction, though for a while it may say "in progress". The same is done for a COMMIT that no
    /// synchronous standby has confirmed: what the server then tells is true of this server only, so it
    /// counts once a later commit is confirmed.
    Outcome<detail::Exchange> commit(detail::Batch const& batch, TimePoint until)
    {
        auto exchange = session_->run(
            batch, socket_time(until), detail::Connection::Bounded::by_caller, detail::Access::commit);
        if (exchange.progress == detail::Progress::answered && !exchange.error) {
            if (exchange.replies.back().tag() != "COMMIT")
                return Failure{Errc::misconfigured, "postgres: the transaction had failed before its COMMIT"};
            if (!exchange.unconfirmed)
                return exchange;
        } else if (exchange.progress == detail::Progress::answered) {
            return exchange;  // the session lives, so nothing was committed
        }
        auto failure = failure_of(exchange, detail::Access::commit);
        if (failure.errc() != Errc::outcome_unknown)
            return failure;
        return resolve(std::move(failure), until);
    }

    /// A time of the runtime as one of sockets.
    TimePoint socket_time(TimePoint time) const
    {
        return interlock::detail::socket_deadline(pool_->runtime(), time);
    }

    std::shared_ptr<PoolState> pool_;
    typename PoolState::Session session_;
    TimePoint until_;
    detail::Batch before_commit_;     // statements that leave together with the changes
    std::string xid_;                 // the transaction's id, by which a lost COMMIT is looked for
    std::string life_;                // `Connection::life` of the session, without which the id means nothing
    std::optional<Failure> failure_;  // of a statement of the user's: nothing can be committed
    bool used_{false};                // the operation has executed a statement

private:
    template <class>
    friend class BasicTransactionalIdempotencyStore;
    template <class>
    friend class BasicAsyncTransaction;
    // How long a rollback may take, within the transaction's deadline.
    static constexpr std::chrono::seconds rollback_time{1};

    // Executes one statement of the user's, and notes a failure after which nothing can be committed.
    Outcome<Result> run(std::string_view sql, Outcome<detail::Params> params, detail::Savepoint savepoint)
    {
        if (failure_)
            return *failure_;
        if (!params)
            return std::move(params).failure();
        auto const word = detail::first_word(sql);
        if (auto refused = detail::refusal_of(sql, word))
            return *std::move(refused);
        if (pool_->runtime().now() >= until_)
            return fail(Failure{Errc::deadline_exceeded, "the transaction's deadline has come"});
        if (detail::changes_session(sql, word))
            session_->mark_unusable();
        used_ = true;
        detail::Batch batch;
        if (savepoint == detail::Savepoint::yes)
            batch.add("SAVEPOINT interlock");
        batch.add(std::string(sql), *std::move(params));
        if (savepoint == detail::Savepoint::yes)
            batch.add("RELEASE SAVEPOINT interlock");
        auto exchange = step(batch, until_);
        if (!exchange)
            return fail(std::move(exchange).failure());
        if (!exchange->error)
            return Result{std::move(exchange->replies[savepoint == detail::Savepoint::yes ? 1 : 0])};
        auto failure = failure_of(*exchange->error, detail::Access::write);
        if (savepoint == detail::Savepoint::no || must_run_again(failure.errc()))
            return fail(std::move(failure));
        detail::Batch undo;
        undo.add("ROLLBACK TO SAVEPOINT interlock");
        undo.add("RELEASE SAVEPOINT interlock");
        auto undone = step(undo, until_);
        if (!undone || undone->error)
            return fail(std::move(failure));
        return failure;
    }

    // After these failures the server has refused the transaction, so the whole operation is to run again.
    static bool must_run_again(Errc code) noexcept
    {
        return code == Errc::serialization_failure || code == Errc::deadlock;
    }

    // Notes that the transaction cannot be committed any more.
    Failure fail(Failure failure)
    {
        failure_ = failure;
        return failure;
    }

    // Finds out what became of a COMMIT whose reply was lost, at most until `until`. An exchange is the
    // answer that the commit was made, though its replies are not known. Otherwise `unavailable`, when the
    // transaction was rolled back, or `unknown`, when the server cannot tell.
    Outcome<detail::Exchange> resolve(Failure unknown, TimePoint until)
    {
        session_.release();  // it is closed, and another connection may need its place
        if (xid_.empty())
            return unknown;
        for (int attempt = 1;; ++attempt) {
            auto session = pool_->take(until);
            if (session) {
                if ((*session)->life() != life_)  // the id may be another transaction's by now
                    return unknown;
                auto const exchange = (*session)->run(
                    detail::status_of(xid_), socket_time(until), detail::Connection::Bounded::by_session);
                if (exchange.progress == detail::Progress::answered) {
                    if (exchange.error || exchange.replies[0].null(0, 0))
                        return unknown;
                    auto const what = exchange.replies[0].text(0, 0);
                    if (what == "committed" && exchange.replies[0].boolean(0, 1) &&
                        !detail::confirmed(**session, socket_time(until)))
                        return unknown;
                    if (what == "committed")
                        return detail::Exchange{detail::Progress::lost, {}, std::nullopt};
                    if (what == "aborted")
                        return Failure{
                            Errc::unavailable,
                            "postgres: the connection was lost; the transaction was rolled back"};
                }
            }
            // The connection goes back before the sleep.
            session = Outcome<typename PoolState::Session>{Errc::unavailable};
            auto const& runtime = pool_->runtime();
            auto const at =
                interlock::detail::add(runtime.now(), asking.delay(attempt, runtime.random_bits()));
            if (at >= until)
                return unknown;
            runtime.sleep_until(at);
        }
    }

    // How long to wait between two questions about a lost COMMIT.
    static constexpr Backoff asking{
        .initial = std::chrono::milliseconds{2}, .cap = std::chrono::milliseconds{100}, .immediate = 0};
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_TRANSACTION_HPP
