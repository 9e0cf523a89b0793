// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_URL_HPP
#define INTERLOCK_CORE_KIT_NET_URL_HPP

/// @file
/// The parts of a URL that names a server. What the parts mean (a database, a name space) is each store's
/// business.

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// False when an escape is malformed.
inline bool percent_decode(std::string_view text, std::string& out)
{
    out.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        unsigned value = 0;
        if (i + 2 >= text.size())
            return false;
        auto const end = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
        if (end.ec != std::errc{} || end.ptr != text.data() + i + 3)
            return false;
        out += static_cast<char>(value);
        i += 2;
    }
    return true;
}

/// The whole of `text` is a decimal number from `least` to `most`; else false, and `out` stays as it was.
template <class Number>
bool parse_number(std::string_view text, Number least, Number most, Number& out) noexcept
{
    Number value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || end.ec != std::errc{} || end.ptr != text.data() + text.size() || value < least ||
        value > most)
        return false;
    out = value;
    return true;
}

}  // namespace detail

/// `scheme://[[user]:password@][host[:port]][/path][?name=value&...]`, taken apart.
///
/// **Outcome.** `read` and `next_parameter` fail with `invalid_argument`. Its detail says what is wrong,
/// begins with the words that the caller gives ("redis URL: ") and never quotes the text, which may hold a
/// password.
/// **Lifetimes.** `scheme`, `path` and `query` refer to the text that was read, which must outlive them.
class Url {
public:
    std::string_view scheme{};
    /// Percent-decoded, as `password` and `host`; an IPv6 address is without its brackets.
    std::string user{};
    std::string password{};
    std::string host{};
    std::optional<std::uint16_t> port{};
    /// As it stands in the URL, from its '/' on.
    std::string_view path{};
    /// What follows the '?', as it stands in the URL; `next_parameter` takes it apart.
    std::string_view query{};

    /// Takes `text` apart.
    static Outcome<Url> read(std::string_view text, char const* begins_failures)
    {
        Url url;
        if (char const* const wrong = url.split(text))
            return Failure{Errc::invalid_argument, std::string(begins_failures) + wrong};
        return url;
    }

    /// `name=value`.
    struct Parameter {
        std::string_view name;
        std::string value;  // percent-decoded
    };

    /// The first parameter of `query`, which is the rest of them afterwards. Call it until `query` is empty.
    Outcome<Parameter> next_parameter(char const* begins_failures)
    {
        auto const end = query.find('&');
        auto const pair = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
        auto const equals = pair.find('=');
        Parameter parameter{pair.substr(0, equals), {}};
        if (equals == std::string_view::npos ||
            !detail::percent_decode(pair.substr(equals + 1), parameter.value))
            return Failure{
                Errc::invalid_argument,
                std::string(begins_failures) + "a parameter has no value, or a malformed percent escape"};
        return parameter;
    }

private:
    /// What is wrong; null: nothing.
    char const* split(std::string_view text)
    {
        auto const scheme_end = text.find("://");
        if (scheme_end == std::string_view::npos)
            return "'://' is missing";
        scheme = text.substr(0, scheme_end);
        auto rest = text.substr(scheme_end + 3);
        if (text.find('\0') != std::string_view::npos)
            return "it contains a NUL";
        if (rest.find('#') != std::string_view::npos)
            return "a '#' must be written %23";
        if (auto const mark = rest.find('?'); mark != std::string_view::npos) {
            query = rest.substr(mark + 1);
            rest = rest.substr(0, mark);
        }
        auto const path_begin = rest.find('/');
        auto authority = rest.substr(0, path_begin);
        if (path_begin != std::string_view::npos)
            path = rest.substr(path_begin);
        if (auto const at = authority.rfind('@'); at != std::string_view::npos) {
            if (char const* const wrong = split_user(authority.substr(0, at)))
                return wrong;
            authority.remove_prefix(at + 1);
        }
        return split_host(authority);
    }

    char const* split_user(std::string_view who)
    {
        auto const colon = who.find(':');
        if (!detail::percent_decode(who.substr(0, colon), user))
            return "the user has a malformed percent escape";
        if (colon == std::string_view::npos)
            return "there is a user without a password; write user:password@";
        if (!detail::percent_decode(who.substr(colon + 1), password))
            return "the password has a malformed percent escape";
        return password.empty() ? "the password is empty" : nullptr;
    }

    char const* split_host(std::string_view authority)
    {
        auto name = authority;
        std::optional<std::string_view> digits;
        if (authority.starts_with('[')) {
            auto const close = authority.find(']');
            if (close == std::string_view::npos)
                return "the address has no closing ']'";
            name = authority.substr(1, close - 1);
            auto const behind = authority.substr(close + 1);
            if (!behind.empty() && behind.front() != ':')
                return "there is something between ']' and the port";
            if (!behind.empty())
                digits = behind.substr(1);
        } else if (auto const colon = authority.find(':'); colon != std::string_view::npos) {
            name = authority.substr(0, colon);
            digits = authority.substr(colon + 1);
        }
        if (!detail::percent_decode(name, host) || host.find('\0') != std::string::npos)
            return "the host has a malformed percent escape";
        // The port is not quoted: with an '@' forgotten it would be the password.
        if (digits && !detail::parse_number<std::uint16_t>(*digits, 1, 65535, port.emplace()))
            return "the port must be a number from 1 to 65535";
        return nullptr;
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_URL_HPP
