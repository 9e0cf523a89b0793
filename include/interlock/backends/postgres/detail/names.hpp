// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_NAMES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_NAMES_HPP

/// @file
/// The names of tables, columns and sequences that a user gives: how they are read, and how they stand in a
/// statement.
///
/// A name of lower-case letters, digits and `_` is written as it is. Any other name is written as SQL writes
/// it, in double quotes, and taken as it stands there, since SQL folds capitals without quotes:
/// `"Order Lines"`, with `""` for a quote. In a statement every name is quoted, so that it may be a reserved
/// word, and so that the server never folds it to small letters.

#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/separate_compilation.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The name of a table or of a sequence.
struct SqlName {
    /// For messages and records: as short as it can be written. Two spellings of one name have one text.
    std::string text;
    /// For statements: every part is quoted.
    std::string quoted;
};

/// `name` in double quotes, as it stands in a statement.
std::string quoted_name(std::string_view name);
/// `text` as a constant of SQL, whatever `standard_conforming_strings` says.
std::string quoted_text(std::string_view text);
/// The name that a quoted identifier stands for; other names stay as they are.
std::string unquoted(std::string_view name);

/// Where what is in `table` is kept, for texts.
[[gnu::cold]] inline std::string place_of_table(std::string_view table)
{
    return std::string("postgres table \"").append(table) + '"';
}

/// The name of a table or of a sequence, perhaps with a schema and a dot in front. Throws `Error`
/// (`invalid_argument`), which says `option`, the name, and the character that cannot stand there.
SqlName table_name(std::string_view option, std::string_view written);
/// The names of a list with commas, without their quotes; likewise.
std::vector<std::string> names_of(std::string_view option, std::string_view written);
/// The one name that `written` is, without its quotes; likewise.
std::string name_of_column(std::string_view option, std::string_view written);
/// Throws likewise unless a column can have this very name, which is not written in quotes.
void check_name(std::string_view option, std::string_view name);

/// What is wrong with `Options::schema`; null: nothing.
char const* wrong_schema(std::string const& schema);
/// What the names of the library's tables begin with, as it stands in statements: the name space, behind its
/// schema if one is named. Throws `Error` (`invalid_argument`) for a schema that is none.
std::string tables_of(std::string_view name_space, std::string_view schema);
/// The name space in such a beginning.
std::string_view name_space_of(std::string_view tables) noexcept;

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/names.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_NAMES_HPP
