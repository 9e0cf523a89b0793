// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP

// What the drivers share: options, interleaved rounds, medians, the table with targets, and the lines of
// --csv.
//
// All contestants of a workload run in every round, one after the other, each round beginning with another
// one: what the machine does meanwhile hits all of them alike. Ratios are formed within a round, and the
// median of those is compared with the target.

#include <interlock/core/runtime/progress.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

struct Options {
    bool csv{false};           // lines on the standard output instead of tables
    std::FILE* file{nullptr};  // lines there, and tables on the standard output
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
        if (argument == "--csv" && has_value && std::strncmp(argv[i + 1], "--", 2) != 0) {
            options.file = std::fopen(argv[++i], "w");
            if (options.file == nullptr) {
                std::perror(argv[i]);
                std::exit(2);
            }
            std::time_t const now = std::time(nullptr);
            char date[16];
            std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
            std::fprintf(options.file, "# date %s\n# cores %u\n", date, std::thread::hardware_concurrency());
        } else if (argument == "--csv")
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
                stderr,
                "usage: %s [--csv [FILE]] [--smoke] [--seconds S per run] [--threads N] [--rounds N]\n",
                argv[0]);
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

/// The figure of a contestant that is not there.
inline constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

inline bool all_measured(std::vector<double> const& values)
{
    return !values.empty() &&
           std::none_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
}

/// What a contestant's median has to be: its ratio to a rival's, or without a rival the figure itself.
struct Target {
    enum class Kind : unsigned char { at_most, at_least };
    std::string rival;
    Kind kind;
    double value;  // 0: none, the ratio is only shown

    bool reached(double ratio) const { return kind == Kind::at_most ? ratio <= value : ratio >= value; }
    char const* sign() const { return kind == Kind::at_most ? "<=" : ">="; }
};

struct Contestant {
    std::string name;
    std::function<double(int round)> run;  // one run; its figure
    std::vector<Target> targets{};
};

/// `figure / rival's figure` of each round in which both were measured.
inline std::vector<double> ratios(std::vector<double> const& mine, std::vector<double> const& theirs)
{
    std::vector<double> out;
    for (std::size_t i = 0; i < mine.size() && i < theirs.size(); ++i)
        if (theirs[i] > 0 && !std::isnan(mine[i]))
            out.push_back(mine[i] / theirs[i]);
    return out;
}

/// One line per run, where such lines are wanted: `workload,setting,contestant,round,figure,unit`.
inline void row(
    Options const& options, char const* workload, std::string const& setting, std::string const& contestant,
    int round, double figure, char const* unit)
{
    auto* const out = options.file != nullptr ? options.file : options.csv ? stdout : nullptr;
    if (out == nullptr || std::isnan(figure))
        return;
    char const* const quote = setting.find(',') != std::string::npos ? "\"" : "";
    std::fprintf(
        out, "%s,%s%s%s,%s,%d,%.6g,%s\n", workload, quote, setting.c_str(), quote, contestant.c_str(), round,
        figure, unit);
    std::fflush(out);
}

/// The table of what was measured. In the file, the targets as comments: `#
/// target,workload,setting,contestant,rival,>=,value`.
inline void table(
    Options const& options, char const* workload, std::string const& setting, char const* unit,
    std::vector<Contestant> const& contestants, std::vector<std::vector<double>> const& figures)
{
    auto const count = contestants.size();
    if (options.file != nullptr)
        for (auto const& contestant : contestants)
            for (auto const& target : contestant.targets)
                if (target.value > 0)
                    std::fprintf(
                        options.file, "# target,%s,\"%s\",%s,%s,%s,%g\n", workload, setting.c_str(),
                        contestant.name.c_str(), target.rival.c_str(), target.sign(), target.value);
    if (options.csv)
        return;
    std::printf(
        "\n%s, %s: %s, %zu rounds\n", workload, setting.c_str(), unit,
        figures.empty() ? 0 : figures[0].size());
    std::printf(
        "  %-28s %11s %11s %11s   ratio (median of rounds, min..max)\n", "contestant", "min", "median",
        "max");
    for (std::size_t i = 0; i < count; ++i) {
        auto const& contestant = contestants[i];
        bool const measured = all_measured(figures[i]);
        if (measured)
            std::printf(
                "  %-28s %11.4g %11.4g %11.4g", contestant.name.c_str(), least(figures[i]),
                median(figures[i]), greatest(figures[i]));
        else
            std::printf("  %-28s %35s", contestant.name.c_str(), "not measured");
        for (auto const& target : contestant.targets) {
            auto middle = measured ? median(figures[i]) : not_measured;
            if (!target.rival.empty()) {
                auto const rival = static_cast<std::size_t>(
                    std::find_if(
                        contestants.begin(), contestants.end(),
                        [&](Contestant const& c) { return c.name == target.rival; }) -
                    contestants.begin());
                if (rival == count)
                    continue;
                auto const r = ratios(figures[i], figures[rival]);
                middle = r.empty() ? not_measured : median(r);
                if (r.empty())
                    std::printf("   x %s", target.rival.c_str());
                else
                    std::printf(
                        "   %.2f (%.2f..%.2f) x %s", middle, least(r), greatest(r), target.rival.c_str());
            }
            if (target.value > 0)
                std::printf(
                    "%s target %s %.2f: %s", target.rival.empty() ? "  " : ",", target.sign(), target.value,
                    std::isnan(middle)       ? "not measured"
                    : target.reached(middle) ? "reached"
                                             : "MISSED");
            else if (std::isnan(middle))
                std::printf(": not measured");
        }
        std::printf("\n");
    }
    std::fflush(stdout);
}

