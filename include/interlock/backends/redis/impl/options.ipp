// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_OPTIONS_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_OPTIONS_IPP

#include <interlock/backends/redis/detail/number.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/kit/net/url.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {

using interlock::detail::percent_decode;

/// Whether a pattern would take `c` as itself, so that names that begin with it can be listed and granted.
[[gnu::cold]] INTERLOCK_DECL bool plain_in_patterns(char c) noexcept
{
    return c > ' ' && c <= '~' && std::string_view{"*?[]\\"}.find(c) == std::string_view::npos;
}

/// How a text shows `c`, of which nobody knows whether it can be printed.
[[gnu::cold]] INTERLOCK_DECL std::string shown(char c)
{
    constexpr char const* digits = "0123456789abcdef";
    auto const byte = static_cast<unsigned char>(c);
    if (c > ' ' && c <= '~')
        return {'\'', c, '\''};
    return c == ' ' ? "a space" : std::string{"the byte 0x"} + digits[byte >> 4U] + digits[byte & 15U];
}

[[gnu::cold]] INTERLOCK_DECL std::optional<std::string> wrong_name_space(std::string_view name)
{
    constexpr char const* rule = "name_space must be 1 to 64 letters, digits, '_', '-', '.', '/' or ':'";
    if (name.empty() || name.size() > 64)
        return std::string{rule} + ", and has " + std::to_string(name.size());
    for (char c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-' || c == '.' || c == '/' || c == ':'))
            return std::string{rule} + ", and has " + shown(c);
    return std::nullopt;
}

[[gnu::cold]] INTERLOCK_DECL std::optional<std::string> wrong_prefix(std::string_view prefix)
{
    if (prefix.size() > 64)
        return "prefix must be at most 64 characters, and has " + std::to_string(prefix.size());
    for (char c : prefix)
        if (c == '{' || c == '}')  // the first pair of braces chooses the slot, and must be our own
            return "prefix may have no braces, and has " + shown(c);
        else if (!plain_in_patterns(c))
            return "prefix may have printable characters that are none of * ? [ ] \\, and has " + shown(c);
    return std::nullopt;
}

/// What `rediss:` is told where nobody has brought TLS along.
[[gnu::cold]] INTERLOCK_DECL std::optional<Failure> missing_tls(Options const& options)
{
    if (!options.tls || options.tls_context)
        return std::nullopt;
    return Failure{
        Errc::misconfigured,
        "redis: rediss: needs TLS; use redis::with_tls or redis::TlsBackend of "
        "backends/redis/tls.hpp (component redis_tls)"};
}

/// The member of this name, if it is a text.
[[gnu::cold]] INTERLOCK_DECL std::string* tls_text(TlsOptions& options, std::string_view name) noexcept
{
    return name == "ca_file"            ? &options.ca_file
           : name == "ca_path"          ? &options.ca_path
           : name == "certificate_file" ? &options.certificate_file
           : name == "private_key_file" ? &options.private_key_file
           : name == "server_name"      ? &options.server_name
                                        : nullptr;
}

inline constexpr char const* begins_url_failures = "redis URL: ";

[[gnu::cold]] INTERLOCK_DECL Failure bad_url(char const* what)
{
    return Failure{Errc::invalid_argument, std::string(begins_url_failures) + what};
}

/// Where the server is, once its URL was split.
[[gnu::cold]] INTERLOCK_DECL Outcome<void> read_place(Url& url, Options& options)
{
    if (url.scheme == "unix") {
        if (!url.host.empty() || url.port)
            return bad_url("a unix socket needs an absolute path: unix:///path/of/socket");
        if (url.path.size() < 2)
            return bad_url("the path of the unix socket is missing");
        if (!percent_decode(url.path, options.unix_path))
            return bad_url("the path has a malformed percent escape");
        if (options.unix_path.find('\0') != std::string::npos)
            return bad_url("the path contains a NUL");
        return success();
    }
    if (url.host.empty())
        return bad_url("the host is missing");
    options.host = std::move(url.host);
    options.port = url.port.value_or(options.port);
    if (url.path.size() > 1 && !parse_number(url.path.substr(1), 0, 1'000'000, options.database))
        return bad_url("what follows the host must be the number of a database");
    return success();
}

[[gnu::cold]] INTERLOCK_DECL Outcome<void> read_parameter(
    std::string_view url, Url::Parameter parameter, Options& options)
{
    auto const name = parameter.name;
    auto& value = parameter.value;
    if (name == "db") {
        if (!parse_number(std::string_view{value}, 0, 1'000'000, options.database))
            return bad_url("db must be the number of a database");
    } else if (name == "name_space") {
        options.name_space = std::move(value);
    } else if (name == "prefix") {
        options.prefix = std::move(value);
    } else if (name == "client_name") {
        options.client_name = std::move(value);
    } else if (name == "max_connections") {
        if (!parse_number<std::size_t>(value, 1, 65536, options.max_connections))
            return bad_url("max_connections must be a number from 1 to 65536");
    } else if (auto* const text = options.tls ? tls_text(options.tls_options, name) : nullptr) {
        if (value.empty() || value.find('\0') != std::string::npos)
            return bad_url((std::string(name) + " is empty, or contains a NUL").c_str());
        *text = std::move(value);
    } else if (options.tls && name == "verification") {
        if (value != "full" && value != "dangerously_disabled")
            return bad_url("verification must be full or dangerously_disabled");
        options.tls_options.verification =
            value == "full" ? TlsVerification::full : TlsVerification::dangerously_disabled;
    } else {
        return bad_url(
            ("unknown parameter" + interlock::detail::quoted_parameter(url, name) +
             "; known are db, name_space, prefix, client_name, max_connections, and with "
             "rediss ca_file, ca_path, certificate_file, private_key_file, server_name, verification")
                .c_str());
    }
    return success();
}

}  // namespace detail

