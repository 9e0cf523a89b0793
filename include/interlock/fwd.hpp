// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_FWD_HPP
#define INTERLOCK_FWD_HPP

/// @file
/// Forward declarations of every public template and class of the core and the policies, with all default template
/// arguments. Each store has a `fwd.hpp` of its own: `interlock/backends/redis/fwd.hpp`.
///
/// Cheap enough for any header: no Asio, no client library, no heavy standard header. Constraints are on
/// the constructors of the services, not on the class heads, so nothing has to be repeated here.

#include <cstddef>

namespace interlock {
inline namespace v0 {

// What can happen.
enum class Errc : int;
enum class Effect : unsigned char;
class Error;
template <class R>
class Outcome;

// What is named, stored and guarded.
class Key;
template <class K>
struct KeyTraits;
template <class T>
struct StateTraits;
template <class T>
struct Versioned;
class FencingToken;
class OwnerToken;
struct Fence;
class OperationId;
class IdempotentRequest;
template <class R>
class Answer;

// When.
struct MonotonicClock;
class Deadline;
class Ttl;
struct Backoff;
class SystemRuntime;

// Locks.

/// What a lock promises; two levels are two types, `Lock<T>` and `EfficiencyLock<T>`.
enum class Assurance : unsigned char {
    fenced,      ///< every guarded write is checked against the fence in the store (law P1)
    efficiency,  ///< avoids doing work twice most of the time; nothing may depend on it for correctness
};
template <class T>
class Lock;
template <class T>
class EfficiencyLock;

// Services and stores. With no further argument, policy and store are chosen at run time.
class AnyPolicy;
class Observer;
class TransactionContext;
template <class T>
class StateRepository;
template <class T, class Repository = StateRepository<T>, Assurance Level = Assurance::fenced>
class LockStateService;
template <class T, class Policy = AnyPolicy, class Repository = StateRepository<T>>
class TransactionService;

// Policies.
struct OptimisticVersioning;
struct PessimisticRowLock;
struct SetNxLock;
struct EfficiencySetNxLock;
template <class Inner, class Store>
class IdempotencyKeys;
template <class Inner, class Store>
class IdempotencyInTransaction;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_FWD_HPP
