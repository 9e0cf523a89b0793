// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_STATE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_STATE_HPP

/// @file
/// What all handles of one `Pool` share: the connections, how each of them is opened and checked, and the
/// rule of what may be sent again.

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/options.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/connection_pool.hpp>
#include <interlock/core/outcome.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What libpq is told: the URL's settings, and ours where the URL is silent.
Settings settings_of(Options const& options);

/// What all handles of one pool share. `R`: the runtime.
template <class R>
class PoolState {
public:
    PoolState(R runtime, Options options);
    PoolState(PoolState const&) = delete;
    PoolState& operator=(PoolState const&) = delete;
    ~PoolState();

    R const& runtime() const noexcept { return runtime_; }
    Options const& options() const noexcept { return options_; }
    std::string const& endpoint() const noexcept { return endpoint_; }
    /// What the names of the library's tables begin with, see `tables_of`.
    std::string const& tables() const noexcept { return tables_; }
    /// The custom settings that every session begins with, see `detail::custom_settings`.
    std::string custom_settings() const;
    /// Tells stores of this process apart: two pools of one identity find one table under one name.
    std::string identity() const;
    Subscriber<R>& subscriber() const noexcept { return *subscriber_; }
    bool forked() const noexcept { return runtime_.generation() != generation_; }

    /// A borrowed connection.
    using Session = typename ConnectionPool<Connection, R>::Lease;

    /// Lends a connection that is outside of a transaction. `fresh` becomes true when the connection was
    /// opened for this call.
    Outcome<Session> take(TimePoint until, bool& fresh);
    Outcome<Session> take(TimePoint until);

    /// Runs `batch` as one transaction of its own. What surely had no effect is tried again once, where that
    /// may help. An error of the server is part of the exchange, and the caller must look at it; every other
    /// bad end is a failure.
    /// `again`: what has met a plan older than the schema is tried again here. Whoever makes statements from
    /// what the schema was says no, and makes them anew.
    Outcome<Exchange> run(Batch const& batch, Access access, Deadline deadline, bool again = true);

    /// The same, with every error of the server as a failure.
    Outcome<std::vector<Reply>> execute(Batch const& batch, Access access, Deadline deadline);
    /// The same for one statement.
    Outcome<Reply> execute(Statement const& statement, Params params, Access access, Deadline deadline);

    /// Executes one statement of the user's own in a transaction that only reads.
    Outcome<Reply> query(std::string const& sql, Params const& params, Deadline deadline);

    /// Draws the conclusion from an error about the connection, or about the server behind it. True: nothing
    /// was applied, and another attempt, on another connection, may help.
    bool heal(Connection& connection, SqlError const& error) noexcept;

    /// Counts the changes of the schema that any session has met. Sessions that were made before the last of
    /// them have plans that may be too old, and are not lent any more.
    std::uint64_t schema() const noexcept { return schema_.load(std::memory_order_acquire); }
    /// `met_by`: the number of the session that has met a change. Of several that meet one, the first counts.
    void schema_has_changed(std::uint64_t met_by) noexcept
    {
        schema_.compare_exchange_strong(met_by, met_by + 1, std::memory_order_acq_rel);
    }

    /// How many connections there are now, borrowed or idle.
    std::size_t connection_count() const { return pool_.count(); }
    std::size_t idle_count() const { return pool_.idle_count(); }

private:
    /// What an observer of the connections is told of the store.
    static StoreInfo info(Options const& options) noexcept
    {
        return {"postgres", options.name_space, "postgresql"};
    }

    // The session's `lock_timeout` is the time of the call, too. No statement here takes a lock without
    // waiting for it (NOWAIT), so once the deadline has come, a lock that could not be had is the deadline.
    static void name_deadline(Exchange& exchange, TimePoint socket_until) noexcept;
    // Connects, and greets the server.
    Outcome<void> connect(Connection& connection, TimePoint until);

    [[no_unique_address]] R runtime_;
    Options options_;
    Settings settings_;             // what libpq is told
    std::string endpoint_;          // the server's name in failures
    std::string tables_;            // what the library's tables are called
    LibrarySchema library_schema_;  // where they are
    std::uint64_t generation_;      // the process that made the pool
    std::shared_ptr<Subscriber<R>> subscriber_;
    std::atomic<std::uint64_t> schema_{0};  // see `schema`
    ConnectionPool<Connection, R> pool_{"postgres", options_.max_connections, options_.max_waiting,
                                        runtime_,   options_.observer,        info(options_)};
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/pool_state.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_POOL_STATE_HPP
