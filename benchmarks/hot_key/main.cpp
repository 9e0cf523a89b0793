// SPDX-License-Identifier: BSL-1.0

// Eight threads change one key in memory. How much is left of a plain mutex's throughput, and does each
// thread get its share?

#include "../support/harness.hpp"
#include "contestants.hpp"

#include <exception>

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 11;
    Plan const plan{
        options.threads > 0 ? options.threads : 8, options.seconds > 0 ? options.seconds
                                                   : options.smoke     ? 0.05
                                                                       : 1.0};
    using Kind = bench::Target::Kind;
    struct Entry {
        char const* name;
        Result (*run)(Plan const&);
        std::vector<bench::Target> targets;
        bool fair;
        std::vector<double> shares{};
    };
    std::vector<Entry> entries{
        {"std_mutex", plain_mutex, {}, false},
        {"map_under_mutex", map_under_mutex, {{"std_mutex", Kind::at_least, 0}}, false},
        {"fifo_mutex", fifo_mutex, {{"std_mutex", Kind::at_least, 0}}, false},
        {"ticket_mutex", ticket_mutex, {{"fifo_mutex", Kind::at_least, 0}}, false},
        {"optimistic_versioning",
         optimistic_versioning,
         {{"std_mutex", Kind::at_least, 0.3}, {"map_under_mutex", Kind::at_least, 0}},
         true},
        {"pessimistic_row_lock", pessimistic_row_lock, {{"fifo_mutex", Kind::at_least, 0.9}}, true},
        {"set_nx_lock", set_nx_lock, {{"fifo_mutex", Kind::at_least, 0.9}}, true}};
    auto const setting = std::to_string(plan.threads) + " threads";
    try {
        std::vector<bench::Contestant> contestants;
        for (auto& entry : entries)
            contestants.push_back(
                {entry.name,
                 [&entry, &plan](int) {
                     auto const result = entry.run(plan);
                     entry.shares.push_back(result.share);
                     return result.per_second;
                 },
                 entry.targets});
        bench::compete(options, "hot_key", setting, "increments/s", rounds, contestants);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "hot_key: %s\n", error.what());
        return 1;
    }
    if (!options.csv)
        std::printf("\nhot_key, %s: slowest thread, in parts of its fair share\n", setting.c_str());
    for (auto const& entry : entries) {
        auto const& name = entry.name;
        for (std::size_t round = 0; round < entry.shares.size(); ++round)
            bench::row(
                options, "hot_key", setting, name, static_cast<int>(round), entry.shares[round], "share");
        if (options.csv)
            continue;
        auto const middle = bench::median(entry.shares);
        std::printf(
            "  %-28s %11.2f %11.2f %11.2f", name, bench::least(entry.shares), middle,
            bench::greatest(entry.shares));
        if (entry.fair)
            std::printf("   target >= 0.50: %s", middle >= 0.5 ? "reached" : "MISSED");
        std::printf("\n");
    }
    return 0;
}
