// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_UNIT_PATTERNS_SUBSCRIPTION_HPP
#define INTERLOCK_TESTS_UNIT_PATTERNS_SUBSCRIPTION_HPP

/// @file
/// What the tests of subscriptions share: a log with sales, and those who watch.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace subscription_test {

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
        auto const loaded = cursors.load(il::cursor_id("shipping", partition));
        return loaded ? loaded->value : il::Cursor{};
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

/// Counts what an observer is told.
struct Told final : il::SubscriptionObserver {
    void on_leased(il::PartitionNotice const&) noexcept override { ++leased; }
    void on_lease_lost(il::PartitionNotice const&) noexcept override { ++lost; }
    void on_moved(il::PartitionNotice const&) noexcept override { ++moved; }
    void on_progress(il::PartitionNotice const&) noexcept override { ++progress; }
    void on_trimmed(il::StreamNotice const&) noexcept override { ++trimmed; }
    void on_retry(il::StreamNotice const&) noexcept override { ++retries; }
    void on_ignored(il::StreamNotice const&) noexcept override { ++ignored; }
    void on_parked(il::StreamNotice const&) noexcept override { ++parked; }
    void on_parking_full(il::StreamNotice const&) noexcept override { ++full; }
    void on_resumed(il::StreamNotice const&) noexcept override { ++resumed; }
    void on_unparked(il::StreamNotice const&) noexcept override { ++unparked; }
    std::atomic<int> leased{0}, lost{0}, moved{0}, progress{0}, trimmed{0}, retries{0}, ignored{0}, parked{0},
        full{0}, resumed{0}, unparked{0};
};

/// Runs a subscription on a thread of its own until it goes.
template <class Subscription, class F>
class Runner {
public:
    Runner(Subscription const& of, F handler)
        : thread_([this, of, handler = std::move(handler)]() mutable {
              result_ = of.run(handler, stop_.get_token());
              ended = true;
          })
    {}
    il::Outcome<void> end()
    {
        stop_.request_stop();
        if (thread_.joinable())
            thread_.join();
        return result_;
    }
    ~Runner() { static_cast<void>(end()); }

    std::atomic<bool> ended{false};

private:
    std::stop_source stop_;
    il::Outcome<void> result_;
    std::thread thread_;
};

inline void nothing(il::Event const&) {}

}  // namespace subscription_test

#endif  // INTERLOCK_TESTS_UNIT_PATTERNS_SUBSCRIPTION_HPP
