// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_OPTIONS_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_OPTIONS_HPP

// The command line.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace payments {

struct Options {
    std::string store{"memory:"};
    std::string address{"127.0.0.1"};
    std::uint16_t port{8080};
    bool plug{false};
    bool careless{false};
    bool log{false};
    bool help{false};
    int listener{-1};  // in a worker: the socket that the supervisor listens on
};

/// A command line that is refused; names the option.
class BadOption : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

Options parse_options(std::vector<std::string_view> const& arguments);

extern std::string_view const usage;

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_OPTIONS_HPP
