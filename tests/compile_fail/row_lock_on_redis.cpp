// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// Row locks on Redis, which has none.

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::redis::StateRepository<Stock> stock)
{
    il::TransactionService service{il::PessimisticRowLock{}, stock};
}
