// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_REDIS_RIVALS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_REDIS_RIVALS_CONTESTANTS_HPP

// The library beside the locks that somebody would otherwise take: redis-py's and npm's redlock, each with
// its own defaults. Every contestant is a process of its own, whatever its language, and this is what is
// said:
//
//     it is started with       CONTESTANT SOCKET SECONDS RUN, and what it needs besides
//     it prints                ready                       when it is connected and warm
//     it is told               go <seconds since the epoch>
//     it works for SECONDS from that moment, and prints
//                              sections <per second>
//                              waiters <sections of each>
//                              bins <sections in each 100 ms>
//                              wait <seconds> <how often>  a line for each class of waiting times
//                              cpu <seconds of processor time>
//
// A section counts when it ended in time. One that fails, or a value that is not exact at the end, ends the
// process.

#include <boost/describe.hpp>

#include "../support/redis.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

using Plan = bench::RedisPlan;

/// The contestants in C++, by the names of the command line.
using Arguments = std::vector<std::string>;
void distinct_fenced(Plan const& plan, Arguments const&);
void distinct_efficiency(Plan const& plan, Arguments const&);
void distinct_bare(Plan const& plan, Arguments const&);
void one_key(Plan const& plan, Arguments const&);
void processes(Plan const& plan, Arguments const&);
void section(Plan const& plan, Arguments const&);  ///< 64 coroutines
void section_threads(Plan const& plan, Arguments const&);
/// How many, and their milliseconds; also prints `lost`.
void leases(Plan const& plan, Arguments const& arguments);
void growth(Plan const& plan, Arguments const& arguments);  ///< how many; see growth.cpp

/// Counts sections, within the time that the line `go` begins.
class Meter {
public:
    using clock = std::chrono::steady_clock;

    Meter(std::size_t waiters, double seconds, bool with_waits = false);

    void start_now();
    /// Says `ready` and waits for `go`.
    void start_when_told();
    /// The waiter's last section has ended, and it asks anew. Whether there is time left.
    bool ended(std::size_t waiter)
    {
        auto const now = clock::now();
        ++total_;
        if (now >= end_)
            return false;
        ++counts_[waiter];
        ++bins_[static_cast<std::size_t>((now - begin_) / std::chrono::milliseconds{100})];
        if (with_waits_)
            asked_[waiter] = now;
        return true;
    }
    void granted(std::size_t waiter)
    {
        if (!with_waits_)
            return;
        auto const now = clock::now();
        if (now < end_)
            ++waits_[class_of(now - asked_[waiter])];
    }
    /// Sections, late ones included.
    long total() const noexcept { return total_; }
    clock::time_point end() const noexcept { return end_; }
    void print() const;
    /// Of this process so far.
    static double cpu_seconds();

private:
    void begin_at(clock::time_point begin);
    /// 16 classes for each power of two of nanoseconds.
    static std::size_t class_of(clock::duration wait) noexcept;
    static double seconds_of(std::size_t wait_class) noexcept;

    double seconds_;
    bool with_waits_;
    std::vector<long> counts_;
    std::vector<long> bins_;
    std::vector<clock::time_point> asked_;
    std::vector<long> waits_;
    long total_{0};
    double cpu_{0};
    clock::time_point begin_{};
    clock::time_point end_{};
};

#endif  // INTERLOCK_BENCHMARKS_REDIS_RIVALS_CONTESTANTS_HPP
