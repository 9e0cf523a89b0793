// SPDX-License-Identifier: BSL-1.0

// Effects and cursor in one commit; a position as a stamp; a relay.

#include <interlock/patterns/batch_subscription.hpp>
#include <interlock/patterns/position_stamp.hpp>
#include <interlock/patterns/relay.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "unit/patterns/subscription.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace batch_subscription_test {

using namespace subscription_test;

/// A read model that is its own cursor.
struct Total {
    std::string id;
    std::int64_t count{0};
    std::int64_t sum{0};
    std::int64_t place{0};
};
BOOST_DESCRIBE_STRUCT(Total, (), (id, count, sum, place))

il::OptimisticVersioning const creates{.missing = il::Missing::create};

}  // namespace batch_subscription_test

TEST_CASE("The effects of a batch and its place are one commit", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f{2};
    f.sell(100, 5);
    il::memory::StateRepository<Total> const totals;
    il::BatchSubscription const counting{
        f.events, il::TransactionService{creates, totals}, "total", &Total::place, {.batch = 7}};
    auto const add = [](std::span<il::Event const> batch, Total& total) {
        for (auto const& event : batch) {
            ++total.count;
            total.sum += event.as<Sold>()->quantity;
        }
    };
    auto const totalled = [&] {
        Total all;
        for (unsigned partition : {0U, 1U})
            if (auto const one = totals.load(il::cursor_id("total", partition))) {
                all.count += one->value.count;
                all.sum += one->value.sum;
            }
        return all;
    };
    SECTION("by one reader, whose handler throws now and then")
    {
        int calls = 0;
        auto const fails = [&](std::span<il::Event const> batch, Total& total) {
            add(batch, total);
            if (++calls % 3 == 0)
                throw std::runtime_error("no");
        };
        for (bool done = false; !done;) {
            try {
                done = counting.drain(fails).has_value();
            } catch (std::runtime_error const&) {
            }
        }
        CHECK(calls >= 3);
    }
    SECTION("by several readers at once")
    {
        std::atomic<int> failed{0};
        interlock_test::run_threads(3, [&](std::size_t) { failed += counting.drain(add) ? 0 : 1; });
        CHECK(failed == 0);
    }
    SECTION("by a run that is stopped")
    {
        std::stop_source stop;
        std::thread runs([&] { static_cast<void>(counting.run(add, stop.get_token())); });
        CHECK(eventually([&] { return totalled().count == 100; }));
        stop.request_stop();
        runs.join();
    }
    CHECK(totalled().count == 100);
    CHECK(totalled().sum == 5050);
}

TEST_CASE("A batch works in the transaction of a row", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(10);
    il::BatchSubscription const reading{
        f.events, il::TransactionService{il::PessimisticRowLock{.missing = il::Missing::create}, f.cursors},
        "shipping"};
    std::size_t seen = 0;
    auto const handler = [&](std::span<il::Event const> batch, Cursors::transaction_type&) {
        seen += batch.size();
    };
    CHECK(reading.drain(handler).value() == 10);
    CHECK(seen == 10);
    CHECK(f.cursor() == il::Cursor{"shipping/0", 10, 1, {}});
    il::BatchSubscription const unnamed{f.events, il::TransactionService{creates, f.cursors}, ""};
    CHECK(unnamed.drain([](std::span<il::Event const>) {}).errc() == il::Errc::invalid_argument);
    CHECK(f.cursors.insert(il::Cursor{"ahead/0", 11, 1, {}}));
    il::BatchSubscription const ahead{f.events, il::TransactionService{creates, f.cursors}, "ahead"};
    CHECK(ahead.drain([](std::span<il::Event const>) {}).errc() == il::Errc::corrupt_state);
}

TEST_CASE("A stamp lets replays pass", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f{3};
    f.sell(30, 9);
    std::vector<il::Position> stamps;
    int applied = 0;
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    auto const handler = [&](il::Event const& event) { il::apply_once(stamps, event, [&] { ++applied; }); };
    CHECK(shipping.drain(handler).value() == 30);
    for (unsigned partition : {0U, 1U, 2U})
        CHECK(shipping.move_to(partition, 0));
    CHECK(shipping.drain(handler).value() == 30);
    CHECK(applied == 30);
    il::Position stamp = 0;
    il::Event event;
    event.position = 1;
    CHECK_THROWS(il::apply_once(stamp, event, [] { throw std::runtime_error("no"); }));
    CHECK(stamp == 0);
    CHECK(il::apply_once(stamp, event, [] {}));
    CHECK(!il::apply_once(stamp, event, [] {}));
}

TEST_CASE("A relay hands each event on, in the order of its stream", "[patterns][relay]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(20, 2);
    std::map<std::string, std::vector<std::string>> broker;
    int calls = 0;
    il::Relay const relay{
        f.events, f.cursors, "broker",
        [&](il::Event const& event) -> il::Outcome<void> {
            if (++calls % 4 == 0)
                return il::Errc::unavailable;
            broker[std::string(event.stream.bytes())].push_back(event.id);
            return il::success();
        },
        quick};
    CHECK(relay.drain().value() == 20);
    CHECK(relay.subscription().parked().value().empty());
    for (auto const& [stream, ids] : broker) {
        auto const events = f.events.read_stream(il::Key{stream}).value();
        REQUIRE(events.size() == ids.size());
        for (std::size_t i = 0; i < ids.size(); ++i)
            CHECK(events[i].id == ids[i]);
    }
    std::stop_source stop;
    stop.request_stop();
    CHECK(relay.run(stop.get_token()));
}
