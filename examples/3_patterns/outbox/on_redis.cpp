// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>

#include "shop_on.hpp"

namespace outbox {

namespace {

/// Each type has a name space of its own; the events are in that of the stock.
struct Redis {
    explicit Redis(il::redis::Client const& client, std::string const& name)
        : events{client, {.name_space = name + ".stock", .shards = 4}},
          stock{client, {.name_space = name + ".stock", .shards = 4, .events = events}},
          parcels{client, {.name_space = name + ".parcels"}},
          cursors{client, {.name_space = name + ".cursors"}}
    {}

    il::redis::EventRepository events;
    il::redis::StateRepository<Stock> stock;
    il::redis::StateRepository<Parcel> parcels;
    il::redis::StateRepository<il::Cursor> cursors;
};

}  // namespace

std::unique_ptr<Shop> shop_on_redis(std::string const& place, bool careless)
{
    auto const options = il::redis::Options::parse(place).value();
    return std::make_unique<ShopOn<Redis>>(Redis{il::redis::Client{options}, options.name_space}, careless);
}

}  // namespace outbox
