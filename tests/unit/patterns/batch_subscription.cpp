// SPDX-License-Identifier: BSL-1.0

// Effects and cursor in one commit; a position as a stamp; a relay.

#include <interlock/patterns/batch_subscription.hpp>
#include <interlock/patterns/position_stamp.hpp>
#include <interlock/patterns/relay.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "unit/patterns/subscription.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace batch_subscription_test {

using namespace subscription_test;
namespace asio = boost::asio;

template <class Time>
asio::awaitable<void> pause(Time time)
{
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

/// What an observer is told of batches.
struct BatchTold final : il::SubscriptionObserver {
    void on_progress(il::PartitionNotice const&) noexcept override { ++progress; }
    void on_trouble(il::PartitionNotice const&) noexcept override { ++trouble; }
    void on_report(il::PartitionReport const& report) noexcept override
    {
        ++reports;
        last = report;
    }
    int progress{0};
    int trouble{0};
    int reports{0};
    il::PartitionReport last{};
};

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

TEST_CASE("The options of batches may be empty, and the place may not", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(3);
    Cursors const cursors;
    auto const handler = [](std::span<il::Event const>) {};
    il::BatchSubscription const plain{f.events, il::TransactionService{creates, cursors}, "plain", {}};
    CHECK(plain.step(0, handler).value() == 3);
    CHECK(cursors.load("plain/0")->value.position == 3);
    il::memory::StateRepository<Total> const totals;
    std::int64_t Total::* const nothing = nullptr;
    il::BatchSubscription const none{f.events, il::TransactionService{creates, totals}, "none", nothing};
    auto const refused = none.step(0, handler);
    CHECK(refused.errc() == il::Errc::invalid_argument);
    CHECK(refused.detail().find("place") != std::string::npos);
}

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
    SECTION("by a run that blocks no thread, whose handler may await")
    {
        asio::io_context io;
        std::stop_source stop;
        std::optional<il::Outcome<void>> ended;
        auto const awaits = [&](std::span<il::Event const> batch, Total& total) -> asio::awaitable<void> {
            co_await pause(100us);
            add(batch, total);
            if (totalled().count + static_cast<std::int64_t>(batch.size()) == 100)
                stop.request_stop();
        };
        counting.async_run(
            awaits, stop,
            asio::bind_executor(io, [&](std::exception_ptr, il::Outcome<void> o) { ended = std::move(o); }));
        CHECK(!ended);
        io.run();
        REQUIRE(ended);
        CHECK(*ended);
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

TEST_CASE("A run of batches that blocks no thread ends as one that does", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(20);
    BatchTold told;
    il::BatchSubscription const reading{
        f.events,
        il::TransactionService{creates, f.cursors},
        "shipping",
        {.batch = 5, .poll_most = 5ms, .report_every = 1ns, .observer = &told}};
    asio::io_context io;
    asio::cancellation_signal cancel;
    std::exception_ptr thrown;
    std::optional<il::Outcome<void>> ended;
    int batches = 0;
    auto const end = [&](std::exception_ptr e, il::Outcome<void> o) {
        thrown = std::move(e);
        ended = std::move(o);
    };
    SECTION("with what its handler throws")
    {
        auto const throws = [&](std::span<il::Event const>, il::Cursor&) {
            if (++batches == 3)
                throw std::runtime_error("no");
        };
        reading.async_run(throws, asio::bind_executor(io, end));
        io.run();
        REQUIRE(ended);
        CHECK_THROWS_AS(std::rethrow_exception(thrown), std::runtime_error);
        CHECK(f.cursor().position == 10);
        CHECK(told.progress == 2);
        CHECK(told.reports >= 1);
        CHECK(told.last.position == 10);
        CHECK(told.last.lag == 10);
    }
    SECTION("when it is cancelled: the batch that runs is not done")
    {
        auto const waits = [&](std::span<il::Event const>, il::Cursor&) -> asio::awaitable<void> {
            if (++batches < 3)
                co_return;
            asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
            co_await pause(100s);
        };
        reading.async_run(waits, asio::bind_executor(io, asio::bind_cancellation_slot(cancel.slot(), end)));
        io.run();
        REQUIRE(ended);
        CHECK(batches == 3);
        CHECK(f.cursor().position == 10);
    }
    SECTION("when it is cancelled while it waits for the log")
    {
        auto const sees = [&](std::span<il::Event const>) {
            if (++batches == 4)
                asio::post(io, [&] { cancel.emit(asio::cancellation_type::total); });
        };
        reading.async_run(sees, asio::bind_executor(io, asio::bind_cancellation_slot(cancel.slot(), end)));
        io.run();
        REQUIRE(ended);
        CHECK(!thrown);
        CHECK(*ended);
        CHECK(f.cursor().position == 20);
    }
    SECTION("with the failure of a store")
    {
        CHECK(f.cursors.insert(il::Cursor{"shipping/0", 99, 1, {}}));
        auto const none = [](std::span<il::Event const>) {};
        reading.async_run(none, asio::bind_executor(io, end));
        io.run();
        REQUIRE(ended);
        CHECK(ended->errc() == il::Errc::corrupt_state);
        CHECK(told.trouble == 1);
    }
    SECTION("when the context goes away")
    {
        auto const waits = [&](std::span<il::Event const>) -> asio::awaitable<void> {
            ++batches;
            co_await pause(100s);
        };
        {
            asio::io_context other;
            reading.async_run(waits, asio::bind_executor(other, end));
            while (batches == 0)
                other.run_one();
        }
        CHECK(!ended);
        CHECK(f.cursor().position == 0);
    }
}

TEST_CASE("What a consumer of batches has not read is not trimmed", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(20);
    BatchTold told;
    il::BatchSubscription const reading{
        f.events, il::TransactionService{creates, f.cursors}, "shipping", {.batch = 5, .observer = &told}};
    auto const none = [](std::span<il::Event const>) {};
    CHECK_THROWS(reading.step(0, [](std::span<il::Event const>) { throw std::runtime_error("no"); }));
    CHECK(f.events.trim(0, 20).value() == 0);
    CHECK(reading.drain(none).value() == 20);
    CHECK(told.progress == 4);
    f.sell(5);
    CHECK(f.events.trim(0, 25).value() == 20);
    std::stop_source stop;
    CHECK(reading.run(
        [&](std::span<il::Event const>) {
            il::Cursor const elsewhere = f.cursor();
            stop.request_stop();
            CHECK(elsewhere.position == 20);
        },
        stop.get_token()));
    CHECK(f.events.trim(0, 25).value() == 25);
    f.sell(5);
    CHECK(f.events.trim(0, 30).value() == 25);
    CHECK(reading.forget());
    CHECK(f.events.trim(0, 30).value() == 30);
    CHECK(reading.drain(none).errc() == il::Errc::corrupt_state);
    CHECK(told.trouble == 1);
}

TEST_CASE(
    "A handler of batches leaves the place and the partitions of its cursor alone",
    "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(3);
    il::BatchSubscription const reading{
        f.events, il::TransactionService{creates, f.cursors}, "shipping", {.batch = 5}};
    auto const refused = [&](auto change, std::string const& what) {
        auto const outcome = reading.step(0, [&](std::span<il::Event const>, il::Cursor& c) { change(c); });
        CHECK(outcome.errc() == il::Errc::invalid_argument);
        CHECK(outcome.detail().find(what) != std::string::npos);
        CHECK(f.cursors.load("shipping/0").errc() == il::Errc::not_found);
    };
    refused([](il::Cursor& c) { ++c.position; }, "has changed the place in its state from 3 to 4");
    refused([](il::Cursor& c) { c.partitions = 7; }, "has changed the number of partitions in its cursor");
    CHECK(reading.drain([](std::span<il::Event const>) {}).value() == 3);
}

TEST_CASE("A consumer of batches that is new may begin at the end", "[patterns][subscription][start]")
{
    using namespace batch_subscription_test;
    Fixture f;
    il::memory::StateRepository<Total> const totals;
    il::BatchSubscription const late{
        f.events, il::TransactionService{creates, totals}, "late", &Total::place, {.start = il::Start::end}};
    std::size_t seen = 0;
    auto const count = [&](std::span<il::Event const> batch, Total&) { seen += batch.size(); };
    SECTION("of what is there")
    {
        f.sell(10);
        CHECK(late.drain(count).value() == 0);
        CHECK(totals.load("late/0").value().value.place == 10);
    }
    SECTION("of an empty log")
    {
        CHECK(late.drain(count).value() == 0);
        CHECK(totals.load("late/0"));
    }
    SECTION("without blocking")
    {
        f.sell(10);
        asio::io_context io;
        std::stop_source stop;
        auto const sees = [&](std::span<il::Event const>, Total&) {};
        late.async_run(sees, stop, asio::bind_executor(io, [](std::exception_ptr, il::Outcome<void>) {}));
        CHECK(eventually([&] {
            io.run_for(1ms);
            return totals.load("late/0").has_value();
        }));
        stop.request_stop();
        io.run();
        CHECK(totals.load("late/0").value().value.place == 10);
    }
    f.sell(3);
    CHECK(late.drain(count).value() == 3);
    CHECK(seen == 3);
}

namespace batch_subscription_test {
/// A log of which something happens right before its end is looked for.
struct LookedAtLate : il::EventMembers<LookedAtLate> {
    using runtime_type = il::memory::EventRepository::runtime_type;
    explicit LookedAtLate(il::memory::EventRepository log) : inner(std::move(log)) {}
    runtime_type runtime() const { return inner.runtime(); }
    void const* identity() const { return inner.identity(); }
    unsigned partitions() const { return inner.partitions(); }
    static constexpr il::Capabilities capabilities()
    {
        return {.answers_in_place = true, .owns_threads = true};
    }
    template <class V>
    il::Outcome<typename V::answer> carry_out(V const& verb, il::Deadline deadline) const
    {
        if constexpr (std::same_as<V, il::verb::ExtentOfLog>)
            if (*before_extent)
                std::exchange(*before_extent, nullptr)();
        return inner.carry_out(verb, deadline);
    }
    il::memory::EventRepository inner;
    std::shared_ptr<std::function<void()>> before_extent{std::make_shared<std::function<void()>>()};
};
}  // namespace batch_subscription_test

TEST_CASE(
    "Two consumers of one name that begin at the end together miss nothing",
    "[patterns][subscription][start]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(GENERATE(0, 3));
    LookedAtLate const log{f.events};
    il::memory::StateRepository<Total> const totals;
    il::TransactionService const places{creates, totals};
    il::BatchSubscription const one{f.events, places, "c", &Total::place, {.start = il::Start::end}};
    il::BatchSubscription const other{log, places, "c", &Total::place, {.start = il::Start::end}};
    std::size_t seen = 0;
    auto const count = [&](std::span<il::Event const> batch, Total&) { seen += batch.size(); };
    *log.before_extent = [&] {
        CHECK(one.step(0, count).value() == 0);
        f.sell(1);
    };
    SECTION("a step")
    {
        other.step(0, count).value();
    }
    SECTION("without blocking")
    {
        asio::io_context io;
        std::stop_source stop;
        other.async_run(count, stop, asio::bind_executor(io, [](std::exception_ptr, il::Outcome<void>) {}));
        CHECK(eventually([&] {
            io.run_for(1ms);
            return seen > 0;
        }));
        stop.request_stop();
        io.run();
    }
    CHECK(one.drain(count));
    CHECK(seen == 1);
}

TEST_CASE("A handler of batches does not move its place", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    Fixture f;
    f.sell(10);
    il::memory::StateRepository<Total> const totals;
    il::BatchSubscription const sums{
        f.events, il::TransactionService{creates, totals}, "sums", &Total::place, {.batch = 4}};
    int runs = 0;
    auto const anew = [&](std::span<il::Event const> batch, Total& total) {
        ++runs;
        total = Total{total.id, static_cast<std::int64_t>(batch.size()), 0, 0};
    };
    auto const refused = sums.drain(anew);
    CHECK(refused.errc() == il::Errc::invalid_argument);
    CHECK(refused.failure().detail().find("from 4 to 0") != std::string::npos);
    CHECK(runs == 1);
    CHECK(totals.load("sums/0").errc() == il::Errc::not_found);

    asio::io_context io;
    std::optional<il::Outcome<void>> ended;
    auto const ahead = [](std::span<il::Event const>, Total& total) -> asio::awaitable<void> {
        total.place = 1'000;
        co_return;
    };
    sums.async_run(ahead, asio::bind_executor(io, [&](std::exception_ptr thrown, il::Outcome<void> outcome) {
                       CHECK_FALSE(thrown);
                       ended = std::move(outcome);
                   }));
    io.run_for(10s);
    REQUIRE(ended);
    CHECK(ended->errc() == il::Errc::invalid_argument);
    CHECK(totals.load("sums/0").errc() == il::Errc::not_found);

    auto const adds = [](std::span<il::Event const> batch, Total& total) {
        total.count += static_cast<std::int64_t>(batch.size());
    };
    CHECK(sums.drain(adds).value() == 10);
    CHECK(totals.load("sums/0").value().value.count == 10);
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

TEST_CASE("A stamp refuses an event that was not read from a log", "[patterns][subscription]")
{
    using namespace batch_subscription_test;
    il::Event event;  // as one of an envelope
    il::Position stamp = 0;
    std::vector<il::Position> stamps;
    int applied = 0;
    auto const refused = [&](auto& at) {
        try {
            il::apply_once(at, event, [&] { ++applied; });
            return false;
        } catch (il::Error const& error) {
            return error.errc() == il::Errc::invalid_argument;
        }
    };
    CHECK(refused(stamp));
    CHECK(refused(stamps));
    event.position = -1;
    CHECK(refused(stamp));
    CHECK(stamp == 0);
    CHECK(applied == 0);
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
