// expect: name the state first: LockStateService<T, Repository>
// expect: name the state first: TransactionService<T, Policy, Repository>
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// The type of a service is spelled with the repository where the state belongs.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

using Stocks = il::memory::StateRepository<Stock>;

void lock(il::LockStateService<Stocks> const& locks)
{
    auto const lock = locks.acquire("sku-1");
}

void sell(il::TransactionService<Stocks, il::OptimisticVersioning, Stocks> const& service)
{
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
}
