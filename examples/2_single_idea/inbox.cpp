// SPDX-License-Identifier: BSL-1.0

// Shows two ways to let each event of a log have its effect once: an inbox, whose effects are in a store of
// their own, and batches whose effects and place in the log are one commit.
// Needs: nothing.
// Run with: inbox

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/batch_subscription.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/match.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Sold {
    std::string sku;
    int parcels{0};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, parcels))

struct Counted {  // a fact that shipping has no use for
    std::string sku;
    static constexpr il::EventType event{"stock.counted", 1};
};
BOOST_DESCRIBE_STRUCT(Counted, (), (sku))

struct Shipment {
    std::string sku;
    int parcels{0};
};
BOOST_DESCRIBE_STRUCT(Shipment, (), (sku, parcels))

// #region read_model
struct Sales {
    std::string id;  // the consumer and the partition
    std::size_t events{0};
    il::Position place{0};  // up to where it is made
};
BOOST_DESCRIBE_STRUCT(Sales, (), (id, events, place))
// #endregion read_model

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::EventRepository const events;
    il::memory::StateRepository<Stock> const stock{{.events = events}};
    il::TransactionService const shop{il::OptimisticVersioning{}, stock};
    stock.insert({"tea", 10}).value();
    shop.do_in_transaction("tea", [](Stock& s, il::Recorder& record) {
        s.quantity -= 2;
        record(Sold{s.sku, 2});
        record(Counted{s.sku});
    });

    il::memory::StateRepository<Shipment> const shipments;
    il::memory::StateRepository<il::Cursor> const cursors;
    // #region inbox
    il::TransactionService const effects{il::OptimisticVersioning{.missing = il::Missing::create}, shipments};
    il::Inbox const inbox{effects, "shipping"};
    auto const ship = [&](il::Event const& event) {
        auto const sold = [&](Sold const& fact) {
            return inbox.handle(event, fact.sku, [&](Shipment& s) { s.parcels += fact.parcels; });
        };
        return il::match(event, sold, il::otherwise::ignore);  // what is not ours is passed over
    };
    il::Subscription{events, cursors, "shipping"}.drain(ship).value();
    // #endregion inbox
    // Another reader, at the beginning again: each event comes a second time, and changes nothing.
    il::Subscription{events, cursors, "shipping again"}.drain(ship).value();
    auto const shipped = shipments.load("tea").value().value;
    check(shipped.parcels == 2);

    il::memory::StateRepository<Sales> const sales;
    // #region batch
    il::TransactionService const places{il::OptimisticVersioning{.missing = il::Missing::create}, sales};
    il::BatchSubscription const counting{events, places, "sales", &Sales::place};
    auto const count = [](std::span<il::Event const> batch, Sales& s) { s.events += batch.size(); };
    counting.drain(count).value();
    // #endregion batch
    counting.drain(count).value();  // nothing is left
    auto const counted = sales.load(il::cursor_id("sales", 0)).value().value;
    fmt::print("{} parcels, {} events\n", shipped.parcels, counted.events);
    check(counted.events == 2);
}
