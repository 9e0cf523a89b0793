// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_TLS_HPP
#define INTERLOCK_BACKENDS_REDIS_TLS_HPP

/// @file
/// Redis over TLS. This header is a component of its own, `interlock::redis_tls`: a program that does not
/// include it links no OpenSSL, and is told by each call to a `rediss:` server that TLS is missing.
///
///     auto const options = interlock::redis::with_tls("rediss://db.example.org:6380");
///     interlock::redis::Client const client{options};
///     // With a certificate authority of your own:
///     interlock::redis::Client const other{interlock::redis::with_tls({
///         .host = "db.example.org", .tls_options = {.ca_file = "/etc/shop/ca.pem"}})};

#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/kit/net/openssl.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_repository.hpp>

#include <concepts>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {

/// The same options for a connection through TLS (1.2 or newer), as `Options::tls_options` says. `tls` is
/// set, whatever it was. The options are for a `Client`, with its wake-ups, and for a `Connection`.
///
/// **Guarantee.** Unless `TlsVerification` says otherwise, no byte of a command, no user name and no password
/// is sent before the server has proved with a trusted certificate that it is the one that was named: as
/// `TlsOptions::server_name`, or else as `host`, by name, or by address where `host` is an address. Names are
/// also sent (SNI).
/// **Outcome.** Whatever goes wrong before the server has let the client in is "not applied".
/// - `misconfigured`, with what is wrong in its detail: the certificate is not trusted, expired, or for
///   somebody else; the server demands a client certificate, or refuses ours; the server answers something
///   else than TLS.
/// - `unavailable`: the handshake was not finished within `connect_timeout` or the call's deadline (a server
///   that does not speak TLS may just say nothing), or the connection was lost.
/// - Later, a session that breaks or ends in the middle of anything, with or without a farewell, is a lost
///   connection like any other: `outcome_unknown` for a write that may have left.
///
/// **Does not guarantee.** Revocation of certificates: no list is asked for. Files that change later are not
/// read again: make new options, and a new client.
/// **Throws** `Error`: `invalid_argument` for options out of range, `misconfigured` with the file's name for
/// a file that is of no use.
/// **Thread safety.** Several threads may call it at once. The options may be copied and used anywhere.
/// **Cost.** Reads the files; no trip. A connection costs two round trips more, or one with TLS 1.3, and
/// about 50 kB while it is in use.
inline Options with_tls(Options options)
{
    options.tls = true;
    options.validate().value();
    options.tls_context = make_tls_context(options.tls_options, "redis").value();
    return options;
}
/// With `Options::parse(url)`. A URL that begins with `redis:` is used with TLS all the same.
inline Options with_tls(std::string_view url)
{
    return with_tls(Options::parse(url).value());
}
inline Options with_tls(char const* url)
{
    return with_tls(std::string_view{url});
}

/// For `open<T>("rediss://db.example.org", redis::TlsBackend{})`, in place of `tls_backend`. What the URL
/// says about certificates (`ca_file` and so on) goes before what is given here.
struct TlsBackend {
    TlsOptions options{};
    std::string_view scheme{"rediss"};

    /// As that of `redis::backend`, over TLS.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        return Backend::open_client<T>(client(url));
    }
    /// As that of `redis::backend`, over TLS.
    template <class T, class Events = EventRepository, std::same_as<AnyEventRepository> Any>
    interlock::StateRepository<T> open(std::string_view url, Any const& events) const
    {
        return Backend::open_client<T, Events>(client(url), events);
    }
    /// Likewise.
    template <class Events = EventRepository>
    auto open_events(std::string_view url) const
    {
        detail::check_that_events_are_included<Events>();
        return Events{client(url)};
    }
    AnyIdempotencyStore open_idempotency_store(std::string_view url) const
    {
        return IdempotencyStore{client(url)};
    }

private:
    Client client(std::string_view url) const
    {
        return Client{with_tls(Options::parse(url, options).value())};
    }
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_TLS_HPP
