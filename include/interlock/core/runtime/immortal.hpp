// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
#define INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP

/// @file
/// Objects that live as long as the process, for the statics of the library itself:
///
///     static auto& registry = immortal<Registry>();

#include <interlock/fwd.hpp>

#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Makes an object that is never destroyed. A function that has a static of a type with a destructor writes
/// `static auto& x = immortal<X>(...)`. The reason: `exit` destroys statics while the threads of the library
/// still run, and such a thread must not meet a destroyed object.
template <class T, class... Arguments>
#if __has_cpp_attribute(gnu::no_dangling)
[[gnu::no_dangling]]  // g++ 14 would suspect that it returns one of its arguments
#endif
T& immortal(Arguments&&... arguments)
{
    return *new T(std::forward<Arguments>(arguments)...);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
