// SPDX-License-Identifier: BSL-1.0

// What an observer is told of the connections of a pool.

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>

#include "support/catch.hpp"
#include "support/connection_notes.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

namespace connection_events_test {

using namespace interlock;
using interlock_test::postgres_server;
using interlock_test::Stock;

TEST_CASE("sessions that are opened and lost are told", "[postgres][connection_events]")
{
    auto const& server = postgres_server();
    interlock_test::ConnectionNotes notes;
    auto options =
        postgres::Options::parse(
            server.url() + "&name_space=" + interlock_test::fresh_name_space() + "&application_name=watched")
            .value();
    options.observer = &notes;
    postgres::Pool const pool{options};
    postgres::create_schema(pool).value();
    postgres::StateRepository<Stock> const stock{pool};

    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("postgresql opened") == 1);
    auto const before = notes.waits().size();
    CHECK(before >= 1);
    CHECK(notes.waits().back().result == Errc::ok);
    server.command(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'watched'");
    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("postgresql lost") == 1);
    CHECK(notes.count("postgresql opened") == 2);
    CHECK(notes.waits().size() > before);
}

}  // namespace connection_events_test
