// SPDX-License-Identifier: BSL-1.0

// Events as lines: what they say, which are written, and that no key breaks a line.

#include <interlock/core/codec/json.hpp>
#include <interlock/core/event.hpp>
#include <interlock/observability/log.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace log_test {

using namespace interlock;
using namespace std::chrono_literals;

using Lines = std::vector<std::pair<LogLevel, std::string>>;

LogObserver into(Lines& lines, LogOptions options = {.least = LogLevel::debug})
{
    return LogObserver{
        [&](LogLevel level, std::string_view line) { lines.emplace_back(level, std::string(line)); },
        options};
}

Cause const cause{"order-7", "request-9", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};

CallInfo sale()
{
    CallInfo call;
    call.policy = "set_nx_lock";
    call.store = {"memory", "here", "memory"};
    call.operation = "sell";
    call.cause = &cause;
    return call;
}

TEST_CASE("a call is one line, with its trace", "[observability][log]")
{
    Lines lines;
    auto log = into(lines);
    auto const call = sale();
    log.on_transaction({"set_nx_lock", 2, Errc::lock_lost, false, false, 1500us, &call});
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].first == LogLevel::warning);
    CHECK(
        lines[0].second ==
        "event=transaction policy=set_nx_lock store=memory place=here operation=sell result=lock_lost "
        "attempts=2 duration_us=1500 trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 "
        "correlation=order-7 cause_id=request-9");
}

TEST_CASE("a line of JSON is JSON, whatever a key is", "[observability][log]")
{
    std::string const key = GENERATE(
        std::string{"sku-1"}, std::string{"a \"quoted\" \\ key = 5"}, std::string{"line\nbreak\r\t\x7f"},
        std::string{"nul\0byte", 8}, std::string{"\xff\xfe\x80"}, std::string{"K\xc3\xb6ln"},
        std::string{"cut \xe2\x82"}, std::string{"surrogate \xed\xa0\x80"}, std::string{"overlong \xc0\xaf"},
        std::string{"\xf0\x9f\x94\x92"},
        std::string{"\xc2\x85 \xc2\x9b"
                    "2J \xe2\x80\xa8 \xe2\x80\xa9"});
    for (bool const json : {true, false}) {
        Lines lines;
        auto log = into(lines, {.json = json, .least = LogLevel::debug, .keys = HearsKeys::yes});
        Key const named{key};
        log.on_lock(
            {.kind = LockEvent::Kind::lost,
             .token = FencingToken{7},
             .reason = LostReason::taken,
             .lock = {{"memory", "here", "memory"}, &named, nullptr}});
        REQUIRE(lines.size() == 1);
        CHECK(lines[0].first == LogLevel::error);
        for (char const c : lines[0].second)
            CHECK_FALSE((c >= 0 && c < ' '));
        for (auto const* end_of_line : {"\xc2\x85", "\xc2\x9b", "\xe2\x80\xa8", "\xe2\x80\xa9"})
            CHECK(lines[0].second.find(end_of_line) == std::string::npos);
        if (json)
            CHECK(detail::JsonReader{lines[0].second}.read());
    }
}

TEST_CASE("a line says nothing that its reader would read as another field", "[observability][log]")
{
    Lines lines;
    auto log = into(lines, {.least = LogLevel::debug, .keys = HearsKeys::yes});
    Key const key{std::string("x result=ok")};
    log.on_release({Errc::lock_lost, FencingToken{7}, false, 3ms, {{"memory", {}, {}}, &key, nullptr}});
    CHECK(
        lines.at(0).second ==
        "event=release store=memory key=\"x result=ok\" result=lock_lost token=7 "
        "handed_on=false held_us=3000");
}

TEST_CASE("what is less than asked for is not written", "[observability][log]")
{
    Lines lines;
    auto log = into(lines, {.least = LogLevel::warning});
    auto const call = sale();
    log.on_transaction({"p", 1, Errc::ok, false, false, 1us, &call});
    log.on_conflict({"p", Errc::version_conflict, 1, 0ns, true, &call});
    log.on_idempotency(IdempotencyEvent::replayed);
    CHECK(lines.empty());
    log.on_unknown({Errc::unavailable, Effect::unknown, &call});
    log.on_pool_wait({{"elsewhere", {}, {}}, Errc::overloaded, 5s, 8, 3});
    log.on_unsafe_store("it forgets");
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].first == LogLevel::error);
    CHECK(lines[0].second.find("cause=unavailable resolved=unknown") != std::string::npos);
    CHECK(
        lines[1].second ==
        "event=pool_wait store=elsewhere result=overloaded waited_us=5000000 "
        "connections=8 waiting=3");
    CHECK(lines[2].second == "event=unsafe_store why=\"it forgets\"");
}

TEST_CASE("a sink that throws harms nobody", "[observability][log]")
{
    LogObserver log{
        [](LogLevel, std::string_view) { throw std::runtime_error("disk full"); },
        {.least = LogLevel::debug}};
    log.on_idempotency(IdempotencyEvent::executed);
    log.on_connection({ConnectionEvent::Kind::lost, {"elsewhere", {}, {}}, Errc::unavailable});
    SUCCEED("it went on");
}

}  // namespace log_test
