// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>

#include "ours.hpp"

namespace {

struct Postgres {
    explicit Postgres(interlock::postgres::Pool const& pool)
        : events{pool, {.partitions = 4}}, effects{pool}, cursors{pool}
    {
        interlock::postgres::create_schema(pool).value();
        events.create_schema().value();
    }

    interlock::postgres::EventRepository events;
    interlock::postgres::StateRepository<pipeline::Effect> effects;
    interlock::postgres::StateRepository<interlock::Cursor> cursors;
};

}  // namespace

void on_postgres(Plan const& plan)
{
    auto options = interlock::postgres::Options::parse(plan.address).value();
    options.name_space = "jobs" + plan.run;
    pipeline::Ours<Postgres>{Postgres{interlock::postgres::Pool{options}}}.carry_out(plan);
}
