// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_FWD_HPP
#define INTERLOCK_BACKENDS_MEMORY_FWD_HPP

/// @file
/// Forward declarations of what the memory backend gives its users, with all default template arguments.
/// Cheap.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {
namespace memory {

template <class T, class K = void, class Runtime = SystemRuntime>
class StateRepository;
template <class Runtime = SystemRuntime>
class BasicIdempotencyStore;
using IdempotencyStore = BasicIdempotencyStore<SystemRuntime>;

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_FWD_HPP
