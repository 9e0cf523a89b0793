// SPDX-License-Identifier: BSL-1.0

// Many seeded runs of the real services on a simulated store and network, each checked against what the store
// really applied. See `--help`.

#include <interlock/core/runtime/progress.hpp>

#include <boost/version.hpp>

#include "simulation/course.hpp"
#include "support/simulation/program.hpp"

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using simulated::Coverage;
using simulated::Mutant;
using simulated_program::current_seed;
using simulated_program::failed;
using simulated_program::fresh_seed;
using simulated_program::passed;
using simulated_program::sanitized;
using simulated_program::say_seed;
using simulated_program::verdict;

struct Result {
    std::string problem;
    std::string story;
    std::uint64_t trace;
    std::uint64_t steps;
};

Result run(std::uint64_t seed, Mutant mutant, Coverage& coverage)
{
    current_seed = seed;
    simulated::Run one{seed, mutant, coverage};
    auto problem = one.go();
    auto story = problem.empty() ? std::string{} : one.story();
    return {std::move(problem), std::move(story), one.trace(), one.steps()};
}

/// The seeds that showed each problem.
using Problems = std::map<std::string, std::vector<std::uint64_t>>;

/// Traces that every compiler and every build type must reproduce, with the Boost that Debian 12 has: another
/// one posts handlers in other turns. Printed by `--hash-file -`.
struct Known {
    std::uint64_t seed;
    std::uint64_t trace;
};
constexpr Known known[]{
#include "simulation/traces.inc"
    {0, 0},
};

constexpr std::uint64_t default_seeds = sanitized ? 1000 : 10000;
constexpr std::uint64_t default_fresh_seeds = sanitized ? 1000 : 50000;

/// By breaking the law that `law` begins with.
bool mutant_is_found(Mutant mutant, std::string_view law, std::uint64_t count, std::string& how)
{
    Coverage ignored;
    for (std::uint64_t seed = 1; seed <= count; ++seed)
        if (auto const result = run(seed, mutant, ignored); result.problem.starts_with(law)) {
            how = "found at seed " + std::to_string(seed) + ", " + result.problem;
            return true;
        }
    return false;
}

/// Of the command line.
struct Options {
    std::uint64_t first{1};
    std::optional<std::uint64_t> seeds;
    std::optional<std::uint64_t> single;
    char const* hash_file{nullptr};
    bool fresh{false};
    bool keep_going{false};
    std::optional<int> exit_code;  // nothing is to be run: the usage was printed
};

void print_usage(char const* program)
{
    std::printf(
        "usage: %s [--seed N [--verbose]] [--first N] [--fresh] [--seeds COUNT] [--keep-going] "
        "[--ignore TEXT] [--hash-file FILE]\n\n"
        "  --seed N          run one seed and print the hash of its trace\n"
        "  --verbose         print what happens meanwhile\n"
        "  --first N         the first seed of many (1)\n"
        "  --fresh           the first seed is one that was never used; printed\n"
        "  --keep-going      do not stop at the first problem\n"
        "  --ignore TEXT     a problem with TEXT in its name is none, to look behind it\n"
        "  --seeds COUNT     how many (10000, fresh ones 50000; 1000 under a sanitizer)\n"
        "  --hash-file FILE  write the hashes of a few seeds in the form of traces.inc\n",
        program);
}

Options parse(int count, char** arguments)
{
    Options options;
    for (int i = 1; i < count; ++i) {
        std::string_view const name = arguments[i];
        if (i + 1 < count && name == "--seed") {
            options.single = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--seeds") {
            options.seeds = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--first") {
            options.first = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--hash-file") {
            options.hash_file = arguments[++i];
        } else if (i + 1 < count && name == "--ignore") {
            simulated::Checks::ignored.emplace_back(arguments[++i]);
        } else if (name == "--fresh") {
            options.fresh = true;
            options.first = fresh_seed();
        } else if (name == "--verbose") {
            simulated::Checks::verbose = true;
        } else if (name == "--keep-going") {
            options.keep_going = true;
        } else {
            print_usage(arguments[0]);
            options.exit_code = name == "--help" ? 0 : 2;
            return options;
        }
    }
    return options;
}

void run_one(std::uint64_t seed, Coverage& coverage)
{
    auto const result = run(seed, Mutant::none, coverage);
    std::printf(
        "seed %llu: trace %016llx, %llu steps\n", static_cast<unsigned long long>(seed),
        static_cast<unsigned long long>(result.trace), static_cast<unsigned long long>(result.steps));
    verdict(result.problem.empty(), "seed", result.problem);
    std::printf("%s", result.story.c_str());
}

