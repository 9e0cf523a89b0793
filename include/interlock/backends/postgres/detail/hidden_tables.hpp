// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_HIDDEN_TABLES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_HIDDEN_TABLES_HPP

/// @file
/// Tables without a schema in their name are found through the search path, and made in its first schema. A
/// schema that comes into that path, or a role with another path, would give a program new, empty tables, and
/// all locks, answers and keys of before would be forgotten without a word. Here such tables are noticed.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/core/outcome.hpp>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The names of the library's tables and sequences in one name space, without a schema and without quotes.
std::vector<std::string> names_of_tables(std::string_view name_space);

/// An expression of SQL: null; or the name that several schemas of the search path have, with those schemas,
/// for people. `names`: without quotes.
std::string hidden_words(std::vector<std::string> const& names);
/// What a call ends with that has got such a text.
Failure hidden_tables(std::string_view seen, std::string_view what_to_say);

/// An expression of SQL, for `LibrarySchema`: null; or which tables a name space has by the search path of
/// the session.
std::string library_schema_words(std::string_view name_space);

/// An expression that leaves only those schemas on the search path that are there now, if the tables of the
/// library are found by it, so that no tables of a schema which is made later take their place. Its answer,
/// if it did so, is what `keep_path_statement` needs to do it again.
std::string kept_path_words(std::string_view name_space);
std::string keep_path_statement(std::string_view kept);

/// Where a pool has found the library's tables. The search path of a role may change while some sessions have
/// the former one. Two sessions of one pool would then each have locks and answers of their own.
class LibrarySchema {
public:
    /// Success, unless `found`, an answer of `library_schema_words`, names others than were found first.
    /// Tables that were made anew in the same schema, and tables whose schema has got another name, are taken
    /// for the same. From any thread.
    Outcome<void> stays(std::string_view found);

private:
    std::mutex mutex_;  // guards what follows
    std::string known_;
};

/// A statement that stands among those that make tables, and runs `body`, which has no `;` before a line
/// break. Where that raises an error with the state `{state}`, the making of the tables is refused in its
/// words.
std::string guard_statement(SqlWords& words, std::string_view body);

/// A statement that stands before those that make tables of these names. It raises an error where they would
/// take the place of tables that are there: in another schema of the search path; or in any schema whose
/// tables the role may use, where none of the tables is in the first one yet, and the search path was not
/// said by the client itself.
std::string guard_text(std::vector<std::string> const& names, std::string_view what_to_say);

/// The statements of `text`, each of which has `;` and a line break behind it. Callers of one number take
/// turns.
Batch creation_of(std::string const& text, std::uint64_t turns);
/// What became of them, such a guard among them.
Outcome<void> tables_made(Outcome<Exchange> exchange);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/hidden_tables.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_HIDDEN_TABLES_HPP
