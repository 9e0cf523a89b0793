// SPDX-License-Identifier: BSL-1.0

// What an inbox promises: one effect for each message and consumer, whoever delivers it how often.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/inbox.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {
namespace inbox {

namespace il = interlock;
using namespace std::chrono_literals;

struct Shipment {
    std::string sku;
    int parcels{0};
};
BOOST_DESCRIBE_STRUCT(Shipment, (), (sku, parcels))

struct Shipped {
    std::string sku;
    static constexpr il::EventType event{"shipment.sent", 1};
};
BOOST_DESCRIBE_STRUCT(Shipped, (), (sku))

il::OptimisticVersioning const creates{.missing = il::Missing::create};

il::Event an_event(std::string id)
{
    il::Event event;
    event.id = std::move(id);
    event.stream = il::Key{"sku-1"};
    event.because = {"order-17", "request-1", "00-trace-01"};
    return event;
}

struct Fixture {
    il::memory::EventRepository events;
    il::memory::StateRepository<Shipment> shipments{{.events = events}};
    il::TransactionService<Shipment, il::OptimisticVersioning, il::memory::StateRepository<Shipment>> service{
        creates, shipments};
    il::Inbox<decltype(service)> inbox{service, "shipping"};

    int parcels() const { return shipments.load("sku-1").value().value.parcels; }
};

void add_one(Shipment& s)
{
    ++s.parcels;
}

}  // namespace inbox
}  // namespace

TEST_CASE("A message has its effect once per consumer", "[patterns][inbox]")
{
    using namespace inbox;
    Fixture const f;
    auto const event = an_event("e-1");
    auto const first = f.inbox.handle(event, "sku-1", add_one);
    CHECK(first.value() == il::Handled::processed);
    CHECK(!first.replayed());
    auto const second = f.inbox.handle(event, "sku-1", add_one);
    CHECK(second.value() == il::Handled::duplicate);
    CHECK(second.replayed());
    CHECK(f.parcels() == 1);
    CHECK(f.inbox.handle(an_event("e-2"), "sku-1", add_one).value() == il::Handled::processed);
    il::Inbox const other{f.service, "billing"};
    CHECK(other.handle(event, "sku-1", add_one).value() == il::Handled::processed);
    CHECK(f.parcels() == 3);
}

TEST_CASE("A duplicate gets the result of the first run", "[patterns][inbox]")
{
    using namespace inbox;
    Fixture const f;
    auto const count = [](Shipment& s) { return ++s.parcels; };
    CHECK(f.inbox.handle(an_event("e-1"), "sku-1", count).value() == 1);
    CHECK(f.inbox.handle(an_event("e-2"), "sku-1", count).value() == 2);
    auto const again = f.inbox.handle(an_event("e-1"), "sku-1", count);
    CHECK(again.value() == 1);
    CHECK(again.replayed());
}

TEST_CASE("A message may concern as many states as it names", "[patterns][inbox]")
{
    using namespace inbox;
    namespace asio = boost::asio;
    Fixture const f;
    std::vector<std::string> const skus{"sku-3", "sku-1"};
    auto const add = [](std::span<Shipment> shipments) {
        for (auto& s : shipments)
            ++s.parcels;
    };
    CHECK(f.inbox.handle(an_event("e-1"), skus, add).value() == il::Handled::processed);
    CHECK(f.inbox.async_handle(an_event("e-1"), skus, add, asio::use_future).get().replayed());
    CHECK(f.inbox.async_handle(an_event("e-2"), il::keys(skus), add, asio::use_future).get());
    CHECK(f.parcels() == 2);
}

TEST_CASE("A handler that throws leaves the message unhandled", "[patterns][inbox]")
{
    using namespace inbox;
    Fixture const f;
    auto const fails = [](Shipment& s) {
        ++s.parcels;
        throw std::runtime_error("no paper");
    };
    CHECK_THROWS_WITH(f.inbox.handle(an_event("e-1"), "sku-1", fails), "no paper");
    CHECK(f.inbox.handle(an_event("e-1"), "sku-1", add_one).value() == il::Handled::processed);
    CHECK(f.parcels() == 1);
}

TEST_CASE("What a handler records has the message as its cause", "[patterns][inbox]")
{
    using namespace inbox;
    Fixture const f;
    auto const ship = [](Shipment& s, il::Recorder& record) {
        ++s.parcels;
        record(Shipped{s.sku});
    };
    CHECK(f.inbox.handle(an_event("e-1"), "sku-1", ship));
    CHECK(f.inbox.handle(an_event("e-1"), "sku-1", ship));
    CHECK(f.inbox.handle(il::Message{"m-1"}, "sku-1", ship));
    il::Cause const own{"c", "x", ""};
    CHECK(f.inbox.handle(il::Message{"m-2"}, "sku-1", ship, {.cause = &own}));
    auto const page = f.events.read(0, 0).value();
    REQUIRE(page.events.size() == 3);
    CHECK(page.events[0].because == il::Cause{"order-17", "e-1", "00-trace-01"});
    CHECK(page.events[1].because == il::Cause{"m-1", "m-1", ""});
    CHECK(page.events[2].because == own);
}

