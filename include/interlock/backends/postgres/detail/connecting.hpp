// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTING_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTING_HPP

/// @file
/// The way to a connected session of libpq, and why there is none.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <memory>
#include <string>
#include <string_view>

// `PGconn` of libpq-fe.h.
struct pg_conn;

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Ends a connection of libpq.
struct CloseConnection {
    void operator()(pg_conn* connection) const noexcept;
};
using RawConnection = std::unique_ptr<pg_conn, CloseConnection>;

/// Connects, at most until `until`, a time of sockets: looking names up included. Of several hosts, and of
/// several addresses of a host, each has an equal share of the time that is left, so that one that does not
/// answer hides no other. The failure tells whether trying again can help.
Outcome<RawConnection> connect_by(Settings const& settings, std::string const& endpoint, TimePoint until);

/// The SQLSTATE with which a server refused a connection, out of the text that libpq has of it when it was
/// told to write states and nothing else (`PQERRORS_SQLSTATE`). Empty: the last line is none of a server.
///
/// libpq has no other way to tell the state of a refusal. The words before the state are translated by the
/// server; they are not looked at.
std::string_view state_of_refusal(std::string_view said) noexcept;

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/connecting.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_CONNECTING_HPP
