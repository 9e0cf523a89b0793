// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_POOL_HPP
#define INTERLOCK_BACKENDS_POSTGRES_POOL_HPP

/// @file
/// A PostgreSQL server and the connections to it. Make one `Pool` per server and hand it to repositories and
/// stores.
///
///     interlock::postgres::Pool const pool{"postgresql://db.example/shop"};
///     interlock::postgres::StateRepository<Product> products{pool, {.table = "products"}};
///     interlock::TransactionService service{interlock::PessimisticRowLock{}, products};
///     service.do_in_transaction(17, [](Product& product) { --product.inventory_count; });

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/options.hpp>
#include <interlock/core/kit/connection_pool.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// What all handles of one pool share.
class PoolState {
public:
    explicit PoolState(Options options)
        : options_(std::move(options)),
          settings_(settings_of(options_)),
          endpoint_(endpoint_of(settings_)),
          generation_(SystemRuntime::generation()),
          subscriber_(std::make_shared<Subscriber>(settings_, endpoint_, options_.name_space + "_wake"))
    {}
    PoolState(PoolState const&) = delete;
    PoolState& operator=(PoolState const&) = delete;
    ~PoolState()
    {
        if (!forked())  // a forked child must leave its parent's thread and sessions alone
            subscriber_->stop();
    }

    Options const& options() const noexcept { return options_; }
    std::string const& endpoint() const noexcept { return endpoint_; }
    Subscriber& subscriber() const noexcept { return *subscriber_; }
    bool forked() const noexcept { return SystemRuntime::generation() != generation_; }

    /// A borrowed connection.
    using Session = ConnectionPool<Connection>::Lease;

    /// Lends a connection that is outside of a transaction. `fresh` becomes true when the connection was
    /// opened for this call.
    Outcome<Session> take(TimePoint until, bool& fresh)
    {
        if (forked())
            return Failure{
                Errc::misconfigured,
                "this postgres pool was made before a fork; make a new one in the child"};
        return pool_.take(until, fresh, [&]() -> Outcome<std::unique_ptr<Connection>> {
            auto connection = std::make_unique<Connection>();
            if (auto connected = connect(*connection, until); !connected)
                return std::move(connected).failure();
            return connection;
        });
    }
    Outcome<Session> take(TimePoint until)
    {
        bool fresh = false;
        return take(until, fresh);
    }

    /// Runs `batch` as one transaction of its own. What surely had no effect is tried again once, where that
    /// may help. An error of the server is part of the exchange, and the caller must look at it; every other
    /// bad end is a failure.
    Outcome<Exchange> run(Batch const& batch, Access access, Deadline deadline)
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        auto const until = deadline.at(SystemRuntime::now());
        for (bool again = true;; again = false) {
            bool fresh = false;
            auto session = take(until, fresh);
            if (!session)
                return std::move(session).failure();
            auto exchange = (*session)->run(batch, until, Connection::Bounded::by_session, access);
            if (exchange.progress == Progress::answered && !exchange.error && !exchange.unconfirmed)
                return exchange;
            // The session's `lock_timeout` is the time of the call, too. No statement here takes a lock
            // without waiting for it (NOWAIT), so once the deadline has come, a lock that could not be had is
            // the deadline.
            if (exchange.error && exchange.error->state == "55P03" && SystemRuntime::now() >= until)
                exchange.error->state = "57014";
            // The server had ended the session while it lay in the pool. What was only to be read, or was not
            // sent, may be sent again on another one; a fresh session shows that the server itself is the
            // reason.
            bool const stale = exchange.progress == Progress::unsent ||
                               (exchange.progress == Progress::lost && access == Access::read);
            if (stale && !fresh)
                continue;
            if (exchange.error && heal(**session, *exchange.error) && again)
                continue;
            if (exchange.progress == Progress::answered && exchange.error)
                return exchange;
            return failure_of(exchange, access);
        }
    }

    /// The same, with every error of the server as a failure.
    Outcome<std::vector<Reply>> execute(Batch const& batch, Access access, Deadline deadline)
    {
        auto exchange = run(batch, access, deadline);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error)
            return failure_of(*exchange->error, access);
        return std::move(exchange->replies);
    }
    /// The same for one statement.
    Outcome<Reply> execute(Statement const& statement, Params params, Access access, Deadline deadline)
    {
        Batch batch;
        batch.add(statement, std::move(params));
        auto replies = execute(batch, access, deadline);
        if (!replies)
            return std::move(replies).failure();
        return std::move((*replies)[0]);
    }

    /// Draws the conclusion from an error about the connection, or about the server behind it. True: nothing
    /// was applied, and another attempt, on another connection, may help.
    bool heal(Connection& connection, SqlError const& error) noexcept
    {
        if (error.raised)  // the words of a user's RAISE say nothing about the connection
            return false;
        // The server is a replica, perhaps a former primary. The idle connections lead there, too.
        if (error.state == "25006") {  // a replica: a former primary, and the idle ones lead there, too
            connection.mark_unusable();
            pool_.drop_idle();
            return true;
        }
        // The session's prepared plans are too old for the schema.
        if (error.state == "26000" || error.state == "0A000" ||
            error.state == "42804") {  // its plans are too old
            connection.mark_unusable();
            return error.state == "0A000";
        }
        return false;
    }

    /// How many connections there are now, borrowed or idle.
    std::size_t connection_count() const { return pool_.count(); }
    std::size_t idle_count() const { return pool_.idle_count(); }

