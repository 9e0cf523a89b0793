// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_URL_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_URL_IPP

#include <interlock/core/kit/net/url.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL std::string fault_in_url(std::string_view text)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    auto const is_hex = [&](std::size_t i) {
        return i < text.size() && std::string_view{"0123456789ABCDEFabcdef"}.find(text[i]) != text.npos;
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const c = static_cast<unsigned char>(text[i]);
        auto const place = " at character " + std::to_string(i + 1);
        if (c < 0x20 || c == 0x7f) {
            std::string const escape{'%', digits[c / 16U], digits[c % 16U]};
            return "there is a control character (" + escape + ")" + place;
        }
        if (c == '%' && !(is_hex(i + 1) && is_hex(i + 2)))
            return "the '%'" + place +
                   " has no two hexadecimal digits behind it; a '%' itself is written %25";
    }
    return {};
}

INTERLOCK_DECL std::string quoted_parameter(std::string_view url, std::string_view name)
{
    auto const question = url.find('?');
    bool const plain = !name.empty() && name.size() <= 40 &&
                       name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_-0123456789") == name.npos;
    if (question == url.npos || url.find('@', question) != url.npos || !plain)
        return {};
    return std::string(" \"").append(name) + '"';
}

INTERLOCK_DECL bool percent_decode(std::string_view text, std::string& out)
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

}  // namespace detail

INTERLOCK_DECL Outcome<Url> Url::read(std::string_view text, char const* begins_failures)
{
    Url url;
    if (auto const fault = detail::fault_in_url(text); !fault.empty())
        return Failure{Errc::invalid_argument, begins_failures + fault};
    if (auto const mark = text.find('#'); mark != std::string_view::npos)
        return Failure{
            Errc::invalid_argument,
            begins_failures + ("the '#' at character " + std::to_string(mark + 1)) + " must be written %23"};
    if (char const* const wrong = url.split(text))
        return Failure{Errc::invalid_argument, std::string(begins_failures) + wrong};
    return url;
}

INTERLOCK_DECL Outcome<Url::Parameter> Url::next_parameter(char const* begins_failures)
{
    auto const end = query.find('&');
    auto const pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    auto const equals = pair.find('=');
    Parameter parameter{pair.substr(0, equals), {}};
    if (equals == std::string_view::npos || !detail::percent_decode(pair.substr(equals + 1), parameter.value))
        return Failure{
            Errc::invalid_argument,
            std::string(begins_failures) + "a parameter has no value, or a malformed percent escape"};
    return parameter;
}

INTERLOCK_DECL char const* Url::split(std::string_view text)
{
    auto const scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos)
        return "'://' is missing";
    scheme = text.substr(0, scheme_end);
    auto rest = text.substr(scheme_end + 3);
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

INTERLOCK_DECL char const* Url::split_user(std::string_view who)
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

INTERLOCK_DECL char const* Url::split_host(std::string_view authority)
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
    if (host.find(' ') != std::string::npos)
        return "the host has a blank";
    // The port is not quoted: with an '@' forgotten it would be the password.
    if (digits && !detail::parse_number<std::uint16_t>(*digits, 1, 65535, port.emplace()))
        return "the port must be a number from 1 to 65535; an IPv6 address stands in brackets; in a password "
               "'/' is written %2F, '?' %3F and '@' %40";
    return nullptr;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_URL_IPP
