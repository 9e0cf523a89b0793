// expect: the first described member is the key
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// The first described member is the key, and a double is none.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

namespace il = interlock;

struct Price {
    double amount{0};
    int product{0};
};
BOOST_DESCRIBE_STRUCT(Price, (), (amount, product))

void use(il::memory::StateRepository<Price> prices)
{
    il::TransactionService service{il::OptimisticVersioning{}, prices};
    service.do_in_transaction(1, [](Price& p) { ++p.amount; });
}
