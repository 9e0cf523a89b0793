// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
#define INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP

/// @file
/// What lives as long as the process: for the library itself.

#include <interlock/fwd.hpp>

#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a static of the library refers to, where it has a destructor: `static auto& x = immortal<X>(...)`. It is never
/// destroyed, since `exit` destroys statics while the threads of the library go on.
template <class T, class... Arguments>
T& immortal(Arguments&&... arguments)
{
    return *new T(std::forward<Arguments>(arguments)...);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
