// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_FWD_HPP
#define INTERLOCK_BACKENDS_REDIS_FWD_HPP

/// @file
/// Forward declarations of what the Redis backend gives its users, with all default template arguments.
/// Cheap: neither Asio nor hiredis is included. For a header that only mentions a client or a repository:
///
///     #include <interlock/backends/redis/fwd.hpp>
///
///     struct Shop {
///         interlock::redis::StateRepository<Stock>& stock;
///     };
///
/// The templates `Basic...` take the runtime, see `core/runtime/runtime.hpp`. The names without `Basic` are
/// those of the system's runtime; tests put another one in its place and move time by hand.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {
namespace redis {

struct Options;
template <class Runtime>
class BasicClient;
using Client = BasicClient<SystemRuntime>;
template <class Runtime>
class BasicConnection;
using Connection = BasicConnection<SystemRuntime>;
template <class Runtime>
class BasicCounters;
using Counters = BasicCounters<SystemRuntime>;
template <class T, class K = void, class Runtime = SystemRuntime>
class StateRepository;
template <class Runtime>
class BasicIdempotencyStore;
using IdempotencyStore = BasicIdempotencyStore<SystemRuntime>;
template <class Runtime>
class BasicEventRepository;
using EventRepository = BasicEventRepository<SystemRuntime>;

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_FWD_HPP
