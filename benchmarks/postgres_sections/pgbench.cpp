// SPDX-License-Identifier: BSL-1.0

// PostgreSQL's own load generator, with the statements of bare_*. It begins to count when all its clients are
// connected.

#include <interlock/backends/postgres/options.hpp>

#include "../../tests/support/postgres_server.hpp"
#include "../support/harness.hpp"
#include "../support/process.hpp"
#include "contestants.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace {

double measure(Plan const& plan, char const* name, std::string const& statements)
{
    auto const program = interlock_test::PostgresServer::binary("pgbench");
    auto const settings = interlock::postgres::detail::parse_settings(plan.url).value();
    // The directory of the socket belongs to this program, so the script goes there.
    auto const script = interlock::postgres::detail::setting(settings, "host") + "/" + name;
    std::ofstream{script} << "\\set id random(1, " << plan.keys << ")\n" << statements;
    auto const whole_seconds = std::to_string(static_cast<int>(std::ceil(plan.seconds)));
    try {
        bench::Process process{
            {program, "-n", "-M", "prepared", "-c", std::to_string(plan.threads), "-j", "2", "-T",
             whole_seconds, "-f", script, plan.url}};
        double figure = bench::not_measured;
        while (auto const line = process.line(std::chrono::seconds{60}))
            if (line->starts_with("tps = "))
                figure = std::atof(line->c_str() + 6);
        return process.ended_well() ? figure : bench::not_measured;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "postgres_sections: %s\n", error.what());
        return bench::not_measured;
    }
}

}  // namespace

double pgbench_optimistic(Plan const& plan)
{
    return measure(
        plan, "pgbench_optimistic",
        "SELECT version, n FROM rows WHERE id = :id \\gset\n"
        "UPDATE rows SET n = :n + 1, version = version + 1 WHERE id = :id AND version = :version RETURNING "
        "version;\n");
}

double pgbench_row_lock(Plan const& plan)
{
    return measure(
        plan, "pgbench_row_lock",
        "BEGIN;\nSELECT version, n FROM rows WHERE id = :id FOR UPDATE \\gset\n"
        "UPDATE rows SET n = :n + 1, version = version + 1 WHERE id = :id;\nCOMMIT;\n");
}
