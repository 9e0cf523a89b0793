// expect: write an operation that takes what the policy offers
// SPDX-License-Identifier: BSL-1.0

// A statement that blocks, in an operation whose executor must not be blocked: take an AsyncTransaction.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/detached.hpp>
#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(il::TransactionService<Stock, il::PessimisticRowLock, il::postgres::StateRepository<Stock>> const&
             service)
{
    service.async_do_in_transaction(
        "sku-1", [](Stock&, il::postgres::Transaction& tx) { tx.exec("SELECT 1"); }, boost::asio::detached);
}
