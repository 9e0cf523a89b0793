// expect: name the state first
// SPDX-License-Identifier: BSL-1.0

// A range of what is no key.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <span>
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
    std::vector<int> const& skus)
{
    service.do_in_transaction(skus, [](std::span<Stock>) {});
}
