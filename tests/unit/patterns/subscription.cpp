// SPDX-License-Identifier: BSL-1.0

// What a subscription promises on the threads of its callers.

#include "unit/patterns/subscription.hpp"

#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

TEST_CASE("A subscription delivers what is there, and goes on where it was", "[patterns][subscription]")
{
    using namespace subscription_test;
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
    using namespace subscription_test;
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
    using namespace subscription_test;
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

TEST_CASE("A second reader of a name waits, and takes over", "[patterns][subscription]")
{
    using namespace subscription_test;
    Fixture f;
    Told told;
    auto options = quick;
    options.observer = &told;
    il::Subscription const first{f.events, f.cursors, "shipping", options};
    il::Subscription const second{f.events, f.cursors, "shipping", options};
    std::atomic<int> by_first{0};
    std::atomic<int> by_second{0};
    auto const one = [&](il::Event const&) { ++by_first; };
    auto const two = [&](il::Event const&) { ++by_second; };
    Runner running{first, one};
    CHECK(eventually([&] { return told.leased == 1; }));
    f.sell(5);
    CHECK(eventually([&] { return by_first == 5; }));
    CHECK(second.drain(two, 50ms).errc() == il::Errc::lock_busy);
    Runner standing_by{second, two};
    f.sell(5);
    CHECK(eventually([&] { return by_first == 10; }));
    CHECK(running.end());
    f.sell(5);
    CHECK(eventually([&] { return by_second == 5; }));
    CHECK(standing_by.end());
    CHECK(by_first == 10);
    CHECK(told.lost == 0);
    CHECK(f.cursor().position == 15);
}

TEST_CASE("A reader that was paused beyond its lease cannot move the cursor", "[patterns][subscription]")
{
    using namespace subscription_test;
    Fixture f;
    f.sell(3);
    Told told;
    auto options = quick;
    options.observer = &told;
    // Its lease is taken by somebody else while it handles the second event, as after a long pause.
    il::Subscription const paused{f.events, f.cursors, "shipping", options};
    il::OwnerToken const somebody{{7, 7}};
    il::Key const key{std::string{"shipping/0"}};
    std::atomic<int> seen{0};
    auto const handler = [&](il::Event const& event) {
        if (++seen == 2) {
            CHECK(event.number == 2);
            CHECK(f.cursors.force_release(key));
            CHECK(f.cursors.create(key, somebody, 1s));
            il::Cursor const moved{"shipping/0", 3, 1, {}};
            auto const stored = f.cursors.load(key);
            CHECK(
                (stored ? f.cursors.compare_and_set(key, stored->version, moved)
                        : f.cursors.insert(key, moved)));
        }
    };
    CHECK(paused.drain(handler, 10s).value() >= 2);
    CHECK(told.lost == 1);
    CHECK(f.cursor().position == 3);
    CHECK(told.leased == 2);
}
