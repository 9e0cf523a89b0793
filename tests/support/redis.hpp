// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_REDIS_HPP
#define INTERLOCK_TESTS_SUPPORT_REDIS_HPP

/// @file
/// What all tests of the Redis backend begin with.

#include <interlock/backends/redis/options.hpp>
#include <interlock/core/contracts/store.hpp>

#include "support/recording_observer.hpp"
#include "support/redis_server.hpp"

#include <cstdint>

namespace interlock_test {

/// A name space of its own on this server.
inline interlock::redis::Options redis_options(RedisServer const& server = redis_server())
{
    auto options = server.options();
    options.name_space = fresh_name_space();
    return options;
}

inline interlock::OwnerToken owner(std::uint64_t n)
{
    return interlock::OwnerToken{{n, ~n}};
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_REDIS_HPP
