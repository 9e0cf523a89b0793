// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_SRC_HPP
#define INTERLOCK_BACKENDS_POSTGRES_SRC_HPP

/// @file
/// The PostgreSQL store, compiled once for a program of many units. The program defines
/// INTERLOCK_SEPARATE_COMPILATION for all of its units, and includes this header in exactly one:
///
/// @code
/// // interlock.cpp
/// #include <interlock/src.hpp>                    // the core
/// #include <interlock/backends/postgres/src.hpp>  // the PostgreSQL store
/// @endcode
///
/// The CMake target `interlock::postgres_compiled` does both.
///
/// What depends on a user's types is compiled in the units that name them. What depends on the runtime is
/// compiled here for the system's; a program with a runtime of its own is built header-only.

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "interlock: define INTERLOCK_SEPARATE_COMPILATION for all units of the program, or include no src.hpp"
#endif

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/impl/batch.ipp>
#include <interlock/backends/postgres/detail/impl/column_text.ipp>
#include <interlock/backends/postgres/detail/impl/connecting.ipp>
#include <interlock/backends/postgres/detail/impl/connection.ipp>
#include <interlock/backends/postgres/detail/impl/error.ipp>
#include <interlock/backends/postgres/detail/impl/event_reading.ipp>
#include <interlock/backends/postgres/detail/impl/event_table.ipp>
#include <interlock/backends/postgres/detail/impl/greeting.ipp>
#include <interlock/backends/postgres/detail/impl/hidden_tables.ipp>
#include <interlock/backends/postgres/detail/impl/known_table.ipp>
#include <interlock/backends/postgres/detail/impl/lock_statements.ipp>
#include <interlock/backends/postgres/detail/impl/names.ipp>
#include <interlock/backends/postgres/detail/impl/pool_state.ipp>
#include <interlock/backends/postgres/detail/impl/record_statements.ipp>
#include <interlock/backends/postgres/detail/impl/reply.ipp>
#include <interlock/backends/postgres/detail/impl/row_refusals.ipp>
#include <interlock/backends/postgres/detail/impl/row_transaction_core.ipp>
#include <interlock/backends/postgres/detail/impl/row_transaction_tables.ipp>
#include <interlock/backends/postgres/detail/impl/settings.ipp>
#include <interlock/backends/postgres/detail/impl/sql_words.ipp>
#include <interlock/backends/postgres/detail/impl/statement_line.ipp>
#include <interlock/backends/postgres/detail/impl/statement_text.ipp>
#include <interlock/backends/postgres/detail/impl/statements.ipp>
#include <interlock/backends/postgres/detail/impl/subscriber.ipp>
#include <interlock/backends/postgres/detail/impl/table_changes.ipp>
#include <interlock/backends/postgres/detail/impl/table_core.ipp>
#include <interlock/backends/postgres/detail/impl/table_events.ipp>
#include <interlock/backends/postgres/detail/impl/table_facts.ipp>
#include <interlock/backends/postgres/detail/impl/table_keys.ipp>
#include <interlock/backends/postgres/detail/impl/table_records.ipp>
#include <interlock/backends/postgres/detail/impl/transaction_settings.ipp>
#include <interlock/backends/postgres/detail/impl/type_shape.ipp>
#include <interlock/backends/postgres/detail/impl/utf8.ipp>
#include <interlock/backends/postgres/detail/impl/values.ipp>
#include <interlock/backends/postgres/detail/impl/version_column.ipp>
#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/impl/counters.ipp>
#include <interlock/backends/postgres/impl/event_repository.ipp>
#include <interlock/backends/postgres/impl/idempotency_store.ipp>
#include <interlock/backends/postgres/impl/options.ipp>
#include <interlock/backends/postgres/impl/pool.ipp>
#include <interlock/backends/postgres/impl/schema.ipp>
#include <interlock/backends/postgres/impl/transaction.ipp>

#include <cstddef>
#include <span>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

template class Subscriber<SystemRuntime>;
template class PoolState<SystemRuntime>;
template class TableCore<SystemRuntime>;
template class RowTransactionCore<SystemRuntime>;

}  // namespace detail

template class BasicPool<SystemRuntime>;
template class BasicTransaction<SystemRuntime>;
template class BasicIdempotencyStore<SystemRuntime>;
template class BasicTransactionalIdempotencyStore<SystemRuntime>;
template class BasicCounters<SystemRuntime>;
template class BasicEventRepository<SystemRuntime>;

// What `schema.hpp` declares.
template Outcome<void> create_schema(BasicPool<SystemRuntime> const&, Deadline);
template Outcome<void> run_script(
    BasicPool<SystemRuntime> const&, std::span<std::string_view const>, Deadline);
template Outcome<std::size_t> purge(BasicPool<SystemRuntime> const&, std::size_t, Deadline);

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_SRC_HPP
