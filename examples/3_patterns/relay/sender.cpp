// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/format.hpp>
#include <interlock/core/runtime/progress.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/cloud_events.hpp>
#include <interlock/patterns/relay.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "books.hpp"
#include "broker.hpp"
#include "roles.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

namespace relay {

namespace {

namespace asio = boost::asio;

/// `publish` as something that a coroutine awaits.
asio::awaitable<il::Outcome<void>> published(Publisher& broker, Message& message)
{
    auto const initiate = [&](auto handler) {
        auto const shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto const executor = asio::get_associated_executor(*shared);
        broker.publish(std::move(message), [shared, executor](il::Outcome<void> outcome) {
            asio::post(executor, [shared, outcome = std::move(outcome)]() mutable {
                (*shared)(std::move(outcome));
            });
        });
    };
    co_return co_await asio::async_initiate<decltype(asio::use_awaitable), void(il::Outcome<void>)>(
        initiate, asio::use_awaitable);
}

/// However its scope is left, what runs on the threads has ended before what it uses goes.
struct Ending {
    Ending(std::stop_source& to_stop, asio::thread_pool& to_join) : stop(to_stop), threads(to_join) {}
    Ending(Ending const&) = delete;
    Ending& operator=(Ending const&) = delete;
    ~Ending()
    {
        stop.request_stop();
        threads.join();
    }
    std::stop_source& stop;
    asio::thread_pool& threads;
};

/// Calls `sold` after each sale.
void sell(Books const& books, Options const& options, std::function<void()> const& sold)
{
    il::TransactionService const sales{il::OptimisticVersioning{.missing = il::Missing::create}, books.stock};
    // When this program is run again after it died, a sale that was made before is not made again.
    for (std::size_t i = 0; i < options.events; ++i) {
        sales.do_in_transaction(
            il::OperationId{fmt::format("sale-{}", i)}, fmt::format("sku-{}", i % options.streams),
            [](Stock& stock, il::Recorder& record) {
                ++stock.sold;
                record(Sold{stock.sku, 1});  // with the change, or not at all
            });
        sold();
    }
}

}  // namespace

bool send(Options const& options)
{
    asio::thread_pool threads{2};
    auto const books = open_books(options.store, options.name);
    auto const broker = open_publisher(threads.get_executor(), options.broker, options.topic);
    std::atomic<std::size_t> sent{0};

    // #region relay
    auto const sink = [&](il::Event const& event) -> asio::awaitable<il::Outcome<void>> {
        auto json = il::to_cloud_event<Facts>(event, "https://shop.example/stock");
        if (!json)
            co_return std::move(json).failure();
        Message message{event.id, std::string(event.stream.bytes()), *std::move(json)};
        auto outcome = co_await published(*broker, message);
        if (outcome && ++sent % std::max<std::size_t>(options.events / 10, 1) == 0) {
            fmt::print("sent {}\n", sent.load());
            std::fflush(stdout);
        }
        co_return outcome;
    };
    il::Relay const relay{books.events, books.cursors, "broker", sink, {.concurrency = 64}};
    std::stop_source stop;
    std::optional<il::Outcome<void>> ended;
    std::atomic<bool> over{false};  // `ended` is there
    relay.async_run(stop, asio::bind_executor(threads, [&](il::Outcome<void> outcome) {
                        ended = std::move(outcome);
                        over = true;
                    }));
    // #endregion relay
    Ending const ending{stop, threads};

    il::Progress progress{std::cerr, "relay", options.events, "events sent"};
    sell(books, options, [&] { progress.show(sent); });
    auto const& reader = relay.subscription();
    // A relay that ends before it is told to says why: its store does not keep what it is given, for one.
    for (auto lag = reader.lag(); !over && (!lag || *lag > 0); lag = reader.lag()) {
        progress.show(sent);
        std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    progress.hide();
    stop.request_stop();
    threads.join();
    ended.value().value();

    auto const parked = reader.parked().value();
    for (auto const& stream : parked)
        fmt::print(stderr, "relay: parked: {}: {}\n", stream.stream, stream.error);
    fmt::print("recorded {}, sent {}, parked {}\n", options.events, sent.load(), parked.size());
    return parked.empty();
}

}  // namespace relay
