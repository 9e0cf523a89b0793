// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/cloud_events.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <fmt/format.h>

#include "books.hpp"
#include "broker.hpp"
#include "roles.hpp"

#include <cstdint>

namespace relay {

namespace {

/// What the receiver keeps of a stream.
struct Shelf {
    std::string sku;
    std::int64_t sold{0};
    std::int64_t last{0};  // number in the stream of the newest event
    std::int64_t out_of_order{0};
};
BOOST_DESCRIBE_STRUCT(Shelf, (), (sku, sold, last, out_of_order))

}  // namespace

bool receive(Options const& options)
{
    il::memory::StateRepository<Shelf> const shelves;
    il::TransactionService const service{il::OptimisticVersioning{.missing = il::Missing::create}, shelves};
    il::Inbox const inbox{service, "shelves"};
    std::size_t events = 0;
    std::size_t again = 0;
    std::size_t unreadable = 0;

    // #region receive
    auto const consumer = open_consumer(options.broker, options.topic, options.queue);
    consumer->receive(options.idle, [&](std::string const& json) {
        auto const cloud = il::from_cloud_event<Facts>(json);
        auto const sold = cloud ? cloud->event.as<Sold>() : std::nullopt;
        if (!sold) {
            ++unreadable;
            return true;
        }
        auto const number = cloud->event.number;
        // The id of the event is what a duplicate is known by: it has its effect once.
        auto const handled = inbox.handle(cloud->event, sold->sku, [&](Shelf& shelf) {
            shelf.sold += sold->quantity;
            shelf.out_of_order += number == shelf.last + 1 ? 0 : 1;
            shelf.last = number;
        });
        ++(handled.value() == il::Handled::processed ? events : again);
        return events < options.expect;
    });
    // #endregion receive

    std::int64_t out_of_order = 0;
    for (std::size_t i = 0; i < options.streams; ++i)
        if (auto const shelf = shelves.load(fmt::format("sku-{}", i)))
            out_of_order += shelf->value.out_of_order;
    fmt::print(
        "received {} events, {} again, {} unreadable, {} out of order\n", events, again, unreadable,
        out_of_order);
    return events == options.expect && unreadable == 0 && out_of_order == 0;
}

}  // namespace relay
