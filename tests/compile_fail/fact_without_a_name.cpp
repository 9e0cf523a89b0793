// expect: record a fact: a struct that can be stored, with the name
// SPDX-License-Identifier: BSL-1.0

// A struct that says nothing of the name that other programs know it by.

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
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

void use(il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
             service)
{
    service.do_in_transaction("sku-1", [](Stock& stock, il::Recorder& record) { record(Sold{stock.sku}); });
}
