// SPDX-License-Identifier: BSL-1.0

// Readers of events, with their cursors in the store that has the log, on every store that has events.

#include "contract/backends.hpp"

#ifdef INTERLOCK_TESTS_CONTRACT_EVENTS

#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/batch_subscription.hpp>
#include <interlock/patterns/subscription.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contract/events.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace contract::readers {
namespace {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;

/// Of each store the fixture with several partitions.
using Readers = std::tuple<std::tuple_element_t<1, EventBackends>>;

/// `count` events, over nine streams.
template <class Events>
void sell(Events const& events, int count)
{
    for (int i = 0; i < count; ++i) {
        NewEvent const event = new_event(Sold{"x", 1});
        REQUIRE(events.append(key("sku-" + std::to_string(i % 9)), Expected::any(), {&event, 1}));
    }
}

/// Events of a stream come in their order; one that comes again is not counted twice.
struct Seen {
    void operator()(Event const& event)
    {
        std::lock_guard const lock(mutex);
        auto& last = numbers[std::string(event.stream.bytes())];
        in_order = in_order && event.number <= last + 1;
        count += event.number == last + 1 ? 1 : 0;
        last = std::max(last, event.number);
    }
    int total() const
    {
        std::lock_guard const lock(mutex);
        return count;
    }
    mutable std::mutex mutex;
    std::map<std::string, std::int64_t> numbers;
    bool in_order{true};
    int count{0};
};

/// What is told of a run.
struct Told final : SubscriptionObserver {
    void on_leased(PartitionNotice const&) noexcept override { ++holds; }
    void on_handed_over(PartitionNotice const&) noexcept override { --holds; }
    void on_report(PartitionReport const& report) noexcept override
    {
        std::lock_guard const lock(mutex);
        lag[report.partition] = report.lag;
        longest = std::max(longest, report.lag_time);
    }
    /// Whether there was a report about that many partitions.
    bool knows(std::size_t partitions)
    {
        std::lock_guard const lock(mutex);
        return lag.size() >= partitions;
    }
    /// Whether the last report of that partition left nothing to be handled.
    bool is_done(unsigned partition)
    {
        std::lock_guard const lock(mutex);
        return lag.contains(partition) && lag[partition] == 0;
    }
    std::atomic<int> holds{0};
    std::mutex mutex;
    std::map<unsigned, Position> lag;
    std::chrono::nanoseconds longest{0};
};

TEMPLATE_LIST_TEST_CASE("a new consumer begins where it is asked to", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    auto const cursors = backend.template states<Cursor>();
    sell(events, 30);
    Subscription const late{events, cursors, "late", {.start = Start::end}};
    Subscription const all{events, cursors, "all"};
    std::size_t seen = 0;
    auto const count = [&](Event const&) { ++seen; };
    CHECK(late.drain(count).value() == 0);
    CHECK(all.drain(count).value() == 30);
    sell(events, 9);
    Subscription const again{events, cursors, "all", {.start = Start::end}};
    CHECK(late.drain(count).value() == 9);
    CHECK(again.drain(count).value() == 9);
    CHECK(seen == 48);
    BatchSubscription const batches{
        events,
        TransactionService{OptimisticVersioning{.missing = Missing::create}, cursors},
        "batches",
        {.start = Start::end}};
    auto const none = [](std::span<Event const>) {};
    CHECK(batches.drain(none).value() == 0);
    sell(events, 9);
    CHECK(batches.drain(none).value() == 9);
}

/// A log that cannot keep a name in mind would trim what its consumer has still to read.
TEMPLATE_LIST_TEST_CASE(
    "a consumer whose name the log cannot keep reads nothing", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    sell(events, 9);
    auto const cursors = backend.template states<Cursor>();
    TransactionService const places{OptimisticVersioning{.missing = Missing::create}, cursors};
    for (std::string const name : {"plain", "a line\nand more", "\xff\xfe", "caf\xc3\xa9"}) {
        bool const kept = events.note_consumer(name, 0, 0, soon).has_value();
        auto const expected = kept ? Errc::ok : Errc::invalid_argument;
        CHECK(Subscription{events, cursors, name}.drain([](Event const&) {}).errc() == expected);
        CHECK(events.forget_consumer(name, soon));
        BatchSubscription const batches{events, places, name + "s"};
        CHECK(batches.drain([](std::span<Event const>) {}).errc() == expected);
        CHECK(batches.forget());
    }
    for (std::string const bad : {"", "a/b"})
        CHECK(BatchSubscription{events, places, bad}.forget().errc() == Errc::invalid_argument);
}

/// A position of a log with more partitions says nothing about this one, though it may lie in it.
TEMPLATE_LIST_TEST_CASE(
    "a cursor of another number of partitions is refused by batches", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    sell(events, 18);
    auto const cursors = backend.template states<Cursor>();
    auto const position = events.extent(0, soon).value().last;
    Cursor const other{cursor_id("moved", 0), position, events.partitions() + 1, {}, {}};
    static_cast<void>(cursors.insert(other).value());
    BatchSubscription const moved{
        events, TransactionService{OptimisticVersioning{.missing = Missing::create}, cursors}, "moved"};
    int handled = 0;
    auto const count = [&](std::span<Event const> batch) { handled += static_cast<int>(batch.size()); };
    CHECK(moved.step(0, count).errc() == Errc::corrupt_state);
    CHECK(moved.drain(count).errc() == Errc::corrupt_state);
    CHECK(handled == 0);
    CHECK(cursors.load(other.id).value().value == other);
}

TEMPLATE_LIST_TEST_CASE(
    "what a reader is to read again is not trimmed", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    auto const cursors = backend.template states<Cursor>();
    sell(events, 27);
    auto const trim = [&] {
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            REQUIRE(events.trim(partition, events.extent(partition, soon).value().last, soon));
    };
    auto const put_back = [&](std::string const& name, unsigned partition) {
        auto cursor = cursors.load(cursor_id(name, partition)).value();
        cursor.value.position = 0;
        REQUIRE(cursors.compare_and_set(cursor.value.id, cursor.version, cursor.value));
    };
    Subscription const reader{events, cursors, "reader"};
    auto const ignore = [](Event const&) {};
    SECTION("by hand, before it runs again")
    {
        CHECK(reader.drain(ignore).value() == 27);
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            REQUIRE(reader.move_to(partition, 0));
        trim();
        CHECK(reader.drain(ignore).value() == 27);
    }
    SECTION("once it runs with a cursor that was put back")
    {
        CHECK(reader.drain(ignore).value() == 27);
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            put_back("reader", partition);
        // It has read no more than the first event by then.
        Subscription const slow{events, cursors, "reader", {.batch = 1}};
        std::atomic<int> again{0};
        std::atomic<unsigned> first{0};  // partition
        std::atomic<bool> may_go_on{false};
        std::stop_source stop;
        auto run = std::async(std::launch::async, [&] {
            return slow.run(
                [&](Event const& event) {
                    if (again == 0)
                        first = event.partition;
                    ++again;
                    while (!may_go_on)
                        std::this_thread::sleep_for(1ms);
                },
                stop.get_token());
        });
        CHECK(eventually([&] { return again > 0; }));
        // Of that partition the log has heard before its first event was handled.
        CHECK(events.trim(first, events.extent(first, soon).value().last, soon));
        may_go_on = true;
        CHECK(eventually([&] { return again == 27; }));
        stop.request_stop();
        CHECK(run.get());
    }
    SECTION("in batches")
    {
        TransactionService const places{OptimisticVersioning{.missing = Missing::create}, cursors};
        BatchSubscription const batches{events, places, "batches", {.batch = 2}};
        auto const none = [](std::span<Event const>) {};
        CHECK(batches.drain(none).value() == 27);
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            put_back("batches", partition);
        std::size_t again = 0;
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            again += batches.step(partition, none).value();
        trim();
        CHECK(again + batches.drain(none).value() == 27);
    }
}

TEMPLATE_LIST_TEST_CASE("runs of one name share the partitions", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    auto const cursors = backend.template states<Cursor>();
    Seen seen;
    auto const handler = [&](Event const& event) { seen(event); };
    Told first;
    Told second;
    sell(events, 90);
    auto const run = [&](Told& told, std::stop_token stop) {
        Subscription const shipping{
            events, cursors, "shipping", {.ttl = 2s, .report_every = 20ms, .observer = &told}};
        return shipping.run(handler, std::move(stop));
    };
    std::stop_source stop;
    auto one = std::async(std::launch::async, [&] { return run(first, stop.get_token()); });
    CHECK(eventually([&] { return first.holds == 3; }));
    CHECK(eventually([&] { return first.knows(3); }));
    auto two = std::async(std::launch::async, [&] { return run(second, stop.get_token()); });
    CHECK(eventually([&] { return first.holds == 2 && second.holds == 1; }));
    sell(events, 90);
    CHECK(eventually([&] { return seen.total() == 180; }));
    // Whoever has a partition now says that nothing is left in it.
    CHECK(eventually([&] { return first.is_done(0) || second.is_done(0); }));
    stop.request_stop();
    CHECK(one.get());
    CHECK(two.get());
    CHECK(seen.in_order);
    CHECK(seen.total() == 180);
    CHECK(cursors.load(members_id("shipping")).value().value.members.empty());
}

TEMPLATE_LIST_TEST_CASE(
    "a batch is one commit with its place, also without blocking", "[contract][events][readers]", Readers)
{
    TestType const backend;
    auto const events = backend.events();
    auto const cursors = backend.template states<Cursor>();
    sell(events, 90);
    std::atomic<std::size_t> handled{0};
    std::stop_source stop;
    boost::asio::thread_pool pool{2};
    Told told;
    auto const reads = [&](auto const& places, auto const& handler) {
        BatchSubscription const batches{
            events, places, "batches", {.batch = 8, .report_every = 1ms, .observer = &told}};
        std::promise<Outcome<void>> promise;
        batches.async_run(
            handler, stop, boost::asio::bind_executor(pool, [&](std::exception_ptr thrown, Outcome<void> o) {
                CHECK(!thrown);
                promise.set_value(std::move(o));
            }));
        CHECK(eventually([&] { return handled == 90; }));
        stop.request_stop();
        CHECK(promise.get_future().get());
        for (unsigned partition = 0; partition < events.partitions(); ++partition) {
            auto const last = events.extent(partition).value().last;
            CHECK(cursors.load(cursor_id("batches", partition)).value().value.position == last);
            CHECK(events.trim(partition, last).value() == last);
        }
    };
    if constexpr (TestType::row_locks) {
        // A row's transaction is what the handler works in.
        reads(
            TransactionService{PessimisticRowLock{.missing = Missing::create}, cursors},
            [&](std::span<Event const> batch, Cursor&, auto& transaction) -> boost::asio::awaitable<void> {
                static_cast<void>(transaction);
                co_await boost::asio::post(
                    co_await boost::asio::this_coro::executor, boost::asio::use_awaitable);
                handled += batch.size();
            });
    } else {
        reads(
            TransactionService{OptimisticVersioning{.missing = Missing::create}, cursors},
            [&](std::span<Event const> batch) -> boost::asio::awaitable<void> {
                co_await boost::asio::post(
                    co_await boost::asio::this_coro::executor, boost::asio::use_awaitable);
                handled += batch.size();
            });
    }
    pool.join();
}

}  // namespace
}  // namespace contract::readers

#endif
