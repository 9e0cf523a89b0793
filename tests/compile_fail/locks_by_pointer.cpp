// expect: pass the repository itself instead of a pointer
// SPDX-License-Identifier: BSL-1.0

// A repository is a handle and is passed by value.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::memory::StateRepository<Stock>& stock)
{
    il::LockStateService locks{&stock};
}
