// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_FWD_HPP
#define INTERLOCK_FWD_HPP

/// @file
/// Forward declarations of every public template and class of the core and the policies, with all default
/// template arguments. Each store has a `fwd.hpp` of its own: `interlock/backends/redis/fwd.hpp`.
///
/// For a header that only mentions a repository or a service, and must not make everybody who includes it
/// compile them:
///
///     #include <interlock/fwd.hpp>
///
///     struct Shop {
///         interlock::StateRepository<Stock>& stock;
///     };
///
/// Cheap enough for any header: no Asio, no client library, no heavy standard header. Constraints are on the
/// constructors of the services, not on the class heads, so nothing has to be repeated here. Every other
/// header of the library comes to this one first, so that a compiler that cannot build interlock is told so
/// before anything else.

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "interlock needs C++20: write -std=c++20, or target_compile_features(<target> PRIVATE cxx_std_20)"
#include <see the error above>  // ends the compilation here, instead of a thousand errors that say less
#endif
#if (defined(__clang__) && __clang_major__ < 14) || \
    (defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12)
#error "interlock needs g++ 12 or clang 14: this compiler is older, write CXX=g++-12 or CXX=clang++-14"
#include <see the error above>
#endif
#if !defined(__cpp_exceptions) && !defined(__EXCEPTIONS)
#error \
    "interlock needs exceptions: compile without -fno-exceptions (it can do without RTTI: -fno-rtti is fine)"
#include <see the error above>
#endif

#include <cstddef>

/// In front of a declaration that only a mistake can choose: the compiler refuses it on the user's own line,
/// in these words.
#define INTERLOCK_WRITE_INSTEAD(words) __attribute__((unavailable(words)))

namespace interlock {
inline namespace v0 {

// What can happen.
enum class Errc : int;
enum class Effect : unsigned char;
class Error;
class [[nodiscard]] Failure;
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
class Recorder;
struct Cause;
struct Event;
struct EventType;
struct NewEvent;
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
class AnyIdempotencyStore;
class AnyEventRepository;
class Observer;
class TransactionContext;
template <class T>
class StateRepository;
template <class T, class Repository = StateRepository<T>, Assurance Level = Assurance::fenced>
class LockStateService;
template <class T, class Policy = AnyPolicy, class Repository = StateRepository<T>>
class TransactionService;
template <class... R>
class JointRepository;
template <class R>
class KeyIn;

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
