// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_POSTGRES_EVENTS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_POSTGRES_EVENTS_CONTESTANTS_HPP

// Events in PostgreSQL: what the locks of an append cost that let readers prove a hole, what an event costs
// that is stored with a state, and how long it takes until a reader has it.

#include "../support/harness.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

struct Plan {
    std::string url;
    double seconds;
    std::size_t threads;
};

/// Appends per second, each to one of many streams.
/// The same INSERT by libpqxx, with a position from the sequence, and neither of the two locks: readers of
/// such a log miss events.
double bare_append(Plan const& plan);
double interlock_append(Plan const& plan);

/// Changes of states per second, without an event and with one.
double optimistic_state(Plan const& plan);
double optimistic_state_and_event(Plan const& plan);
double row_lock_state(Plan const& plan);
double row_lock_state_and_event(Plan const& plan);

/// From before the commit until a reader has the event, in milliseconds, on an idle server; sorted.
/// `elsewhere`: the reader has a pool of its own, as another process has.
std::vector<double> until_read(Plan const& plan, bool elsewhere);

/// The cost of an event beside so many that are stored already, in a log of each size.
void growth(bench::Options const& options, Plan const& plan, int rounds, std::vector<long> const& sizes);

/// `make(t)` gives each thread what it calls until time is up; the sum per second of all.
inline double per_second(
    Plan const& plan, std::function<std::function<void(std::uint64_t)>(std::size_t)> make)
{
    using clock = std::chrono::steady_clock;
    std::vector<std::thread> threads;
    std::atomic<long> count{0};
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> stop{false};
    for (std::size_t t = 0; t < plan.threads; ++t)
        threads.emplace_back([&, t] {
            auto const work = make(t);
            auto random = t * 0x9e3779b97f4a7c15ULL + 1;
            work(random);  // connected and prepared
            ++ready;
            while (ready < plan.threads)
                std::this_thread::yield();
            while (!stop) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                work(random);
                ++count;
            }
        });
    while (ready < plan.threads)
        std::this_thread::yield();
    auto const before = count.load();
    auto const begin = clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(plan.seconds));
    auto const done = count - before;
    auto const spent = std::chrono::duration<double>(clock::now() - begin).count();
    stop = true;
    for (auto& thread : threads)
        thread.join();
    return static_cast<double>(done) / spent;
}

#endif  // INTERLOCK_BENCHMARKS_POSTGRES_EVENTS_CONTESTANTS_HPP
