// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_RECORDS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_RECORDS_HPP

/// @file
/// The operation records of a table: the bodies of `TableCore` that keep and find them.

#include <interlock/backends/postgres/detail/table_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_records.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_RECORDS_HPP
