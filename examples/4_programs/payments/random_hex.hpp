// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_RANDOM_HEX_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_RANDOM_HEX_HPP

#include <fmt/format.h>

#include <cstddef>
#include <random>
#include <string>

namespace payments {

/// `digits` hexadecimal digits, of the system's randomness.
inline std::string random_hex(std::size_t digits)
{
    std::random_device random;
    std::string text;
    while (text.size() < digits)
        text += fmt::format("{:08x}", random());
    text.resize(digits);
    return text;
}

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_RANDOM_HEX_HPP
