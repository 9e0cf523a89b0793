// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_TEXT_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_TEXT_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statement_text.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// `sql` behind white space, comments and empty statements.
INTERLOCK_DECL std::string_view behind_blanks(std::string_view sql)
{
    for (;;) {
        auto const at = sql.find_first_not_of(" \t\r\n\f\v(;");
        if (at == std::string_view::npos)
            return {};
        sql.remove_prefix(at);
        if (sql.starts_with("--")) {
            sql.remove_prefix(std::min(sql.find('\n'), sql.size()));
        } else if (sql.starts_with("/*")) {
            int depth = 0;
            std::size_t i = 0;
            do {
                if (sql.substr(i).starts_with("/*")) {
                    ++depth;
                    i += 2;
                } else if (sql.substr(i).starts_with("*/")) {
                    --depth;
                    i += 2;
                } else {
                    ++i;
                }
            } while (depth > 0 && i < sql.size());
            sql.remove_prefix(i);
        } else {
            return sql;
        }
    }
}

INTERLOCK_DECL std::string first_word(std::string_view sql)
{
    std::string word;
    for (char c : behind_blanks(sql)) {
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
        if (c < 'a' || c > 'z')
            break;
        word += c;
    }
    return word;
}

/// Whether `word` is one of `words`.
INTERLOCK_DECL bool is_any(std::string_view word, std::initializer_list<std::string_view> words) noexcept
{
    for (auto const& other : words)
        if (word == other)
            return true;
    return false;
}

INTERLOCK_DECL bool is_letter(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Where in `sql`, not before `from`, a word or a part of a name begins with `part`, which is in lower case.
INTERLOCK_DECL std::size_t find_word(
    std::string_view sql, std::string_view part, std::size_t from = 0) noexcept
{
    auto const equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
    for (auto at = sql.begin() + static_cast<std::ptrdiff_t>(from);; ++at) {
        at = std::search(at, sql.end(), part.begin(), part.end(), equal);
        if (at == sql.end())
            return std::string_view::npos;
        if (at == sql.begin() || !is_letter(at[-1]))
            return static_cast<std::size_t>(at - sql.begin());
    }
}

/// Takes one argument of a call, and the comma or parenthesis behind it, from the beginning of `sql`: a text
/// without a backslash, a parameter, or a word. What is left is empty when it is anything else.
INTERLOCK_DECL std::string take_argument(std::string_view& sql)
{
    auto const end_of = [&](std::size_t from, auto goes_on) {
        while (from < sql.size() && goes_on(sql[from]))
            ++from;
        return from;
    };
    auto const blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    auto const begin = end_of(0, blank);
    bool const text = begin < sql.size() && sql[begin] == '\'';
    auto const end =
        text ? end_of(begin + 1, [](char c) { return c != '\'' && c != '\\'; }) + 1
             : end_of(begin, [](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '$'; });
    auto const behind = end < sql.size() ? end_of(end, blank) : sql.size();
    std::string argument;
    bool const ends =
        behind < sql.size() && (sql[behind] == ',' || sql[behind] == ')') && (!text || sql[end - 1] == '\'');
    if (ends)
        argument = std::string(sql.substr(begin, end - begin)) + sql[behind];
    sql.remove_prefix(ends ? behind + 1 : sql.size());
    return argument;
}

/// Whether each `set_config` in `sql` is one for the transaction, as its last argument says in so many words:
/// `set_config('app.user', $1, true)`.
INTERLOCK_DECL bool sets_locally(std::string_view sql)
{
    constexpr std::string_view name = "set_config";
    for (std::size_t at = 0; (at = find_word(sql, name, at)) != std::string_view::npos; at += name.size()) {
        auto call = sql.substr(at + name.size());
        if (!call.starts_with('('))
            return false;
        call.remove_prefix(1);
        bool const names = take_argument(call).ends_with(',') && take_argument(call).ends_with(',');
        auto const last = take_argument(call);
        if (!names || !(last == "true)" || last == "TRUE)"))
            return false;
    }
    return true;
}

/// Whether SET makes something of the transaction only: SET LOCAL, SET CONSTRAINTS, SET TRANSACTION. `sql`
/// begins with the word SET. What follows such a word is a name; otherwise the word is a name itself
/// (`SET local.x = 1`).
INTERLOCK_DECL bool sets_for_transaction(std::string_view sql)
{
    auto const second = behind_blanks(sql.substr(3));
    auto const word = first_word(second);
    auto const rest = behind_blanks(second.substr(word.size()));
    return is_any(word, {"local", "constraints", "transaction"}) && !rest.empty() &&
           (is_letter(rest[0]) || rest[0] == '"' || rest[0] == '_');
}

INTERLOCK_DECL Leaves leaves_in_session(std::string_view sql, std::string_view word)
{
    if (is_any(word, {"select", "insert", "update", "delete", "merge", "with", "values", "table", "lock"})) {
        // A lock of the session is taken by a function whose name does not say `xact`, and SELECT INTO TEMP
        // makes a table that the session keeps.
        auto const none = std::string_view::npos;
        bool const kept =
            !sets_locally(sql) || find_word(sql, "advisory_lock") != none || find_word(sql, "temp") != none;
        return kept ? Leaves::undoable : Leaves::nothing;
    }
    if (word == "set")
        return sets_for_transaction(behind_blanks(sql)) ? Leaves::nothing : Leaves::undoable;
    if (is_any(
            word,
            {"reset", "show", "explain", "declare", "fetch", "move", "close", "listen", "unlisten", "notify",
             "create", "alter", "drop", "truncate", "comment", "grant", "revoke", "analyze", "refresh"}))
        return Leaves::undoable;
    return Leaves::unknown;
}

INTERLOCK_DECL std::optional<Failure> refusal_of(std::string_view sql, std::string_view word)
{
    if (sql.find('\0') != std::string_view::npos)
        return failed(Errc::invalid_argument, "postgres: a statement has a NUL");
    if (is_any(
            word,
            {"commit", "rollback", "abort", "end", "begin", "start", "savepoint", "release", "prepare"}))
        return failed(Errc::invalid_argument, "postgres: the transaction is not the operation's to end");
    return std::nullopt;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_TEXT_IPP
