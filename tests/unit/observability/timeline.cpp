// SPDX-License-Identifier: BSL-1.0

// A run as a picture: one JSON object, a row per key, slices for holders and those who wait.

#include <interlock/core/codec/json.hpp>
#include <interlock/observability/timeline.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace timeline_test {

using namespace interlock;
using namespace std::chrono_literals;

std::size_t count(std::string_view text, std::string_view part)
{
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
        ++found;
    return found;
}

void hand_on(TimelineObserver& timeline, Key const& key)
{
    ObservedLock const lock{{"memory", "here", "memory"}, &key, nullptr};
    timeline.on_acquire({Errc::ok, FencingToken{1}, false, 1, 0ns, 5us, 0ns, lock});
    timeline.on_release({Errc::ok, FencingToken{1}, true, 2ms, lock});
    timeline.on_acquire({Errc::ok, FencingToken{2}, true, 0, 2ms, 0ns, 0ns, lock});
    timeline.on_acquire({Errc::deadline_exceeded, {}, false, 3, 1ms, 1ms, 1ms, lock});
    timeline.on_lock({.kind = LockEvent::Kind::in_doubt, .token = FencingToken{2}, .lock = lock});
    timeline.on_lock(
        {.kind = LockEvent::Kind::lost, .token = FencingToken{2}, .reason = LostReason::taken, .lock = lock});
    timeline.on_lock({.kind = LockEvent::Kind::fenced_out, .token = FencingToken{2}, .lock = lock});
    timeline.on_release({Errc::lock_lost, FencingToken{2}, false, 3ms, lock});
    timeline.on_release({Errc::unavailable, {}, false, 0ns, lock});  // of a removal: nobody's hold
}

TEST_CASE("locks are rows of slices, arrows and moments", "[observability][timeline]")
{
    TimelineObserver timeline;
    Key const first{std::string("sku-1")};
    Key const second{std::string("sku-2")};
    hand_on(timeline, first);
    hand_on(timeline, second);
    auto const json = timeline.json();
    CHECK(detail::JsonReader{json}.read());
    CHECK(count(json, R"("name":"process_name","args":{"name":"sku-1"})") == 1);
    CHECK(count(json, R"("name":"process_name","args":{"name":"sku-2"})") == 1);
    CHECK(count(json, R"("name":"held, handed on")") == 2);
    CHECK(count(json, R"("name":"held, then lost")") == 2);
    CHECK(count(json, R"("ph":"X")") == 4);
    CHECK(count(json, R"("name":"waiting")") == 2 * 2 * 2);  // begin and end
    CHECK(count(json, R"("name":"waiting in vain")") == 2 * 2);
    CHECK(count(json, R"("name":"in doubt")") == 2);
    CHECK(count(json, R"("name":"lost")") == 2);
    CHECK(count(json, R"("name":"fenced out")") == 2);
    CHECK(count(json, R"("reason":"taken")") == 2);
    CHECK(count(json, R"("ph":"s")") == 2);  // each arrow has both ends
    CHECK(count(json, R"("ph":"f")") == 2);
}

/// The numbers behind `name` in the lines that have `part`, in their order.
std::vector<double> numbers(std::string const& json, std::string const& part, std::string const& name)
{
    std::vector<double> all;
    std::istringstream lines(json);
    for (std::string line; std::getline(lines, line);)
        if (line.find(part) != std::string::npos)
            all.push_back(std::stod(line.substr(line.find("\"" + name + "\":") + name.size() + 3)));
    return all;
}

TEST_CASE("holds of one row never overlap, in whatever order they are told", "[observability][timeline]")
{
    TimelineObserver timeline;
    Key const key{std::string("sku-1")};
    ObservedLock const lock{{"memory", "here", "memory"}, &key, nullptr};
    std::uint64_t token = 0;
    auto const take = [&](bool handed_on) {
        timeline.on_acquire({Errc::ok, FencingToken{++token}, handed_on, 1, 0ns, 0ns, 0ns, lock});
        std::this_thread::sleep_for(1ms);
    };
    auto const release = [&](std::uint64_t whose, bool hands_on) {
        timeline.on_release({Errc::ok, FencingToken{whose}, hands_on, 1h, lock});
    };
    take(false);
    take(true);
    release(1, true);  // told after the next one has it
    take(true);
    release(3, false);  // and after the next one has ended
    release(2, true);
    auto const json = timeline.json();
    auto from = numbers(json, R"("ph":"X")", "ts");
    auto dur = numbers(json, R"("ph":"X")", "dur");
    REQUIRE(from.size() == 3);  // in the order 1, 3, 2
    CHECK(from[0] + dur[0] <= from[2] + 0.001);
    CHECK(from[2] + dur[2] <= from[1] + 0.001);
    CHECK(*std::min_element(dur.begin(), dur.end()) >= 1000);  // microseconds
    // Each arrow begins in the slice of one holder and ends where that of the next begins.
    auto const tails = numbers(json, R"("ph":"s")", "ts");
    auto const heads = numbers(json, R"("ph":"f")", "ts");
    REQUIRE(tails.size() == 2);
    CHECK(tails[0] >= from[0]);
    CHECK(tails[0] < from[0] + dur[0]);
    CHECK(heads == std::vector{from[2], from[1]});
}