/// At a terminal, how far it is, once it takes longer than two seconds.
inline interlock::Progress progress_of(
    std::string const& workload, std::string const& setting, int rounds, std::size_t runs)
{
    return interlock::Progress{
        std::cerr, workload + ", " + setting, static_cast<std::uint64_t>(rounds) * runs, "runs"};
}

/// Runs the contestants `rounds` times, and prints the table or the lines of `--csv`.
inline std::vector<std::vector<double>> compete(
    Options const& options, char const* workload, std::string const& setting, char const* unit, int rounds,
    std::vector<Contestant> const& contestants)
{
    auto const count = contestants.size();
    std::vector<std::vector<double>> figures(count);
    auto progress = progress_of(workload, setting, rounds, count);
    for (int round = 0; round < rounds; ++round) {
        for (std::size_t j = 0; j < count; ++j) {
            auto const i = (static_cast<std::size_t>(round) + j) % count;
            auto const figure = contestants[i].run(round);
            figures[i].push_back(figure);
            progress.hide();
            row(options, workload, setting, contestants[i].name, round, figure, unit);
            progress.add();
        }
    }
    progress.hide();
    table(options, workload, setting, unit, contestants, figures);
    return figures;
}

/// One that does what is measured when it is told to. `prepare()` gives what is called with 0, 1, 2...
struct TurnTaker {
    std::string name;
    std::function<std::function<void(int)>()> prepare;
    std::vector<Target> targets{};
};

/// As `compete`, where the machine changes its mind within a run: in each round, of `seconds`, all take turns
/// of four calls, and the figure of each is what it would do in a second by its median turn.
inline void compete_in_turns(
    Options const& options, char const* workload, std::string const& setting, char const* unit, int rounds,
    double seconds, std::vector<TurnTaker> const& takers)
{
    using clock = std::chrono::steady_clock;
    constexpr int calls = 4;
    auto const count = takers.size();
    std::vector<std::vector<double>> figures(count);
    std::vector<Contestant> contestants;
    for (auto const& taker : takers)
        contestants.push_back({taker.name, {}, taker.targets});
    auto progress = progress_of(workload, setting, rounds, 1);
    for (int round = 0; round < rounds; ++round) {
        std::vector<std::function<void(int)>> ready;
        for (auto const& taker : takers)
            ready.push_back(taker.prepare());
        std::vector<std::vector<double>> turns(count);
        auto const end = clock::now() +
                         std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
        int call = 0;
        for (std::size_t first = 0; first == 0 || clock::now() < end; ++first, call += calls)
            for (std::size_t j = 0; j < count; ++j) {
                auto const i = (first + j) % count;
                auto const begin = clock::now();
                for (int k = 0; k < calls; ++k)
                    ready[i](call + k);
                turns[i].push_back(std::chrono::duration<double>(clock::now() - begin).count());
            }
        for (std::size_t i = 0; i < count; ++i) {
            figures[i].push_back(calls / median(turns[i]));
            progress.hide();
            row(options, workload, setting, takers[i].name, round, figures[i].back(), unit);
        }
        progress.add();
    }
    progress.hide();
    table(options, workload, setting, unit, contestants, figures);
}

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_HARNESS_HPP
