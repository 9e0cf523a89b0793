// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SQL_WORDS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SQL_WORDS_IPP

#include <interlock/backends/postgres/detail/sql_words.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::noinline]] INTERLOCK_DECL void append(std::string& text, std::initializer_list<std::string_view> parts)
{
    for (auto const part : parts)
        text += part;
}

[[gnu::noinline]] INTERLOCK_DECL std::string joined_text(std::initializer_list<std::string_view> parts)
{
    std::string out;
    append(out, parts);
    return out;
}

[[gnu::noinline]] INTERLOCK_DECL void SqlWords::set(std::string_view name, std::string value)
{
    for (auto& [known, word] : words_)
        if (known == name) {
            word = std::move(value);
            return;
        }
    words_.emplace_back(name, std::move(value));
}

[[gnu::noinline]] INTERLOCK_DECL std::string SqlWords::text(std::string_view text) const
{
    return filled(text, false);
}

[[gnu::noinline]] INTERLOCK_DECL std::string SqlWords::line(std::string_view text) const
{
    return filled(text, true);
}

[[gnu::noinline]] INTERLOCK_DECL std::string SqlWords::filled(std::string_view text, bool in_one_line) const
{
    std::string out;
    out.reserve(2 * text.size());
    for (std::size_t at = 0; at < text.size();) {
        auto const special = std::min(text.find_first_of(in_one_line ? "{\n" : "{", at), text.size());
        out += text.substr(at, special - at);
        if (special == text.size())
            break;
        if (text[special] == '\n') {
            out += ' ';
            at = std::min(text.find_first_not_of(" \n", special), text.size());
            continue;
        }
        auto const end = text.find('}', special);
        auto const name = text.substr(special + 1, end - special - 1);
        for (auto const& [known, word] : words_)
            if (known == name)
                out += word;
        at = end + 1;
    }
    return out;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SQL_WORDS_IPP
