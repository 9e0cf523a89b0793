// SPDX-License-Identifier: BSL-1.0

// Critical sections on a real redis-server of our own, over a unix socket.

#include "../../tests/support/redis_server.hpp"
#include "../support/harness.hpp"
#include "contestants.hpp"

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
            options, "redis_sections", "1 thread", "sections per second", rounds,
            {contestant("bare_lock", bare_lock, {}),
             contestant("interlock_lock", interlock_lock, {{"bare_lock", Kind::at_least, 0.9}}),
             contestant("interlock_efficiency_lock", interlock_efficiency_lock, {{"bare_lock", Kind::at_least, 0}}),
             contestant("bare_section", bare_section, {}),
             contestant("interlock_section", interlock_section, {{"bare_section", Kind::at_least, 1.7}}),
             contestant("interlock_optimistic", interlock_optimistic, {{"bare_section", Kind::at_least, 0}})});
        bench::compete(
            options, "redis_sections", "64 threads, one key", "sections per second", options.smoke ? 1 : 5,
            {contestant("bare_hot_key", bare_hot_key, {}),
             contestant("interlock_hot_lock", interlock_hot_lock, {{"bare_hot_key", Kind::at_least, 0}}),
             contestant("interlock_hot_section", interlock_hot_section, {{"bare_hot_key", Kind::at_least, 0}})});
    } catch (std::exception const& error) {
        std::fprintf(stderr, "redis_sections: %s\n", error.what());
        return 1;
    }
    return 0;
}
