// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_TABLES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_TABLES_HPP

/// @file
/// Transactions of rows of several tables: those members of `RowTransactionCore` that go from one table to
/// the next.

#include <interlock/backends/postgres/detail/row_transaction_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/row_transaction_tables.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_TRANSACTION_TABLES_HPP
