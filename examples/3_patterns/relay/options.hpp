// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_RELAY_OPTIONS_HPP
#define INTERLOCK_EXAMPLES_RELAY_OPTIONS_HPP

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace relay {

struct Options {
    bool receives{false};
    bool help{false};
    std::string store{"memory:"};
    std::string name{"relay"};
    std::string broker;
    std::string topic{"stock.events"};
    std::string queue{"shelves"};
    std::size_t events{10'000};
    std::size_t streams{50};
    std::size_t expect{0};
    std::chrono::milliseconds idle{5'000};
};

/// A command line that is refused; names the option.
class BadOption : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

Options parse_options(std::vector<std::string_view> const& arguments);

extern std::string_view const usage;

}  // namespace relay

#endif  // INTERLOCK_EXAMPLES_RELAY_OPTIONS_HPP
