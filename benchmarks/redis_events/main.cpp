// SPDX-License-Identifier: BSL-1.0

// Events on a redis-server that this program starts, over a unix socket.

#include "contestants.hpp"

int main(int argc, char** argv)
{
    using Kind = bench::Target::Kind;
    return bench::redis_main(argc, argv, "redis_events", 0.5, [](bench::RedisRuns& runs) {
        bench::compete(
            runs.options(), "redis_events", "128 at once, one connection", "commits per second",
            runs.rounds(9),
            {runs.contestant("commits", commits),
             runs.contestant(
                 "commits_with_events", commits_with_events, {{"commits", Kind::at_least, 0.5}})});
        bench::compete(
            runs.options(), "redis_events", "batches of 500", "events read per second", runs.rounds(9),
            {runs.contestant("bare_read", bare_read),
             runs.contestant("interlock_read", interlock_read, {{"bare_read", Kind::at_least, 0}})});
    });
}
