// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_PLACEMENT_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_PLACEMENT_HPP

// What all stores on a client have in common: where their records are, and for how long.

#include <interlock/backends/redis/options.hpp>
#include <interlock/core/errc.hpp>

#include <chrono>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Completes and checks what all stores on a client have in common: where their records are, and for how
/// long.
template <class StoreOptions>
[[gnu::cold]] void check_placement(StoreOptions& options, Options const& client)
{
    if (options.name_space.empty())
        options.name_space = client.name_space;
    if (auto const wrong = wrong_name_space(options.name_space))
        throw Error(Errc::invalid_argument, "redis: " + *wrong);
    if (options.shards == 0 || options.shards > 16384)
        throw Error(Errc::invalid_argument, "redis: shards must be from 1 to 16384");
    if constexpr (requires { options.retention; })
        if (options.retention < std::chrono::seconds{1} ||
            options.retention > std::chrono::hours{24 * 365 * 100})
            throw Error(Errc::invalid_argument, "redis: retention must be from 1 second to 100 years");
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_PLACEMENT_HPP
