// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/greeting.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// For a session whose `pid` at the server differs from what the connection was told, so that a pooler
/// answers for the server.
///
/// Checks whether that session stays this client's. A second client begins a transaction meanwhile: if the
/// pooler shares sessions, the second client gets this session, and our next statement gets another one.
[[gnu::cold]] INTERLOCK_DECL Outcome<void> check_pooler(
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

/// A setting of a session.
struct SessionSetting {
    std::string_view name;
    std::string_view value;
};

/// What the statements of this library build on; the role or the database may have set it otherwise.
inline constexpr std::array needed_settings{
    SessionSetting{"default_transaction_isolation", "read committed"}, SessionSetting{"bytea_output", "hex"},
    SessionSetting{"extra_float_digits", "1"}, SessionSetting{"DateStyle", "ISO"},
    // Else an empty element of an array is stored as the text NULL.
    SessionSetting{"array_nulls", "on"},
    // A row that a row-level policy hides would pass for a missing one, so it must be an error.
    SessionSetting{"row_security", "off"},
    // The one warning that matters must be heard, see `Connection::take_notice`.
    SessionSetting{"client_min_messages", "warning"}};

/// With these the server, too, notices when this client is gone, and frees what it had locked. Not every
/// server lets its users set them.
inline constexpr std::array useful_settings{
    SessionSetting{"tcp_keepalives_idle", "10"}, SessionSetting{"tcp_keepalives_interval", "3"},
    SessionSetting{"tcp_keepalives_count", "3"}, SessionSetting{"tcp_user_timeout", "10000"},
    SessionSetting{"client_connection_check_interval", "2000"}};

/// The list of a SELECT that makes `settings`.
template <std::size_t N>
std::string setting_calls(std::array<SessionSetting, N> const& settings)
{
    std::string calls;
    for (auto const& [name, value] : settings)
        calls += joined_text({calls.empty() ? "" : ", ", "set_config('", name, "', '", value, "', false)"});
    return calls;
}

/// See `Connection::life`. Servers that keep their write-ahead log elsewhere (Amazon Aurora) refuse the
/// functions, and a server may keep the statistics from its users.
inline constexpr std::string_view life_words =
    "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, "
    "(SELECT stats_reset FROM pg_stat_bgwriter)";

/// Runs `sql`, which only asks and sets.
[[gnu::cold]] INTERLOCK_DECL Exchange ask(Connection& connection, std::string sql, TimePoint until)
{
    Batch batch;
    batch.add(std::move(sql));
    // A time-out that the role or the database has must not end the greeting itself.
    return connection.run(batch, until, Connection::Bounded::by_session);
}

INTERLOCK_DECL bool well_answered(Exchange const& exchange) noexcept
{
    return exchange.progress == Progress::answered && !exchange.error;
}

/// Makes `settings` now, and whenever the session is restored.
template <std::size_t N>
Exchange make_settings(Connection& connection, std::array<SessionSetting, N> const& settings, TimePoint until)
{
    auto const text = "SELECT " + setting_calls(settings);
    auto made = ask(connection, text, until);
    if (well_answered(made))
        connection.began_with(text);
    return made;
}

/// Makes each of `settings` by itself, as far as the server lets it be made; the first failure, if there is
/// one, names its setting.
template <std::size_t N>
Outcome<void> set_one_by_one(
    Connection& connection, std::array<SessionSetting, N> const& settings, std::string const& endpoint,
    TimePoint until)
{
    Outcome<void> all = success();
    for (auto const& one : settings) {
        auto const made = make_settings(connection, std::array{one}, until);
        if (well_answered(made) || !all)
            continue;
        auto const failure = failure_of(made, Access::read);
        all = failed(failure.errc(), {failure.detail(), "; ", endpoint, " must take the setting ", one.name});
    }
    return all;
}

/// The same greeting in parts, for a server that refuses a part of it: only the needed settings must be
/// taken. The answer is that of the whole greeting, with as many columns as the server has answered.
[[gnu::cold]] INTERLOCK_DECL Outcome<Exchange> greet_in_parts(
    Connection& connection, std::string const& endpoint, std::string const& first, TimePoint until)
{
    auto answer = ask(connection, first + setting_calls(needed_settings), until);
    if (!well_answered(answer)) {
        if (answer.progress == Progress::answered)
            if (auto one = set_one_by_one(connection, needed_settings, endpoint, until); !one)
                return std::move(one).failure();
        return failure_of(answer, Access::read);
    }
    connection.began_with("SELECT " + setting_calls(needed_settings));
    if (!well_answered(make_settings(connection, useful_settings, until)))
        static_cast<void>(set_one_by_one(connection, useful_settings, endpoint, until));
    return answer;
}

[[gnu::cold]] INTERLOCK_DECL Outcome<void> greet(
    Connection& connection, Settings const& settings, std::string const& endpoint, std::string const& tables,
    LibrarySchema& library_schema, TimePoint until)
{
    if (connection.server_version() < 150000)
        return failed(
            Errc::misconfigured, {"postgres: the server's version is ",
                                  std::to_string(connection.server_version() / 10000), ", 15 is needed"});
    static auto const& setting_words = interlock::detail::immortal<std::string>(
        setting_calls(needed_settings) + ", " + setting_calls(useful_settings));
    bool const found_by_path = tables.find('.') == std::string::npos;
    auto const first = joined_text(
        {"SELECT pg_backend_pid(), pg_is_in_recovery(), ",
         found_by_path ? hidden_words(names_of_tables(tables)) : "NULL", ", ",
         found_by_path ? library_schema_words(tables) : "NULL", ", ",
         found_by_path ? kept_path_words(tables) : "NULL", ", "});
    auto exchange = ask(connection, joined_text({first, life_words, ", ", setting_words}), until);
    bool life_is_known = well_answered(exchange);
    if (life_is_known)
        connection.began_with("SELECT " + setting_words);
    if (exchange.progress == Progress::answered && exchange.error) {
        auto parts = greet_in_parts(connection, endpoint, first, until);
        if (!parts)
            return std::move(parts).failure();
        exchange = *std::move(parts);
    }
    if (!well_answered(exchange))
        return failure_of(exchange, Access::read);
    auto const& reply = exchange.replies[0];
    if (reply.boolean(0, 1))
        return failed(Errc::unavailable, {"postgres: ", endpoint, " is a replica"});
    if (!reply.null(0, 2))
        return hidden_tables(reply.text(0, 2), "Options::schema, or schema=... in the URL");
    if (auto stays = library_schema.stays(reply.text(0, 3)); !stays)
        return stays;
    if (!reply.null(0, 4))
        connection.began_with(keep_path_statement(reply.text(0, 4)));
    auto life = life_is_known ? Exchange{}
                              : ask(connection, "SELECT 0, 0, 0, 0, 0, " + std::string(life_words), until);
    auto const& said = life_is_known ? reply : life.replies[0];
    life_is_known = life_is_known || well_answered(life);
    // A half of the name is none: who has it could take a server for another one.
    if (life_is_known && !said.null(0, 5) && !said.null(0, 6))
        connection.set_life(std::string(said.text(0, 5)) + " " + std::string(said.text(0, 6)));
    auto const pid = reply.text(0, 0);
    if (pid == std::to_string(connection.pid()))
        return success();
    return check_pooler(connection, settings, endpoint, pid, until);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_GREETING_IPP
