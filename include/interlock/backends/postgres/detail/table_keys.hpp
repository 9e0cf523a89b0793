// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_KEYS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_KEYS_HPP

/// @file
/// The keys of a table: the bodies of `TableCore` that say which column refuses a key, and which keys are
/// one.

#include <interlock/backends/postgres/detail/table_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_keys.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_KEYS_HPP
