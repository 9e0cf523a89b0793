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
#include <interlock/backends/postgres/detail/greeting.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/options.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/connection_pool.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <algorithm>
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

/// What all handles of one pool share. `R`: the runtime.
template <class R>
class PoolState {
public:
    PoolState(R runtime, Options options)
        : runtime_(std::move(runtime)),
          options_(std::move(options)),
          settings_(settings_of(options_)),
          endpoint_(endpoint_of(settings_)),
          generation_(runtime_.generation()),
          subscriber_(std::make_shared<Subscriber<R>>(
              runtime_, settings_, endpoint_, options_.name_space + "_wake"))
    {}
    PoolState(PoolState const&) = delete;
    PoolState& operator=(PoolState const&) = delete;
    ~PoolState()
    {
        if (!forked())  // a forked child must leave its parent's thread and sessions alone
            subscriber_->stop();
    }

    R const& runtime() const noexcept { return runtime_; }
    Options const& options() const noexcept { return options_; }
    std::string const& endpoint() const noexcept { return endpoint_; }
    Subscriber<R>& subscriber() const noexcept { return *subscriber_; }
    bool forked() const noexcept { return runtime_.generation() != generation_; }

    /// A borrowed connection.
    using Session = typename ConnectionPool<Connection, R>::Lease;

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
        auto const until = deadline.at(runtime_.now());
        for (bool again = true;; again = false) {
            bool fresh = false;
            auto session = take(until, fresh);
            if (!session)
                return std::move(session).failure();
            auto const socket_until = interlock::detail::socket_deadline(runtime_, until);
            auto exchange = (*session)->run(batch, socket_until, Connection::Bounded::by_session, access);
            if (exchange.progress == Progress::answered && !exchange.error && !exchange.unconfirmed)
                return exchange;
            // The session's `lock_timeout` is the time of the call, too. No statement here takes a lock
            // without waiting for it (NOWAIT), so once the deadline has come, a lock that could not be had is
            // the deadline.
            if (exchange.error && exchange.error->state == "55P03" &&
                interlock::detail::socket_now() >= socket_until)
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
    // Connects, and greets the server.
    Outcome<void> connect(Connection& connection, TimePoint until)
    {
        auto const soon = interlock::detail::add(runtime_.now(), options_.connect_timeout);
        auto const by = std::min(until, soon);
        auto const socket_by = interlock::detail::socket_deadline(runtime_, by);
        if (auto opened = connection.open(settings_, endpoint_, socket_by); !opened) {
            if (by == until && runtime_.now() >= until)
                return Failure{
                    Errc::deadline_exceeded, "the deadline came before anything was sent to postgres"};
            return opened;
        }
        return greet(connection, settings_, endpoint_, socket_by);
    }

    [[no_unique_address]] R runtime_;
    Options options_;
    Settings settings_;
    std::string endpoint_;
    std::uint64_t generation_;  // the process that made the pool
    std::shared_ptr<Subscriber<R>> subscriber_;
    ConnectionPool<Connection, R> pool_{
        "postgres", options_.max_connections, options_.max_waiting, runtime_};
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
/// **Runtime.** `Pool` is the pool of the system's runtime. Another runtime, in tests, moves the time of
/// everything but exchanges with the server: for their replies the system waits.
template <class Runtime>
class BasicPool {
public:
    /// Does not connect. Throws `Error` (`invalid_argument`) for options out of range.
    explicit BasicPool(Options options) : BasicPool(Runtime{}, std::move(options)) {}
    /// With `Options::parse(url)`. Throws `Error` (`invalid_argument`) without the URL's text.
    explicit BasicPool(std::string_view url) : BasicPool(Options::parse(url).value()) {}
    explicit BasicPool(char const* url) : BasicPool(std::string_view{url}) {}
    /// With a runtime that is not the system's: for tests.
    BasicPool(Runtime runtime, Options options) : state_(make(std::move(runtime), std::move(options))) {}

    /// What this pool was made with.
    Options const& options() const noexcept { return state_->options(); }
    /// How many connections for calls there are now, borrowed or idle.
    std::size_t connection_count() const { return state_->connection_count(); }
    /// How many connections are idle now.
    std::size_t idle_count() const { return state_->idle_count(); }

private:
    template <class, class, class>
    friend class StateRepository;
    template <class>
    friend class BasicCounters;
    template <class>
    friend class BasicIdempotencyStore;
    friend struct PoolAccess;
    using State = detail::PoolState<Runtime>;

    static std::shared_ptr<State> make(Runtime runtime, Options options)
    {
        options.validate().value();
        return std::make_shared<State>(std::move(runtime), std::move(options));
    }

    std::shared_ptr<State> state_;
};

/// For the functions of this backend, which are no friends of `BasicPool`.
struct PoolAccess {
    template <class Runtime>
    static std::shared_ptr<detail::PoolState<Runtime>> const& state(BasicPool<Runtime> const& pool) noexcept
    {
        return pool.state_;
    }
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_POOL_HPP
