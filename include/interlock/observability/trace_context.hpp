// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_TRACE_CONTEXT_HPP
#define INTERLOCK_OBSERVABILITY_TRACE_CONTEXT_HPP

/// @file
/// A request comes with the headers `traceparent` and `tracestate`, which name the trace that it belongs to.
/// A program reads them, makes a child for its own work, and hands the child on: to the calls of the library
/// by `Cause::traceparent`, and to other servers as the same headers. Needs nothing but C++20.
///
///     auto const caller = interlock::TraceContext::parse(request["traceparent"]);
///     auto const mine = caller ? caller->child(random()) : interlock::TraceContext::root(random(), random(),
///                                                                                        random());
///     interlock::Cause const cause{"order-17", request_id, mine.traceparent()};
///     service.do_in_transaction("sku-1", take_one, {.cause = &cause, .name = "sell"});

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// What `traceparent` says: the W3C Trace Context, Level 2.
///
/// **Thread safety.** A value. **Cost.** Reading one allocates nothing.
struct TraceContext {
    std::array<std::uint8_t, 16> trace_id{};  ///< of the trace; never all zero
    std::array<std::uint8_t, 8> span_id{};    ///< of the caller's span; never all zero
    std::uint8_t flags{0};                    ///< `sampled_flag`, `random_flag`

    /// In `flags`: somebody records the trace.
    static constexpr std::uint8_t sampled_flag = 1;
    /// In `flags`: at least the last seven bytes of the trace id are random.
    static constexpr std::uint8_t random_flag = 2;
    /// How long a `traceparent` of version 00 is.
    static constexpr std::size_t size = 55;

    /// Whether somebody records the trace.
    bool sampled() const noexcept { return (flags & sampled_flag) != 0; }

    /// What the value of the header says. Nothing: it is damaged, and the request starts a new trace, as if
    /// there were no header. Spaces and tabs around the value are passed over. Of a version that is not known
    /// yet, the parts of version 00 are read, and of its flags only whether the trace is sampled.
    static constexpr std::optional<TraceContext> parse(std::string_view text) noexcept;

    /// The context of work that is done for this one: the same trace, another span. `bits`: random ones. Of
    /// the flags it has those that the standard names: who makes a context must leave all others at zero.
    constexpr TraceContext child(std::uint64_t bits) const noexcept
    {
        auto made = *this;
        made.flags &= sampled_flag | random_flag;
        put(made.span_id, 0, bits != 0 ? bits : 1);  // zero would say that there is no span
        return made;
    }
    /// A trace that begins here. The three arguments are random bits.
    static constexpr TraceContext root(
        std::uint64_t first, std::uint64_t second, std::uint64_t span, bool is_sampled = true) noexcept
    {
        TraceContext made;
        put(made.trace_id, 0, first);
        put(made.trace_id, 8, first != 0 || second != 0 ? second : 1);
        made.flags = static_cast<std::uint8_t>((is_sampled ? sampled_flag : 0U) | random_flag);
        return made.child(span);
    }

    /// The value of the header, of version 00.
    std::string traceparent() const
    {
        std::string text = "00-";
        append_hex(text, trace_id.data(), trace_id.size());
        text += '-';
        append_hex(text, span_id.data(), span_id.size());
        text += '-';
        append_hex(text, &flags, 1);
        return text;
    }
    /// The ids as other tools print them.
    std::string trace_id_text() const
    {
        std::string text;
        append_hex(text, trace_id.data(), trace_id.size());
        return text;
    }
    std::string span_id_text() const
    {
        std::string text;
        append_hex(text, span_id.data(), span_id.size());
        return text;
    }