TEST_CASE("A copy of a recorder keeps its own cause", "[patterns][inbox]")
{
    using namespace inbox;
    std::vector<il::Recorder> copies;
    {
        il::Recorder first;
        first.because({std::string(100, 'c'), "e-1", ""});
        copies.push_back(first);
    }
    copies[0](Shipped{"sku-1"});
    REQUIRE(copies[0].events().size() == 1);
    CHECK(copies[0].events()[0].because.correlation == std::string(100, 'c'));
}

TEST_CASE("Two deliveries at once have one effect", "[patterns][inbox]")
{
    using namespace inbox;
    Fixture const f;
    std::atomic<int> processed{0};
    interlock_test::run_threads(4, [&](std::size_t) {
        for (int i = 0; i < 50; ++i)
            if (f.inbox.handle(an_event("e-" + std::to_string(i)), "sku-1", add_one).value() ==
                il::Handled::processed)
                ++processed;
    });
    CHECK(processed == 50);
    CHECK(f.parcels() == 50);
}

TEST_CASE("An inbox refuses names that cannot be remembered, in words", "[patterns][inbox]")
{
    using namespace inbox;
    using Catch::Matchers::ContainsSubstring;
    Fixture const f;
    auto const refused = [&](std::string consumer, std::string const& id) {
        il::Inbox const named{f.service, std::move(consumer)};
        auto const outcome = named.handle(il::Message{id}, "sku-1", add_one);
        CHECK(outcome.errc() == il::Errc::invalid_argument);
        auto const async =
            named.async_handle(il::Message{id}, "sku-1", add_one, boost::asio::use_future).get();
        CHECK(async.errc() == il::Errc::invalid_argument);
        CHECK(async.message() == outcome.message());
        return outcome.message();
    };
    CHECK_THAT(refused("shipping", ""), ContainsSubstring("without an id"));
    CHECK_THAT(refused("", "e-1"), ContainsSubstring("1 to 200 bytes"));
    CHECK_THAT(refused("a/b", "e-1"), ContainsSubstring("'a/b'"));
    CHECK_THAT(refused(std::string(201, 'c'), "e-1"), ContainsSubstring("1 to 200 bytes"));
    CHECK_THAT(refused("shipping", std::string(247, 'e')), ContainsSubstring("at most 246"));
    CHECK(f.shipments.load("sku-1").errc() == il::Errc::not_found);
    CHECK(f.inbox.handle(il::Message{std::string(246, 'e')}, "sku-1", add_one));
}

TEST_CASE("An inbox works without blocking, with coroutines too", "[patterns][inbox]")
{
    using namespace inbox;
    namespace asio = boost::asio;
    Fixture const f;
    asio::io_context io;
    std::exception_ptr failed;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto const event = an_event("e-1");
            auto const first = co_await f.inbox.async_handle(event, "sku-1", add_one, asio::use_awaitable);
            CHECK(first.value() == il::Handled::processed);
            auto const again = co_await f.inbox.async_handle(event, "sku-1", add_one, asio::use_awaitable);
            CHECK(again.value() == il::Handled::duplicate);
            auto ship = [](Shipment& s, il::Recorder& record) -> asio::awaitable<int> {
                record(Shipped{s.sku});
                co_return s.parcels += 10;
            };
            il::Message const message{"m-1"};
            auto const third =
                co_await f.inbox.async_handle(message, "sku-1", ship, {.deadline = 9s}, asio::use_awaitable);
            CHECK(third.value() == 11);
            il::Message const none{""};
            auto const refused = co_await f.inbox.async_handle(none, "sku-1", ship, asio::use_awaitable);
            CHECK(refused.errc() == il::Errc::invalid_argument);
        },
        [&](std::exception_ptr e) { failed = e; });
    io.run();
    CHECK(!failed);
    CHECK(f.parcels() == 11);
    auto const page = f.events.read(0, 0).value();
    REQUIRE(page.events.size() == 1);
    CHECK(page.events[0].because.cause == "m-1");
    auto future = f.inbox.async_handle(il::Message{"m-2"}, "sku-1", add_one, asio::use_future);
    CHECK(future.get().value() == il::Handled::processed);
}

TEST_CASE("An inbox works under leases and row locks", "[patterns][inbox]")
{
    using namespace inbox;
    il::memory::StateRepository<Shipment> const shipments;
    il::Inbox const leases{
        il::TransactionService{il::SetNxLock{.missing = il::Missing::create}, shipments}, "leases"};
    il::Inbox const rows{
        il::TransactionService{il::PessimisticRowLock{.missing = il::Missing::create}, shipments}, "rows"};
    for (auto const expected : {il::Handled::processed, il::Handled::duplicate}) {
        CHECK(leases.handle(il::Message{"e-1"}, "sku-1", add_one).value() == expected);
        CHECK(rows.handle(il::Message{"e-1"}, "sku-1", add_one).value() == expected);
    }
    CHECK(shipments.load("sku-1").value().value.parcels == 2);
}
