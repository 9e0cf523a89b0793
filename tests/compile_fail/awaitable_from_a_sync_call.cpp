// expect: call async_do_in_transaction
// SPDX-License-Identifier: BSL-1.0

// A synchronous call would never run the coroutine.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
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
    service.do_in_transaction("sku-1", [](Stock& s) -> boost::asio::awaitable<int> { co_return s.quantity; });
}
