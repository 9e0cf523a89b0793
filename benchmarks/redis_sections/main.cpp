// SPDX-License-Identifier: BSL-1.0

// Critical sections on a real redis-server of our own, over a unix socket.

#include "contestants.hpp"

int main(int argc, char** argv)
{
    using Kind = bench::Target::Kind;
    return bench::redis_main(argc, argv, "redis_sections", 0.5, [](bench::RedisRuns& runs) {
        bench::compete(
            runs.options(), "redis_sections", "1 thread", "sections per second", runs.rounds(9),
            {runs.contestant("bare_lock", bare_lock),
             runs.contestant("interlock_lock", interlock_lock, {{"bare_lock", Kind::at_least, 0.9}}),
             runs.contestant("interlock_efficiency_lock", interlock_efficiency_lock, {{"bare_lock", Kind::at_least, 0}}),
             runs.contestant("bare_section", bare_section),
             runs.contestant("interlock_section", interlock_section, {{"bare_section", Kind::at_least, 1.7}}),
             runs.contestant("interlock_optimistic", interlock_optimistic, {{"bare_section", Kind::at_least, 0}})});
        bench::compete(
            runs.options(), "redis_sections", "64 threads, one key", "sections per second", runs.rounds(5),
            {runs.contestant("bare_hot_key", bare_hot_key),
             runs.contestant("interlock_hot_lock", interlock_hot_lock, {{"bare_hot_key", Kind::at_least, 0}}),
             runs.contestant("interlock_hot_section", interlock_hot_section, {{"bare_hot_key", Kind::at_least, 0}})});
    });
}
