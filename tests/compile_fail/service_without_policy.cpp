// expect-gcc: no matching function for call|could not convert|cannot convert
// expect-clang: no matching constructor
// SPDX-License-Identifier: BSL-1.0

// The policy is chosen, never defaulted.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::StateRepository<Stock> stock)
{
    il::TransactionService<Stock> service{stock};
}
