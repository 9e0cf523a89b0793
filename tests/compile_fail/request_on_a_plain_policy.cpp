// expect: wrap the policy, since a request needs an idempotent one
// SPDX-License-Identifier: BSL-1.0

// A request needs an idempotent policy.

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
    service.do_in_transaction(
        il::IdempotentRequest("key", il::Scope("user")), "sku-1", [](Stock& s) { return --s.quantity; });
}
