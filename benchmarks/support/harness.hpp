// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP

// What the drivers share: options, interleaved rounds, medians, and the table with targets.
//
// All contestants of a workload run in every round, one after the other, each round beginning with another one: what
// the machine does meanwhile hits all of them alike. Ratios are formed within a round, and the median of those is
// compared with the target.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

struct Options {
    bool csv{false};
    bool smoke{false};
    double seconds{0};  // per run; 0: the workload's default
    int threads{0};     // 0: the workload's default
    int rounds{0};      // 0: the workload's default
};

inline Options parse(int argc, char** argv)
{
    Options options;
    for (int i = 1; i < argc; ++i) {
        std::string_view const argument = argv[i];
        bool const has_value = i + 1 < argc;
        if (argument == "--csv")
            options.csv = true;
        else if (argument == "--smoke")
            options.smoke = true;
        else if (argument == "--seconds" && has_value)
            options.seconds = std::atof(argv[++i]);
        else if (argument == "--threads" && has_value)
            options.threads = std::atoi(argv[++i]);
        else if (argument == "--rounds" && has_value)
            options.rounds = std::atoi(argv[++i]);
        else {
            std::fprintf(
                stderr, "usage: %s [--csv] [--smoke] [--seconds S per run] [--threads N] [--rounds N]\n", argv[0]);
            std::exit(std::string_view(argv[i]) == "--help" ? 0 : 2);
        }
    }
    return options;
}

inline double median(std::vector<double> values)
{
    if (values.empty())
        return 0;
    std::sort(values.begin(), values.end());
    auto const middle = values.size() / 2;
    return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}
inline double least(std::vector<double> const& values)
{
    return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
}
inline double greatest(std::vector<double> const& values)
{
    return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

/// What a contestant's median ratio to a rival's has to be.
struct Target {
    enum class Kind : unsigned char { at_most, at_least };
    std::string rival;
    Kind kind;
    double value;

    bool reached(double ratio) const { return kind == Kind::at_most ? ratio <= value : ratio >= value; }
};

struct Contestant {
    std::string name;
    std::function<double(int round)> run;  // one run; its figure
    std::vector<Target> targets{};
};

/// `figure / rival's figure` of each round.
inline std::vector<double> ratios(std::vector<double> const& mine, std::vector<double> const& theirs)
{
    std::vector<double> out;
    for (std::size_t i = 0; i < mine.size() && i < theirs.size(); ++i)
        if (theirs[i] > 0)
            out.push_back(mine[i] / theirs[i]);
    return out;
}

/// Runs the contestants `rounds` times and prints the table, or with `--csv` one line per run:
/// `workload,setting,contestant,round,figure,unit`.
inline std::vector<std::vector<double>> compete(
    Options const& options, char const* workload, std::string const& setting, char const* unit, int rounds,
    std::vector<Contestant> const& contestants)
{
    auto const count = contestants.size();
    std::vector<std::vector<double>> figures(count);
    for (int round = 0; round < rounds; ++round) {
        for (std::size_t j = 0; j < count; ++j) {
            auto const i = (static_cast<std::size_t>(round) + j) % count;
            auto const figure = contestants[i].run(round);
            figures[i].push_back(figure);
            if (options.csv) {
                std::printf(
                    "%s,%s,%s,%d,%.6g,%s\n", workload, setting.c_str(), contestants[i].name.c_str(), round, figure, unit);
                std::fflush(stdout);
            }
        }
    }
    if (options.csv)
        return figures;
    std::printf("\n%s, %s: %s, %d rounds\n", workload, setting.c_str(), unit, rounds);
    std::printf("  %-28s %11s %11s %11s   ratio (median of rounds, min..max)\n", "contestant", "min", "median", "max");
    for (std::size_t i = 0; i < count; ++i) {
        auto const& contestant = contestants[i];
        std::printf(
            "  %-28s %11.4g %11.4g %11.4g", contestant.name.c_str(), least(figures[i]), median(figures[i]),
            greatest(figures[i]));
        for (auto const& target : contestant.targets) {
            auto const rival = static_cast<std::size_t>(
                std::find_if(
                    contestants.begin(), contestants.end(), [&](Contestant const& c) { return c.name == target.rival; }) -
                contestants.begin());
            if (rival == count)
                continue;
            auto const r = ratios(figures[i], figures[rival]);
            auto const middle = median(r);
            std::printf("   %.2f (%.2f..%.2f) x %s", middle, least(r), greatest(r), target.rival.c_str());
            if (target.value > 0)
                std::printf(
                    ", target %s %.2f: %s", target.kind == Target::Kind::at_most ? "<=" : ">=", target.value,
                    target.reached(middle) ? "reached" : "MISSED");
        }
        std::printf("\n");
    }
    std::fflush(stdout);
    return figures;
}

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP
