// SPDX-License-Identifier: BSL-1.0

// Shows how what happened is stored with the change that made it happen, and read by whoever wants to know.
// Needs: a Redis server, 7.0 or later, whose URL is the argument; without one it says so and does nothing.
// Run with: redis_events redis://localhost

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

// #region fact
struct Sold {
    std::string sku;
    int left{0};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, left))
// #endregion fact

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("redis_events: name a server, like redis://localhost\n");
        return 77;
    }

    // #region redis_events
    il::redis::Client const client{argv[1]};
    // The log and the states are in one name space, so that one script stores both.
    il::redis::EventRepository const events{client, {.name_space = "examples.sales", .writer = "sales"}};
    il::redis::StateRepository<Stock> const stock{client, {.name_space = "examples.sales", .events = events}};
    il::TransactionService const sales{il::OptimisticVersioning{}, stock};
    // #endregion redis_events

    auto const sku = fmt::format("sku-{:016x}", il::SystemRuntime::random_bits());
    stock.insert(Stock{sku, 10}).value();
    for (int i = 0; i < 3; ++i)
        sales.do_in_transaction(sku, [](Stock& s, il::Recorder& record) {
            --s.quantity;
            record(Sold{s.sku, s.quantity});
        });
    auto const sold = events.read_stream(il::Key{sku}).value();
    for (auto const& event : sold)
        fmt::print("{}: {} left\n", event.number, event.as<Sold>().value().left);

    // #region subscription
    // Hears of all sales, of whatever article, and goes on where it was when it runs again.
    il::redis::StateRepository<il::Cursor> const cursors{client, {.name_space = "examples.cursors"}};
    il::Subscription const shipping{events, cursors, "shipping"};
    std::size_t shipped = 0;
    auto const ship = [&](il::Event const& event) {
        if (auto const fact = event.as<Sold>(); fact && fact->sku == sku)
            ++shipped;
    };
    shipping.drain(ship).value();  // until nothing is left; `run(ship, stop)` goes on until it is stopped
    // #endregion subscription
    return sold.size() == 3 && shipped == 3 ? EXIT_SUCCESS : EXIT_FAILURE;
}
