// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ERROR_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ERROR_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::noinline]] INTERLOCK_DECL Failure failed(Errc code, std::initializer_list<std::string_view> parts)
{
    return Failure{code, joined_text(parts)};
}

[[gnu::noinline]] INTERLOCK_DECL Failure failed(Errc code, char const* detail)
{
    return Failure{code, detail};
}

[[gnu::noinline]] INTERLOCK_DECL void throw_invalid(std::initializer_list<std::string_view> parts)
{
    throw Error(Errc::invalid_argument, joined_text(parts));
}

/// Whether the server's message, in whatever language, is about something that `create_schema` makes. A table
/// of the user's may have such a name, too: it costs a needless half sentence.
[[gnu::cold]] INTERLOCK_DECL bool names_a_table_of_ours(std::string_view message) noexcept
{
    for (auto const ending :
         {"_state", "_lock", "_operation", "_idempotency", "_counter", "_once", "_version", "_token",
          "_record"})
        if (message.find(ending) != std::string_view::npos)
            return true;
    return false;
}

INTERLOCK_DECL bool is_of_kept_plan(std::string_view state) noexcept
{
    return state == "0A000" || state == "26000" || state == "42804";
}

INTERLOCK_DECL bool is_of_old_plan(SqlError const& error) noexcept
{
    if (error.raised || !error.planned_in)
        return false;
    if (is_of_kept_plan(error.state))
        return true;
    if (error.within)  // a name that a function does not find is none in another session either
        return false;
    for (std::string_view state : {"42883", "42703", "42704", "42P18", "XX000"})
        if (error.state == state)
            return true;
    return false;
}

/// The error as a text for people. Values must not get into it, but the server's messages quote values. A
/// message is therefore shown only for states that are about the schema, and where the user's schema itself
/// has raised the error.
[[gnu::cold]] INTERLOCK_DECL std::string describe(SqlError const& error)
{
    std::string out = "postgres: ";
    if (!error.settings.empty())
        return out + "the server refuses a setting of the transaction: " + error.settings + " (" +
               error.state + ")";
    if (error.policy == RowPolicy::refuses)
        out += "a row-level policy refuses the row: ";
    if (!error.constraint.empty() && !error.raised)
        return out + "constraint " + error.constraint;
    out +=
        error.constraint.empty() ? std::string(rule_of(error.state).name) : "constraint " + error.constraint;
    if (!error.state.empty())
        out += " (" + error.state + ")";
    // A check without a name is that of a partition: "no partition of relation ... found for row".
    bool shown = error.raised || error.state == "23514";
    for (std::string_view state : {"2200H", "42", "0A", "26", "2D", "3D", "3F", "P0", "55000"})
        shown = shown || error.state.starts_with(state);
    if (error.state == "25006" && !error.raised)
        out +=
            ": transactions are read only here: the server is a standby, or default_transaction_read_only is "
            "on, by the server, the database, the role or the URL, or the operation has said so";
    if (!shown)
        return out;
    out += ": ";
    for (char c : interlock::detail::beginning_of(error.message, 200))
        out += static_cast<unsigned char>(c) < ' ' ? '?' : c;
    if (error.state == "42P01" && !error.raised && names_a_table_of_ours(error.message))
        out +=
            "; create_schema(pool) makes the tables of the library, schema_sql() shows them for a migration";
    return out;
}

INTERLOCK_DECL Failure failure_of(SqlError const& error, Access access)
{
    auto const& rule = rule_of(error.state);
    auto const failure = [&](Errc code) {
        return Failure{code, describe(error)}.with_store_code(error.state);
    };
    if (error.raised) {
        // A rule of the user's own refuses the change, by whatever state it has chosen. Only the states that
        // ask for another run of the transaction have their meaning here, too.
        bool const again = rule.errc == Errc::serialization_failure || rule.errc == Errc::deadlock;
        return failure(again ? rule.errc : Errc::constraint_violated);
    }
    if (error.policy == RowPolicy::refuses)
        return failure(Errc::constraint_violated);
    if (access == Access::commit && rule.certain == Certain::no)
        return failure(rule.errc).in_doubt();
    return failure(rule.errc);
}

INTERLOCK_DECL Failure failure_of(Exchange const& exchange, Access access)
{
    switch (exchange.progress) {
    case Progress::unsent: return Failure{Errc::unavailable, "postgres: the connection is lost"};
    case Progress::too_late:
        return Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to postgres"};
    case Progress::late:
        if (access == Access::commit)
            return Failure::unknown(Errc::deadline_exceeded, "postgres: no answer by the deadline");
        return Failure{Errc::deadline_exceeded, "postgres: no answer by the deadline"};
    case Progress::unexpected: {
        std::string copies = "postgres: COPY FROM STDIN and COPY TO STDOUT are not supported";
        // What stood before the COPY may be committed with it by the end of the batch.
        if (access == Access::commit)
            return Failure::unknown(Errc::invalid_argument, std::move(copies));
        return Failure{Errc::invalid_argument, std::move(copies)};
    }
    case Progress::answered:
    case Progress::lost: break;
    }
    if (exchange.unconfirmed && !exchange.error)
        return Failure::unknown(
            Errc::unavailable, "postgres: committed here, but a synchronous standby has not confirmed it");
    return failure_of(exchange.error.value_or(SqlError{}), access);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ERROR_IPP
