// SPDX-License-Identifier: BSL-1.0

// Asynchronous appends of one event each leave as one command for each shard. Each of them ends as it would
// have ended alone, and occupies no thread meanwhile.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/core/contracts/any_event_repository.hpp>
#include <interlock/core/event.hpp>

#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace redis_shared_appends_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::RedisServer;

NewEvent event(int number)
{
    NewEvent made;
    made.id = std::to_string(number);
    made.type = "happened";
    made.data = made.id;
    return made;
}

/// What is to be appended.
struct Wanted {
    std::string stream;
    Expected expected{Expected::any()};
};

/// A server, and two clients: `events` starts its appends on `io`, which this thread runs; `others` is
/// somebody else's log.
struct Log {
    explicit Log(std::size_t n = 1) : shards(n) {}

    std::string name(std::string_view kind, std::string_view stream) const
    {
        return redis::detail::KeySpace{o.name_space, shards}.name(kind, stream).text();
    }
    std::string name() const { return "v1:{" + o.name_space + ".0}:log"; }

    std::vector<Outcome<Appended>> append(std::vector<Wanted> const& wanted)
    {
        std::vector<CountingWaiter> waiters(wanted.size());
        std::vector<StartedCall<Appended>> calls;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            std::vector<NewEvent> const one{event(++ids)};
            Key const stream{wanted[i].stream};
            calls.push_back(
                events.start(verb::AppendEvents{stream, wanted[i].expected, one}, 20s, waiters[i]));
        }
        std::vector<Outcome<Appended>> outcomes;
        for (auto& call : calls)
            for (bool ended = false; !ended;) {
                if (auto outcome = call->poll()) {
                    outcomes.push_back(*std::move(outcome));
                    ended = true;
                } else if (io.run_one() == 0)
                    io.restart();
            }
        return outcomes;
    }
    /// The same; how many commands have left.
    std::uint64_t commands_of(std::vector<Wanted> const& wanted)
    {
        auto const before = client.statistics().commands;
        for (auto const& outcome : append(wanted))
            REQUIRE(outcome);
        return client.statistics().commands - before;
    }
    /// That the events of a stream have the numbers from 1 on, grow in position and in id, and are found by
    /// their number. How many there are.
    std::size_t check_stream(std::string const& name) const
    {
        Key const stream{name};
        auto const all = others.read_stream(stream, 0, 10'000).value();
        for (std::size_t i = 0; i < all.size(); ++i) {
            auto const number = static_cast<std::int64_t>(i);
            CHECK(all[i].number == number + 1);
            CHECK(all[i].data == all[i].id);
            if (i > 0) {
                CHECK(all[i - 1].position < all[i].position);
                CHECK(std::stoi(all[i - 1].id) < std::stoi(all[i].id));
            }
            CHECK(others.read_stream(stream, number, 1).value().at(0).id == all[i].id);
        }
        return all.size();
    }

    std::size_t shards;
    RedisServer server;
    redis::Options o{redis_options(server)};
    asio::io_context io;
    redis::Client client{io, o};
    redis::EventRepository events{client, {.shards = shards}};
    redis::Client client_of_others{o};
    redis::EventRepository others{client_of_others, {.shards = shards}};
    int ids{0};
};

TEST_CASE("appends of one event each leave as one command for each shard", "[redis][events]")
{
    for (std::size_t const shards : {1U, 3U}) {
        Log log{shards};
        std::vector<Wanted> wanted;
        for (int i = 0; i < 15; ++i)
            wanted.push_back({std::to_string(i % 5)});  // each stream thrice
        std::size_t rounds = 0;
        // The first append to a shard in a millisecond looks how full the log is, and leaves alone. On a slow
        // machine others do so, too.
        CHECK(eventually([&] {
            ++rounds;
            return log.commands_of(wanted) <= wanted.size() / 2 + 1;
        }));
        for (int i = 0; i < 5; ++i)
            CHECK(log.check_stream(std::to_string(i)) == 3 * rounds);
        // Blocking appends, and those of several events, go on from there, and are gone on from.
        CHECK(log.others.append(Key{"3"}, Expected::any(), std::vector{event(1'000'001), event(1'000'002)}));
        CHECK(log.events.append(Key{"3"}, Expected::any(), std::vector{event(1'000'003)}));
        log.ids = 1'000'003;
        log.server.command({"SCRIPT", "FLUSH"});
        log.commands_of(wanted);
        CHECK(log.check_stream("3") == 3 * rounds + 6);
    }
}

