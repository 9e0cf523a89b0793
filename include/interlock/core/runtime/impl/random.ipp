// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_RANDOM_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_RANDOM_IPP

#include <interlock/core/runtime/random.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL void os_random(void* data, std::size_t size)
{
    WithoutCancellation const whole;
    auto* out = static_cast<char*>(data);
    while (size != 0) {
        auto const n = ::getrandom(out, size, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            throw std::system_error(errno, std::generic_category(), "getrandom");
        }
        out += n;
        size -= static_cast<std::size_t>(n);
    }
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_RANDOM_IPP
