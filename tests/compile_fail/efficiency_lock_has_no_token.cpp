// expect: no member named .?fencing_token
// SPDX-License-Identifier: BSL-1.0

// An efficiency lock has nothing that a resource could check.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

auto use(il::EfficiencyLock<Stock> const& lock)
{
    return lock.fencing_token();
}
