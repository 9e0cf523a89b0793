// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_SERVER_CHECK_HPP
#define INTERLOCK_BACKENDS_REDIS_SERVER_CHECK_HPP

/// @file
/// What a Redis server says about itself, as far as the promises of the library depend on it. A program that
/// wants to know at its start whether the server suits it asks so:
///
///     interlock::redis::Client const client{"redis://db.example.org"};
///     interlock::redis::ServerCheck const check = client.server_check().value();  // throws: unfit, or away
///     if (check.verified && !check.append_only)
///         log("a restart of this server forgets all locks, values and records");

#include <cstdint>
#include <string>

namespace interlock {
inline namespace v0 {
namespace redis {

/// The answer to `Client::server_check`, from the server's reply to INFO.
struct ServerCheck {
    /// False: the user may not ask (INFO is denied, or renamed), so nothing below is known and fenced locks
    /// are granted unverified.
    bool verified{false};
    /// Of Redis, as "7.2.4". Below 7.0 the server is refused. Valkey names here the Redis that it is like.
    std::string version{};
    /// "master". A server with another role is refused.
    std::string role{};
    /// What the server drops when its memory is full. It matters when `max_memory` is not 0: everything but
    /// "noeviction" may drop a lease or a record, and is refused.
    std::string eviction_policy{};
    /// The limit of the server's memory in bytes. 0: it has none.
    std::uint64_t max_memory{0};
    /// False: a restart loses locks, values, records and the fence counters together. Old holders are refused
    /// all the same, since their records are gone; tokens and versions go on above the old ones by the
    /// server's clock.
    bool append_only{false};
    /// How many replicas are connected. With more than 0 a failover may lose what was acknowledged last,
    /// locks and values alike; see `RepositoryOptions::replicas`.
    std::uint64_t replicas{0};
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_SERVER_CHECK_HPP
