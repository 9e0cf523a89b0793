// SPDX-License-Identifier: BSL-1.0

// Shows states of two types and an event in one transaction on a Redis server: an order is made, the stock
// that it takes from goes down, and the event says so, in one script, in two name spaces of one client.
// Needs: a Redis server, 7.0 or later, whose URL is the argument; without one it says so and does nothing.
// Run with: redis_order_and_stock redis://localhost

#include <interlock/backends/redis/event_repository.hpp>
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
    std::string state{};
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, quantity, state))

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct OrderCreated {
    std::string sku;
    int quantity = 0;
    static constexpr il::EventType event{"order.created", 1};
};
BOOST_DESCRIBE_STRUCT(OrderCreated, (), (sku, quantity))

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
    il::redis::EventRepository const events{client, {.name_space = "examples.orders"}};
    il::redis::StateRepository<Order> const orders{
        client, {.name_space = "examples.orders", .events = events}};
    il::redis::StateRepository<Stock> const stock{client, {.name_space = "examples.stock"}};
    il::TransactionService const shop{
        il::OptimisticVersioning{.missing = il::Missing::create}, il::JointRepository{orders, stock}};

    auto const create = [&](Order const& wanted, std::string const& sku) {
        return shop.do_in_transaction(
            il::OperationId{"create-" + wanted.id}, il::keys(il::in(orders, wanted), il::in(stock, sku)),
            [](Order& order, Stock& s, il::Recorder& record) {
                if (s.quantity < order.quantity)
                    throw SoldOut{};  // no order, no event, and the stock as it was
                order.state = "created";
                record(OrderCreated{s.sku, order.quantity});  // in the stream of the first state, the order
                return s.quantity -= order.quantity;
            });
    };
    // #endregion joint

    // Names of this run, since the server keeps what it is given.
    auto const run = fmt::format("{:016x}", il::SystemRuntime::random_bits());
    stock.insert({run, 3}).value();
    check(create({run + "-1", 2}, run) == 1);
    check(create({run + "-1", 2}, run) == 1);  // once more, as after a lost reply: the first one's answer
    try {
        create({run + "-2", 2}, run);
        check(false);
    } catch (SoldOut const&) {
    }
    check(orders.load(run + "-1").value().value.state == "created");
    check(orders.load(run + "-2").errc() == il::Errc::not_found);
    check(stock.load(run).value().value.quantity == 1);
    auto const told = events.read_stream(il::Key{run + "-1"}).value();
    check(told.size() == 1 && told[0].as<OrderCreated>().value().quantity == 2);
    check(events.read_stream(il::Key{run + "-2"}).value().empty());
    fmt::print("one order was created and told of, one was not, and one piece is left\n");
}
