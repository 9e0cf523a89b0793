// expect: write an operation that takes one state per key
// SPDX-License-Identifier: BSL-1.0

// Two keys are two states: the operation must take both.

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
    service.do_in_transaction(il::keys("sku-1", "sku-2"), [](Stock& s) { --s.quantity; });
}