bool write_hashes(char const* path, Coverage& coverage)
{
    auto* const file = std::fopen(path, "w");
    if (file == nullptr)
        return false;
    for (std::uint64_t seed = 1; seed <= 8; ++seed)
        std::fprintf(
            file, "    {%llu, 0x%016llxULL},\n", static_cast<unsigned long long>(seed),
            static_cast<unsigned long long>(run(seed, Mutant::none, coverage).trace));
    return std::fclose(file) == 0;
}

/// What a thousand seeds or more must have met.
void check_coverage(Coverage& coverage)
{
    std::string missing;
    for (char const* what :
         {"ok",
          "cancelled",
          "deadline_exceeded",
          "lock_lost",
          "fenced_out",
          "outcome_unknown",
          "threw",
          "sum",
          "shared write",
          "renewal",
          "pause",
          "busy pool",
          "force_release",
          "fault",
          "arrived late",
          "lock handed on",
          "unknown, then applied",
          "unknown, then not applied",
          "unknown for good",
          "replayed answer",
          "replayed rejection",
          "rejected",
          "idempotency_in_progress",
          "idempotency_mismatch",
          "idempotency: executed",
          "idempotency: taken over",
          "idempotency: given back",
          "idempotency: lease lost",
          "request with other states",
          "rejection of another body",
          "a decode threw",
          "counter: ok",
          "counter: replayed",
          "batch: ok",
          "batch: deadline_exceeded",
          "batch: an executor stood still"})
        if (coverage.seen[what] == 0)
            missing += std::string(missing.empty() ? "" : ", ") + what;
    verdict(missing.empty(), "every kind of end and of fault was seen", missing);
}

void run_many(Options const& options, Coverage& coverage)
{
    auto const first = options.first;
    auto const seeds = options.seeds.value_or(options.fresh ? default_fresh_seeds : default_seeds);
    std::printf(
        "       seeds %llu to %llu\n", static_cast<unsigned long long>(first),
        static_cast<unsigned long long>(first + seeds - 1));
    std::fflush(stdout);
    std::uint64_t steps = 0;
    Problems problems;
    interlock::Progress progress{std::cerr, "simulation", seeds, "runs"};
    for (auto seed = first; seed < first + seeds && (problems.empty() || options.keep_going); ++seed) {
        auto const result = run(seed, Mutant::none, coverage);
        steps += result.steps;
        progress.add();
        if (!result.problem.empty())
            problems[result.problem].push_back(seed);
    }
    verdict(problems.empty(), "every law holds in every run");
    for (auto const& [what, where] : problems)
        std::printf(
            "       %s: %zu times, first --seed %llu\n", what.c_str(), where.size(),
            static_cast<unsigned long long>(where.front()));
    std::printf("       %llu steps\n", static_cast<unsigned long long>(steps));
    if (seeds >= 1000)
        check_coverage(coverage);
}

void check_traces(Coverage& coverage)
{
    bool repeated = true;
    for (std::uint64_t seed = 1; seed <= 3; ++seed)
        repeated =
            repeated && run(seed, Mutant::none, coverage).trace == run(seed, Mutant::none, coverage).trace;
    verdict(repeated, "a seed gives the same trace twice");
    if (BOOST_VERSION / 100 != 1081) {
        std::printf("       the stored traces are of Boost 1.81, and this is another one: not compared\n");
        return;
    }
    std::string differing;
    for (auto const& one : known)
        if (one.seed != 0 && run(one.seed, Mutant::none, coverage).trace != one.trace)
            differing += " " + std::to_string(one.seed);
    verdict(differing.empty(), "the stored traces are reproduced", differing);
}

void check_mutants()
{
    std::string how;
    verdict(
        mutant_is_found(Mutant::unguarded, "P3", 50, how),
        "a read-modify-write without the library loses updates", how);
    how.clear();
    verdict(
        mutant_is_found(Mutant::no_fences, "P1", 1500, how), "a store that ignores fences is found out", how);
}

}  // namespace

int main(int count, char** arguments)
{
    auto const options = parse(count, arguments);
    if (options.exit_code)
        return *options.exit_code;
    std::signal(SIGABRT, say_seed);
    Coverage coverage;
    if (options.hash_file != nullptr && !options.single)
        return write_hashes(options.hash_file, coverage) ? 0 : 2;
    if (options.single) {
        run_one(*options.single, coverage);
    } else {
        run_many(options, coverage);
        check_traces(coverage);
        check_mutants();
        for (auto const& [what, times] : coverage.seen)
            std::printf("       %-28s %llu\n", what.c_str(), static_cast<unsigned long long>(times));
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
