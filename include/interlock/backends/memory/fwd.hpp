// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_FWD_HPP
#define INTERLOCK_BACKENDS_MEMORY_FWD_HPP

/// @file
/// Forward declarations of what the memory backend gives its users, with all default template arguments. A
/// header of a user's that only names a store includes this one, and compiles hardly slower for it.
///
///     #include <interlock/backends/memory/fwd.hpp>
///     struct Account;
///     void audit(interlock::memory::StateRepository<Account> const& accounts);

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {
namespace memory {

/// States `T`, locks and operation records: `backends/memory/state_repository.hpp`.
template <class T, class K = void, class Runtime = SystemRuntime>
class StateRepository;
/// Idempotency records on a runtime of one's own: `backends/memory/idempotency_store.hpp`.
template <class Runtime = SystemRuntime>
class BasicIdempotencyStore;
/// Idempotency records.
using IdempotencyStore = BasicIdempotencyStore<SystemRuntime>;
/// Events on a runtime of one's own: `backends/memory/event_repository.hpp`.
template <class Runtime = SystemRuntime>
class BasicEventRepository;
/// Events.
using EventRepository = BasicEventRepository<SystemRuntime>;

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_FWD_HPP
