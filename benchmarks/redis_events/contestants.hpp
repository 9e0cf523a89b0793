// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_REDIS_EVENTS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_REDIS_EVENTS_CONTESTANTS_HPP

// What an event costs its commit, and how fast a log is read.

#include "../support/redis.hpp"

#include <string>
#include <vector>

using Plan = bench::RedisPlan;

/// Optimistic updates per second of 128 states at once, over one connection.
double commits(Plan const& plan);
double commits_with_events(Plan const& plan);  ///< each with one event of 200 bytes

/// Events per second, of a log of 20,000 that is read again and again, in batches of 500.
double bare_read(Plan const& plan);  ///< hiredis: XRANGE of the same log
double interlock_read(Plan const& plan);

inline constexpr int at_once = 128;
inline constexpr int events_in_log = 20'000;
inline constexpr int events_in_batch = 500;

/// Makes that log; its name.
std::string fill(Plan const& plan, char const* kind);

/// The cost of an event beside so many that are stored already, in a log of each size.
void growth(bench::RedisRuns& runs, std::vector<long> const& sizes);

#endif  // INTERLOCK_BENCHMARKS_REDIS_EVENTS_CONTESTANTS_HPP
