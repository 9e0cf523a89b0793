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
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

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
    /// . / :`. With a colon, all that stands up to the last one is a prefix: the names of `shop:states`, of
    /// keys and channels alike, begin with `shop:`, and a user with `~shop:* &shop:*` may have them.
    std::string name_space{"interlock"};
    /// What all names of this client begin with, whatever name space a repository has: `shop:`, say, where a
    /// team may use only names that begin so. At most 64 printable characters without braces, which choose
    /// the slot, and without `* ? [ ] \`. A client that has another prefix finds other data.
    std::string prefix{};
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
    /// Told of connections that are opened or lost, and of blocking callers that take one
    /// (`Observer::on_connection`, `on_pool_wait`). It must outlive all handles of the client. Null: nobody
    /// is told.
    Observer* observer{nullptr};

    /// The options in a URL of one of these forms:
    ///
    ///     redis://[[user]:password@]host[:port][/database][?name_space=...&prefix=...]
    ///     rediss://...                                       (the same, with TLS)
    ///     unix://[[user]:password@]/path/of/socket[?db=0&name_space=...]
    ///
    /// User, password, path and values are percent-decoded; an IPv6 address stands in brackets. With
    /// `rediss:` the members of `TlsOptions` are parameters, too; where the URL is silent, they are as in
    /// `tls`. A URL that cannot be used, or says a parameter twice, is `invalid_argument`; the text names
    /// what is wrong and never quotes what may hold a password.
    static Outcome<Options> parse(std::string_view url, TlsOptions tls = {});

    /// Success, or `invalid_argument` with a text that names the member which is out of range.
    Outcome<void> validate() const;

    /// Host and port, or the path of the socket, for messages. Without user and password.
    std::string endpoint() const { return Endpoint{host, port, unix_path}.text(); }
};

namespace detail {

/// What is wrong with a name space, or with a prefix, in words; nothing where it may be so.
std::optional<std::string> wrong_name_space(std::string_view name);
std::optional<std::string> wrong_prefix(std::string_view prefix);
/// What a call says when the options want TLS and nobody has brought TLS along; nothing where that is not so.
std::optional<Failure> missing_tls(Options const& options);
/// Tells the observer of the options. Not to be called under a mutex.
inline void observe_connection(Options const& options, ConnectionEvent::Kind kind, Errc result) noexcept
{
    if (options.observer != nullptr)
        options.observer->on_connection({kind, {"redis", options.name_space, "redis"}, result});
}

}  // namespace detail

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/options.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_OPTIONS_HPP
