// SPDX-License-Identifier: BSL-1.0

// One service of one state, whose store and policy are chosen at run time. `compile_time` says how long it
// compiles.

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

int main(int argc, char** argv)
{
    if (argc != 3)
        return 77;
    il::StateRepository<Stock> const stock = il::open<Stock>(argv[1], il::memory::backend);
    il::AnyPolicy const policy = argv[2] == std::string("lock") ? il::AnyPolicy{il::SetNxLock{}}
                                                                : il::AnyPolicy{il::OptimisticVersioning{}};
    il::TransactionService<Stock> const service{policy, stock};
    return service.do_in_transaction("sku-1", [](Stock& s) { return s.quantity -= 1; });
}
