// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP

// What became of a batch that was not answered as it should be.

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>
#include <interlock/core/outcome.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What a batch does, and so what a lost answer to it means.
enum class Access : unsigned char {
    read,   ///< changes nothing
    write,  ///< changes something inside of a transaction that stays open: without its COMMIT nothing was applied
    commit, ///< commits: a lost answer is `outcome_unknown`
};

/// For people. Never values: the server's messages quote them, so they are shown only of states that are about the schema.
inline std::string describe(SqlError const& error)
{
    std::string out = "postgres: ";
    if (!error.constraint.empty())
        return out + "constraint " + error.constraint;
    out += rule_of(error.state).name;
    if (!error.state.empty())
        out += " (" + error.state + ")";
    for (std::string_view shown : {"42", "0A", "26", "3D", "3F", "P0", "55000"})
        if (error.state.starts_with(shown)) {
            out += ": ";
            for (char c : std::string_view{error.message}.substr(0, 200))
                out += static_cast<unsigned char>(c) < ' ' ? '?' : c;
            break;
        }
    return out;
}

inline Failure failure_of(SqlError const& error, Access access)
{
    auto const& rule = rule_of(error.state);
    if (access == Access::commit && rule.certain == Certain::no)
        return Failure::unknown(rule.errc, describe(error));
    return Failure{rule.errc, describe(error)};
}

/// Precondition: it was not answered, or with an error.
inline Failure failure_of(Exchange const& exchange, Access access)
{
    switch (exchange.progress) {
    case Progress::unsent: return Failure{Errc::unavailable, "postgres: the connection is lost"};
    case Progress::late:
        if (access == Access::commit)
            return Failure::unknown(Errc::deadline_exceeded, "postgres: no answer by the deadline");
        return Failure{Errc::deadline_exceeded, "postgres: no answer by the deadline"};
    case Progress::answered:
    case Progress::lost: break;
    }
    return failure_of(exchange.error.value_or(SqlError{}), access);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP
