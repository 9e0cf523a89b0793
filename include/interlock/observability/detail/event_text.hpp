// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_DETAIL_EVENT_TEXT_HPP
#define INTERLOCK_OBSERVABILITY_DETAIL_EVENT_TEXT_HPP

/// @file
/// Texts as logs and timelines write them. A key is bytes that somebody else chose: nothing in it may end a
/// line, close a quotation or become a field.

#include <interlock/core/observer.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Appends `text` as the inside of a JSON string. A byte that is neither ASCII that can be printed nor part
/// of well formed UTF-8 becomes `\u00XX`: a reader sees which byte it was, and the line stays JSON. So do
/// the control characters from U+0080 to U+009F, one of which is an end of line and another one the begin of
/// a terminal's commands; U+2028 and U+2029, which end lines as well, become `\u2028` and `\u2029`.
inline void append_escaped(std::string& out, std::string_view text)
{
    constexpr char digits[] = "0123456789abcdef";
    auto const hex = [&](unsigned char byte) {
        out += "\\u00";
        out += digits[byte >> 4];
        out += digits[byte & 15];
    };
    auto const follows = [&](std::size_t at) {
        return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const byte = static_cast<unsigned char>(text[i]);
        auto const next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
        std::size_t more = 0;
        if (byte >= 0xc2 && byte <= 0xdf && follows(i + 1))
            more = 1;
        else if (
            byte >= 0xe0 && byte <= 0xef && follows(i + 1) && follows(i + 2) &&
            !(byte == 0xe0 && next < 0xa0) && !(byte == 0xed && next >= 0xa0))
            more = 2;
        else if (
            byte >= 0xf0 && byte <= 0xf4 && follows(i + 1) && follows(i + 2) && follows(i + 3) &&
            !(byte == 0xf0 && next < 0x90) && !(byte == 0xf4 && next >= 0x90))
            more = 3;
        if (byte == 0xc2 && more == 1 && next < 0xa0) {
            hex(static_cast<unsigned char>(next));
            i += more;
        } else if (auto const of = text.substr(i, 3); of == "\xe2\x80\xa8" || of == "\xe2\x80\xa9") {
            out += of.back() == '\xa8' ? "\\u2028" : "\\u2029";
            i += more;
        } else if (more > 0) {
            out.append(text.substr(i, more + 1));
            i += more;
        } else if (byte == '"' || byte == '\\') {
            (out += '\\') += text[i];
        } else if (byte < 0x20 || byte >= 0x7f) {
            hex(byte);
        } else {
            out += text[i];
        }
    }
}

/// One line of fields.
class FieldLine {
public:
    explicit FieldLine(bool json) : json_(json)
    {
        if (json_)
            line_ += '{';
    }

    void text(std::string_view name, std::string_view value)
    {
        begin(name);
        if (!json_ && is_plain(value)) {
            line_ += value;
            return;
        }
        line_ += '"';
        append_escaped(line_, value);
        line_ += '"';
    }
    /// Nothing is written when it is empty.
    void text_if_any(std::string_view name, std::string_view value)
    {
        if (!value.empty())
            text(name, value);
    }
    void number(std::string_view name, std::int64_t value)
    {
        begin(name);
        line_ += std::to_string(value);
    }
    void flag(std::string_view name, bool value)
    {
        begin(name);
        line_ += value ? "true" : "false";
    }
    /// The line, without an end of line.
    std::string const& finish()
    {
        if (json_)
            line_ += '}';
        return line_;
    }

private:
    void begin(std::string_view name)
    {
        if (line_.size() > (json_ ? 1U : 0U))
            line_ += json_ ? ',' : ' ';
        if (json_)
            (line_ += '"').append(name) += "\":";
        else
            line_.append(name) += '=';
    }
    static bool is_plain(std::string_view value) noexcept
    {
        for (char const c : value)
            if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
                return false;
        return !value.empty();
    }

    bool json_;
    std::string line_;
};

constexpr std::string_view word_of(IdempotencyEvent event) noexcept
{
    switch (event) {
    case IdempotencyEvent::executed: return "executed";
    case IdempotencyEvent::replayed: return "replayed";
    case IdempotencyEvent::in_progress: return "in_progress";
    case IdempotencyEvent::mismatch: return "mismatch";
    case IdempotencyEvent::taken_over: return "taken_over";
    case IdempotencyEvent::given_back: return "given_back";
    case IdempotencyEvent::lease_lost: return "lease_lost";
    }
    return "?";
}
constexpr std::string_view word_of(LostReason reason) noexcept
{
    switch (reason) {
    case LostReason::none: return "none";
    case LostReason::expired: return "expired";
    case LostReason::taken: return "taken";
    case LostReason::removed: return "removed";
    case LostReason::released: return "released";
    }
    return "?";
}
constexpr std::string_view word_of(Effect effect) noexcept
{
    switch (effect) {
    case Effect::not_applied: return "not_applied";
    case Effect::applied: return "applied";
    case Effect::unknown: return "unknown";
    }
    return "?";
}
constexpr std::string_view word_of(ConnectionEvent::Kind kind) noexcept
{
    switch (kind) {
    case ConnectionEvent::Kind::opened: return "opened";
    case ConnectionEvent::Kind::failed: return "failed";
    case ConnectionEvent::Kind::lost: return "lost";
    }
    return "?";
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_DETAIL_EVENT_TEXT_HPP
