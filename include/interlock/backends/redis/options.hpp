// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_OPTIONS_HPP
#define INTERLOCK_BACKENDS_REDIS_OPTIONS_HPP

/// @file
/// Where a Redis server is, and how to talk to it.
///
///     interlock::redis::Options options{.host = "db.example.org", .password = secret, .name_space = "shop"};
///     options.max_connections = 32;
///     interlock::redis::Client const client{options};
///     // The same from a configuration:
///     auto const same = interlock::redis::Options::parse("redis://:secret@db.example.org?name_space=shop");

#include <interlock/core/backoff.hpp>
#include <interlock/core/kit/net/endpoint.hpp>
#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/core/kit/net/url.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

/// As the kit has them: `redis::TlsOptions{.ca_file = "ca.pem"}`. In a `rediss:` URL the members are
/// parameters of the same names.
using interlock::TlsOptions;
using interlock::TlsVerification;

/// How a `Client` or a `Connection` reaches its server, and the bounds it keeps (law P10).
struct Options {
    /// Name or address; not used when `unix_path` is set.
    std::string host{"localhost"};
    std::uint16_t port{6379};
    /// The path of a unix socket, in place of host and port.
    std::string unix_path{};
    /// The user of the server's ACL; empty: the server's default user.
    std::string user{};
    /// Empty: no AUTH is sent. The password never becomes part of an error or a log.
    std::string password{};
    /// The number of the database, for SELECT.
    int database{0};
    /// Whether to use TLS (`rediss`). That needs what `redis::with_tls` (`backends/redis/tls.hpp`) adds to
    /// the options; without it each call is `misconfigured`.
    bool tls{false};
    TlsOptions tls_options{};
    /// From `redis::with_tls`.
    std::shared_ptr<TlsContext const> tls_context{};
    /// Shown by CLIENT LIST. A server that refuses it is used all the same.
    std::string client_name{"interlock"};
    /// With this the physical keys of a repository begin, so repositories with different name spaces never
    /// meet. States of different types need different ones. A name space has 1 to 64 letters, digits and `_ -
    /// . /`.
    std::string name_space{"interlock"};
    /// Bounds one attempt to connect. The call's own deadline bounds all attempts together.
    std::chrono::nanoseconds connect_timeout{std::chrono::seconds{2}};
    /// How many connections there may be for blocking calls. A connection is opened when it is needed, and
    /// kept. A call occupies one for its round trip.
    std::size_t max_connections{16};
    /// How many callers may wait for a connection. The next one gets `overloaded`.
    std::size_t max_waiting{4096};
    /// How many bytes one reply may have. A larger one is read and dropped, and fails its own call
    /// (`corrupt_state`) and no other.
    std::size_t max_reply_bytes{std::size_t{64} << 20};

    // The following are for a `Connection`, which many commands share.

    /// How many commands may be written while their replies are still due. The commands behind them wait.
    std::size_t max_in_flight{16384};
    /// How many commands may wait to be written. The next one gets `overloaded`.
    std::size_t max_pending{65536};
    /// How many bytes those commands may have together. Beyond it a command gets `overloaded`.
    std::size_t max_pending_bytes{std::size_t{64} << 20};
    /// If the server sends nothing for so long while replies are due, it is given up and the connection is
    /// made anew. Choose it longer than the slowest command takes.
    std::chrono::nanoseconds reply_timeout{std::chrono::seconds{30}};
    /// The wait before each new attempt to connect, with full jitter. It grows until a command is answered.
    Backoff reconnect{
        .initial = std::chrono::milliseconds{10}, .cap = std::chrono::seconds{1}, .immediate = 1};

    /// The options in a URL of one of these forms:
    ///
    ///     redis://[[user]:password@]host[:port][/database][?name_space=...]
    ///     rediss://...                                       (the same, with TLS)
    ///     unix://[[user]:password@]/path/of/socket[?db=0&name_space=...]
    ///
    /// User, password, path and values are percent-decoded; an IPv6 address stands in brackets. With
    /// `rediss:` the members of `TlsOptions` are parameters, too; where the URL is silent, they are as in
    /// `tls`. A URL that cannot be used is `invalid_argument`; the text names what is wrong and never quotes
    /// what may hold a password.
    static Outcome<Options> parse(std::string_view url, TlsOptions tls = {});

