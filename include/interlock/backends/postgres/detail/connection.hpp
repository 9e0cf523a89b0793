// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTION_HPP

/// @file
/// One session of a PostgreSQL server: connecting, and the one way to exchange a batch for its replies.
///
/// Statements are sent through the libpq connection inside libpqxx's, because libpqxx hides what an honest
/// outcome needs: the command tag of COMMIT, the name of a violated constraint, the state of the transaction,
/// and a bound on waiting for a reply. libpqxx itself never sends anything, so its silent reconnect (6.4) and
/// its in-doubt reports cannot happen here.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

// `PGconn` of libpq-fe.h.
struct pg_conn;

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Owns a connection of libpq; the bodies of `Connection` define it.
class PqxxConnection;

/// One session of the server. Its deadlines are on the time line of the system's sockets (`socket_now`),
/// whatever runtime its pool has.
///
/// **Thread safety.** One thread at a time.
class Connection {
public:
    Connection();
    Connection(Connection const&) = delete;
    Connection& operator=(Connection const&) = delete;
    ~Connection();

    /// Connects, at most until `until`. The failure tells whether trying again can help.
    Outcome<void> open(Settings const& settings, std::string const& endpoint, TimePoint until);

    bool is_open() const noexcept;
    /// Closes the connection; the server rolls back what was open.
    void close() noexcept;

    /// Whether the session may be lent: it is open, outside of a transaction, with nothing to read (the
    /// server has neither ended it nor said anything), and the backend is still the one that was connected
    /// to.
    bool fit() const noexcept;
    /// Open, and outside of a transaction.
    bool idle() const noexcept;
    /// In a transaction that has not failed.
    bool in_transaction() const noexcept;
    /// Whether texts are UTF-8 in this session, as they are unless a statement of the user's has said else.
    bool is_utf8() const noexcept;
    int pid() const noexcept { return pid_; }
    int server_version() const noexcept;
    int socket() const noexcept;
    std::size_t prepared_count() const noexcept { return prepared_.size(); }
    /// Whether the session may be kept. A program that prepares a great many statements makes repositories
    /// without end; its sessions are replaced now and then, so that the statements do not fill the server.
    bool reusable() const noexcept { return fit() && prepared_.size() <= 512; }
    /// The session is not to be used again: its plans are too old, say.
    void mark_unusable() noexcept { cancelled_ = true; }
    /// A statement that the session began with; `restore` sends it again.
    void began_with(std::string statement) { first_statements_.push_back(std::move(statement)); }
    /// A statement of a user's may have left something in the session that outlives its transaction: a
    /// setting, a lock, a temporary table.
    void mark_changed() noexcept { changed_ = true; }
    /// Of a session that was marked as changed, outside of a transaction: sends what takes everything back,
    /// and does not wait for the answer. The next exchange reads the answer before anything else, so nobody
    /// ever meets what was left. A session that cannot be restored is closed then.
    void restore() noexcept;

    /// Which schema the session's plans are for: a number of its pool, see `PoolState::heal`.
    std::uint64_t schema() const noexcept { return schema_; }
    void set_schema(std::uint64_t schema) noexcept { schema_ = schema; }

    /// Names the period in which a transaction id is unique; it changes with a failover and with a crash. The
    /// reason: an id that was given out is not durable before its transaction commits, and a server that
    /// recovers gives it out again. (A test has seen it: the status that was asked for was another
    /// transaction's.) The name is made of the time line and of the time at which the server's statistics
    /// began, which a recovery sets anew. Empty: the server tells neither, so an id means nothing later.
    std::string const& life() const noexcept { return life_; }
    void set_life(std::string life) { life_ = std::move(life); }

    using Bounded = postgres::detail::Bounded;

    /// Sends `batch` and reads all replies. This function is the only place that bounds an exchange with the
    /// server. Nothing is sent once `until` has come. What is not answered by then is cancelled and given up,
    /// and the connection is closed. Only the answer to a commit is then waited for a moment longer
    /// (`grace`), because the cancel request makes the answer definite.
    Exchange run(Batch const& batch, TimePoint until, Bounded bounded, Access access = Access::write);

