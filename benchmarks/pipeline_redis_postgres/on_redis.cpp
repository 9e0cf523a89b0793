// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>

#include "ours.hpp"

namespace {

struct Redis {
    Redis(interlock::redis::Client const& client, std::string const& run)
        : events{client, {.name_space = "jobs" + run, .shards = 4}},
          effects{client, {.name_space = "effects" + run}}, cursors{client, {.name_space = "cursors" + run}}
    {}

    interlock::redis::EventRepository events;
    interlock::redis::StateRepository<pipeline::Effect> effects;
    interlock::redis::StateRepository<interlock::Cursor> cursors;
};

}  // namespace

void on_redis(Plan const& plan)
{
    interlock::redis::Options options;
    options.unix_path = plan.address;
    pipeline::Ours<Redis>{Redis{interlock::redis::Client{options}, plan.run}}.carry_out(plan);
}
