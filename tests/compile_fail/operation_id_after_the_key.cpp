// expect: pass the operation id or the request first
// SPDX-License-Identifier: BSL-1.0

// The operation id comes before the key.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(
    il::TransactionServiceFor<il::OptimisticVersioning, il::memory::StateRepository<Stock>> const& service)
{
    service.do_in_transaction("sku-1", il::OperationId{"order 17"}, [](Stock& s) { return --s.quantity; });
}
