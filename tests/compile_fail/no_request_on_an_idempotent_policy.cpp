// expect: pass the request first, since the policy is idempotent
// SPDX-License-Identifier: BSL-1.0

// An idempotent policy needs a request.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::TransactionServiceFor<
         il::IdempotencyKeys<il::OptimisticVersioning, il::memory::IdempotencyStore>,
         il::memory::StateRepository<Stock>> const& service)
{
    service.do_in_transaction("sku-1", [](Stock& s) { return --s.quantity; });
}
