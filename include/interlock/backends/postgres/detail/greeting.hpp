// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_GREETING_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_GREETING_HPP

/// @file
/// What is asked of a session, and set in it, before it is lent for the first time.

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/core/outcome.hpp>

#include <string>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Asks the server once for what must be known of it, and sets what the statements of this library build on.
/// `tables`: what the names of the library's tables begin with; where that has no schema, tables that are
/// hidden by others of the search path are `misconfigured`, and so are others than `library_schema` knows.
/// `until` is a time of sockets.
Outcome<void> greet(
    Connection& connection, Settings const& settings, std::string const& endpoint, std::string const& tables,
    LibrarySchema& library_schema, TimePoint until);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/greeting.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_GREETING_HPP
