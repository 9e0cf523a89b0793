// SPDX-License-Identifier: BSL-1.0

// What a subscription promises on the threads of its callers.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {
namespace subscription {

namespace il = interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

using Cursors = il::memory::StateRepository<il::Cursor>;
using Events = il::memory::EventRepository;

il::SubscriptionOptions const quick{
    .attempts = 3,
    .backoff = {.initial = 100us, .cap = 1ms, .immediate = 0},
    .cursor_every = 5ms,
    .poll_most = 5ms,
    .ttl = 300ms};

struct Fixture {
    explicit Fixture(unsigned partitions = 1) : events{{.partitions = partitions}} {}

    /// `count` events, spread over `streams`.
    void sell(int count, int streams = 1)
    {
        for (int i = 0; i < count; ++i) {
            auto const stream = "sku-" + std::to_string(sold_ % streams);
            il::NewEvent const event = il::new_event(Sold{stream, ++sold_});
            REQUIRE(events.append(il::Key{stream}, il::Expected::any(), {&event, 1}));
        }
    }
    il::Cursor cursor(unsigned partition = 0) const
    {
        return cursors.load(il::cursor_id("shipping", partition)).value().value;
    }

    Events events;
    Cursors cursors;

private:
    int sold_{0};
};

/// What was delivered, and in which order per stream.
struct Delivered {
    il::Outcome<void> operator()(il::Event const& event)
    {
        std::lock_guard const lock(mutex);
        std::string const stream{event.stream.bytes()};
        in_order = in_order && event.number == last[stream] + 1;
        last[stream] = event.number;
        ++count;
        return il::success();
    }
    std::mutex mutex;
    std::map<std::string, std::int64_t> last;
    bool in_order{true};
    int count{0};
};

}  // namespace subscription
}  // namespace

TEST_CASE("A subscription delivers what is there, and goes on where it was", "[patterns][subscription]")
{
    using namespace subscription;
    Fixture f{3};
    f.sell(1000, 7);
    Delivered delivered;
    {
        il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
        CHECK(shipping.lag().value() > 0);
        CHECK(shipping.drain(delivered).value() == 1000);
        CHECK(shipping.lag().value() == 0);
    }
    f.sell(10, 7);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    CHECK(shipping.drain(delivered).value() == 10);
    CHECK(shipping.drain(delivered).value() == 0);
    CHECK(delivered.count == 1010);
    CHECK(delivered.in_order);
    il::Subscription const other{f.events, f.cursors, "billing", quick};
    CHECK(other.drain([](il::Event const&) {}).value() == 1010);
}

TEST_CASE("Threads share a subscription, each stream in its order", "[patterns][subscription]")
{
    using namespace subscription;
    Fixture f{2};
    f.sell(500, 9);
    Delivered delivered;
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::stop_source stop;
    std::atomic<int> other_attempts{0};
    std::atomic<int> failed{0};
    std::thread readers([&] {
        interlock_test::run_threads(3, [&](std::size_t) {
            auto const ended = shipping.run(
                [&](il::Event const& event, il::Delivery const& delivery) {
                    other_attempts += delivery.attempt == 1 ? 0 : 1;
                    return delivered(event);
                },
                stop.get_token());
            failed += ended ? 0 : 1;
        });
    });
    f.sell(1500, 9);
    CHECK(eventually([&] {
        std::lock_guard const lock(delivered.mutex);
        return delivered.count >= 2000;
    }));
    stop.request_stop();
    readers.join();
    CHECK(other_attempts == 0);
    CHECK(failed == 0);
    CHECK(delivered.count == 2000);
    CHECK(delivered.in_order);
    CHECK(shipping.lag().value() == 0);
}

TEST_CASE("A failing event parks its stream, and nothing else", "[patterns][subscription]")
{
    using namespace subscription;
    Fixture f;
    f.sell(30, 3);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    Delivered delivered;
    int attempts = 0;
    bool mended = false;
    auto const handler = [&](il::Event const& event) -> il::Outcome<void> {
        if (!mended && event.stream == il::Key{"sku-1"} && event.number == 4) {
            ++attempts;
            throw std::runtime_error("no such address");
        }
        return delivered(event);
    };
    CHECK(shipping.drain(handler).value() == 23);
    CHECK(attempts == 3);
    auto parked = shipping.parked().value();
    REQUIRE(parked.size() == 1);
    CHECK(parked[0].stream == "sku-1");
    CHECK(parked[0].number == 4);
    CHECK(parked[0].attempts == 3);
    CHECK(parked[0].error == "no such address");
    f.sell(3, 3);
    CHECK(shipping.drain(handler).value() == 2);
    CHECK(attempts == 3);

    SECTION("and goes on when somebody asks for it")
    {
        CHECK(shipping.resume("sku-2").errc() == il::Errc::not_found);
        mended = true;
        CHECK(shipping.resume("sku-1"));
        CHECK(shipping.drain(handler).value() == 8);
        CHECK(shipping.parked().value().empty());
        CHECK(delivered.in_order);
        f.sell(3, 3);
        CHECK(shipping.drain(handler).value() == 3);
        CHECK(delivered.count == 36);
    }
    SECTION("and is parked again when it fails again")
    {
        CHECK(shipping.resume("sku-1"));
        CHECK(shipping.drain(handler).value() == 0);
        CHECK(attempts == 6);
        parked = shipping.parked().value();
        REQUIRE(parked.size() == 1);
        CHECK(parked[0].attempts == 6);
        CHECK(!parked[0].resume);
    }
    SECTION("and may go on without that event")
    {
        CHECK(shipping.skip("sku-1"));
        CHECK(shipping.drain(handler).value() == 7);
        CHECK(attempts == 3);
        CHECK(shipping.parked().value().empty());
    }
}
