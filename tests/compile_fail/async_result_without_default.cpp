// expect: call async_try_do_in_transaction
// SPDX-License-Identifier: BSL-1.0

// Asio makes a default result beside an exception; the try form needs none.

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
    struct NoDefault {
        explicit NoDefault(int);
    };
    service.async_do_in_transaction(
        "sku-1", [](Stock&) { return NoDefault{1}; }, [](std::exception_ptr, NoDefault) {});
}
