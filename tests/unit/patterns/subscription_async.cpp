// SPDX-License-Identifier: BSL-1.0

// What a subscription promises when it blocks no thread.

#include <interlock/patterns/inbox.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "unit/patterns/subscription.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace subscription_async_test {

using namespace subscription_test;
namespace asio = boost::asio;

asio::awaitable<void> pause(std::chrono::milliseconds time)
{
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace subscription_async_test

TEST_CASE("Coroutines handle streams side by side, each in its order", "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f{2};
    f.sell(60, 12);
    auto options = quick;
    options.concurrency = 5;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    Delivered delivered;
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    auto const handler = [&](il::Event const& event) -> asio::awaitable<il::Outcome<void>> {
        int const running = ++now;
        for (int seen = most; seen < running && !most.compare_exchange_weak(seen, running);) {
        }
        co_await pause(1ms);
        --now;
        co_return delivered(event);
    };
    asio::thread_pool pool{3};
    auto drained = asio::co_spawn(
        pool,
        [&]() -> asio::awaitable<il::Outcome<std::size_t>> {
            co_return co_await shipping.async_drain(handler, il::Deadline{}, asio::use_awaitable);
        },
        asio::use_future);
    CHECK(drained.get().value() == 60);
    pool.join();
    CHECK(delivered.in_order);
    CHECK(most > 1);
    CHECK(most <= 5);
    CHECK(shipping.lag().value() == 0);
}

TEST_CASE("A run that blocks no thread is stopped, or cancelled", "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f;
    f.sell(5);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    asio::io_context io;
    std::optional<il::Outcome<void>> ended;
    auto const end = [&](il::Outcome<void> outcome) { ended = std::move(outcome); };
    std::stop_source stop;
    asio::cancellation_signal cancel;
    int handled = 0;
    int cancelled = 0;

    SECTION("by a stop, which waits for what runs")
    {
        auto const handler = [&](il::Event const&) -> asio::awaitable<void> {
            stop.request_stop();
            co_await pause(20ms);
            ++handled;
        };
        shipping.async_run(handler, stop, asio::bind_executor(io, end));
        io.run();
        REQUIRE(ended);
        CHECK(*ended);
        CHECK(f.cursor().position == 1);
        CHECK(handled == 1);
    }
    SECTION("by a cancellation, which cancels what runs")
    {
        auto const handler = [&](il::Event const& event) -> asio::awaitable<void> {
            if (event.number == 3)
                asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
            try {
                co_await pause(event.number == 3 ? 10000ms : 0ms);
            } catch (std::exception const&) {
                ++cancelled;
                throw;
            }
            ++handled;
        };
        shipping.async_run(
            handler, asio::bind_executor(io, asio::bind_cancellation_slot(cancel.slot(), end)));
        io.run();
        REQUIRE(ended);
        CHECK(*ended);
        CHECK(handled == 2);
        CHECK(cancelled == 1);
        CHECK(f.cursor().position == 2);
    }
    SECTION("by what makes it impossible")
    {
        CHECK(f.cursors.insert(il::Cursor{"shipping/0", 9, 1, {}}));
        shipping.async_run(nothing, asio::bind_executor(io, end));
        io.run();
        REQUIRE(ended);
        CHECK(ended->errc() == il::Errc::corrupt_state);
    }
    SECTION("by a name that it cannot have")
    {
        il::Subscription const unnamed{f.events, f.cursors, "", quick};
        unnamed.async_run(nothing, asio::bind_executor(io, end));
        CHECK(!ended);
        io.run();
        REQUIRE(ended);
        CHECK(ended->errc() == il::Errc::invalid_argument);
    }
}

TEST_CASE(
    "A handler that never ends is cancelled at its deadline, and its stream parked",
    "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f;
    f.sell(10, 2);
    auto options = quick;
    options.event_deadline = 10ms;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    asio::io_context io;
    int handled = 0;
    auto const handler = [&](il::Event const& event) -> asio::awaitable<void> {
        if (event.position == 4)
            co_await pause(100000ms);
        ++handled;
    };
    std::optional<il::Outcome<std::size_t>> drained;
    shipping.async_drain(
        handler, il::Deadline{},
        asio::bind_executor(io, [&](il::Outcome<std::size_t> outcome) { drained = std::move(outcome); }));
    io.run();
    REQUIRE(drained);
    CHECK(drained->value() == 6);
    auto const parked = shipping.parked().value();
    REQUIRE(parked.size() == 1);
    CHECK(parked[0].attempts == 3);
}

TEST_CASE(
    "A run that waits learns at once that its lease is lost, and tells its handlers",
    "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f;
    f.sell(1);
    Told told;
    auto options = quick;
    options.observer = &told;
    options.poll_least = options.poll_most = 10s;  // nothing else wakes it
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    asio::io_context io;
    std::stop_source stop;
    auto const id = il::cursor_id("shipping", 0);
    bool cancelled = false;
    auto const handler = [&](il::Event const&) -> asio::awaitable<void> {
        auto const seen = f.cursors.inspect(id, il::Deadline{}).value().value();
        CHECK(f.cursors.break_lock(id, seen, il::Deadline{}).value() == il::Removal::removed);
        try {
            co_await pause(5000ms);
        } catch (std::exception const&) {
            cancelled = true;
            CHECK(told.lost == 1);
            stop.request_stop();
            throw;
        }
        stop.request_stop();
    };
    std::optional<il::Outcome<void>> ended;
    shipping.async_run(handler, stop, asio::bind_executor(io, [&](il::Outcome<void> outcome) {
                           ended = std::move(outcome);
                       }));
    io.run();
    REQUIRE(ended);
    CHECK(cancelled);
    CHECK(told.lost == 1);
}

TEST_CASE("An abandoned run leaves nothing behind but its lease", "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f;
    f.sell(10, 2);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::atomic<int> begun{0};
    auto const handler = [&](il::Event const&) -> asio::awaitable<void> {
        ++begun;
        co_await pause(100000ms);
    };
    {
        asio::io_context io;
        shipping.async_run(handler, asio::bind_executor(io, [](il::Outcome<void>) {}));
        while (begun < 2)
            io.run_one();
    }
    il::Subscription const again{f.events, f.cursors, "shipping", quick};
    CHECK(again.drain(nothing).value() == 10);
}

TEST_CASE("A run that blocks no thread works on stores that block", "[patterns][subscription]")
{
    using namespace subscription_async_test;
    Fixture f;
    f.sell(20, 3);
    interlock_test::BlockingRepository const cursors{f.cursors};
    il::Subscription const shipping{f.events, cursors, "shipping", quick};
    asio::io_context io;
    Delivered delivered;
    std::stop_source stop;
    auto const handler = [&](il::Event const& event) {
        if (event.position == 20)
            stop.request_stop();
        return delivered(event);
    };
    std::optional<il::Outcome<void>> ended;
    shipping.async_run(handler, stop, asio::bind_executor(io, [&](il::Outcome<void> outcome) {
                           ended = std::move(outcome);
                       }));
    io.run();
    REQUIRE(ended);
    CHECK(*ended);
    CHECK(delivered.in_order);
    CHECK(delivered.count == 20);
    CHECK(f.cursor().position == 20);
}
