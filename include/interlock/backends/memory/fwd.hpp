// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_FWD_HPP
#define INTERLOCK_BACKENDS_MEMORY_FWD_HPP

/// @file
/// Forward declarations of the memory store, with all default template arguments. No client library is needed for them.

#include <interlock/fwd.hpp>

namespace interlock {
inline namespace v0 {

namespace memory {
template <class T, class K = void, class Runtime = SystemRuntime>
class StateRepository;
template <class Runtime = SystemRuntime>
class BasicIdempotencyStore;
}  // namespace memory

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_FWD_HPP
