// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/counters.hpp>

#include "support/catch.hpp"
#include "support/counter_laws.hpp"
#include "support/cutting_proxy.hpp"
#include "support/redis.hpp"

#include <chrono>
#include <thread>

namespace redis_counters_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::redis_options;

redis::Counters fresh_counters()
{
    return redis::Counters{redis::Client{redis_options()}};
}

TEST_CASE(
    "a counter is changed once per operation id, and every caller gets the first answer", "[redis][counters]")
{
    interlock_test::counters_change_once_per_operation_id(fresh_counters());
}

TEST_CASE("a refusal by a bound is an answer, and stays the answer", "[redis][counters]")
{
    interlock_test::bounds_of_counters_are_answers(fresh_counters());
}

TEST_CASE("numbers that a counter cannot hold exactly are refused", "[redis][counters]")
{
    auto const o = redis_options();
    redis::Counters const counters{redis::Client{o}};
    interlock_test::counters_refuse_what_they_cannot_hold(counters);
    interlock_test::redis_server().command({"SET", "v1:{" + o.name_space + ".0}:count:3:odd", "1.5"});
    CHECK(counters.atomic_once(OperationId{"6"}, Key{"odd"}, increment(1)).errc() == Errc::corrupt_state);
    CHECK(counters.load(Key{"odd"}).errc() == Errc::corrupt_state);
}

TEST_CASE("many buyers never sell below the floor, each retry included", "[redis][counters]")
{
    interlock_test::counters_never_go_below_their_floor(fresh_counters());
}

TEST_CASE("a lost reply is asked for again and changes nothing twice", "[redis][counters]")
{
    auto o = redis_options();
    interlock_test::RedisServer server;
    o.unix_path = server.socket();
    redis::Counters const counters{redis::Client{o}};
    interlock_test::counters_survive_lost_replies(counters, [&] {
        server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        std::this_thread::sleep_for(1ms);
    });
    server.kill();
    auto const gone = counters.atomic_once(OperationId{"gone"}, Key{"k"}, increment(1), {200ms});
    CHECK_FALSE(gone);
    CHECK(gone.effect() != Effect::applied);
}

TEST_CASE(
    "a change whose reply was lost is not said to be not applied when nobody can be asked again",
    "[redis][counters][doubt]")
{
    interlock_test::RedisServer const server{{"--port", "@PORT@"}};
    interlock_test::CuttingProxy proxy{server.port()};
    auto o = redis_options(server);
    redis::Counters const direct{redis::Client{o}};
    o.unix_path.clear();
    o.host = "127.0.0.1";
    o.port = proxy.port();
    redis::Counters const counters{redis::Client{o}};
    // Connected, and the script is known.
    CHECK(counters.atomic_once(OperationId{"warm"}, Key{"other"}, increment(1)));
    interlock_test::check_a_change_without_reply(counters, direct, proxy);
}

}  // namespace redis_counters_test
