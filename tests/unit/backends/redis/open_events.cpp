// SPDX-License-Identifier: BSL-1.0

// A log in Redis that is opened by its URL.

#include "support/open_events.hpp"

#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/event_repository.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"

#include <string>

namespace redis_open_events_test {

using interlock::redis::unix_backend;

std::string fresh_url()
{
    return interlock_test::redis_server().url() + "?name_space=" + interlock_test::fresh_name_space();
}

TEST_CASE("states that are opened with a log record into it", "[redis][open_events]")
{
    interlock_test::check_states_record_into_log(fresh_url(), "redis", unix_backend);
}

TEST_CASE("a log of another place is refused when the states are opened", "[redis][open_events]")
{
    interlock_test::check_other_logs_are_refused(fresh_url(), fresh_url(), unix_backend);
}

}  // namespace redis_open_events_test