    friend bool operator==(TraceContext const&, TraceContext const&) = default;

private:
    template <std::size_t N>
    static constexpr void put(std::array<std::uint8_t, N>& bytes, std::size_t at, std::uint64_t bits) noexcept
    {
        for (std::size_t i = 0; i < 8; ++i)
            bytes[at + i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
    }
    static void append_hex(std::string& text, std::uint8_t const* bytes, std::size_t count)
    {
        constexpr char digits[] = "0123456789abcdef";
        for (std::size_t i = 0; i < count; ++i) {
            text += digits[bytes[i] >> 4];
            text += digits[bytes[i] & 15];
        }
    }
};

namespace detail {

/// Lower case only, as the standard wants it; -1: no such digit.
constexpr int trace_digit(char c) noexcept
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Reads `count` bytes of two digits each. False: there is something else.
constexpr bool read_trace_bytes(std::string_view text, std::uint8_t* bytes, std::size_t count) noexcept
{
    for (std::size_t i = 0; i < count; ++i) {
        int const high = trace_digit(text[2 * i]);
        int const low = trace_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

constexpr std::string_view without_blanks_around(std::string_view text) noexcept
{
    auto const blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && blank(text.back()))
        text.remove_suffix(1);
    return text;
}

}  // namespace detail

constexpr std::optional<TraceContext> TraceContext::parse(std::string_view text) noexcept
{
    text = detail::without_blanks_around(text);
    if (text.size() < size || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return std::nullopt;
    std::uint8_t version = 0;
    TraceContext read;
    if (!detail::read_trace_bytes(text, &version, 1) || version == 0xff ||
        !detail::read_trace_bytes(text.substr(3), read.trace_id.data(), 16) ||
        !detail::read_trace_bytes(text.substr(36), read.span_id.data(), 8) ||
        !detail::read_trace_bytes(text.substr(53), &read.flags, 1))
        return std::nullopt;
    if (text.size() > size && (version == 0 || text[size] != '-'))
        return std::nullopt;
    auto const zero = [](std::uint8_t byte) { return byte == 0; };
    if (std::all_of(read.trace_id.begin(), read.trace_id.end(), zero) ||
        std::all_of(read.span_id.begin(), read.span_id.end(), zero))
        return std::nullopt;
    if (version != 0)
        read.flags &= sampled_flag;
    return read;
}

/// What `tracestate` says: what the systems that the trace has passed through remember of it, each under its
/// own key, the latest first.
///
/// **Thread safety.** As a `std::vector`.
class TraceState {
public:
    /// The most members that a list may have.
    static constexpr std::size_t max_members = 32;

    /// What the value of the header says; several headers of one request are joined by commas before.
    /// Nothing: it is damaged, or has too many members or one key twice. Then it is left out, and
    /// `traceparent` is handed on all the same.
    static std::optional<TraceState> parse(std::string_view text)
    {
        TraceState read;
        while (true) {
            auto const end = text.find(',');
            auto const member = detail::without_blanks_around(text.substr(0, end));
            if (!member.empty()) {  // an empty one is allowed, and says nothing
                auto const equals = member.find('=');
                if (equals == std::string_view::npos || !valid_key(member.substr(0, equals)) ||
                    !valid_value(member.substr(equals + 1)) || read.find(member.substr(0, equals)) ||
                    read.members_.size() == max_members)
                    return std::nullopt;
                read.members_.emplace_back(member.substr(0, equals), member.substr(equals + 1));
            }
            if (end == std::string_view::npos)
                return read;
            text.remove_prefix(end + 1);
        }
    }

    /// What is remembered under `key`; nothing: nothing is.
    std::optional<std::string_view> find(std::string_view key) const noexcept
    {
        for (auto const& [name, value] : members_)
            if (name == key)
                return value;
        return std::nullopt;
    }

    /// Remembers `value` under `key`, in front of all others; of a full list the last member is forgotten.
    /// False, and nothing is changed: the key or the value is none.
    bool set(std::string_view key, std::string_view value)
    {
        if (!valid_key(key) || !valid_value(value))
            return false;
        std::pair<std::string, std::string> made{key, value};  // either may be a part of what is erased
        std::erase_if(members_, [&](auto const& member) { return member.first == made.first; });
        if (members_.size() == max_members)
            members_.pop_back();
        members_.insert(members_.begin(), std::move(made));
        return true;
    }

    /// Whether nothing is remembered.
    bool empty() const noexcept { return members_.empty(); }
    std::size_t size() const noexcept { return members_.size(); }

    /// The value of the header. Empty: there is to be no header.
    std::string text() const
    {
        std::string all;
        for (auto const& [key, value] : members_) {
            if (!all.empty())
                all += ',';
            all.append(key).append(1, '=').append(value);
        }
        return all;
    }

    friend bool operator==(TraceState const&, TraceState const&) = default;

private:
    static bool is_letter(char c) noexcept { return c >= 'a' && c <= 'z'; }
    static bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
    /// Begins with a letter or a digit. `tenant@system` is such a key, too: `@` is a letter among others
    /// since Level 2.
    static bool valid_key(std::string_view key) noexcept
    {
        return !key.empty() && key.size() <= 256 && (is_letter(key[0]) || is_digit(key[0])) &&
               std::all_of(key.begin(), key.end(), [](char c) {
                   return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '*' || c == '/' ||
                          c == '@';
               });
    }
    static bool valid_value(std::string_view value) noexcept
    {
        return !value.empty() && value.size() <= 256 && value.back() != ' ' &&
               std::all_of(value.begin(), value.end(), [](char c) {
                   return c >= ' ' && c <= '~' && c != ',' && c != '=';
               });
    }

    std::vector<std::pair<std::string, std::string>> members_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_TRACE_CONTEXT_HPP
