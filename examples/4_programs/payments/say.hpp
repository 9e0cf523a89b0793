// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_SAY_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_SAY_HPP

/// @file
/// What the service writes to standard error. A payment is answered whether or not somebody can read that:
/// a full disk, or a reader of the log who is gone, must not end the service. (`fmt::print` throws then.)

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace payments {

/// Writes a line, if that can be done.
template <class... T>
void say(fmt::format_string<T...> format, T&&... values)
{
    auto const line = fmt::format(format, std::forward<T>(values)...) + "\n";
    [[maybe_unused]] auto const written = std::fputs(line.c_str(), stderr);
}

/// To be called first. Opens /dev/null in place of what of 0 to 2 is closed, since a connection that gets
/// such a number would be written to; and hears of the ends of children, and of readers that are gone,
/// whatever the parent has said about these signals.
void keep_standard_streams();

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_SAY_HPP
