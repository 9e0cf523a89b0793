// SPDX-License-Identifier: BSL-1.0

// One service of one state, a lease on Redis, as a user writes it. `compile_time` says how long it compiles.

#include <interlock/backends/redis/state_repository.hpp>
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
    if (argc != 2)
        return 77;
    il::redis::StateRepository<Stock> const stock{il::redis::Client{argv[1]}, {.name_space = "compile_time"}};
    il::TransactionService const service{il::SetNxLock{}, stock};
    return service.do_in_transaction("sku-1", [](Stock& s) { return s.quantity -= 1; });
}
