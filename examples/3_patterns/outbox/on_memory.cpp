// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/memory/state_repository.hpp>

#include "shop_on.hpp"

namespace outbox {

namespace {

struct Memory {
    il::memory::EventRepository events{{.partitions = 4}};
    il::memory::StateRepository<Stock> stock{{.events = events}};
    il::memory::StateRepository<Parcel> parcels{};
    il::memory::StateRepository<il::Cursor> cursors{};
};

}  // namespace

std::unique_ptr<Shop> shop_on_memory(bool careless)
{
    return std::make_unique<ShopOn<Memory>>(Memory{}, careless);
}

}  // namespace outbox
