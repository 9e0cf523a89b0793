// SPDX-License-Identifier: BSL-1.0

// Shows states of two types in one transaction on a Redis server: an order and the stock that it takes from
// change in one script, in two name spaces of one client. Needs: a Redis server, 7.0 or later, whose URL is
// the argument; without one it says so and does nothing.
// Run with: redis_order_and_stock redis://localhost

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <string>

namespace il = interlock;

struct Order {
    std::string id;
    int quantity = 0;
    std::string state = "new";
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, quantity, state))

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

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("redis_order_and_stock: name a server, like redis://localhost\n");
        return 77;
    }
    // #region joint
    il::redis::Client const client{argv[1]};
    il::redis::StateRepository<Order> const orders{client, {.name_space = "examples.orders"}};
    il::redis::StateRepository<Stock> const stock{client, {.name_space = "examples.stock"}};
    il::TransactionService const shop{il::OptimisticVersioning{}, il::JointRepository{orders, stock}};
    // #endregion joint

    // Names of this run, since the server keeps what it is given.
    auto const run = fmt::format("{:016x}", il::SystemRuntime::random_bits());
    stock.insert({run, 3}).value();
    orders.insert({run + "-1", 2}).value();
    orders.insert({run + "-2", 2}).value();

    auto const take = [&](std::string const& id) {
        return shop.do_in_transaction(
            il::OperationId{"take-" + id}, il::keys(il::in(orders, id), il::in(stock, run)),
            [](Order& order, Stock& s) {
                if (s.quantity < order.quantity)
                    throw SoldOut{};  // both are left as they were
                order.state = "taken";
                return s.quantity -= order.quantity;
            });
    };
    check(take(run + "-1") == 1);
    check(take(run + "-1") == 1);  // once more, as after a lost reply: the first one's answer
    try {
        take(run + "-2");
        check(false);
    } catch (SoldOut const&) {
    }
    check(orders.load(run + "-2").value().value.state == "new");
    check(stock.load(run).value().value.quantity == 1);
    fmt::print("one order was taken, one was not, and one piece is left\n");
}
