// expect: write errc[(][)]
// options: -Werror=deprecated-declarations
// SPDX-License-Identifier: BSL-1.0

// The code of an outcome is called errc(); the word of version 0.1 still works, with a warning.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

bool use(il::Outcome<int> const& outcome)
{
    return outcome.error() == il::Errc::lock_busy;
}
