// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_FWD_HPP
#define INTERLOCK_BACKENDS_POSTGRES_FWD_HPP

/// @file
/// Forward declarations of the PostgreSQL store, with all default template arguments. No client library is needed for them.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {

namespace postgres {
class Pool;
class Counters;
class Transaction;
class AsyncTransaction;
template <class T, class K = void>
class StateRepository;
template <class T, class K = void>
class FreeRows;
class IdempotencyStore;
class TransactionalIdempotencyStore;
}  // namespace postgres

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_FWD_HPP
