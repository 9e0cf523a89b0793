// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP

/// @file
/// The Redis fixtures of the contract suite: see contract/backends.hpp. Each has a name space of its own on
/// one real server.

#include <interlock/backends/redis/backend.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <string>
#include <tuple>

namespace contract {

using interlock_test::Stock;

struct Redis {
    static constexpr bool row_locks = false;
    std::string name_space{interlock_test::fresh_name_space()};
    interlock::redis::Client client{options()};
    interlock::redis::StateRepository<Stock> store{client};
    interlock::redis::IdempotencyStore keys{client};
    auto repository() const { return store; }
    /// Another client: connections of its own.
    auto other() const
    {
        return interlock::redis::StateRepository<Stock>{interlock::redis::Client{options()}};
    }
    auto idempotency_store() const { return keys; }

    interlock::redis::Options options() const
    {
        auto options = interlock_test::redis_server().options();
        options.name_space = name_space;
        return options;
    }
};

/// Behind `StateRepository<Stock>`, as `open` gives it.
struct ErasedRedis : Redis {
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{Redis::other()}; }
    auto idempotency_store() const { return interlock::AnyIdempotencyStore{keys}; }
};

using Backends = std::tuple<Redis, ErasedRedis>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP
