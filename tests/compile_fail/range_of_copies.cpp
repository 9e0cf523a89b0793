// expect: write an operation that takes the states of a range at once
// SPDX-License-Identifier: BSL-1.0

// What an operation does to copies of the states is lost.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>
#include <vector>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(
    il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
        service,
    std::vector<std::string> const& skus)
{
    service.do_in_transaction(skus, [](std::vector<Stock> states) { --states[0].quantity; });
}
