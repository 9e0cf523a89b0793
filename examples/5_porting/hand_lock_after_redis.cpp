// SPDX-License-Identifier: BSL-1.0

// Porting, the side of after: hand_lock_before_redis.cpp with the library. The lock is renewed while its
// holder lives, the state comes with the lock, and the store refuses the write of a former holder.
// Needs: a Redis server, whose URL is the argument.
// Run with: hand_lock_after_redis redis://localhost:6379

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("hand_lock_after_redis: name a server, like redis://localhost\n");
        return 77;
    }
    il::redis::StateRepository<Stock> const stock{il::redis::Client{argv[1]}, {.name_space = "porting"}};
    static_cast<void>(stock.insert({"sku-1", 10}));  // unless it is there

    il::TransactionService const service{il::SetNxLock{}, stock};
    auto const left = service.do_in_transaction("sku-1", [](Stock& s) { return s.quantity -= 3; });
    fmt::print("{} left\n", left);
}
