// SPDX-License-Identifier: BSL-1.0

// Events in Redis: each is in the log exactly as often as the change that it came with was applied, whatever
// policy committed it, and whatever became of replies, rights, types and bounds.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace redis_events_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

struct Sold {
    std::string sku;
    int quantity = 0;
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

Key const x{"x"};

/// States and their log, in a name space of their own.
struct Shop {
    explicit Shop(redis::EventRepositoryOptions log = {}, RedisServer const& on = redis_server())
        : server(on), options(redis_options(on)), shards(log.shards), events(client, std::move(log)),
          stock(client, {.shards = shards, .events = events})
    {}
    std::vector<Event> all(unsigned partition = 0) const
    {
        return events.read(partition, 0, 1000).value().events;
    }
    std::string log() const { return "v1:{" + options.name_space + ".0}:log"; }

    RedisServer const& server;
    redis::Options options;
    std::size_t shards;
    redis::Client client{options};
    redis::EventRepository events;
    Repository stock;
};

/// Sells one, and says so.
int sell(Stock& stock, Recorder& record)
{
    record(Sold{stock.sku, 1});
    return --stock.quantity;
}

/// That `events` are 1, 2, 3 of `stream`, each of them `Sold`, in growing positions.
void check_stream(std::vector<Event> const& events, std::string_view stream, std::size_t count)
{
    REQUIRE(events.size() == count);
    Position before = 0;
    for (std::size_t i = 0; i < count; ++i) {
        CHECK(events[i].stream == Key{stream});
        CHECK(events[i].number == static_cast<std::int64_t>(i + 1));
        CHECK(events[i].position > before);
        CHECK(events[i].as<Sold>().has_value());
        CHECK(events[i].id.size() == 32);
        before = events[i].position;
    }
}

TEST_CASE("an event that an operation records is in the log with all that it says", "[redis][events]")
{
    Shop const shop{{.writer = "sales"}};
    shop.stock.insert(Stock{"x", 10}).value();
    TransactionService const sales{OptimisticVersioning{}, shop.stock};
    Cause const cause{"order-7", "request-3", "00-4bf9-1"};
    auto const before = std::chrono::system_clock::now() - 1min;
    sales.do_in_transaction("x", sell, {.cause = &cause});
    auto const events = shop.all();
    check_stream(events, "x", 1);
    auto const& event = events[0];
    CHECK(event.as<Sold>()->sku == "x");
    CHECK(event.because == cause);
    CHECK(event.writer == "sales");
    CHECK(event.partition == 0);
    CHECK(event.recorded_at > before);
    CHECK(event.recorded_at < before + 2min);
    CHECK(shop.stock.load("x").value().value.quantity == 9);
}

template <class Service>
void commits_in_every_way(Shop const& shop, Service const& service)
{
    shop.stock.insert(Stock{"x", 10}).value();
    CHECK(service.do_in_transaction("x", sell) == 9);
    CHECK(service.do_in_transaction(OperationId{"one"}, "x", sell) == 8);
    CHECK(service.do_in_transaction(OperationId{"one"}, "x", sell) == 8);  // again: nothing
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "x",
            [](Stock& stock, Recorder& record) {
                sell(stock, record);
                throw std::runtime_error("changed its mind");
            }),
        std::runtime_error);
    CHECK(service.async_do_in_transaction("x", sell, asio::use_future).get() == 7);
    CHECK(service.async_do_in_transaction(OperationId{"two"}, "x", sell, asio::use_future).get() == 6);
    CHECK(service.async_do_in_transaction(OperationId{"two"}, "x", sell, asio::use_future).get() == 6);
    // Says something and changes nothing.
    service.do_in_transaction("x", [](Stock const& stock, Recorder& record) { record(Sold{stock.sku, 0}); });
    check_stream(shop.all(), "x", 5);
    CHECK(shop.stock.load("x").value().value.quantity == 6);
    CHECK(shop.events.read_stream(x).value().size() == 5);
}

TEST_CASE("each policy commits events with their change, once, and none without it", "[redis][events]")
{
    Shop const shop;
    SECTION("optimistic versioning")
    {
        commits_in_every_way(shop, TransactionService{OptimisticVersioning{}, shop.stock});
    }
    SECTION("optimistic versioning that remembers")
    {
        commits_in_every_way(shop, TransactionService{OptimisticVersioning{.remember = 10}, shop.stock});
    }
    SECTION("a lease")
    {
        commits_in_every_way(shop, TransactionService{SetNxLock{}, shop.stock});
    }
}

// ---- What a log says

/// `count` facts, the first of them of quantity `from`.
std::vector<NewEvent> facts(int count, int from = 1)
{
    std::vector<NewEvent> events;
    for (int i = 0; i < count; ++i)
        events.push_back(new_event(Sold{"x", from + i}));
    return events;
}

