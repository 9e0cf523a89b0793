// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQLSTATE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQLSTATE_HPP

/// @file
/// What a SQLSTATE means: the one table of it. It decides by the state alone, never by the type of an
/// exception or by a text.

#include <interlock/core/errc.hpp>

#include <array>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Whether a state says that surely nothing was committed, also as the answer to a COMMIT.
enum class Certain : unsigned char { no, yes };

/// What one state, or all states of a class, mean.
struct SqlStateRule {
    std::string_view state;  ///< a state, or the first two characters of a class
    /// As what a call reports the state.
    Errc errc;
    Certain certain;
    /// The name of the state in PostgreSQL's documentation, for the text of a failure.
    std::string_view name;
};

/// The first match counts, so a state stands before its class.
///
/// An ERROR of a session that lives is always certain. A transaction that can no longer commit answers with
/// an ERROR, and a server reports none once its commit record is written. The uncertain rows are the states
/// with which a session ends, and the states which say themselves that they do not know.
inline constexpr std::array sqlstate_rules{
    SqlStateRule{"40001", Errc::serialization_failure, Certain::yes, "serialization_failure"},
    SqlStateRule{"40P01", Errc::deadlock, Certain::yes, "deadlock_detected"},
    SqlStateRule{
        "40002", Errc::constraint_violated, Certain::yes, "transaction_integrity_constraint_violation"},
    SqlStateRule{"40003", Errc::unavailable, Certain::no, "statement_completion_unknown"},
    SqlStateRule{"40", Errc::serialization_failure, Certain::yes, "transaction_rollback"},
    // A pooler's, for what it has no other state for.
    SqlStateRule{"08P01", Errc::unavailable, Certain::no, "protocol_violation"},
    SqlStateRule{"08", Errc::unavailable, Certain::no, "connection_exception"},  // 08007 among them
    SqlStateRule{"57P03", Errc::unavailable, Certain::yes, "cannot_connect_now"},
    SqlStateRule{"57P04", Errc::misconfigured, Certain::yes, "database_dropped"},
    SqlStateRule{"57P05", Errc::unavailable, Certain::yes, "idle_session_timeout"},
    SqlStateRule{"57014", Errc::deadline_exceeded, Certain::yes, "query_canceled"},
    SqlStateRule{"57", Errc::unavailable, Certain::no, "operator_intervention"},  // the session was ended
    SqlStateRule{"55P03", Errc::lock_busy, Certain::yes, "lock_not_available"},
    SqlStateRule{"55006", Errc::lock_busy, Certain::yes, "object_in_use"},
    SqlStateRule{"55", Errc::misconfigured, Certain::yes, "object_not_in_prerequisite_state"},
    SqlStateRule{"25006", Errc::unavailable, Certain::yes, "read_only_sql_transaction"},
    SqlStateRule{"25P03", Errc::deadline_exceeded, Certain::yes, "idle_in_transaction_session_timeout"},
    SqlStateRule{"25P04", Errc::deadline_exceeded, Certain::yes, "transaction_timeout"},
    SqlStateRule{
        "25", Errc::misconfigured, Certain::yes, "invalid_transaction_state"},  // 25P02: it had failed before
    SqlStateRule{"53300", Errc::overloaded, Certain::yes, "too_many_connections"},
    SqlStateRule{"53", Errc::overloaded, Certain::yes, "insufficient_resources"},
    SqlStateRule{"23", Errc::constraint_violated, Certain::yes, "integrity_constraint_violation"},
    SqlStateRule{"44", Errc::constraint_violated, Certain::yes, "with_check_option_violation"},
    SqlStateRule{"2200H", Errc::version_exhausted, Certain::yes, "sequence_generator_limit_exceeded"},
    SqlStateRule{"22", Errc::invalid_argument, Certain::yes, "data_exception"},
    SqlStateRule{"54", Errc::invalid_argument, Certain::yes, "program_limit_exceeded"},
    SqlStateRule{"XX001", Errc::corrupt_state, Certain::yes, "data_corrupted"},
    SqlStateRule{"XX002", Errc::corrupt_state, Certain::yes, "index_corrupted"},
    SqlStateRule{"58", Errc::unavailable, Certain::yes, "system_error"},
    // These are bugs, missing rights, and schemas that are not as they should be: trying again is pointless.
    SqlStateRule{"42P01", Errc::misconfigured, Certain::yes, "undefined_table"},
    SqlStateRule{"42", Errc::misconfigured, Certain::yes, "syntax_error_or_access_rule_violation"},
    SqlStateRule{"0A", Errc::misconfigured, Certain::yes, "feature_not_supported"},
    SqlStateRule{
        "26", Errc::misconfigured, Certain::yes, "invalid_sql_statement_name"},  // a pooler is in between
    SqlStateRule{"28P01", Errc::misconfigured, Certain::yes, "invalid_password"},
    SqlStateRule{"28", Errc::misconfigured, Certain::yes, "invalid_authorization_specification"},
    // A procedure of the user's that would end the transaction of its operation.
    SqlStateRule{"2D", Errc::misconfigured, Certain::yes, "invalid_transaction_termination"},
    SqlStateRule{"3D", Errc::misconfigured, Certain::yes, "invalid_catalog_name"},
    SqlStateRule{"3F", Errc::misconfigured, Certain::yes, "invalid_schema_name"},
    SqlStateRule{"P0", Errc::constraint_violated, Certain::yes, "raise_exception"},  // the user's own rule
    SqlStateRule{"XX", Errc::misconfigured, Certain::yes, "internal_error"},
};

/// The rule for a state that is in no row: it is not tried again.
inline constexpr SqlStateRule unknown_sqlstate{"", Errc::misconfigured, Certain::yes, "unknown"};
/// The rule for no state at all: the connection broke without a word.
inline constexpr SqlStateRule no_sqlstate{"", Errc::unavailable, Certain::no, "connection lost"};

/// The rule for `state`.
constexpr SqlStateRule const& rule_of(std::string_view state) noexcept
{
    if (state.empty())
        return no_sqlstate;
    for (auto const& rule : sqlstate_rules)
        if (state.starts_with(rule.state))
            return rule;
    return unknown_sqlstate;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQLSTATE_HPP
