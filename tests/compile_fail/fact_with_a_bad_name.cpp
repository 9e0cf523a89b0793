// expect: record a fact: .*of a-z A-Z 0-9
// SPDX-License-Identifier: BSL-1.0

// A name with a space.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Sold {
    std::string sku;
    static constexpr il::EventType event{"Stock Sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

void use(il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
             service)
{
    service.do_in_transaction("sku-1", [](Stock& stock, il::Recorder& record) { record(Sold{stock.sku}); });
}