TEST_CASE(
    "a stream is read from any number on, however long it is and whatever was trimmed", "[redis][events]")
{
    Shop const shop;
    for (int i = 0; i < 70; ++i) {
        shop.events.append(x, Expected::exactly(2 * i), facts(2, 2 * i + 1)).value();
        shop.events.append(Key{"y"}, Expected::any(), facts(1)).value();
    }
    auto const check = [&](std::int64_t trimmed) {
        for (std::int64_t after = 0; after <= 141; after += 1)
            for (std::size_t const limit : {1U, 2U, 3U, 17U, 200U}) {
                auto const events = shop.events.read_stream(x, after, limit).value();
                auto const first = std::max(after, trimmed) + 1;
                auto const count = std::clamp<std::int64_t>(141 - first, 0, static_cast<std::int64_t>(limit));
                REQUIRE(static_cast<std::int64_t>(events.size()) == count);
                for (std::size_t i = 0; i < events.size(); ++i) {
                    auto const number = first + static_cast<std::int64_t>(i);
                    REQUIRE(events[i].number == number);
                    REQUIRE(events[i].as<Sold>()->quantity == number);
                    REQUIRE(events[i].stream == x);
                }
            }
    };
    check(0);
    for (std::int64_t const number : {1, 2, 33, 64, 65, 127, 140}) {
        auto const last = shop.events.read_stream(x, number - 1, 1).value()[0].position;
        CHECK(shop.events.trim(0, last).value() == last);
        check(number);
    }
    CHECK(shop.events.append(x, Expected::exactly(140), facts(1, 141)).value().number == 141);
    CHECK(shop.events.read_stream(x).value()[0].number == 141);
    CHECK(shop.events.read_stream(Key{"nobody"}).value().empty());
}

TEST_CASE("a log is read page by page, and says what was trimmed and what cannot be", "[redis][events]")
{
    Shop const shop;
    CHECK(shop.events.read(0, 0).value().events.empty());
    CHECK(shop.events.extent(0).value().last == 0);
    CHECK(shop.events.read(0, 1).errc() == Errc::corrupt_state);
    shop.events.append(x, Expected::none(), facts(100)).value();
    std::vector<Event> all;
    Position at = 0;
    for (;;) {
        auto const page = shop.events.read(0, at, 33).value();
        all.insert(all.end(), page.events.begin(), page.events.end());
        at = page.next;
        CHECK_FALSE(page.trimmed);
        CHECK(page.more == (all.size() < 100));
        if (!page.more)
            break;
    }
    check_stream(all, "x", 100);
    auto const last = all.back().position;
    CHECK(shop.events.extent(0).value().first == all.front().position);
    CHECK(shop.events.extent(0).value().last == last);
    auto const end = shop.events.read(0, last).value();
    CHECK(end.events.empty());
    CHECK(end.next == last);
    CHECK_FALSE(end.more);
    CHECK(shop.events.read(0, last + 1).errc() == Errc::corrupt_state);
    CHECK(shop.events.read(0, INT64_MAX).errc() == Errc::corrupt_state);
    CHECK(shop.events.read(1, 0).errc() == Errc::invalid_argument);
    CHECK(shop.events.read(0, -1).errc() == Errc::invalid_argument);
    // Between two events, and beyond the last one.
    CHECK(shop.events.trim(0, all[9].position).value() == all[9].position);
    CHECK(shop.events.trim(0, all[4].position).value() == all[9].position);
    auto const rest = shop.events.read(0, all[3].position).value();
    CHECK(rest.trimmed);
    CHECK(rest.events.front().number == 11);
    CHECK_FALSE(shop.events.read(0, all[9].position).value().trimmed);
    CHECK(shop.events.trim(0, last + 1'000'000).value() == last);
    CHECK(shop.events.extent(0).value().first == 0);
    CHECK(shop.events.extent(0).value().last == last);
    CHECK(shop.events.read(0, 0).value().next == last);
    CHECK(shop.events.read(0, 0).value().trimmed);
}

