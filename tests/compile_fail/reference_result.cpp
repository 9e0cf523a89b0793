// expect: return a value: what a reference refers to would be gone
// SPDX-License-Identifier: BSL-1.0

// What the reference names would be gone.

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
    service.do_in_transaction("sku-1", [](Stock& s) -> int& { return s.quantity; });
}
