// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_OPTIONS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_OPTIONS_HPP

/// @file
/// Where a PostgreSQL server is, and how to talk to it.
///
///     interlock::postgres::Options options{.url = "postgresql://shop@db.example/shop"};
///     options.name_space = "orders";
///     options.max_connections = 32;
///     interlock::postgres::Pool const pool{options};
///     // The same from a configuration:
///     auto const same = interlock::postgres::Options::parse(
///         "postgresql://shop@db.example/shop?name_space=orders");

#include <interlock/core/outcome.hpp>
#include <interlock/fwd.hpp>
#include <interlock/separate_compilation.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// How a `Pool` reaches its server, and the bounds that it keeps (law P10).
struct Options {
    /// `postgresql://[user[:password]@][host][:port][/database][?...]`, or `postgres://`, as libpq takes it,
    /// with libpq's settings behind the question mark. What the URL leaves out comes from libpq's environment
    /// (`PGHOST`, `PGPASSFILE` and so on). The URL never becomes part of an error or a log.
    ///
    /// The following hold unless the URL says otherwise. `sslmode` is `verify-full`, except for a unix socket
    /// or a host of this machine. TCP keepalives start after 10 s and give up after 9 s more. Of several
    /// hosts the one that accepts writes is taken.
    std::string url{"postgresql://"};
    /// What the tables of the library are called: `<name_space>_state`, `<name_space>_lock` and so on, on the
    /// search path of the role. Repositories with different name spaces never meet. A name space is a letter
    /// or `_`, and then up to 30 lower-case letters, digits and `_`.
    std::string name_space{"interlock"};
    /// The name that `pg_stat_activity` shows.
    std::string application_name{"interlock"};
    /// Bounds one attempt to connect. The call's own deadline bounds all attempts together.
    std::chrono::nanoseconds connect_timeout{std::chrono::seconds{5}};
    /// How long sent data may stay unacknowledged before the connection counts as broken.
    std::chrono::milliseconds tcp_user_timeout{std::chrono::seconds{10}};
    /// How many connections the pool may open for calls. A connection is opened when it is needed, and kept.
    /// A call occupies one for its round trip, an open transaction for as long as it is open, and a caller
    /// that waits for a locked row for as long as it waits. The server must allow that many, and one more for
    /// wake-ups.
    std::size_t max_connections{16};
    /// How many callers may wait for a connection. The next one gets `overloaded`.
    std::size_t max_waiting{4096};
    /// Told of connections that are opened or lost, and of callers that take one (`Observer::on_connection`,
    /// `on_pool_wait`). It must outlive all handles of the pool. Null: nobody is told.
    Observer* observer{nullptr};
    /// The schema that the tables of the library are in, as SQL writes the name; in a URL: `schema=...`. Name
    /// it where each tenant has tables of its own, or where the search path may change. Empty: the tables are
    /// found through the search path, and then no second schema of that path may have tables of these names.
    std::string schema{};

    /// The options in a URL. `name_space=...` and `schema=...` are this library's, all others libpq's. A URL
    /// that cannot be used, or says a parameter twice, is `invalid_argument`; the text names what is wrong
    /// and never quotes what may hold a password.
    static Outcome<Options> parse(std::string_view url);

    /// Success, or `invalid_argument` with a text that names the member which is out of range.
    Outcome<void> validate() const;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/options.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_OPTIONS_HPP
