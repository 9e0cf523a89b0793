// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_VERSION_COLUMN_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_VERSION_COLUMN_HPP

/// @file
/// What the column of the version is, and so how versions are read, compared and made.

#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/detail/table_facts.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Sets the members of `table` that the version's column decides (`Table::seen_version`, `next_version`,
/// `first_version`, `may_stand`). `misconfigured` when there is no such column, or no write is sure to move
/// it; the detail names it.
///
/// - An integer: it is counted up, or drawn from a sequence. 0 and NULL are `uncounted_version`.
/// - `xmin`, the system column: the transaction that has written the row. The server sets it.
/// - A time stamp: microseconds since the year 1. The next version is the server's clock, or one unit of the
///   column behind the former version if the clock is not further.
Outcome<void> fit_version(Table& table, TableFacts const& facts);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/version_column.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_VERSION_COLUMN_HPP
