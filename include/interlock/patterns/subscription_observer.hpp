// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_SUBSCRIPTION_OBSERVER_HPP
#define INTERLOCK_PATTERNS_SUBSCRIPTION_OBSERVER_HPP

/// @file
/// What a metric, a log or an alarm needs to know of a subscription, told as it happens.
///
///     struct Alarm final : interlock::SubscriptionObserver {
///         void on_parked(interlock::StreamNotice const& n) noexcept override
///         {
///             std::cerr << n.consumer << ": " << n.stream << " waits with " << n.number << ": " << n.text;
///         }
///     } alarm;
///     interlock::Subscription shipping{events, cursors, "shipping", {.observer = &alarm}};

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// Something about a subscription in one partition.
struct PartitionNotice {
    std::string_view consumer{};
    unsigned partition{0};
    Position position{0};  ///< up to which everything was handled
    /// Events that were read and not handled yet. There may be more that were not read.
    std::size_t waiting{0};
    int attempt{0};                     ///< at a store that fails, counted from 1
    Errc code{Errc::ok};                ///< what the store said
    std::chrono::nanoseconds delay{0};  ///< until the next attempt
    std::string_view text{};            ///< the same in words
};

/// Something about one stream. Its key belongs into logs, not into the labels of metrics.
struct StreamNotice {
    std::string_view consumer{};
    unsigned partition{0};
    std::string_view stream{};          ///< the bytes of its key
    std::int64_t number{0};             ///< of the event in question
    Position position{0};               ///< of that event
    int attempt{0};                     ///< that failed, counted from 1
    Errc code{Errc::ok};                ///< of an outcome or an `Error`; `ok` for other exceptions
    std::chrono::nanoseconds delay{0};  ///< until the next attempt
    std::string_view text{};            ///< why, or the type of an event that was ignored
};

/// How the partitions of a consumer are shared, as one of its runs sees it.
struct MembersNotice {
    std::string_view consumer{};
    std::size_t members{0};  ///< runs that share the partitions, this one included
    std::size_t share{0};    ///< how many partitions this run may hold
    unsigned partitions{0};
};

/// How far a consumer is in one partition, as the run sees it that reads there: for gauges.
struct PartitionReport {
    std::string_view consumer{};
    unsigned partition{0};
    Position position{0};  ///< up to which everything was handled
    /// How many events it is behind: those that were read and not handled, and those that were not read,
    /// whose number is estimated from how dense the events lay that were read last. Without what parked
    /// streams wait with.
    Position lag{0};
    /// How much later the newest event was stored than the first one that was not handled, by the store's
    /// clock, where it has one; or how long that event has held the cursor up, if that is longer.
    std::chrono::nanoseconds lag_time{0};
    std::size_t waiting{0};        ///< events that were read and not handled yet
    std::size_t parked{0};         ///< streams
    std::size_t handled{0};        ///< events, since the run began
    double handled_per_second{0};  ///< since the report before; 0 in the first one
};

/// Receives notices; as `Observer`: members are `noexcept`, are called on the thread that they tell of,
/// perhaps from several threads at once, and never while the library holds a mutex. Texts are valid
/// during the call. The observer must outlive the subscription and its runs.
class SubscriptionObserver {
public:
    /// The lease of a partition was taken, and `position` is where it goes on.
    virtual void on_leased(PartitionNotice const&) noexcept {}
    /// The lease was lost before it was given up: what was not written is delivered again, to whoever has it.
    virtual void on_lease_lost(PartitionNotice const&) noexcept {}
    /// The lease was given up for another run, whose share the partition is; `position` is where it goes on.
    virtual void on_handed_over(PartitionNotice const&) noexcept {}
    /// A run has come, has gone, or is dead: the partitions are shared anew.
    virtual void on_members(MembersNotice const&) noexcept {}
    /// Somebody has moved the cursor by hand, and reading goes on from there.
    virtual void on_moved(PartitionNotice const&) noexcept {}
    /// A batch was handled, and the cursor is at `position`.
    virtual void on_progress(PartitionNotice const&) noexcept {}
    /// How far it is, regularly: see `SubscriptionOptions::report_every`. A partition is reported by the run
    /// that has its lease, as soon as it knows how dense the events lie.
    virtual void on_report(PartitionReport const&) noexcept {}
    /// The log, or the store of the cursors, has failed, and is asked again.
    virtual void on_trouble(PartitionNotice const&) noexcept {}
    /// The log begins behind its first event: what was removed is not handled by this consumer, which is new.
    virtual void on_trimmed(StreamNotice const&) noexcept {}
    /// A handler failed, and is called again.
    virtual void on_retry(StreamNotice const&) noexcept {}
    /// A handler had no use for an event.
    virtual void on_ignored(StreamNotice const&) noexcept {}
    /// A stream waits for `Subscription::resume`.
    virtual void on_parked(StreamNotice const&) noexcept {}
    /// An event was given up by its handler, and no more streams may be parked: it is tried again, and the
    /// partition stands still soon.
    virtual void on_parking_full(StreamNotice const&) noexcept {}
    /// A parked stream goes on, as somebody has asked for.
    virtual void on_resumed(StreamNotice const&) noexcept {}
    /// Everything that a parked stream waited with was handled.
    virtual void on_unparked(StreamNotice const&) noexcept {}

    SubscriptionObserver() = default;
    SubscriptionObserver(SubscriptionObserver const&) = default;
    SubscriptionObserver& operator=(SubscriptionObserver const&) = default;
    virtual ~SubscriptionObserver() = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_SUBSCRIPTION_OBSERVER_HPP
