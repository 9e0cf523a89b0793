// SPDX-License-Identifier: BSL-1.0

// Shows states of two types in one transaction: an order is taken and the stock goes down, or neither
// happens. The same lines work on a Redis server: redis_order_and_stock.cpp.
// Needs: nothing.
// Run with: order_and_stock

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace il = interlock;

struct Order {
    std::string id;
    std::string sku;
    int quantity = 0;
    std::string state = "new";
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, sku, quantity, state))

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct SoldOut {};

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Order> const orders;
    il::memory::StateRepository<Stock> const stock;
    stock.insert({"sku-1", 10}).value();
    for (int i = 1; i <= 6; ++i)
        orders.insert({fmt::format("o-{}", i), "sku-1", 2}).value();

    // #region joint
    il::TransactionService const shop{il::OptimisticVersioning{}, il::JointRepository{orders, stock}};

    auto const take = [&](std::string const& id) {
        shop.do_in_transaction(
            il::OperationId{"take-" + id}, il::keys(il::in(orders, id), il::in(stock, "sku-1")),
            [](Order& order, Stock& s) {
                if (s.quantity < order.quantity)
                    throw SoldOut{};  // both are left as they were
                s.quantity -= order.quantity;
                order.state = "taken";
            });
    };
    // #endregion joint

    std::vector<std::future<int>> sold_out;
    for (int i = 1; i <= 6; ++i)
        sold_out.push_back(std::async(std::launch::async, [&take, i] {
            try {
                take(fmt::format("o-{}", i));
                take(fmt::format("o-{}", i));  // once more, as after a lost reply: it has no second effect
                return 0;
            } catch (SoldOut const&) {
                return 1;
            }
        }));
    int refused = 0;
    for (auto& end : sold_out)
        refused += end.get();

    int taken = 0;
    for (int i = 1; i <= 6; ++i)
        taken += orders.load(fmt::format("o-{}", i)).value().value.state == "taken" ? 1 : 0;
    fmt::print("taken {}, refused {}, left {}\n", taken, refused, stock.load("sku-1").value().value.quantity);
    check(taken == 5 && refused == 1 && stock.load("sku-1").value().value.quantity == 0);
}
