// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_POOL_HPP
#define INTERLOCK_BACKENDS_POSTGRES_POOL_HPP

/// @file
/// A PostgreSQL server and the connections to it. Make one `Pool` per server and hand it to repositories and
/// stores.
///
///     interlock::postgres::Pool const pool{"postgresql://db.example/shop"};
///     interlock::postgres::StateRepository<Product> products{pool, {.table = "products", .key = "id"}};
///     interlock::TransactionService service{interlock::PessimisticRowLock{}, products};
///     service.do_in_transaction(17, [](Product& product) { --product.inventory_count; });

#include <interlock/backends/postgres/detail/pool_query.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/options.hpp>
#include <interlock/backends/postgres/result.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// A PostgreSQL server (15 or later), and a bounded number of connections to it.
///
/// **Guarantee.** A statement of which nothing was sent fails with `unavailable`, `deadline_exceeded` or
/// `overloaded`: not applied. Once a commit may have reached the server, a lost or late answer is
/// `outcome_unknown`, and the commit is never sent again. A connection that broke is dropped; it is never
/// reconnected behind a transaction's back. A connection that a user's own statements have left in a state
/// that cannot be known is closed. Passwords are in no error.
/// **Does not guarantee.** Anything through a pooler that hands one server session to several clients: such a
/// server is `misconfigured`. Anything where row-level policies apply to the library's own tables: that is
/// `misconfigured`, since a hidden record would pass for a missing one.
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
    using runtime_type = Runtime;

    /// Does not connect. Throws `Error` (`invalid_argument`) for options out of range.
    explicit BasicPool(Options options);
    /// With `Options::parse(url)`. Throws `Error` (`invalid_argument`) without the URL's text.
    explicit BasicPool(std::string_view url);
    explicit BasicPool(char const* url);
    /// With a runtime that is not the system's: for tests.
    BasicPool(Runtime runtime, Options options);

    /// What this pool was made with.
    Options const& options() const noexcept;
    /// How many connections for calls there are now, borrowed or idle.
    std::size_t connection_count() const;
    /// How many connections are idle now.
    std::size_t idle_count() const;

    // ---- queries --------------------------------------------------------------------------------

    /// Executes one statement that reads, in a transaction of its own that is READ ONLY: a report, a list, a
    /// search. What changes something stands in an operation (`Transaction::exec`), where it is committed
    /// together with the states.
    ///
    ///     auto const rows = pool.query("SELECT id, note FROM orders WHERE product = $1", 17);
    ///     for (auto const row : rows)
    ///         print(row["id"].as<int>(), row["note"].as<std::string>());
    ///     auto const open = pool.query(200ms, "SELECT count(*) FROM orders").value<int>();
    ///
    /// `parameters` are as with `Transaction::exec`: each stands for one of `$1`, `$2` and so on, and never
    /// becomes part of the text. With a deadline in front of the text the call ends by it.
    ///
    /// **Outcome.** The rows, or throws `Error`: `invalid_argument` for a statement that changes something,
    /// which the server refuses, and for a parameter that is no value of its type; `misconfigured` for what
    /// the server does not know (a table, a right) or takes for more than one statement; `unavailable`,
    /// `deadline_exceeded`, `overloaded`. Nothing is ever changed, so the call may always be made again; it
    /// is made again by itself where the connection was lost.
    ///
    /// **Does not guarantee.** That two queries see one moment; that a replica answers what the primary
    /// would; anything about what a function does outside of the transaction (`dblink`).
    ///
    /// **Cost.** One round trip, on a connection of the pool. What a statement leaves in its session (SET,
    /// `set_config(..., false)`, advisory locks of the session) is taken back before anybody else gets it.
    /// Row-level policies apply, as they do to the statements of an operation.
    template <class... A>
    Result query(std::string_view sql, A const&... parameters) const
    {
        return try_query(Deadline{}, sql, parameters...).value();
    }
    template <class... A>
    Result query(Deadline deadline, std::string_view sql, A const&... parameters) const
    {
        return try_query(deadline, sql, parameters...).value();
    }
    /// As `query`, and returns the failure.
    template <class... A>
    Outcome<Result> try_query(std::string_view sql, A const&... parameters) const
    {
        return try_query(Deadline{}, sql, parameters...);
    }
    template <class... A>
    Outcome<Result> try_query(Deadline deadline, std::string_view sql, A const&... parameters) const
    {
        return detail::query(*state_, std::string(sql), detail::parameters_of(parameters...), deadline);
    }

    /// `async_query(sql, parameters..., token)`, perhaps with a deadline in front: as `query`, on one of as
    /// many threads as the pool may have connections, so that the executor is never blocked.
    ///
    ///     auto const rows = co_await pool.async_query("SELECT id FROM orders", use_awaitable);
    ///
    /// **Completion.** `void(std::exception_ptr, Result)`, on the handler's associated executor, exactly
    /// once, never from within the call. Texts and parameters are copied.
    ///
    /// **Cancellation.** None: the query ends by its deadline, for which waiting for a thread counts.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_query(std::string_view sql, A&&... parameters_and_token) const
    {
        return initiate<false>(
            Deadline{}, sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_query(Deadline deadline, std::string_view sql, A&&... parameters_and_token) const
    {
        return initiate<false>(
            deadline, sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }
    /// The same, and completes with the failure: `void(Outcome<Result>)`.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_try_query(std::string_view sql, A&&... parameters_and_token) const
    {
        return initiate<true>(
            Deadline{}, sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_try_query(Deadline deadline, std::string_view sql, A&&... parameters_and_token) const
    {
        return initiate<true>(deadline, sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }

private:
    template <class, class, class>
    friend class StateRepository;
    friend struct PoolAccess;
    using State = detail::PoolState<Runtime>;

    explicit BasicPool(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
    static std::shared_ptr<State> make(Runtime runtime, Options options);

    template <bool Try, class All>
    auto initiate(Deadline deadline, std::string_view sql, All all) const
    {
        return detail::async_query<Try>(state_, deadline, sql, std::move(all));
    }

    std::shared_ptr<State> state_;  // the connections; shared by all handles
};

/// For the functions of this backend, which are no friends of `BasicPool`.
struct PoolAccess {
    template <class Runtime>
    static std::shared_ptr<detail::PoolState<Runtime>> const& state(BasicPool<Runtime> const& pool) noexcept
    {
        return pool.state_;
    }
    /// Another handle of a pool that is there.
    template <class Runtime>
    static BasicPool<Runtime> handle(std::shared_ptr<detail::PoolState<Runtime>> state) noexcept
    {
        return BasicPool<Runtime>{std::move(state)};
    }
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/pool.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_POOL_HPP
