// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_UNCONTENDED_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_UNCONTENDED_CONTESTANTS_HPP

// Every thread changes its own keys; nobody ever meets anybody.

#include <boost/describe.hpp>

#include <time.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Plan {
    int threads;
    double seconds;
    std::vector<std::string> keys;  // the k-th belongs to thread k % threads
};

/// Nanoseconds of processor time per operation. Nobody waits here, so that is what an operation takes,
/// without what other programs take from this one. Throws when a count is wrong at the end.
double sharded_mutex(Plan const& plan);
double sharded_mutex_with_rollback(Plan const& plan);
double optimistic_versioning(Plan const& plan);
double pessimistic_row_lock(Plan const& plan);
double set_nx_lock(Plan const& plan);

inline double thread_seconds()
{
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Calls `change(key)` on each thread's keys, round and round; `total()` is the sum of all quantities at the
/// end.
template <class Change, class Total>
double measure(Plan const& plan, Change change, Total total)
{
    auto const threads = static_cast<std::size_t>(plan.threads);
    std::atomic<bool> stop{false};
    std::barrier start(plan.threads + 1);
    std::vector<std::uint64_t> operations(threads);
    std::vector<double> seconds(threads);
    std::vector<std::thread> workers;
    for (std::size_t t = 0; t < threads; ++t)
        workers.emplace_back([&, t] {
            std::vector<std::string> own;
            for (std::size_t k = t; k < plan.keys.size(); k += threads)
                own.push_back(plan.keys[k]);
            start.arrive_and_wait();
            auto const begin = thread_seconds();
            std::uint64_t done = 0;
            do {
                for (auto const& key : own)
                    change(key);
                done += own.size();
            } while (!stop.load(std::memory_order_relaxed));
            seconds[t] = thread_seconds() - begin;
            operations[t] = done;
        });
    start.arrive_and_wait();
    std::this_thread::sleep_for(std::chrono::duration<double>(plan.seconds));
    stop.store(true, std::memory_order_relaxed);
    double sum = 0;
    std::uint64_t all = 0;
    for (std::size_t t = 0; t < threads; ++t) {
        workers[t].join();
        sum += seconds[t] * 1e9 / static_cast<double>(operations[t]);
        all += operations[t];
    }
    if (total() != all)
        throw std::runtime_error("lost updates");
    return sum / plan.threads;
}

/// A transaction service of the library, with the keys inserted.
template <class Service>
double measure_service(Plan const& plan, Service const& service)
{
    for (auto const& key : plan.keys)
        static_cast<void>(service.repository().insert(Stock{key, 0}).value());
    return measure(
        plan,
        [&](std::string const& key) {
            service.do_in_transaction(key, [](Stock& stock) { ++stock.quantity; });
        },
        [&] {
            std::uint64_t sum = 0;
            for (auto const& key : plan.keys)
                sum += static_cast<std::uint64_t>(service.repository().load(key).value().value.quantity);
            return sum;
        });
}

#endif  // INTERLOCK_BENCHMARKS_UNCONTENDED_CONTESTANTS_HPP
