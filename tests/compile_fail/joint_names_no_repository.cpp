// expect: of a JointRepository in.repository, key
// expect: take the state by reference
// expect: write an operation that takes
// SPDX-License-Identifier: BSL-1.0

// Calls on two repositories: a key that does not say of which one, a copy of a state, the states in another
// order.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Order {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id))

struct Stock {
    std::string sku;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku))

using Orders = il::memory::StateRepository<Order>;
using Stocks = il::memory::StateRepository<Stock>;
using Shop = il::TransactionServiceFor<il::OptimisticVersioning, il::JointRepository<Orders, Stocks>>;

void use(Shop const& shop, Orders const& orders, Stocks const& stock)
{
    shop.do_in_transaction("o-1", [](Order&) {});
    auto const both = il::keys(il::in(orders, "o-1"), il::in(stock, "sku-1"));
    shop.do_in_transaction(both, [](Order, Stock&) {});
    shop.do_in_transaction(both, [](Stock&, Order&) {});
}
