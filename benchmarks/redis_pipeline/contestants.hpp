// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_REDIS_PIPELINE_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_REDIS_PIPELINE_CONTESTANTS_HPP

// SET NX PX, then compare-and-delete by EVALSHA, on 512 keys at once over one connection.

#include "../support/redis.hpp"

#include <string>
#include <vector>

using Plan = bench::RedisPlan;

/// Pairs of commands per second. Throw when a reply is not the right one.
double bare_batches(Plan const& plan);          ///< hiredis: 512 appended, 512 replies, one thread
double interlock_coroutines(Plan const& plan);  ///< 512 coroutines on one redis::Connection, one thread
double interlock_callbacks(Plan const& plan);   ///< the same without coroutines

inline constexpr int batch = 512;
inline constexpr char const* release_script =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

inline std::vector<std::string> keys(Plan const& plan)
{
    std::vector<std::string> out;
    for (int i = 0; i < batch; ++i)
        out.push_back("pipeline:" + std::to_string(plan.run) + ":" + std::to_string(i));
    return out;
}
inline std::string const lock_owner = "0123456789abcdef";

#endif  // INTERLOCK_BENCHMARKS_REDIS_PIPELINE_CONTESTANTS_HPP
