// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_REDIS_SECTIONS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_REDIS_SECTIONS_CONTESTANTS_HPP

// Critical sections on a Redis server, by one thread with its own connection: what somebody writes by hand
// with hiredis, and what the library does.

#include <boost/describe.hpp>

#include "../support/redis.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

using Plan = bench::RedisPlan;

/// What does one section each time, the i-th, by one thread. Throws when it fails.
using Sections = std::function<void(int)>;
Sections bare_lock(Plan const& plan);       ///< SET NX PX, then compare-and-delete by EVALSHA
Sections bare_section(Plan const& plan);    ///< the same with GET and SET in between: four round trips
Sections interlock_lock(Plan const& plan);  ///< LockStateService: acquire, release; fenced
Sections interlock_efficiency_lock(Plan const& plan);
Sections interlock_section(Plan const& plan);     ///< TransactionService with SetNxLock: fenced, fused
Sections interlock_optimistic(Plan const& plan);  ///< TransactionService with OptimisticVersioning

/// Sections per second: 64 threads of one process on one key, read-modify-write under the lock. Throw when a
/// count is wrong at the end.
/// SET NX PX, tried again every millisecond as clients without wake-ups do.
double bare_hot_key(Plan const& plan);
double interlock_hot_lock(Plan const& plan);     ///< the lock alone
double interlock_hot_section(Plan const& plan);  ///< the fused section

inline constexpr int keys_per_run = 256;
inline constexpr int hot_threads = 64;

/// The i-th of the names, again and again.
inline std::string const& name_of(std::vector<std::string> const& names, int i)
{
    return names[static_cast<std::size_t>(i) % names.size()];
}

/// `make()` gives each thread what it calls until time is up; the sum per second of all. `total()` must be
/// the count.
template <class Make, class Total>
double per_second_of_many(double seconds, Make make, Total total)
{
    using clock = std::chrono::steady_clock;
    auto const begin = clock::now();
    auto const end =
        begin + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<long> counts(hot_threads);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < hot_threads; ++t)
        threads.emplace_back([&, t] {
            auto section = make();
            while (clock::now() < end) {
                section();
                ++counts[t];
            }
        });
    for (auto& thread : threads)
        thread.join();
    long all = 0;
    for (auto const count : counts)
        all += count;
    auto const spent = std::chrono::duration<double>(clock::now() - begin).count();
    if (total() != all)
        throw std::runtime_error("lost updates");
    return static_cast<double>(all) / spent;
}

#endif  // INTERLOCK_BENCHMARKS_REDIS_SECTIONS_CONTESTANTS_HPP
