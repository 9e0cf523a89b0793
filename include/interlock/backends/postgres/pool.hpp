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

#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/options.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

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
/// `misconfigured`, since a hidden record would pass for a missing one. A bound on looking up the host's
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

private:
    template <class, class, class>
    friend class StateRepository;
    friend struct PoolAccess;
    using State = detail::PoolState<Runtime>;

    explicit BasicPool(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
    static std::shared_ptr<State> make(Runtime runtime, Options options);

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
