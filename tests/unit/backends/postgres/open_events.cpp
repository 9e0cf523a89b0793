// SPDX-License-Identifier: BSL-1.0

// A log in PostgreSQL that is opened by its URL.

#include "support/open_events.hpp"

#include <interlock/backends/postgres/backend.hpp>
#include <interlock/backends/postgres/event_repository.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"

#include <string>

namespace postgres_open_events_test {

using namespace interlock;

/// Of a name space of its own, with the schema of a log.
std::string fresh_url()
{
    auto const pool = interlock_test::fresh_pool();
    REQUIRE(postgres::EventRepository{pool}.create_schema());
    return interlock_test::postgres_server().url() + "&name_space=" + pool.options().name_space;
}

TEST_CASE("states that are opened with a log record into it", "[postgres][open_events]")
{
    interlock_test::check_states_record_into_log(fresh_url(), "postgres", postgres::backend);
}

TEST_CASE("a log of another place is refused when the states are opened", "[postgres][open_events]")
{
    auto const elsewhere = interlock_test::postgres_server().url() + "&name_space=another";
    interlock_test::check_other_logs_are_refused(fresh_url(), elsewhere, postgres::backend);
}

}  // namespace postgres_open_events_test
