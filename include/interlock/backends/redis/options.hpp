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
#include <interlock/core/outcome.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {
class TlsContext;
}

/// Whether the server must prove who it is.
enum class TlsVerification : unsigned char {
    /// By a certificate that is trusted, valid now, and for the host's name or address.
    full,
    /// Not at all: whoever sits between us and the server may read and change everything, the password first. For tests.
    dangerously_disabled,
};

/// Whom to trust over TLS, and who we are. In a `rediss:` URL as parameters of the same names. All files are PEM.
struct TlsOptions {
    /// Certificates of those who may sign the server's. Empty, with `ca_path`: those that the system trusts.
    std::string ca_file{};
    /// A directory of such, prepared by `openssl rehash`. With `ca_file`: both count.
    std::string ca_path{};
    /// Our certificate, with those between it and its signer, for a server that demands one; and its key, which has no
    /// passphrase.
    std::string certificate_file{};
    std::string private_key_file{};
    /// For whom the server's certificate must be, when that is not `Options::host`: behind a tunnel, say.
    std::string server_name{};
    TlsVerification verification{TlsVerification::full};
};

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
    std::shared_ptr<detail::TlsContext const> tls_context{};
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
    std::string endpoint() const
    {
        if (!unix_path.empty())
            return "unix:" + unix_path;
        return (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + std::to_string(port);
    }
};

namespace detail {

inline bool valid_name_space(std::string_view name) noexcept
{
    if (name.empty() || name.size() > 64)
        return false;
    for (char c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
              c == '.' || c == '/'))
            return false;  // above all no braces, which choose the slot, and nothing that a pattern would expand
    return true;
}

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

template <class Number>
bool parse_number(std::string_view text, Number least, Number most, Number& out) noexcept
{
    Number value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || end.ec != std::errc{} || end.ptr != text.data() + text.size() || value < least || value > most)
        return false;
    out = value;
    return true;
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

inline Failure bad_url(char const* what)
{
    return Failure{Errc::invalid_argument, std::string("redis URL: ") + what};
}

}  // namespace detail

inline Outcome<Options> Options::parse(std::string_view url, TlsOptions tls)
{
    using detail::bad_url;
    Options options;
    auto const scheme_end = url.find("://");
    if (scheme_end == std::string_view::npos)
        return bad_url("'://' is missing");
    auto const scheme = url.substr(0, scheme_end);
    bool const is_unix = scheme == "unix";
    options.tls_options = std::move(tls);
    options.tls = scheme == "rediss";
    if (!is_unix && !options.tls && scheme != "redis")
        return bad_url("the scheme must be redis, rediss or unix");
    auto rest = url.substr(scheme_end + 3);
    if (url.find('\0') != std::string_view::npos)
        return bad_url("it contains a NUL");
    if (rest.find('#') != std::string_view::npos)
        return bad_url("a '#' must be written %23");

    std::string_view query;
    if (auto const mark = rest.find('?'); mark != std::string_view::npos) {
        query = rest.substr(mark + 1);
        rest = rest.substr(0, mark);
    }
    auto const path_start = rest.find('/');
    auto authority = rest.substr(0, path_start);
    auto const path = path_start == std::string_view::npos ? std::string_view{} : rest.substr(path_start);
    if (auto const at = authority.rfind('@'); at != std::string_view::npos) {
        auto const who = authority.substr(0, at);
        authority = authority.substr(at + 1);
        auto const colon = who.find(':');
        if (!detail::percent_decode(who.substr(0, colon), options.user))
            return bad_url("the user has a malformed percent escape");
        if (colon == std::string_view::npos)
            return bad_url("there is a user without a password; write user:password@");
        if (!detail::percent_decode(who.substr(colon + 1), options.password))
            return bad_url("the password has a malformed percent escape");
        if (options.password.empty())
            return bad_url("the password is empty");
    }

    if (is_unix) {
        if (!authority.empty())
            return bad_url("a unix socket needs an absolute path: unix:///path/of/socket");
        if (path.size() < 2)
            return bad_url("the path of the unix socket is missing");
        if (!detail::percent_decode(path, options.unix_path))
            return bad_url("the path has a malformed percent escape");
        if (options.unix_path.find('\0') != std::string::npos)
            return bad_url("the path contains a NUL");
    } else {
        std::string_view port;
        bool has_port = false;
        std::string_view host = authority;
        if (authority.starts_with('[')) {
            auto const close = authority.find(']');
            if (close == std::string_view::npos)
                return bad_url("the address has no closing ']'");
            host = authority.substr(1, close - 1);
            auto const behind = authority.substr(close + 1);
            if (!behind.empty() && behind.front() != ':')
                return bad_url("there is something between ']' and the port");
            has_port = !behind.empty();
            port = has_port ? behind.substr(1) : std::string_view{};
        } else if (auto const colon = authority.find(':'); colon != std::string_view::npos) {
            host = authority.substr(0, colon);
            port = authority.substr(colon + 1);
            has_port = true;
        }
        if (host.empty())
            return bad_url("the host is missing");
        if (!detail::percent_decode(host, options.host) || options.host.find('\0') != std::string::npos)
            return bad_url("the host has a malformed percent escape");
        // The port is not quoted: with an '@' forgotten it would be the password.
        if (has_port && !detail::parse_number<std::uint16_t>(port, 1, 65535, options.port))
            return bad_url("the port must be a number from 1 to 65535");
        if (path.size() > 1 && !detail::parse_number(path.substr(1), 0, 1'000'000, options.database))
            return bad_url("what follows the host must be the number of a database");
    }

    while (!query.empty()) {
        auto const end = query.find('&');
        auto const pair = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
        auto const equals = pair.find('=');
        auto const name = pair.substr(0, equals);
        std::string value;
        if (equals == std::string_view::npos || !detail::percent_decode(pair.substr(equals + 1), value))
            return bad_url("a parameter has no value, or a malformed percent escape");
        if (name == "db") {
            if (!detail::parse_number(std::string_view{value}, 0, 1'000'000, options.database))
                return bad_url("db must be the number of a database");
        } else if (name == "name_space") {
            options.name_space = std::move(value);
        } else if (name == "client_name") {
            options.client_name = std::move(value);
        } else if (name == "max_connections") {
            if (!detail::parse_number<std::size_t>(value, 1, 65536, options.max_connections))
                return bad_url("max_connections must be a number from 1 to 65536");
        } else if (auto* const text = options.tls ? detail::tls_text(options.tls_options, name) : nullptr) {
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
                "unknown parameter; known are db, name_space, client_name, max_connections, and with rediss ca_file, "
                "ca_path, certificate_file, private_key_file, server_name, verification");
        }
    }
    if (auto valid = options.validate(); !valid)
        return std::move(valid).failure();
    return options;
}

inline Outcome<void> Options::validate() const
{
    auto const wrong = [](char const* what) { return Failure{Errc::invalid_argument, std::string("redis options: ") + what}; };
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