    /// Waits for messages of NOTIFY, at most until `until`. Also returns when `bell` is rung. False: the
    /// connection broke.
    bool listen(std::vector<Notification>& heard, interlock::detail::Doorbell const& bell, TimePoint until);

private:
    // How long after a cancel request the answer to a commit is waited for.
    static constexpr std::chrono::milliseconds grace{100};

    // A deadline that is nearer than so many milliseconds is the server's to keep.
    static constexpr std::int64_t near = 1000;
    // By how much the server may be late with it.
    static constexpr std::chrono::milliseconds slack{25};
    // The place of a statement that belongs to no step of the batch.
    static constexpr auto no_step = static_cast<std::size_t>(-1);
    // The place of the settings of a transaction, whose reply nobody reads, but whose error counts.
    static constexpr auto settings_step = static_cast<std::size_t>(-2);

    // What was sent, in the order in which the replies come.
    struct Sent {
        std::size_t step;
        Statement const* preparing;  // null: the message is the execution
        Statement const* executing;  // of a prepared statement, else null
    };
    // Whether it is an execution of what was prepared for an earlier exchange.
    bool planned_before(Sent const& sent) const noexcept;

    // Whether the settings that were made last fit this deadline, too.
    bool bounds_fit(TimePoint until, Bounded bounded) const noexcept;
    // Sets the bounds in a transaction of its own before the others. No rollback undoes them there, and BEGIN
    // may still set the isolation level.
    bool send_bounds(TimePoint until);
    bool send_all(Batch const& batch, TimePoint until, bool sets_bounds);
    bool send_settings(SettingsStep const& settings);
    // Reads the answer to `restore`. False: the session is not as it was.
    bool restored(TimePoint until);
    // Gives one step to libpq; a statement that this session has not prepared yet is prepared first.
    bool send(Batch::Step const& step, std::size_t index);
    // Counts the messages that libpq has taken: from the first on, something may have left.
    bool taken(int by_libpq) noexcept;
    // Reads the replies. `syncs`: the number of parts that were sent; each part runs whatever became of the
    // part before.
    Progress receive(Exchange& exchange, int syncs, TimePoint until, Access access);
    // True: `PQgetResult` will not block. False: `until` has come (for a commit, also after a cancel
    // request), or the connection broke.
    bool readable(TimePoint until, Access access);
    // Asks the server to stop what it does for this session. libpq's call blocks without a bound, so a thread
    // of its own makes it. The request may be late and hit a statement that comes after, so the session is
    // not used again.
    void cancel();
    // Of all warnings only one matters here: the wait of a commit for its synchronous standby was ended
    // before the standby had confirmed it. The server then answers as if all was well. That warning is known
    // by the server's function that it comes from. Its text is translated, and its state (01000) is also the
    // state of the user's own warnings.
    static void take_notice(void* connection, pg_result const* notice);
    void take_notifications(std::vector<Notification>& heard);

    std::uint64_t generation_;               // the process that made the session
    std::unique_ptr<PqxxConnection> owner_;  // owns `connection_`
    pg_conn* connection_{nullptr};           // libpq's `PGconn`
    int pid_{0};
    bool cancelled_{false};                      // not to be used again
    bool changed_{false};                        // see `mark_changed`
    bool restoring_{false};                      // `restore` was sent, and its answer was not read
    std::vector<std::string> first_statements_;  // see `began_with`
    bool asked_to_cancel_{false};                // during this exchange
    bool unreplicated_{false};                   // likewise: the server has said so
    std::string life_;
    std::uint64_t schema_{0};                   // see `schema`
    std::int64_t timeout_{-1};                  // the session's setting, in milliseconds; -1: not set by us
    std::unordered_set<std::string> prepared_;  // names of the statements that are prepared in this session
    // The following belong to the exchange under way; they are members so that their memory is used again.
    std::vector<Sent> sent_;
    std::size_t taken_{0};               // messages that libpq has taken
    std::string_view refused_settings_;  // the names of the batch's settings, should the server refuse them
    std::vector<char const*> pointers_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/connection.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTION_HPP
