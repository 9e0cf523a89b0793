// expect: return what can be stored
// SPDX-License-Identifier: BSL-1.0

// A result that cannot be stored cannot be given again.

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
    struct Handle {
        int* pointer;
    };
    service.do_in_transaction(il::OperationId{"op"}, "sku-1", [](Stock&) { return Handle{nullptr}; });
}
