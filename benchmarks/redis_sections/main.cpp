// SPDX-License-Identifier: BSL-1.0

// Critical sections on a redis-server that this program starts, over a unix socket.

#include "contestants.hpp"

#include <vector>

int main(int argc, char** argv)
{
    using Kind = bench::Target::Kind;
    return bench::redis_main(argc, argv, "redis_sections", 0.5, [](bench::RedisRuns& runs) {
        // Only the runs with the server on another processor have targets. On the same processor the work is
        // seen alone, with little waiting.
        for (bool const apart : {true, false}) {
            bench::Placement placement{apart};
            placement.place(runs.server());
            auto const against = [apart](char const* rival, double least) {
                return std::vector<bench::Target>{{rival, Kind::at_least, apart ? least : 0}};
            };
            bench::compete_in_turns(
                runs.options(), "redis_sections", apart ? "1 thread" : "1 thread, on the server's processor",
                "sections per second", runs.rounds(9), 6 * runs.seconds(),
                {runs.turn_taker("bare_lock", bare_lock),
                 runs.turn_taker("interlock_lock", interlock_lock, against("bare_lock", 0.9)),
                 runs.turn_taker(
                     "interlock_efficiency_lock", interlock_efficiency_lock, against("bare_lock", 0)),
                 runs.turn_taker("bare_section", bare_section),
                 runs.turn_taker("interlock_section", interlock_section, against("bare_section", 1.7)),
                 runs.turn_taker("interlock_optimistic", interlock_optimistic, against("bare_section", 0))});
        }
        bench::compete(
            runs.options(), "redis_sections", "64 threads, one key", "sections per second", runs.rounds(5),
            {runs.contestant("bare_hot_key", bare_hot_key),
             runs.contestant("interlock_hot_lock", interlock_hot_lock, {{"bare_hot_key", Kind::at_least, 0}}),
             runs.contestant(
                 "interlock_hot_section", interlock_hot_section, {{"bare_hot_key", Kind::at_least, 0}})});
    });
}
