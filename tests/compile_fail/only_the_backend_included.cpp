// expect: forward declaration of
// SPDX-License-Identifier: BSL-1.0

// A store's header brings no policy.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>

#include <boost/describe/class.hpp>

#include <string>

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(interlock::memory::StateRepository<Stock> stock)
{
    interlock::TransactionService service{interlock::OptimisticVersioning{}, stock};
}
