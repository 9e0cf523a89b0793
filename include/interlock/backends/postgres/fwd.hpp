// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_FWD_HPP
#define INTERLOCK_BACKENDS_POSTGRES_FWD_HPP

/// @file
/// Forward declarations of what the PostgreSQL backend gives its users, with all default template arguments. Cheap: neither
/// Asio nor libpqxx is included.

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
