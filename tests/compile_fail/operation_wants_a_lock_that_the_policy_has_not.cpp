// expect: write an operation that takes what the policy offers
// SPDX-License-Identifier: BSL-1.0

// Optimistic versioning holds no lock.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
             service)
{
    service.do_in_transaction("sku-1", [](il::Lock<Stock>&) {});
}
