// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_FWD_HPP
#define INTERLOCK_BACKENDS_POSTGRES_FWD_HPP

/// @file
/// Forward declarations of what the PostgreSQL backend gives its users, with all default template arguments.
/// Cheap: neither Asio nor libpqxx is included.
///
///     #include <interlock/backends/postgres/fwd.hpp>
///     void sell(interlock::postgres::StateRepository<Product> const& products);
///
/// The templates `Basic...` take the runtime, see `core/runtime/runtime.hpp`. The names without `Basic` are
/// those of the system's runtime; tests put another one in its place and move time by hand.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {
namespace postgres {

template <class Runtime>
class BasicPool;
using Pool = BasicPool<SystemRuntime>;
template <class Runtime>
class BasicCounters;
using Counters = BasicCounters<SystemRuntime>;
template <class Runtime>
class BasicEventRepository;
using EventRepository = BasicEventRepository<SystemRuntime>;
template <class Runtime>
class BasicTransaction;
using Transaction = BasicTransaction<SystemRuntime>;
template <class Runtime>
class BasicAsyncTransaction;
using AsyncTransaction = BasicAsyncTransaction<SystemRuntime>;
template <class T, class K, class Runtime = SystemRuntime>
class RowTransaction;
template <class T, class K = void, class Runtime = SystemRuntime>
class StateRepository;
template <class T, class K = void, class Runtime = SystemRuntime>
class FreeRows;
template <class Runtime>
class BasicIdempotencyStore;
using IdempotencyStore = BasicIdempotencyStore<SystemRuntime>;
template <class Runtime>
class BasicTransactionalIdempotencyStore;
using TransactionalIdempotencyStore = BasicTransactionalIdempotencyStore<SystemRuntime>;

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_FWD_HPP
