// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_HOT_KEY_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_HOT_KEY_CONTESTANTS_HPP

// All threads change one key.

#include <boost/describe.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Counter {
    std::string name;
    std::int64_t count{0};
};
BOOST_DESCRIBE_STRUCT(Counter, (), (name, count))

struct Plan {
    int threads;
    double seconds;
};

struct Result {
    double per_second;  ///< increments, of all threads together
    double share;       ///< of the slowest thread, in parts of what would be fair
};

/// Each throws when the count is wrong at the end.
Result plain_mutex(Plan const& plan);
Result map_under_mutex(Plan const& plan);
Result fifo_mutex(Plan const& plan);
Result ticket_mutex(Plan const& plan);
Result optimistic_versioning(Plan const& plan);
Result pessimistic_row_lock(Plan const& plan);
Result set_nx_lock(Plan const& plan);

/// Calls `change(operation)` with an increment on all threads until the time is over; `total()` is the count
/// at the end.
///
/// Before the time starts, a change of the main thread's own lasts until all threads are there. Fair mutexes
/// then have the queue that they will have as long as the run lasts. Without it they pass for fast as long as
/// nobody happens to be preempted between lock and unlock, which on a busy machine is a matter of luck.
template <class Change, class Total>
Result measure(Plan const& plan, Change change, Total total)
{
    using Clock = std::chrono::steady_clock;
    auto const threads = static_cast<std::size_t>(plan.threads);
    struct alignas(64) Done {
        std::int64_t count{0};
    };
    std::atomic<bool> stop{false};
    std::barrier start(plan.threads + 1);
    std::vector<Done> done(threads);
    std::vector<std::thread> workers;
    for (std::size_t t = 0; t < threads; ++t)
        workers.emplace_back([&, t] {
            start.arrive_and_wait();
            std::int64_t count = 0;
            while (!stop.load(std::memory_order_relaxed)) {
                change([](Counter& counter) { ++counter.count; });
                ++count;
            }
            done[t].count = count;
        });
    bool gathered = false;
    change([&](Counter& counter) {
        if (!gathered) {
            gathered = true;
            start.arrive_and_wait();
            std::this_thread::sleep_for(std::chrono::milliseconds{20});
        }
        ++counter.count;
    });
    auto const begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(plan.seconds));
    stop.store(true, std::memory_order_relaxed);
    for (auto& worker : workers)
        worker.join();
    auto const seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    std::int64_t all = 0;  // but for the main thread's
    auto least = done[0].count;
    for (auto const& one : done) {
        all += one.count;
        least = one.count < least ? one.count : least;
    }
    if (total() != all + 1)
        throw std::runtime_error(
            "lost updates: " + std::to_string(total()) + " of " + std::to_string(all + 1));
    return {
        static_cast<double>(all) / seconds,
        all == 0 ? 0 : static_cast<double>(least) * plan.threads / static_cast<double>(all)};
}

template <class Service>
Result measure_service(Plan const& plan, Service const& service)
{
    std::string const key = "hits";
    static_cast<void>(service.repository().insert(Counter{key, 0}).value());
    return measure(
        plan, [&](auto&& operation) { service.do_in_transaction(key, operation); },
        [&] { return service.repository().load(key).value().value.count; });
}

#endif  // INTERLOCK_BENCHMARKS_HOT_KEY_CONTESTANTS_HPP
