// SPDX-License-Identifier: BSL-1.0

// Many commands on one connection to a redis-server that this program starts, over a unix socket.

#include "contestants.hpp"

int main(int argc, char** argv)
{
    using Kind = bench::Target::Kind;
    return bench::redis_main(argc, argv, "redis_pipeline", 0.5, [](bench::RedisRuns& runs) {
        bench::compete(
            runs.options(), "redis_pipeline", "512 at once, one connection",
            "lock and unlock pairs per second", runs.rounds(9),
            {runs.contestant("bare_batches", bare_batches),
             runs.contestant(
                 "interlock_coroutines", interlock_coroutines, {{"bare_batches", Kind::at_least, 1.2}}),
             runs.contestant(
                 "interlock_callbacks", interlock_callbacks, {{"bare_batches", Kind::at_least, 0}})});
    });
}