TEST_CASE("appends that leave as one command end each with an outcome of its own", "[redis][events]")
{
    Log log;
    log.commands_of({{"0"}, {"1"}, {"2"}, {"3"}, {"4"}});
    log.server.command({"DEL", log.name("stream", "1")});
    log.server.command({"RPUSH", log.name("stream", "1"), "x"});
    log.server.command({"SET", log.name("stream", "2"), "000000000001and more"});
    std::int64_t last = 1;
    CHECK(eventually([&] {
        auto const before = log.client.statistics().commands;
        auto const outcomes = log.append(
            {{"0", Expected::exactly(last)},
             {"1"},
             {"2"},
             {"0", Expected::exactly(last)},
             {"3", Expected::exactly(7)},
             {"0", Expected::exactly(last + 1)},
             {"new", Expected::none()},
             {"4"}});
        last += 2;
        CHECK(outcomes[0].value().number == last - 1);
        CHECK(outcomes[1].errc() == Errc::corrupt_state);
        CHECK(outcomes[2].errc() == Errc::corrupt_state);
        CHECK(outcomes[3].errc() == Errc::version_conflict);
        CHECK(outcomes[3].message().find("is at number " + std::to_string(last - 1)) != std::string::npos);
        CHECK(outcomes[4].errc() == Errc::version_conflict);
        CHECK(outcomes[5].value().number == last);
        CHECK(outcomes[7]);
        for (auto const& outcome : outcomes)
            CHECK((outcome || outcome.effect() == Effect::not_applied));
        return log.client.statistics().commands - before <= 4;
    }));
    CHECK(log.check_stream("0") == static_cast<std::size_t>(last));
    CHECK(log.check_stream("new") == 1);
    CHECK(log.check_stream("3") == 1);
}

TEST_CASE(
    "of appends that leave as one command, one without a right costs the others nothing", "[redis][events]")
{
    Log log;
    std::string const head = "v1:{" + log.o.name_space + ".0}:";
    log.server.command({"ACL", "SETUSER", "less", "on", ">password", "+@all", "&*"});
    log.server.command({"ACL", "SETUSER", "less", "~" + head + "log", "~" + head + "readers"});
    log.server.command(
        {"ACL", "SETUSER", "less", "~" + log.name("stream", "1"), "~" + log.name("stream", "2")});
    log.server.command({"ACL", "SETUSER", "less", "%R~" + log.name("stream", "read")});
    auto less = log.o;
    less.user = "less";
    less.password = "password";
    log.client = redis::Client{log.io, less};
    log.events = redis::EventRepository{log.client};
    std::size_t rounds = 0;
    CHECK(eventually([&] {
        auto const before = log.client.statistics().commands;
        auto const outcomes = log.append({{"1"}, {"none"}, {"read"}, {"2"}});
        ++rounds;
        CHECK(outcomes[0]);
        CHECK(outcomes[1].errc() == Errc::misconfigured);
        CHECK(outcomes[2].errc() == Errc::misconfigured);
        CHECK(outcomes[3]);
        return log.client.statistics().commands - before == 5;  // all but one as one, and then each alone
    }));
    CHECK(log.check_stream("1") == rounds);
    CHECK(log.check_stream("2") == rounds);
    CHECK(log.check_stream("none") == 0);
    CHECK(log.check_stream("read") == 0);
}

