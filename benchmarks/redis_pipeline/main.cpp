// SPDX-License-Identifier: BSL-1.0

// Many commands on one connection of a real redis-server of our own, over a unix socket.

#include "../../tests/support/redis_server.hpp"
#include "../support/harness.hpp"
#include "contestants.hpp"

#include <cstdio>
#include <exception>

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 9;
    auto const seconds = options.seconds > 0 ? options.seconds : options.smoke ? 0.05 : 0.5;
    using Kind = bench::Target::Kind;
    try {
        interlock_test::RedisServer const server;
        int run = 0;
        auto const contestant = [&](char const* name, double (*measure)(Plan const&), std::vector<bench::Target> targets) {
            return bench::Contestant{
                name, [&server, &run, seconds, measure](int) { return measure({server.socket(), seconds, ++run}); },
                std::move(targets)};
        };
        bench::compete(
            options, "redis_pipeline", "512 at once, one connection", "lock and unlock pairs per second", rounds,
            {contestant("bare_batches", bare_batches, {}),
             contestant("interlock_coroutines", interlock_coroutines, {{"bare_batches", Kind::at_least, 1.2}}),
             contestant("interlock_callbacks", interlock_callbacks, {{"bare_batches", Kind::at_least, 0}})});
    } catch (std::exception const& error) {
        std::fprintf(stderr, "redis_pipeline: %s\n", error.what());
        return 1;
    }
    return 0;
}
