// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_ASSERTION_IPP
#define INTERLOCK_CORE_KIT_IMPL_ASSERTION_IPP

#include <interlock/core/kit/assertion.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL void assertion_failed(
    char const* condition, char const* text, char const* file, int line) noexcept
{
    std::fprintf(stderr, "%s:%d: interlock: %s (%s)\n", file, line, text, condition);
    std::abort();
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_ASSERTION_IPP
