// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP

#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>  // program_invocation_short_name
#include <string_view>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL void SystemRuntime::wait_until(
    std::condition_variable& cv, std::unique_lock<std::mutex>& lock, TimePoint at)
{
    detail::WithoutCancellation const whole;
    auto const left = at - now();
    if (left.count() > 0)
        cv.wait_for(lock, left < longest_wait ? left : longest_wait);
}

INTERLOCK_DECL void SystemRuntime::sleep_until(TimePoint at)
{
    detail::WithoutCancellation const whole;
    for (auto left = at - now(); left.count() > 0; left = at - now())
        std::this_thread::sleep_for(left < longest_wait ? left : longest_wait);
}

INTERLOCK_DECL std::string SystemRuntime::process_name()
{
    // Longer names are cut: the number between them must be whole.
    constexpr std::size_t longest_host = 48;
    constexpr std::size_t longest_program = 48;
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0)
        host[0] = '?';
    std::string name{detail::beginning_of(host.data(), longest_host)};
    name.append(":").append(std::to_string(::getpid())).append(":");
    return name.append(detail::beginning_of(program_invocation_short_name, longest_program));
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_RUNTIME_IPP
