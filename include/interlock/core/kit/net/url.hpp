// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_URL_HPP
#define INTERLOCK_CORE_KIT_NET_URL_HPP

/// @file
/// The parts of a URL that names a server. What the parts mean (a database, a name space) is each store's
/// business:
///
///     auto url = Url::read("redis://:secret@[::1]:6380/2?name_space=shop", "redis URL: ").value();
///     url.host;                                            // "::1"
///     url.port;                                            // 6380
///     while (!url.query.empty())
///         set_option(url.next_parameter("redis URL: ").value());  // {"name_space", "shop"}

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

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

/// What no URL may have, a control character or a '%' without two hexadecimal digits behind it: names the
/// character and its place, the first one being 1. Empty: there is none. Quotes nothing else of `text`, which
/// may hold a password.
std::string fault_in_url(std::string_view text);

/// ` "name"`, for a text about a parameter of `url`; empty where it may be a part of a password: a '?' in one
/// begins what looks like parameters, and then an '@' follows.
std::string quoted_parameter(std::string_view url, std::string_view name);

/// False when an escape is malformed.
bool percent_decode(std::string_view text, std::string& out);

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
    static Outcome<Url> read(std::string_view text, char const* begins_failures);

    /// `name=value`.
    struct Parameter {
        std::string_view name;
        std::string value;  // percent-decoded
    };

    /// The first parameter of `query`, which is the rest of them afterwards. Call it until `query` is empty.
    Outcome<Parameter> next_parameter(char const* begins_failures);

private:
    /// What is wrong; null: nothing.
    char const* split(std::string_view text);

    char const* split_user(std::string_view who);

    char const* split_host(std::string_view authority);
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/net/impl/url.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NET_URL_HPP
