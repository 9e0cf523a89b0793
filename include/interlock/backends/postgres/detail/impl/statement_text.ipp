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

INTERLOCK_DECL std::string first_word(std::string_view sql)
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
            break;
        }
    }
    std::string word;
    for (char c : sql) {
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

INTERLOCK_DECL bool changes_session(std::string_view sql, std::string_view word)
{
    if (!is_any(word, {"select", "insert", "update", "delete", "merge", "with", "values", "table", "lock"}))
        return true;
    for (std::size_t i = 0; i < sql.size(); ++i)
        for (std::string_view call : {"set_config", "advisory_lock"}) {
            std::size_t n = 0;
            while (n < call.size() && i + n < sql.size() && (sql[i + n] | 0x20) == (call[n] | 0x20))
                ++n;
            if (n == call.size())
                return true;
        }
    return false;
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
