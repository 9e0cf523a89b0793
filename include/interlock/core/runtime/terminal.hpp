// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_TERMINAL_HPP
#define INTERLOCK_CORE_RUNTIME_TERMINAL_HPP

/// @file
/// Whether somebody sees what a program prints at once, so that a line may be written over:
///
///     if (interlock::detail::is_terminal(std::cerr))
///         std::cerr << '\r' << line << "\x1b[K";

#include <unistd.h>

#include <iostream>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Of the standard streams, what the system says of their descriptors; no other stream is known to be one.
inline bool is_terminal(std::ostream const& out) noexcept
{
    auto const* const buffer = out.rdbuf();
    if (buffer == std::cout.rdbuf())
        return isatty(STDOUT_FILENO) == 1;
    if (buffer == std::cerr.rdbuf() || buffer == std::clog.rdbuf())
        return isatty(STDERR_FILENO) == 1;
    return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_TERMINAL_HPP
