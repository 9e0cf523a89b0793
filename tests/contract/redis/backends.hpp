// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP

/// @file
/// The Redis fixtures of the contract suite: see contract/backends.hpp. Each has a name space of its own on
/// one real server.

#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>

#define INTERLOCK_TESTS_CONTRACT_EVENTS
#define INTERLOCK_TESTS_CONTRACT_JOINT

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

/// With a log beside the states, in `Shards` shards.
template <std::size_t Shards>
struct RedisEvents {
    static constexpr bool row_locks = false;
    std::string name_space{interlock_test::fresh_name_space()};
    interlock::redis::Client client{options()};
    interlock::redis::EventRepository log{client, {.shards = Shards, .writer = "contract"}};
    interlock::redis::StateRepository<Stock> store{client, {.shards = Shards, .events = log}};
    interlock::redis::IdempotencyStore keys{client};
    auto repository() const { return store; }
    /// Another client: connections of its own.
    auto other() const
    {
        interlock::redis::Client const another{options()};
        return interlock::redis::StateRepository<Stock>{
            another,
            {.shards = Shards,
             .events = interlock::redis::EventRepository{another, {.shards = Shards, .writer = "contract"}}}};
    }
    /// States of another type, in the same store.
    template <class T>
    auto states() const
    {
        return interlock::redis::StateRepository<T>{client, {.shards = Shards}};
    }
    auto idempotency_store() const { return keys; }
    auto events() const { return log; }
    auto other_events() const
    {
        return interlock::redis::EventRepository{
            interlock::redis::Client{options()}, {.shards = Shards, .writer = "contract"}};
    }
    auto without_events() const
    {
        return interlock::redis::StateRepository<Stock>{client, {.shards = Shards}};
    }

    interlock::redis::Options options() const
    {
        auto options = interlock_test::redis_server().options();
        options.name_space = name_space;
        return options;
    }
};

struct ErasedRedisEvents : RedisEvents<1> {
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{RedisEvents<1>::other()}; }
    auto without_events() const
    {
        return interlock::StateRepository<Stock>{RedisEvents<1>::without_events()};
    }
};

using RecordingBackends = std::tuple<RedisEvents<1>>;
using EventBackends = std::tuple<RedisEvents<1>, RedisEvents<3>, ErasedRedisEvents>;

/// Two name spaces whose states change together, with a log in each.
struct JointRedis {
    static constexpr bool has_elsewhere = true;
    static constexpr bool row_locks = false;
    static constexpr bool has_events = true;
    std::string name_space{interlock_test::fresh_name_space()};
    interlock::redis::Client client{interlock_test::redis_server().options()};
    interlock::redis::Client other{interlock_test::redis_server().options()};
    template <class T>
    static constexpr std::size_t shards = std::is_same_v<T, Stock> ? 1 : 2;
    template <class T>
    std::string name_of() const
    {
        return (std::is_same_v<T, Stock> ? "stock." : "accounts.") + name_space;
    }
    template <class T>
    auto log_by(interlock::redis::Client const& of) const
    {
        return interlock::redis::EventRepository{
            of, {.name_space = name_of<T>(), .shards = shards<T>, .writer = "contract"}};
    }
    template <class T>
    auto states_by(interlock::redis::Client const& of) const
    {
        return interlock::redis::StateRepository<T>{
            of, {.name_space = name_of<T>(), .shards = shards<T>, .events = log_by<T>(of)}};
    }
    template <class T>
    auto events_of() const
    {
        return log_by<T>(client);
    }
    auto idempotency_store() const
    {
        return interlock::redis::IdempotencyStore{client, {.name_space = "keys." + name_space}};
    }
    template <class T>
    auto states() const
    {
        return states_by<T>(client);
    }
    /// Another client: connections of its own.
    template <class T>
    auto other_states() const
    {
        return states_by<T>(other);
    }
    template <class T>
    auto elsewhere() const
    {
        return states_by<T>(other);
    }
};
using JointBackends = std::tuple<JointRedis>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_REDIS_BACKENDS_HPP
