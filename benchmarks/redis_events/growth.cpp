// SPDX-License-Identifier: BSL-1.0

#include "../support/growth.hpp"

#include <interlock/backends/redis/event_repository.hpp>

#include "contestants.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

void growth(bench::RedisRuns& runs, std::vector<long> const& sizes)
{
    using Log = bench::StoredLog<interlock::redis::EventRepository>;
    std::vector<Log> logs;
    for (auto const size : sizes) {
        auto options = runs.plan().options("stored");
        logs.push_back(
            {size, interlock::redis::EventRepository{
                       interlock::redis::Client{options},
                       {.max_events = static_cast<std::size_t>(size) + 10'000'000}}});
        std::fprintf(stderr, "redis_events: stores %ld events\n", size);
        interlock::NewEvent event;
        event.type = "stock.sold";
        event.data = std::string(200, 'x');
        std::vector<interlock::NewEvent> const some(bench::events_in_stream, event);
        for (long i = 0; i < std::max(1L, size / bench::events_in_stream); ++i) {
            interlock::Key const stream{"order-" + std::to_string(i)};
            static_cast<void>(logs.back().events.append(stream, interlock::Expected::any(), some).value());
        }
    }
    bench::grow(runs.options(), "redis_events", runs.rounds(9), runs.seconds(), logs);
}
