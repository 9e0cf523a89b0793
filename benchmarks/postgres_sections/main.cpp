// SPDX-License-Identifier: BSL-1.0

// Read-modify-write on a PostgreSQL server that this program starts, over a unix socket, with fsync on.

#include "../../tests/support/postgres_server.hpp"
#include "../support/harness.hpp"
#include "contestants.hpp"

#include <exception>
#include <string>

namespace {

using Kind = bench::Target::Kind;
using Measure = double (*)(Plan const&);

/// What is measured: against which server, with how many threads, and for how long.
struct Course {
    bench::Options const& options;
    std::string url;
    int rounds;
    double seconds;
    std::size_t threads;

    bench::Contestant contestant(
        char const* name, Measure measure, std::size_t callers, int keys,
        std::vector<bench::Target> targets) const
    {
        return {
            name, [*this, measure, callers, keys](int) { return measure({url, seconds, callers, keys}); },
            std::move(targets)};
    }
    /// One that changes many rows.
    bench::Contestant spread(char const* name, Measure measure, std::vector<bench::Target> targets = {}) const
    {
        return contestant(name, measure, threads, 1000, std::move(targets));
    }
    /// One whose callers all change the same row.
    bench::Contestant hot(char const* name, Measure measure, std::vector<bench::Target> targets = {}) const
    {
        return contestant(name, measure, 2 * threads, 1, std::move(targets));
    }
};

void many_rows(Course const& on)
{
    auto const clients = std::to_string(on.threads) + " threads, 1000 rows";
    bench::compete(
        on.options, "postgres_sections", clients + ", optimistic", "changes per second", on.rounds,
        {on.spread("pgbench_optimistic", pgbench_optimistic),
         on.spread("bare_optimistic", bare_optimistic, {{"pgbench_optimistic", Kind::at_least, 0}}),
         on.spread("interlock_optimistic", interlock_optimistic, {{"bare_optimistic", Kind::at_least, 0.95}}),
         on.spread(
             "interlock_remembering", interlock_remembering,
             {{"bare_optimistic", Kind::at_least, 0.95 * 1.25},
              {"interlock_optimistic", Kind::at_least, 1.25}})});
    bench::compete(
        on.options, "postgres_sections", clients + ", row lock", "changes per second", on.rounds,
        {on.spread("pgbench_row_lock", pgbench_row_lock),
         on.spread("bare_row_lock", bare_row_lock, {{"pgbench_row_lock", Kind::at_least, 0}}),
         on.spread("interlock_row_lock", interlock_row_lock, {{"bare_row_lock", Kind::at_least, 0.95}}),
         on.spread(
             "interlock_in_transaction", interlock_in_transaction,
             {{"interlock_row_lock", Kind::at_least, 1 / 1.5}}),
         on.spread(
             "interlock_leased_keys", interlock_leased_keys, {{"interlock_row_lock", Kind::at_least, 0}}),
         on.spread("interlock_lease", interlock_lease, {{"bare_row_lock", Kind::at_least, 0}})});
}

void writes(Course const& on)
{
    auto const clients = std::to_string(on.threads) + " threads, ";
    bench::compete(
        on.options, "postgres_sections", clients + "wide rows", "changes per second", on.rounds,
        {on.spread("all_members", all_members),
         on.spread("changed_members", changed_members, {{"all_members", Kind::at_least, 0.95}})});
    bench::compete(
        on.options, "postgres_sections", clients + "inserts", "inserts per second", on.rounds,
        {on.spread("bare_insert", bare_insert),
         on.spread("interlock_insert", interlock_insert, {{"bare_insert", Kind::at_least, 0}}),
         on.spread("bare_watched_insert", bare_watched_insert),
         on.spread(
             "interlock_checked_insert", interlock_checked_insert,
             {{"bare_watched_insert", Kind::at_least, 0}})});
}

void one_row(Course const& on)
{
    bench::compete(
        on.options, "postgres_sections", std::to_string(2 * on.threads) + " threads, one row",
        "changes per second", on.rounds,
        {on.hot("pgbench_row_lock", pgbench_row_lock),
         on.hot("bare_row_lock", bare_row_lock, {{"pgbench_row_lock", Kind::at_least, 0}}),
         on.hot("bare_optimistic", bare_optimistic, {{"pgbench_row_lock", Kind::at_least, 0}}),
         on.hot("interlock_optimistic", interlock_optimistic, {{"pgbench_row_lock", Kind::at_least, 5}}),
         on.hot("interlock_row_lock", interlock_row_lock, {{"pgbench_row_lock", Kind::at_least, 5}}),
         on.hot("interlock_lease", interlock_lease, {{"pgbench_row_lock", Kind::at_least, 5}}),
         on.hot("alone_optimistic", alone_optimistic, {{"pgbench_row_lock", Kind::at_least, 0}}),
         on.hot("alone_row_lock", alone_row_lock, {{"pgbench_row_lock", Kind::at_least, 0}}),
         on.hot("alone_lease", alone_lease, {{"pgbench_row_lock", Kind::at_least, 0}})});
}

void many_coroutines(Course const& on)
{
    std::size_t const callers = on.options.smoke ? 200 : 2000;
    auto const crowd =
        std::to_string(callers) + " coroutines, " + std::to_string(on.threads) + " connections";
    std::vector<std::vector<double>> bare(2);
    std::vector<double> more_threads;
    std::vector<double> growth;
    std::vector<double> jain;
    for (int round = 0; round < on.rounds; ++round) {
        Plan const plan{on.url, on.seconds, on.threads, static_cast<int>(callers)};
        auto const mine = interlock_crowd(plan, callers);
        bare[0].push_back(bare_row_lock(plan));
        bare[1].push_back(mine.per_second);
        more_threads.push_back(mine.threads);
        growth.push_back(mine.growth);
        jain.push_back(mine.jain);
    }
    auto const show = [&](char const* unit, std::vector<bench::Contestant> const& who,
                          std::vector<std::vector<double>> const& figures) {
        for (std::size_t i = 0; i < who.size(); ++i)
            for (std::size_t round = 0; round < figures[i].size(); ++round)
                bench::row(
                    on.options, "postgres_sections", crowd, who[i].name, static_cast<int>(round),
                    figures[i][round], unit);
        bench::table(on.options, "postgres_sections", crowd, unit, who, figures);
    };
    show(
        "changes per second",
        {{"bare_row_lock", {}}, {"interlock_row_lock", {}, {{"bare_row_lock", Kind::at_least, 0}}}}, bare);
    show("threads more", {{"interlock_row_lock", {}, {{"", Kind::at_most, 16}}}}, {more_threads});
    show("resident memory, end / begin", {{"interlock_row_lock", {}, {{"", Kind::at_most, 1.05}}}}, {growth});
    show(
        "Jain's index between the callers", {{"interlock_row_lock", {}, {{"", Kind::at_least, 0.95}}}},
        {jain});
}

}  // namespace

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 5;
    auto const seconds = options.seconds > 0 ? options.seconds : options.smoke ? 0.05 : 1.0;
    auto const threads = options.threads > 0 ? static_cast<std::size_t>(options.threads) : 8;
    try {
        interlock_test::PostgresServer const server{{"fsync=on"}};
        interlock::postgres::create_schema(interlock::postgres::Pool{server.url()}).value();
        server.command(
            "CREATE TABLE rows (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL) WITH "
            "(fillfactor = 50)");
        server.command("INSERT INTO rows SELECT i, 0, 1 FROM generate_series(1, 2000) i");
        server.command(
            "CREATE TABLE wide_rows (id bigint PRIMARY KEY, n int NOT NULL, name text NOT NULL, city text "
            "NOT "
            "NULL, country text NOT NULL, text text NOT NULL, version bigint NOT NULL) WITH (fillfactor = "
            "50)");
        for (std::string const column : {"name", "city", "country"})
            server.command("CREATE INDEX ON wide_rows (" + column + ")");
        server.command(
            "INSERT INTO wide_rows SELECT i, 0, 'name', 'city', 'country', repeat(md5(i::text), 60), 1 FROM "
            "generate_series(1, 2000) i");
        server.command(
            "CREATE TABLE new_rows (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL)");
        server.command("CREATE TABLE watched_rows (LIKE new_rows INCLUDING ALL)");
        server.command(
            "CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$");
        server.command(
            "CREATE TRIGGER watch BEFORE INSERT ON watched_rows FOR EACH ROW EXECUTE FUNCTION watch()");
        Course const on{options, server.url(), rounds, seconds, threads};
        many_rows(on);
        writes(on);
        one_row(on);
        many_coroutines(on);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "postgres_sections: %s\n", error.what());
        return 1;
    }
    return 0;
}