private:
    Outcome<void> connect(Connection& connection, TimePoint until)
    // Connects, asks the server once for what must be known of it, and sets what the statements of this
    // library build on.
    {
        auto const soon = interlock::detail::add(SystemRuntime::now(), options_.connect_timeout);
        auto const by = std::min(until, soon);
        if (auto opened = connection.open(settings_, endpoint_, by); !opened) {
            if (by == until && SystemRuntime::now() >= until)
                return Failure{
                    Errc::deadline_exceeded, "the deadline came before anything was sent to postgres"};
            return opened;
        }
        if (connection.server_version() < 150000)
            return Failure{
                Errc::misconfigured,
                "postgres: the server's version is " + std::to_string(connection.server_version() / 10000) +
                    ", 15 is needed"};
        // The role or the database may have set these otherwise.
        static auto const& greeting = interlock::detail::immortal<Statement>(
            "SELECT set_config('default_transaction_isolation', 'read committed', false), "
            "set_config('bytea_output', 'hex', false), set_config('extra_float_digits', '1', false), "
            "set_config('DateStyle', 'ISO', false), pg_is_in_recovery(), "
            "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, "
            "(SELECT stats_reset FROM pg_stat_bgwriter), "
            // These settings let the server, too, notice when this client is gone, and free what it had
            // locked.
            "set_config('tcp_keepalives_idle', '10', false), "
            "set_config('tcp_keepalives_interval', '3', false), "
            "set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '10000', false), "
            "set_config('client_connection_check_interval', '2000', false), "
            // A row that a row-level policy hides would pass for a missing one, so it must be an error.
            "set_config('row_security', 'off', false), "
            // The one warning that matters must be heard, see `Connection::take_notice`.
            "set_config('client_min_messages', 'warning', false), pg_backend_pid()");
        Batch batch;
        batch.add(greeting);
        auto const exchange = connection.run(batch, by, Connection::Bounded::by_caller);
        if (exchange.progress != Progress::answered || exchange.error)
            return failure_of(exchange, Access::read);
        if (exchange.replies[0].boolean(0, 4))
            return Failure{Errc::unavailable, "postgres: " + endpoint_ + " is a replica"};
        connection.set_life(
            std::string(exchange.replies[0].text(0, 5)) + " " + std::string(exchange.replies[0].text(0, 6)));
        auto const& reply = exchange.replies[0];
        auto const pid = reply.text(0, reply.columns() - 1);
        return pid == std::to_string(connection.pid()) ? success() : check_pooler(connection, pid, by);
    }

    // The server's session has another `pid` than the connection was told, so a pooler answers for the
    // server.
    // Checks whether that session stays this client's. A second client begins a transaction meanwhile: if the
    // pooler shares sessions, the second client gets this session, and our next statement gets another one.
    Outcome<void> check_pooler(Connection& connection, std::string_view pid, TimePoint until)
    {
        Connection other;
        if (auto opened = other.open(settings_, endpoint_, until); !opened)
            return opened;
        Batch begin;
        begin.add("BEGIN");
        Batch ask;
        ask.add("SELECT pg_backend_pid()");
        auto const begun = other.run(begin, until, Connection::Bounded::by_caller);
        auto const its = other.run(ask, until, Connection::Bounded::by_caller);
        auto const now = connection.run(ask, until, Connection::Bounded::by_caller);
        for (auto const* exchange : {&begun, &its, &now})
            if (exchange->progress != Progress::answered || exchange->error)
                return failure_of(*exchange, Access::read);
        if (its.replies[0].text(0, 0) == pid || now.replies[0].text(0, 0) != pid)
            return Failure{
                Errc::misconfigured,
                "postgres: at " + endpoint_ +
                    " a pooler shares sessions between clients; it must keep them apart, as PgBouncer "
                    "does with pool_mode = session"};
        return success();
    }

    Options options_;
    Settings settings_;
    std::string endpoint_;
    std::uint64_t generation_;  // the process that made the pool
    std::shared_ptr<Subscriber> subscriber_;
    ConnectionPool<Connection> pool_{"postgres", options_.max_connections, options_.max_waiting};
};

}  // namespace detail

