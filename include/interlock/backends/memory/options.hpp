// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_OPTIONS_HPP
#define INTERLOCK_BACKENDS_MEMORY_OPTIONS_HPP

/// @file
/// The bounds of the stores in memory: of states, and of idempotency records.
///
///     interlock::memory::RepositoryOptions options;
///     options.max_keys = 10'000;
///     options.retention = std::chrono::hours{1};
///     interlock::memory::StateRepository<Account> accounts{options};
///     // The key number 10'001 is refused with `overloaded`, and nothing is changed.

#include <interlock/core/errc.hpp>
#include <interlock/fwd.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace memory {

namespace detail {
class EventSink;
}

/// The log behind an `EventRepository` of whatever runtime. Users pass the repository.
class EventLogHandle {
public:
    /// No log.
    EventLogHandle() noexcept = default;
    explicit EventLogHandle(std::shared_ptr<detail::EventSink> log) noexcept : log_(std::move(log)) {}
    detail::EventSink* get() const noexcept { return log_.get(); }

private:
    std::shared_ptr<detail::EventSink> log_;
};

/// The bounds of one store in memory (law P10). Whatever would exceed one of them is refused with
/// `overloaded`, or, for a single value, with `invalid_argument`. Only what is kept counts: an operation
/// record behind its retention, or a lease behind its end, takes no room.
struct RepositoryOptions {
    /// How many bytes one value may have when it is encoded. Only for types that `StateTraits` can encode.
    std::size_t max_value_bytes{std::size_t{1} << 20};
    /// How many keys may have a value or a lock.
    std::size_t max_keys{std::size_t{1} << 24};
    /// How many callers may wait for row locks, over all keys.
    std::size_t max_waiters{std::size_t{1} << 20};
    /// How many operation records may be kept, over all keys.
    std::size_t max_operations{std::size_t{1} << 24};
    /// How long an operation record is kept, by the runtime's clock. Choose it longer than anybody tries
    /// again: after it the same operation id counts as a new operation. More than 0, else the store is not
    /// made (`invalid_argument`).
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
    /// Where the events go that operations record, in the same commits: a `memory::EventRepository`. Without
    /// one a call whose operation records is `misconfigured`.
    EventLogHandle events{};
};

/// How a log in memory is divided, and how large it may become (law P10).
struct EventRepositoryOptions {
    /// Into how many parts the log is divided, 1 to 16,384; with another number it is not made
    /// (`invalid_argument`). The events of one stream are in one partition; each partition has one reader at
    /// a time.
    unsigned partitions{1};
    /// How many events may be kept, over all partitions; beyond it a commit that records is `overloaded`.
    std::size_t max_events{std::size_t{1} << 22};
    /// How many streams a partition may have; beyond it a commit that records for a new one is `overloaded`.
    /// A stream keeps its number when its events are trimmed.
    std::size_t max_streams{std::size_t{1} << 22};
    /// What `Event::writer` says: the service, or the instance, that writes into the log by these options.
    std::string writer{};
};

/// How an idempotency store in memory keeps its records, and how many (law P10).
struct IdempotencyStoreOptions {
    /// How long an answer is kept, by the runtime's clock. Choose it longer than anybody tries again. A claim
    /// without an answer is kept as long as well, counted from the claim. More than 0, else the store is not
    /// made (`invalid_argument`).
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
    /// How many records may be kept, claims included; beyond it a claim is `overloaded`.
    std::size_t max_records{std::size_t{1} << 22};
};

namespace detail {

/// The options of a store that keeps records, if it may be made with them. A record that ends when it begins
/// would let an operation id, or a request, have two effects.
template <class Options>
Options checked_retention(Options options)
{
    if (options.retention.count() <= 0)
        throw Error(Errc::invalid_argument, "memory: retention must be more than 0");
    return options;
}

}  // namespace detail

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_OPTIONS_HPP
