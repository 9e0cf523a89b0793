// SPDX-License-Identifier: BSL-1.0

// Transactions in memory, on keys that nobody else wants. What does the library cost when there is nothing to
// coordinate?

#include "../support/harness.hpp"
#include "contestants.hpp"

#include <exception>

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 15;
    auto const seconds = options.seconds > 0 ? options.seconds : options.smoke ? 0.02 : 0.3;
    using Kind = bench::Target::Kind;
    bench::Target const against_hand{"sharded_mutex", Kind::at_most, 3.0};
    bench::Target const for_information{"sharded_mutex", Kind::at_most, 0};
    try {
        for (int const threads : options.threads > 0 ? std::vector{options.threads} : std::vector{1, 2}) {
            Plan plan{threads, seconds, {}};
            for (int i = 0; i < 1024; ++i)
                plan.keys.push_back("sku-" + std::to_string(100000 + i));
            auto const contestant = [&](char const* name, double (*run)(Plan const&),
                                        std::vector<bench::Target> targets) {
                return bench::Contestant{name, [&plan, run](int) { return run(plan); }, std::move(targets)};
            };
            bench::compete(
                options, "uncontended", std::to_string(threads) + " threads",
                "ns of processor time per operation", rounds,
                {contestant("sharded_mutex", sharded_mutex, {}),
                 contestant("sharded_mutex_with_rollback", sharded_mutex_with_rollback, {for_information}),
                 contestant("optimistic_versioning", optimistic_versioning, {against_hand}),
                 contestant("pessimistic_row_lock", pessimistic_row_lock, {against_hand}),
                 contestant("set_nx_lock", set_nx_lock, {for_information})});
        }
    } catch (std::exception const& error) {
        std::fprintf(stderr, "uncontended: %s\n", error.what());
        return 1;
    }
    return 0;
}
