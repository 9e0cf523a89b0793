// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_FWD_HPP
#define INTERLOCK_BACKENDS_REDIS_FWD_HPP

/// @file
/// Forward declarations of what the Redis backend gives its users, with all default template arguments. Cheap: neither Asio
/// nor hiredis is included.

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
class Counters;
template <class T, class K = void>
class StateRepository;
class IdempotencyStore;

namespace detail {
template <class R>
class BasicClientState;
using ClientState = BasicClientState<SystemRuntime>;
}  // namespace detail

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_FWD_HPP