TEST_CASE(
    "a grant that was lost before its holder heard of it is no hold beside the next one's",
    "[observability][timeline]")
{
    TimelineObserver timeline;
    Key const key{std::string("sku-1")};
    ObservedLock const lock{{"memory", "here", "memory"}, &key, nullptr};
    auto const acquire = [&](std::uint64_t token) {
        timeline.on_acquire({Errc::ok, FencingToken{token}, token == 7, 1, 0ns, 0ns, 0ns, lock});
        std::this_thread::sleep_for(1ms);
    };
    timeline.on_lock(
        {.kind = LockEvent::Kind::lost,
         .token = FencingToken{7},
         .reason = LostReason::expired,
         .lock = lock});
    acquire(8);
    acquire(7);  // whoever it was handed to stood still
    timeline.on_release({Errc::lock_lost, FencingToken{7}, false, 1ms, lock});
    timeline.on_release({Errc::ok, FencingToken{8}, false, 2ms, lock});
    auto const json = timeline.json();
    REQUIRE(count(json, R"("ph":"X")") == 1);
    CHECK(numbers(json, R"("ph":"X")", "dur")[0] >= 2000);  // microseconds
    CHECK(count(json, R"("name":"lost")") == 1);
    CHECK(count(json, R"("name":"handed on")") == 0);
}

TEST_CASE("calls and conflicts are in the rows of their keys", "[observability][timeline]")
{
    TimelineObserver timeline;
    Key const keys[] = {Key{std::string("a\"b\n\xff")}, Key{std::string("c")}};
    CallInfo call;
    call.policy = "optimistic_versioning";
    call.operation = "sell";
    call.keys = keys;
    timeline.on_conflict({"optimistic_versioning", Errc::version_conflict, 1, 0ns, true, &call});
    timeline.on_unknown({Errc::unavailable, Effect::applied, &call});
    timeline.on_transaction({"optimistic_versioning", 2, Errc::ok, false, false, 1ms, &call});
    auto const json = timeline.json();
    CHECK(detail::JsonReader{json}.read());
    CHECK(count(json, R"("name":"conflict")") == 2);
    CHECK(count(json, R"("name":"outcome unknown")") == 2);
    CHECK(count(json, R"("name":"sell")") == 4);
    CHECK(count(json, R"("attempts":2)") == 2);
}

TEST_CASE("an empty timeline, a full one, and two that are joined are JSON", "[observability][timeline]")
{
    TimelineObserver const empty;
    CHECK(detail::JsonReader{empty.json()}.read());
    TimelineObserver full{{.max_events = 3}};
    Key const key{std::string("sku-1")};
    hand_on(full, key);
    CHECK(detail::JsonReader{full.json()}.read());
    CHECK(full.left_out() > 0);
    TimelineObserver other{{.process = 2, .process_name = "worker 2"}};
    hand_on(other, key);
    auto const joined = "{\"traceEvents\":[" + full.events() + "," + other.events() + "]}";
    CHECK(detail::JsonReader{joined}.read());
    CHECK(count(joined, "worker 2") == 1);
}

TEST_CASE("rows are bounded, and what began before the clock is JSON", "[observability][timeline]")
{
    TimelineObserver timeline{{.max_events = 4}};
    for (int i = 0; i < 10; ++i) {
        hand_on(timeline, Key{"sku-" + std::to_string(i)});
        static_cast<void>(timeline.take());
    }
    CHECK(count(timeline.json(), R"("name":"process_name")") == 4);
    CHECK(timeline.left_out() >= 6);

    TimelineObserver early;
    Key const key{std::string("sku-1")};
    ObservedLock const lock{{"memory", "here", "memory"}, &key, nullptr};
    early.on_acquire({Errc::ok, FencingToken{1}, false, 1, 0ns, 24h * 365 * 200 + 1ns, 0ns, lock});
    CHECK(detail::JsonReader{early.json()}.read());
    CHECK(count(early.json(), R"("ts":-)") == 1);
}

TEST_CASE("what is taken again and again is joined to one file", "[observability][timeline]")
{
    TimelineObserver timeline{{.max_events = 13}};
    Key const first{std::string("sku-1")};
    Key const second{std::string("sku-2")};
    hand_on(timeline, first);
    auto part = timeline.take();
    CHECK(timeline.take().empty());
    hand_on(timeline, first);
    part += timeline.take();
    hand_on(timeline, second);
    part += timeline.take();
    CHECK(timeline.left_out() == 0);  // of what was taken there is no more
    auto const whole = TimelineObserver::joined(std::array{part});
    CHECK(detail::JsonReader{whole}.read());
    CHECK(count(whole, R"("name":"process_name")") == 2);
    CHECK(count(whole, R"("name":"held, handed on")") == 3);
    // Of a process that was killed while it wrote, what was whole is there.
    auto const cut = TimelineObserver::joined(std::array{part.substr(0, part.size() - 30), part});
    CHECK(detail::JsonReader{cut}.read());
    CHECK(count(cut, R"("name":"held, handed on")") == 6);
    CHECK(detail::JsonReader{TimelineObserver::joined({})}.read());
}

}  // namespace timeline_test
