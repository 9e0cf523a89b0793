// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_TEXT_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_TEXT_HPP

/// @file
/// What the text of a user's own statement tells: whether it would end the transaction, and whether it may
/// change the session.

#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The first word of a statement, in lower case, behind white space, comments and empty statements.
std::string first_word(std::string_view sql);

/// What a statement may leave in its session, beyond the transaction. The later of two is the worse one.
enum class Leaves : unsigned char {
    nothing,
    undoable,  ///< a setting, a lock, a temporary table: what `Connection::restore` takes back
    unknown,   ///< perhaps something that only the end of the session takes back
};

/// What the text alone tells, and the worse in case of doubt. `word`: the statement's `first_word`.
Leaves leaves_in_session(std::string_view sql, std::string_view word);

/// Why a user's statement may not be executed in the operation's transaction; nothing when it may. `word`:
/// its `first_word`.
std::optional<Failure> refusal_of(std::string_view sql, std::string_view word);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/statement_text.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_TEXT_HPP
