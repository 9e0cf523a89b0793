// SPDX-License-Identifier: BSL-1.0

// Events on a PostgreSQL server that this program starts, over a unix socket, with fsync on.
//
//   benchmark_postgres_events [--stored N,N,...] [--no-fsync] [option]...
//
// `--stored`: only what an event costs beside so many that are stored already, in a log of each size. Ten
// million take 8 GB of disk, and some minutes. `--no-fsync`: the server does not wait for its disk.

#include <interlock/backends/postgres/event_repository.hpp>

#include "../../tests/support/postgres_server.hpp"
#include "../support/growth.hpp"
#include "../support/harness.hpp"
#include "contestants.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <vector>

namespace {

using Kind = bench::Target::Kind;
using Measure = double (*)(Plan const&);

bench::Contestant contestant(
    Plan const& plan, char const* name, Measure measure, std::vector<bench::Target> targets = {})
{
    return {name, [=](int) { return measure(plan); }, std::move(targets)};
}

void latency(bench::Options const& options, Plan const& plan, int rounds)
{
    std::vector<bench::Contestant> const who{
        {"here_p50", {}, {{"", Kind::at_most, 5}}},
        {"here_p99", {}, {{"", Kind::at_most, 0}}},
        {"elsewhere_p50", {}, {{"", Kind::at_most, 0}}},
        {"elsewhere_p99", {}, {{"", Kind::at_most, 0}}}};
    std::vector<std::vector<double>> figures(who.size());
    for (int round = 0; round < rounds; ++round)
        for (bool const elsewhere : {false, true}) {
            auto const times = until_read(plan, elsewhere);
            auto const at = [&](std::size_t percent) { return times[(times.size() - 1) * percent / 100]; };
            auto const first = elsewhere ? std::size_t{2} : std::size_t{0};
            figures[first].push_back(at(50));
            figures[first + 1].push_back(at(99));
        }
    auto const* const unit = "milliseconds";
    for (std::size_t i = 0; i < who.size(); ++i)
        for (std::size_t round = 0; round < figures[i].size(); ++round)
            bench::row(
                options, "postgres_events", "commit to reader", who[i].name, static_cast<int>(round),
                figures[i][round], unit);
    bench::table(options, "postgres_events", "commit to reader", unit, who, figures);
}

/// Takes `--no-fsync` from the words of the command line.
bool take_no_fsync(int& argc, char** argv)
{
    auto* const end = argv + argc;
    auto* const kept =
        std::remove_if(argv + 1, end, [](char const* word) { return std::strcmp(word, "--no-fsync") == 0; });
    argc = static_cast<int>(kept - argv);
    return kept != end;
}

void all_workloads(bench::Options const& options, Plan const& plan, int rounds)
{
    auto const writers = std::to_string(plan.threads) + " writers";
    bench::compete(
        options, "postgres_events", writers + ", append", "appends per second", rounds,
        {contestant(plan, "bare_append", bare_append),
         contestant(plan, "interlock_append", interlock_append, {{"bare_append", Kind::at_least, 0.9}})});
    bench::compete(
        options, "postgres_events", writers + ", 1000 rows", "changes per second", rounds,
        {contestant(plan, "optimistic_state", optimistic_state),
         contestant(
             plan, "optimistic_state_and_event", optimistic_state_and_event,
             {{"optimistic_state", Kind::at_least, 0.65}}),
         contestant(plan, "row_lock_state", row_lock_state),
         contestant(
             plan, "row_lock_state_and_event", row_lock_state_and_event,
             {{"row_lock_state", Kind::at_least, 0.65}})});
    latency(options, plan, rounds);
}

}  // namespace

int main(int argc, char** argv)
{
    auto sizes = bench::take_stored(argc, argv);
    bool const grows = !sizes.empty();
    char const* const fsync = take_no_fsync(argc, argv) ? "fsync=off" : "fsync=on";
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 5;
    auto const seconds = options.seconds > 0 ? options.seconds : options.smoke ? 0.05 : 2.0;
    auto const threads = options.threads > 0 ? static_cast<std::size_t>(options.threads) : 16;
    try {
        interlock_test::PostgresServer const server{{fsync}};
        interlock::postgres::Pool const pool{server.url()};
        interlock::postgres::create_schema(pool).value();
        interlock::postgres::EventRepository{pool}.create_schema().value();
        server.command(
            "CREATE TABLE rows (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL) WITH "
            "(fillfactor = 50)");
        server.command("INSERT INTO rows SELECT i, 0, 1 FROM generate_series(1, 1000) i");
        Plan const plan{server.url(), seconds, threads};
        if (options.smoke)
            sizes = {100, 1000};
        if (grows || options.smoke)
            growth(options, plan, rounds, sizes);
        if (!grows)
            all_workloads(options, plan, rounds);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "postgres_events: %s\n", error.what());
        return 1;
    }
    return 0;
}
