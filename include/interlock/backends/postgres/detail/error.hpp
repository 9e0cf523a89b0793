// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP

/// @file
/// What a batch that was not answered as it should be means for its caller.

#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <initializer_list>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A failure whose detail is `parts`, one behind the other. It is out of line, and so are its strings: every
/// unit that uses the library header-only compiles the places where calls fail.
[[gnu::cold]] Failure failed(Errc code, std::initializer_list<std::string_view> parts);
[[gnu::cold]] Failure failed(Errc code, char const* detail);
/// The same, thrown as `Error` (`invalid_argument`).
[[noreturn, gnu::cold]] void throw_invalid(std::initializer_list<std::string_view> parts);

/// What the server's error means. Only as the answer to a commit, and only for a state that is not certain,
/// is the outcome unknown.
Failure failure_of(SqlError const& error, Access access);

/// Whether `state` is one by which the server refuses a plan that was made before the schema changed. A plan
/// that a function keeps is refused by these as well, and other sessions may have it, too.
bool is_of_kept_plan(std::string_view state) noexcept;

/// Whether the session's prepared plans are too old for the schema: a column has got another type, or a name
/// means another object.
bool is_of_old_plan(SqlError const& error) noexcept;

/// What the end of an exchange means. Precondition: the exchange was not answered, or was answered with an
/// error, or is unconfirmed.
Failure failure_of(Exchange const& exchange, Access access);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/error.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_ERROR_HPP
