// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQL_WORDS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQL_WORDS_HPP

/// @file
/// Texts of SQL with holes in them.
///
///     SqlWords words;
///     words.set("ns", "orders");
///     words.line("DELETE FROM {ns}_lock WHERE key = $1");  // DELETE FROM orders_lock WHERE key = $1

#include <interlock/separate_compilation.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Adds `parts` to `text`, one behind the other. It is out of line, as are all of the following: each unit
/// that uses the library header-only compiles the places that make texts.
void append(std::string& text, std::initializer_list<std::string_view> parts);
/// One text of several.
std::string joined_text(std::initializer_list<std::string_view> parts);

/// What stands for `{name}` in a text of SQL: names of tables, parameters, parts of the statement. Never a
/// value of a user's.
class SqlWords {
public:
    /// `name` must outlive the object: a literal. A word that is set again is replaced.
    void set(std::string_view name, std::string value);
    /// `text` with each `{name}` replaced by its word.
    std::string text(std::string_view text) const;
    /// The same in one line: each line break, with the blanks behind it, becomes one blank.
    std::string line(std::string_view text) const;

private:
    std::string filled(std::string_view text, bool in_one_line) const;

    std::vector<std::pair<std::string_view, std::string>> words_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/sql_words.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SQL_WORDS_HPP