[[gnu::cold]] INTERLOCK_DECL Outcome<Options> Options::parse(std::string_view text, TlsOptions tls)
{
    auto read = Url::read(text, detail::begins_url_failures);
    if (!read)
        return std::move(read).failure();
    auto url = *std::move(read);
    Options options;
    options.tls_options = std::move(tls);
    options.tls = url.scheme == "rediss";
    if (url.scheme != "unix" && !options.tls && url.scheme != "redis")
        return detail::bad_url("the scheme must be redis, rediss or unix");
    options.user = std::move(url.user);
    options.password = std::move(url.password);
    if (auto place = detail::read_place(url, options); !place)
        return std::move(place).failure();
    std::vector<std::string_view> given;
    if (url.scheme != "unix" && url.path.size() > 1)
        given.emplace_back("db");
    while (!url.query.empty()) {
        auto parameter = url.next_parameter(detail::begins_url_failures);
        if (!parameter)
            return std::move(parameter).failure();
        auto const name = parameter->name;
        if (auto known = detail::read_parameter(text, *std::move(parameter), options); !known)
            return std::move(known).failure();
        // One of them would be passed over, and data found in another place than the one that was meant.
        if (std::find(given.begin(), given.end(), name) != given.end())
            return detail::bad_url((std::string(name) + " is said twice").c_str());
        given.push_back(name);
    }
    if (auto valid = options.validate(); !valid)
        return std::move(valid).failure();
    return options;
}

[[gnu::cold]] INTERLOCK_DECL Outcome<void> Options::validate() const
{
    constexpr std::size_t longest_unix_path = 107;  // sockaddr_un has 108, with a NUL at the end
    auto const wrong = [](char const* what) {
        return Failure{Errc::invalid_argument, std::string("redis options: ") + what};
    };
    if (host.empty() && unix_path.empty())
        return wrong("host is empty");
    if (host.find('\0') != std::string::npos || unix_path.find('\0') != std::string::npos)
        return wrong("host or unix_path contains a NUL");
    if (unix_path.size() > longest_unix_path)
        return wrong("unix_path is longer than the system's longest, 107 bytes");
    if (port == 0)
        return wrong("port is 0");
    if (database < 0)
        return wrong("database is negative");
    if (!user.empty() && password.empty())
        return wrong("there is a user without a password");
    if (auto const name = detail::wrong_name_space(name_space))
        return wrong(name->c_str());
    if (auto const name = detail::wrong_prefix(prefix))
        return wrong(name->c_str());
    if (tls && !unix_path.empty())
        return wrong("there is no TLS on a unix socket");
    if (tls_context && !tls)
        return wrong("tls_context is set and tls is not");
    if (tls_options.certificate_file.empty() != tls_options.private_key_file.empty())
        return wrong("certificate_file and private_key_file go together");
    for (char c : client_name)
        if (c < '!' || c > '~')
            return wrong("client_name may have printable characters without spaces only");
    if (connect_timeout.count() <= 0)
        return wrong("connect_timeout must be positive");
    if (max_connections == 0)
        return wrong("max_connections is 0");
    if (max_reply_bytes < (std::size_t{1} << 16))
        return wrong("max_reply_bytes is below 64 KiB");
    if (max_in_flight == 0)
        return wrong("max_in_flight is 0");
    if (max_pending == 0)
        return wrong("max_pending is 0");
    if (max_pending_bytes == 0)
        return wrong("max_pending_bytes is 0");
    if (reply_timeout.count() <= 0)
        return wrong("reply_timeout must be positive");
    if (!reconnect.valid())
        return wrong("reconnect is out of range");
    return success();
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_OPTIONS_IPP
