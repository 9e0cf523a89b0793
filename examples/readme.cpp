// SPDX-License-Identifier: BSL-1.0

// Shows the first example of the README: two buyers at once, and nobody gets what the other one has bought.
// Needs: nothing.
// Run with: readme

// #region first
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include <string>
#include <thread>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

int main()
{
    il::memory::StateRepository<Stock> stock;                           // where
    il::TransactionService service{il::OptimisticVersioning{}, stock};  // how
    stock.insert({"sku-1", 2}).value();

    auto buy_one = [&] { service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }); };
    {
        std::jthread ann{buy_one}, bob{buy_one};
    }  // at once

    return stock.load("sku-1").value().value.quantity;  // 0: no sale was lost
}
// #endregion first
