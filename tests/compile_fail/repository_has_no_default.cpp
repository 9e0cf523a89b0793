// expect-gcc: no matching function for call|use of deleted function
// expect-clang: no matching constructor
// SPDX-License-Identifier: BSL-1.0

// Nobody gets a store in memory by accident.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

il::StateRepository<Stock> stock;
