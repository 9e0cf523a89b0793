// SPDX-License-Identifier: BSL-1.0

// Events on a redis-server that this program starts, over a unix socket.
//
//   benchmark_redis_events [--stored N,N,...] [option]...
//
// `--stored`: only what an event costs beside so many that are stored already, in a log of each size.

#include "../support/growth.hpp"
#include "contestants.hpp"

int main(int argc, char** argv)
{
    using Kind = bench::Target::Kind;
    auto sizes = bench::take_stored(argc, argv);
    bool const grows = !sizes.empty();
    return bench::redis_main(argc, argv, "redis_events", 0.5, [&](bench::RedisRuns& runs) {
        if (runs.smoke())
            sizes = {100, 1000};
        if (grows || runs.smoke())
            growth(runs, sizes);
        if (grows)
            return;
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
