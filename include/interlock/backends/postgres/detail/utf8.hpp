// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_UTF8_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_UTF8_HPP

/// @file
/// Which bytes a PostgreSQL server takes for a text.

#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The length of the UTF-8 sequence at the front of `text`, which is not empty; 0: there is none.
std::size_t sequence_length(std::string_view text) noexcept;
/// Whether `text` is UTF-8 that the server takes: no NUL, no surrogates, no form that is too long.
bool is_utf8(std::string_view text) noexcept;

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/utf8.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_UTF8_HPP
