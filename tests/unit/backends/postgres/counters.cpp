// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/counters.hpp>

#include "support/catch.hpp"
#include "support/counter_laws.hpp"
#include "support/cutting_proxy.hpp"
#include "support/postgres_server.hpp"

#include <chrono>
#include <string>
#include <thread>

namespace postgres_counters_test {

using namespace interlock;
using namespace std::chrono_literals;

postgres::Counters fresh_counters()
{
    return postgres::Counters{interlock_test::fresh_pool()};
}

TEST_CASE(
    "a counter is changed once per operation id, and every caller gets the first answer",
    "[postgres][counters]")
{
    interlock_test::counters_change_once_per_operation_id(fresh_counters());
}

TEST_CASE("a refusal by a bound is an answer, and stays the answer", "[postgres][counters]")
{
    interlock_test::bounds_of_counters_are_answers(fresh_counters());
}

TEST_CASE("numbers that a counter cannot hold exactly are refused", "[postgres][counters]")
{
    interlock_test::counters_refuse_what_they_cannot_hold(fresh_counters());
}

TEST_CASE("many buyers never sell below the floor, each retry included", "[postgres][counters]")
{
    interlock_test::counters_never_go_below_their_floor(fresh_counters());
}

TEST_CASE("a lost reply is asked for again and changes nothing twice", "[postgres][counters]")
{
    interlock_test::counters_survive_lost_replies(fresh_counters(), [] {
        interlock_test::postgres_server().command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'");
        std::this_thread::sleep_for(3ms);
    });
}

TEST_CASE(
    "a change whose reply was lost is not said to be not applied when nobody can be asked again",
    "[postgres][counters][doubt]")
{
    auto const pool = interlock_test::fresh_pool();
    interlock_test::CuttingProxy proxy{interlock_test::postgres_server().port()};
    postgres::Counters const direct{pool};
    postgres::Counters const counters{postgres::Pool{
        "postgresql://interlock@127.0.0.1:" + std::to_string(proxy.port()) +
        "/postgres?name_space=" + pool.options().name_space}};
    CHECK(counters.atomic_once(OperationId{"warm"}, Key{"other"}, increment(1)));  // connected and prepared
    interlock_test::check_a_change_without_reply(counters, direct, proxy);
}

}  // namespace postgres_counters_test