/// A PostgreSQL server (15 or later), and a bounded number of connections to it.
///
/// **Guarantee.** A statement of which nothing was sent fails with `unavailable`, `deadline_exceeded` or
/// `overloaded`: not applied. Once a commit may have reached the server, a lost or late answer is
/// `outcome_unknown`, and the commit is never sent again. A connection that broke is dropped; it is never
/// reconnected behind a transaction's back. A connection that a user's own statements have left in a state
/// that cannot be known is closed. Passwords are in no error.
/// **Does not guarantee.** Anything through a pooler that hands one server session to several clients: such a
/// server is `misconfigured`. That rows which a row-level policy hides are left out: a statement that would
/// meet such a row is `misconfigured`, since the row would pass for missing. A bound on looking up the host's
/// name, which is the system's business.
/// **Lifetimes.** A shared handle. Connections, and the thread for wake-ups, live as long as any handle, or
/// any repository or store that was made from one. In a forked child every call is `misconfigured`: make a
/// new pool there.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** Nothing until the first call. The calling thread does its own I/O. A new connection costs one
/// round trip more than the server's own greeting, and behind a pooler also a second connection for a moment.
/// Once somebody waits for a lock, there is one thread and one connection more.
class Pool {
public:
    /// Does not connect. Throws `Error` (`invalid_argument`) for options out of range.
    explicit Pool(Options options) : state_(make(std::move(options))) {}
    /// With `Options::parse(url)`. Throws `Error` (`invalid_argument`) without the URL's text.
    explicit Pool(std::string_view url) : Pool(Options::parse(url).value()) {}
    explicit Pool(char const* url) : Pool(std::string_view{url}) {}

    /// What this pool was made with.
    Options const& options() const noexcept { return state_->options(); }
    /// How many connections for calls there are now, borrowed or idle.
    std::size_t connection_count() const { return state_->connection_count(); }
    /// How many connections are idle now.
    std::size_t idle_count() const { return state_->idle_count(); }

private:
    template <class, class>
    friend class StateRepository;
    friend class Counters;
    friend class IdempotencyStore;
    friend struct PoolAccess;

    static std::shared_ptr<detail::PoolState> make(Options options)
    {
        options.validate().value();
        return std::make_shared<detail::PoolState>(std::move(options));
    }

    std::shared_ptr<detail::PoolState> state_;
};

/// For the functions of this backend, which are no friends of `Pool`.
struct PoolAccess {
    static std::shared_ptr<detail::PoolState> const& state(Pool const& pool) noexcept { return pool.state_; }
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_POOL_HPP
