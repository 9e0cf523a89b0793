// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_EVENTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_EVENTS_HPP

/// @file
/// How the events of a commit's changes reach their log, in the transaction of the changes: those members of
/// `TableCore`.

#include <interlock/backends/postgres/detail/table_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_events.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_EVENTS_HPP
