// expect: write the type of a state without const
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A repository of states that cannot be changed.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use()
{
    il::memory::StateRepository<Stock const> stock;
}