TEST_CASE("a full log refuses appends that might have left as one command", "[redis][events]")
{
    Log log;
    log.events = redis::EventRepository{log.client, {.max_events = 65'537}};
    log.commands_of({{"0"}});
    // As if there were as many already.
    std::string script = "for i = 1, 65536 do redis.call('XADD', KEYS[1], '*', 'n', '', 'e', '') end";
    log.server.command({"EVAL", script, "1", log.name()});
    CHECK(eventually([&] { return log.append({{"0"}})[0].errc() == Errc::overloaded; }));
    // Those behind a refusal look, too, whether they leave together or one after the other.
    auto const length = log.server.command({"XLEN", log.name()});
    for (int i = 0; i < 100; ++i)
        for (auto const& outcome : log.append({{"0"}, {"1"}, {"2"}}))
            CHECK(outcome.errc() == Errc::overloaded);
    CHECK(log.server.command({"XLEN", log.name()}) == length);
    log.server.command({"XTRIM", log.name(), "MAXLEN", "100"});
    CHECK(log.append({{"1"}})[0]);
}

TEST_CASE("readers elsewhere are woken by appends that leave as one command", "[redis][events]")
{
    Log log;
    CountingWaiter here;
    CountingWaiter there;
    log.events.subscribe(0, here);
    log.others.subscribe(0, there);
    CHECK(log.others.note_consumer("there", 0, 0));
    CHECK(eventually([&] {
        log.commands_of({{"0"}});
        log.io.restart();
        log.io.run_for(1ms);
        return here.count() > 0 && there.count() > 0;
    }));
    std::vector<Wanted> const three{{"0"}, {"1"}, {"2"}};
    for (int i = 0; i < 5; ++i) {
        auto const before = here.count();
        int heard = 0;
        CHECK(eventually([&] {
            std::this_thread::sleep_for(2ms);  // what was said before has been heard
            log.commands_of({{"3"}});          // looks how full the log is
            std::this_thread::sleep_for(200us);
            heard = there.count();
            return log.commands_of(three) == 1;
        }));
        CHECK(eventually([&] { return there.count() > heard; }));
        CHECK(here.count() > before);
    }
    log.events.unsubscribe(0, here);
    log.others.unsubscribe(0, there);
}

TEST_CASE("the end of a stream that is no number is refused, and nothing is stored", "[redis][events]")
{
    Log log;
    for (auto const* const end :
         {"-00000000001", "-00000000002", "nan         ", "inf         ", "999999999999"}) {
        CAPTURE(end);
        log.server.command({"SET", log.name("stream", "bad"), end});
        CHECK(eventually([&] {
            auto const before = log.client.statistics().commands;
            auto const outcomes = log.append({{"good"}, {"bad"}, {"good"}});
            CHECK(outcomes[0]);
            CHECK(outcomes[1].errc() == Errc::corrupt_state);
            CHECK(outcomes[2]);
            return log.client.statistics().commands - before < 3;
        }));
        CHECK(
            log.events.append(Key{"bad"}, Expected::any(), std::vector{event(1), event(2)}).errc() ==
            Errc::corrupt_state);
        auto const read = log.events.read_stream(Key{"bad"});
        CHECK((!read || read->empty()));
    }
    CHECK(log.others.read(0, 0, 1).value().events.size() == 1);
}

TEST_CASE("asynchronous calls of a log of events occupy no thread", "[redis][events]")
{
    Log log;
    std::vector const one{event(1)};
    auto const threads = [] {
        namespace fs = std::filesystem;
        return std::distance(fs::directory_iterator{"/proc/self/task"}, fs::directory_iterator{});
    };
    auto const check = [&](auto const& events) {
        std::atomic<std::size_t> ended{0};
        auto const call_all = [&](int times) {
            for (int i = 0; i < times; ++i) {
                events.async_append(Key{"a"}, Expected::any(), one, 20s, [&](Outcome<Appended> done) {
                    ended += done ? 1 : 0;
                });
                events.async_read(0, 0, 10, 20s, [&](Outcome<EventPage> page) { ended += page ? 1 : 0; });
                events.async_extent(0, 20s, [&](Outcome<LogExtent> extent) { ended += extent ? 1 : 0; });
            }
        };
        auto const wait = [&](std::size_t calls) {
            CHECK(eventually([&] {
                log.io.restart();
                log.io.run_for(1ms);
                return ended == calls;
            }));
        };
        call_all(1);  // whatever threads the first calls make
        wait(3);
        auto const before = threads();
        log.server.pause();
        call_all(20);
        log.io.restart();
        log.io.run_for(50ms);
        CHECK(ended == 3);
        CHECK(threads() <= before);
        log.server.resume();
        wait(63);
    };
    check(log.events);
    check(AnyEventRepository{log.events});
}

}  // namespace redis_shared_appends_test
