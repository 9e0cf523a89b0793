// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_REPOSITORY_OPTIONS_HPP
#define INTERLOCK_BACKENDS_REDIS_REPOSITORY_OPTIONS_HPP

/// @file
/// How a repository keeps its data in a Redis server:
///
///     redis::StateRepository<Stock> const stock{client, {.name_space = "shop", .retention = 48h}};

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {
struct EventLogPlace;
}

/// The log behind an `EventRepository`, of whatever runtime. Users pass the repository.
class EventLogHandle {
public:
    /// No log.
    EventLogHandle() noexcept = default;
    explicit EventLogHandle(std::shared_ptr<detail::EventLogPlace const> log) noexcept : log_(std::move(log))
    {}
    detail::EventLogPlace const* get() const noexcept { return log_.get(); }

private:
    std::shared_ptr<detail::EventLogPlace const> log_;
};

/// How one repository keeps its data.
struct RepositoryOptions {
    /// Instead of the client's; empty: that one.
    std::string name_space{};
    /// Parts that keys are spread over, by a stable hash of their bytes. All keys of one transaction must be
    /// in one part, else it is `invalid_argument`; with one, the default, any keys may be. Every client of a
    /// name space must say the same, for ever: another number finds other keys.
    std::size_t shards{1};
    /// Encoded size of one value; beyond it `invalid_argument`.
    std::size_t max_value_bytes{std::size_t{1} << 20};
    /// Replicas that must have a lock's grant before it counts. With fewer of them within `replica_timeout`,
    /// and half of the time to the deadline, the grant is taken back and the acquire fails as `unavailable`:
    /// not applied. Likewise a renewal counts only once they have it: with fewer of them it is
    /// `outcome_unknown`, and the lease is believed for no longer than before. A failover to one that has
    /// both then loses no lock. For each acquire the time that the replicas take, on the connection of the
    /// asynchronous calls before the next commands; acquires are not folded then. For up to 256 renewals at
    /// once the same, on a connection of their own. The right to `WAIT` is needed.
    std::size_t replicas{0};
    std::chrono::nanoseconds replica_timeout{std::chrono::milliseconds{300}};
    /// How long an operation record is kept, by the server's clock. Longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
    /// Where the events go that operations record, in the same commits: a `redis::EventRepository` of the
    /// same server, name space and shards. Without one, or with another one, a call whose operation records
    /// is `misconfigured`, and nothing is written.
    EventLogHandle events{};
};

/// How a log keeps its events.
struct EventRepositoryOptions {
    /// Instead of the client's; empty: that one. That of the states whose events these are.
    std::string name_space{};
    /// As those of the states. Each has a log of its own, which is a partition.
    std::size_t shards{1};
    /// How many events a partition may keep, from 1 to 2^40; beyond it a commit that records is `overloaded`.
    /// Where it is more than 65,536, a client looks once in a millisecond, and behind a refusal each time.
    std::size_t max_events{std::size_t{1} << 22};
    /// What `Event::writer` says: the service, or the instance, that writes into the log by these options. At
    /// most 255 bytes.
    std::string writer{};
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_REPOSITORY_OPTIONS_HPP
