// SPDX-License-Identifier: BSL-1.0

// Read-modify-write on a real PostgreSQL server of our own, over a unix socket, with fsync on.

#include "../../tests/support/postgres_server.hpp"
#include "../support/harness.hpp"
#include "contestants.hpp"

#include <exception>

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 5;
    auto const seconds = options.seconds > 0 ? options.seconds : options.smoke ? 0.05 : 1.0;
    auto const threads = options.threads > 0 ? static_cast<std::size_t>(options.threads) : 8;
    using Kind = bench::Target::Kind;
    try {
        interlock_test::PostgresServer const server{{"fsync=on"}};
        interlock::postgres::create_schema(interlock::postgres::Pool{server.url()}).value();
        server.command("CREATE TABLE rows (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL) WITH (fillfactor = 50)");
        server.command("INSERT INTO rows SELECT i, 0, 1 FROM generate_series(1, 1000) i");
        auto const contestant = [&](char const* name, double (*measure)(Plan const&), std::size_t callers, int keys,
                                    std::vector<bench::Target> targets) {
            return bench::Contestant{
                name, [&server, seconds, measure, callers, keys](int) { return measure({server.url(), seconds, callers, keys}); },
                std::move(targets)};
        };
        bench::compete(
            options, "postgres_sections", std::to_string(threads) + " threads, 1000 rows", "changes per second", rounds,
            {contestant("bare_optimistic", bare_optimistic, threads, 1000, {}),
             contestant("interlock_optimistic", interlock_optimistic, threads, 1000, {{"bare_optimistic", Kind::at_least, 0.95}}),
             contestant("bare_row_lock", bare_row_lock, threads, 1000, {}),
             contestant("interlock_row_lock", interlock_row_lock, threads, 1000, {{"bare_row_lock", Kind::at_least, 0.95}}),
             contestant("interlock_lease", interlock_lease, threads, 1000, {{"bare_row_lock", Kind::at_least, 0}}),
             contestant(
                 "interlock_in_transaction", interlock_in_transaction, threads, 1000,
                 {{"interlock_row_lock", Kind::at_least, 1 / 1.5}}),
             contestant("interlock_leased_keys", interlock_leased_keys, threads, 1000, {{"interlock_row_lock", Kind::at_least, 0}})});
        bench::compete(
            options, "postgres_sections", "16 threads, one row", "changes per second", options.smoke ? 1 : rounds,
            {contestant("bare_optimistic", bare_optimistic, 16, 1, {}), contestant("bare_row_lock", bare_row_lock, 16, 1, {}),
             contestant("interlock_optimistic", interlock_optimistic, 16, 1, {{"bare_row_lock", Kind::at_least, 0}}),
             contestant("interlock_row_lock", interlock_row_lock, 16, 1, {{"bare_row_lock", Kind::at_least, 0}}),
             contestant("interlock_lease", interlock_lease, 16, 1, {{"bare_row_lock", Kind::at_least, 0}})});
    } catch (std::exception const& error) {
        std::fprintf(stderr, "postgres_sections: %s\n", error.what());
        return 1;
    }
    return 0;
}
