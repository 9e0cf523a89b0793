// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CHANGES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CHANGES_HPP

/// @file
/// What a table makes of the changes of a commit, and what their replies mean: those members of `TableCore`
/// whose bodies would make its own file too long.

#include <interlock/backends/postgres/detail/table_core.hpp>
#include <interlock/backends/postgres/detail/table_events.hpp>
#include <interlock/backends/postgres/detail/table_keys.hpp>
#include <interlock/backends/postgres/detail/table_records.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_changes.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CHANGES_HPP