    /// Success, or `invalid_argument` with a text that names the member which is out of range.
    Outcome<void> validate() const;

    /// Host and port, or the path of the socket, for messages. Without user and password.
    std::string endpoint() const { return Endpoint{host, port, unix_path}.text(); }
};

namespace detail {

using interlock::detail::parse_number;
using interlock::detail::percent_decode;

inline bool valid_name_space(std::string_view name) noexcept
{
    if (name.empty() || name.size() > 64)
        return false;
    for (char c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-' || c == '.' || c == '/'))
            return false;  // no braces, which choose the slot, and nothing that a pattern would expand
    return true;
}

/// What `rediss:` is told where nobody has brought TLS along.
inline std::optional<Failure> missing_tls(Options const& options)
{
    if (!options.tls || options.tls_context)
        return std::nullopt;
    return Failure{
        Errc::misconfigured,
        "redis: rediss: needs TLS; use redis::with_tls or redis::TlsBackend of "
        "backends/redis/tls.hpp (component redis_tls)"};
}

/// The member of this name, if it is a text.
inline std::string* tls_text(TlsOptions& options, std::string_view name) noexcept
{
    return name == "ca_file"            ? &options.ca_file
           : name == "ca_path"          ? &options.ca_path
           : name == "certificate_file" ? &options.certificate_file
           : name == "private_key_file" ? &options.private_key_file
           : name == "server_name"      ? &options.server_name
                                        : nullptr;
}

inline constexpr char const* begins_url_failures = "redis URL: ";

inline Failure bad_url(char const* what)
{
    return Failure{Errc::invalid_argument, std::string(begins_url_failures) + what};
}

}  // namespace detail

namespace detail {

/// Where the server is, once its URL was split.
inline Outcome<void> read_place(Url& url, Options& options)
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

inline Outcome<void> read_parameter(Url::Parameter parameter, Options& options)
{
    auto const name = parameter.name;
    auto& value = parameter.value;
    if (name == "db") {
        if (!parse_number(std::string_view{value}, 0, 1'000'000, options.database))
            return bad_url("db must be the number of a database");
    } else if (name == "name_space") {
        options.name_space = std::move(value);
    } else if (name == "client_name") {
        options.client_name = std::move(value);
    } else if (name == "max_connections") {
        if (!parse_number<std::size_t>(value, 1, 65536, options.max_connections))
            return bad_url("max_connections must be a number from 1 to 65536");
    } else if (auto* const text = options.tls ? tls_text(options.tls_options, name) : nullptr) {
        if (value.empty() || value.find('\0') != std::string::npos)
            return bad_url("a parameter of TLS is empty, or contains a NUL");
        *text = std::move(value);
    } else if (options.tls && name == "verification") {
        if (value != "full" && value != "dangerously_disabled")
            return bad_url("verification must be full or dangerously_disabled");
        options.tls_options.verification =
            value == "full" ? TlsVerification::full : TlsVerification::dangerously_disabled;
    } else {
        return bad_url(
            "unknown parameter; known are db, name_space, client_name, max_connections, and with rediss "
            "ca_file, "
            "ca_path, certificate_file, private_key_file, server_name, verification");
    }
    return success();
}

}  // namespace detail

inline Outcome<Options> Options::parse(std::string_view text, TlsOptions tls)
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
    while (!url.query.empty()) {
        auto parameter = url.next_parameter(detail::begins_url_failures);
        if (!parameter)
            return std::move(parameter).failure();
        if (auto known = detail::read_parameter(*std::move(parameter), options); !known)
            return std::move(known).failure();
    }
    if (auto valid = options.validate(); !valid)
        return std::move(valid).failure();
    return options;
}

inline Outcome<void> Options::validate() const
{
    auto const wrong = [](char const* what) {
        return Failure{Errc::invalid_argument, std::string("redis options: ") + what};
    };
    if (host.empty() && unix_path.empty())
        return wrong("host is empty");
    if (port == 0)
        return wrong("port is 0");
    if (database < 0)
        return wrong("database is negative");
    if (!user.empty() && password.empty())
        return wrong("there is a user without a password");
    if (!detail::valid_name_space(name_space))
        return wrong("name_space must be 1 to 64 letters, digits, '_', '-', '.' or '/'");
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

#endif  // INTERLOCK_BACKENDS_REDIS_OPTIONS_HPP
