// expect-gcc: use of deleted function
// expect-clang: deleted
// SPDX-License-Identifier: BSL-1.0

// A lock has one handle.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::Lock<Stock>& lock)
{
    il::Lock<Stock> copy = lock;
}
