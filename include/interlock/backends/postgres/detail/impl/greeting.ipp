// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/greeting.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// For a session whose `pid` at the server differs from what the connection was told, so that a pooler
/// answers for the server.
///
/// Checks whether that session stays this client's. A second client begins a transaction meanwhile: if the
/// pooler shares sessions, the second client gets this session, and our next statement gets another one.
INTERLOCK_DECL Outcome<void> check_pooler(
    Connection& connection, Settings const& settings, std::string const& endpoint, std::string_view pid,
    TimePoint until)
{
    Connection other;
    if (auto opened = other.open(settings, endpoint, until); !opened)
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
        return failed(
            Errc::misconfigured,
            {"postgres: at ", endpoint,
             " a pooler shares sessions between clients; it must keep them apart, as PgBouncer "
             "does with pool_mode = session"});
    return success();
}

INTERLOCK_DECL Outcome<void> greet(
    Connection& connection, Settings const& settings, std::string const& endpoint, TimePoint until)
{
    if (connection.server_version() < 150000)
        return failed(
            Errc::misconfigured, {"postgres: the server's version is ",
                                  std::to_string(connection.server_version() / 10000), ", 15 is needed"});
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
    auto const exchange = connection.run(batch, until, Connection::Bounded::by_caller);
    if (exchange.progress != Progress::answered || exchange.error)
        return failure_of(exchange, Access::read);
    if (exchange.replies[0].boolean(0, 4))
        return failed(Errc::unavailable, {"postgres: ", endpoint, " is a replica"});
    connection.set_life(
        std::string(exchange.replies[0].text(0, 5)) + " " + std::string(exchange.replies[0].text(0, 6)));
    auto const& reply = exchange.replies[0];
    auto const pid = reply.text(0, reply.columns() - 1);
    if (pid == std::to_string(connection.pid()))
        return success();
    return check_pooler(connection, settings, endpoint, pid, until);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP
