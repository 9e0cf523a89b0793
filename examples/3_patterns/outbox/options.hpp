// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_OUTBOX_OPTIONS_HPP
#define INTERLOCK_EXAMPLES_OUTBOX_OPTIONS_HPP

// The command line.

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace outbox {

struct Options {
    std::string backend{"memory:"};
    std::size_t sales{10'000};
    std::size_t processes{2};
    std::size_t kills{0};
    bool careless{false};
    bool help{false};
    std::optional<std::size_t> worker;  // in a process that another one started: which of them it is
};

/// A command line that is refused; names the option.
class BadOption : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

Options parse_options(std::vector<std::string_view> const& arguments);

extern std::string_view const usage;

}  // namespace outbox

#endif  // INTERLOCK_EXAMPLES_OUTBOX_OPTIONS_HPP
