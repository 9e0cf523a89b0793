// expect: name the deadline, in braces: \(key, operation
// expect: name the deadline, in braces: acquire\(key
// expect: try_acquire waits for no holder
// SPDX-License-Identifier: BSL-1.0

// A time alone where the options of a call stand, as in the lock libraries of other languages.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <chrono>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(
    il::TransactionServiceFor<il::OptimisticVersioning, il::memory::StateRepository<Stock>> const& service,
    il::LockStateServiceFor<il::memory::StateRepository<Stock>> const& locks)
{
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }, 200ms);
    auto const lock = locks.acquire("sku-1", 5s);
    auto const other = locks.try_acquire("sku-2", 5s);
}