TEST_CASE("large events come in several pages, each as soon as it fits", "[redis][events]")
{
    Shop const shop;
    std::vector<NewEvent> large(5);
    for (auto& event : large) {
        event.type = "large";
        event.data.assign(400'000, 'd');
    }
    large[2].data.assign(max_event_bytes, 'd');
    shop.events.append(x, Expected::none(), large).value();
    std::vector<std::int64_t> numbers;
    Position at = 0;
    for (bool more = true; more;) {
        auto const page = shop.events.read(0, at).value();
        more = page.more;
        at = page.next;
        for (auto const& event : page.events)
            numbers.push_back(event.number);
    }
    CHECK(numbers == std::vector<std::int64_t>{1, 2, 3, 4, 5});
    auto const stream = shop.events.read_stream(x).value();
    REQUIRE(stream.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(stream[i].number == static_cast<std::int64_t>(i + 1));
        CHECK(stream[i].data.size() == large[i].data.size());
    }
}

TEST_CASE("what a known consumer has not read is never trimmed, until it is forgotten", "[redis][events]")
{
    Shop const shop{{.shards = 2}};
    auto const partition = partition_of(x.bytes(), 2);
    shop.events.append(x, Expected::none(), facts(10)).value();
    auto const all = shop.all(partition);
    check_stream(all, "x", 10);
    CHECK(all[0].partition == partition);
    auto const note = [&](char const* name, std::size_t i) {
        return shop.events.note_consumer(name, partition, all[i].position);
    };
    CHECK(note("slow", 2));
    CHECK(note("fast", 7));
    CHECK(shop.events.trim(partition, all[9].position).value() == all[2].position);
    CHECK(note("slow", 4));
    CHECK(note("slow", 3));  // changes nothing
    CHECK(shop.events.trim(partition, all[9].position).value() == all[4].position);
    CHECK(shop.events.forget_consumer("slow"));
    CHECK(shop.events.forget_consumer("slow"));
    CHECK(shop.events.trim(partition, all[9].position).value() == all[7].position);
    CHECK(shop.events.note_consumer("fast", partition, all[9].position + 1).errc() == Errc::corrupt_state);
    CHECK(shop.events.note_consumer("", partition, 0).errc() == Errc::invalid_argument);
    CHECK(shop.events.note_consumer("fast", 2, 0).errc() == Errc::invalid_argument);
    // One that is only now known, at the beginning.
    CHECK(shop.events.note_consumer("late", partition, 0));
    CHECK(shop.events.trim(partition, all[9].position).value() == all[7].position);
    CHECK(shop.events.read(partition, all[7].position).value().events.size() == 2);
}

TEST_CASE(
    "an append is made where it is expected, and once for its id while its events are kept",
    "[redis][events]")
{
    Shop const shop;
    OperationId const id{"append"};
    CHECK(shop.events.append(x, Expected::exactly(1), facts(1)).errc() == Errc::version_conflict);
    auto const first = shop.events.append(id, x, Expected::none(), facts(2)).value();
    CHECK_FALSE(first.duplicate);
    CHECK(first.number == 2);
    auto const again = shop.events.append(id, x, Expected::none(), facts(2)).value();
    CHECK(again.duplicate);
    CHECK(again.number == 2);
    CHECK(again.position == first.position);
    auto const conflict = shop.events.append(x, Expected::none(), facts(1));
    CHECK(conflict.errc() == Errc::version_conflict);
    CHECK(conflict.failure().message().find("number 2") != std::string::npos);
    CHECK_FALSE(shop.events.append(id, Key{"y"}, Expected::none(), facts(1)).value().duplicate);
    // Nothing to append: nothing is done, and the stream is where it was.
    CHECK(shop.events.append(x, Expected::any(), {}).value().number == 2);
    CHECK(shop.events.append(x, Expected::none(), {}).errc() == Errc::version_conflict);
    CHECK(shop.all().size() == 3);
    // Once the events are gone, nothing is remembered of it.
    std::this_thread::sleep_for(2ms);
    auto const last = shop.events.append(x, Expected::any(), facts(1)).value();
    CHECK(shop.events.trim(0, last.position).value() == last.position);
    CHECK_FALSE(shop.events.append(id, x, Expected::any(), facts(1)).value().duplicate);
    CHECK(redis_server().command({"ZCARD", "v1:{" + shop.options.name_space + ".0}:appends"}) == "1");
    CHECK(redis_server().command({"HLEN", "v1:{" + shop.options.name_space + ".0}:appended"}) == "1");
    std::vector<NewEvent> bad = facts(1);
    bad[0].type = "Not A Name";
    CHECK(shop.events.append(x, Expected::any(), bad).errc() == Errc::invalid_argument);
    OperationId const other{"other"};
    auto const two = facts(2);
    CHECK(
        shop.events.async_append(other, x, Expected::any(), two, {}, asio::use_future).get().value().number ==
        6);
    CHECK(shop.events.async_read(0, 0, 10, {}, asio::use_future).get().value().events.size() == 3);
    CHECK(shop.events.async_read_stream(x, 0, 10, {}, asio::use_future).get().value().size() == 3);
    CHECK(shop.events.async_extent(0, {}, asio::use_future).get().value().first > last.position);
}

}  // namespace redis_events_test
