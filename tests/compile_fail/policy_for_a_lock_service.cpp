// expect: pass the repository, and LockOptions
// SPDX-License-Identifier: BSL-1.0

// A lock service takes a repository; the policy is for a transaction service.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::memory::StateRepository<Stock> stock)
{
    il::LockStateService locks{il::SetNxLock{}, stock};
}
