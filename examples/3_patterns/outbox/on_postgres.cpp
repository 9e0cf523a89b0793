// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>

#include "shop_on.hpp"

namespace outbox {

namespace {

/// All states are in the library's own table; their keys tell them apart.
struct Postgres {
    explicit Postgres(il::postgres::Pool const& pool)
        : events{pool, {.partitions = 4}}, stock{pool, {.events = events}}, parcels{pool}, cursors{pool}
    {
        // Making what is there already changes nothing. Elsewhere a migration makes the tables.
        il::postgres::create_schema(pool).value();
        events.create_schema().value();
    }

    il::postgres::EventRepository events;
    il::postgres::StateRepository<Stock> stock;
    il::postgres::StateRepository<Parcel> parcels;
    il::postgres::StateRepository<il::Cursor> cursors;
};

}  // namespace

std::unique_ptr<Shop> shop_on_postgres(std::string const& place, bool careless)
{
    return std::make_unique<ShopOn<Postgres>>(Postgres{il::postgres::Pool{place}}, careless);
}

}  // namespace outbox
