// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_REFUSALS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_REFUSALS_HPP

/// @file
/// Why a transaction of rows was refused: those members of `RowTransactionCore` that say it.

#include <interlock/backends/postgres/detail/row_transaction_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/row_refusals.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_ROW_REFUSALS_HPP
