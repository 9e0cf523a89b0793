// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_FWD_HPP
#define INTERLOCK_BACKENDS_REDIS_FWD_HPP

/// @file
/// Forward declarations of the Redis store, with all default template arguments. No client library is needed for them.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {

namespace redis {
class Client;
class Connection;
class Counters;
template <class T, class K = void>
class StateRepository;
class IdempotencyStore;
}  // namespace redis

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_FWD_HPP
