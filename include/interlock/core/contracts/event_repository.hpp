// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_EVENT_REPOSITORY_HPP
#define INTERLOCK_CORE_CONTRACTS_EVENT_REPOSITORY_HPP

/// @file
/// Where events are kept: a log in the same store as the states that they are about, which is read from a
/// position on. Each store has one, and `RepositoryOptions::events` of its repositories names it:
///
///     interlock::memory::EventRepository events;
///     interlock::memory::StateRepository<Stock> stock{{.events = events}};
///     auto const page = events.read(0, 0).value();  // the first events of partition 0
///     for (auto const& event : page.events)
///         std::cout << event.position << ' ' << event.type << '\n';
///
/// Whoever wants each event handled takes a `Subscription`; this page is for those who write one, or a store.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {

/// What an append expects of its stream.
class Expected {
public:
    /// Whatever is there.
    static constexpr Expected any() noexcept { return Expected{-1}; }
    /// No event: the stream begins with this append.
    static constexpr Expected none() noexcept { return Expected{0}; }
    /// `number` is that of the stream's last event.
    static constexpr Expected exactly(std::int64_t number) noexcept { return Expected{number}; }

    /// Whether a stream whose last event is `last` is as expected.
    constexpr bool allows(std::int64_t last) const noexcept { return number_ == -1 || number_ == last; }
    /// The number that is expected; -1: any.
    constexpr std::int64_t number() const noexcept { return number_; }
    constexpr bool valid() const noexcept { return number_ >= -1; }

private:
    constexpr explicit Expected(std::int64_t number) noexcept : number_(number) {}
    std::int64_t number_;
};

/// What an append came to.
struct Appended {
    bool duplicate{false};   ///< an earlier append with this id was applied; nothing was stored now
    std::int64_t number{0};  ///< of the last event that was appended, then or now
    Position position{0};    ///< of that event
};

/// A part of a partition, in its order.
struct EventPage {
    std::vector<Event> events;
    /// Where to read on: the last event, or a later place before which nothing can come any more.
    Position next{0};
    /// Whether there are events behind these that can be read at once. False: the reader has caught up, or
    /// the next events are committed but one before them may still be.
    bool more{false};
    /// Whether events between `after` and the first of these were removed before they were read.
    bool trimmed{false};
};

/// What a partition holds.
struct LogExtent {
    Position first{0};  ///< of the oldest event that is kept; 0: the partition is empty
    Position last{0};   ///< of the newest event that was ever stored; 0: there was none
};

namespace verb {

/// The events of a partition behind the position `after`, at most `limit` of them. May fail with
/// `corrupt_state`: `after` is beyond everything that was ever stored, so that it is the position of another
/// log, or of a log that was restored from a backup. One trip, and another one where a number is missing.
struct ReadEvents {
    using answer = EventPage;
    static constexpr std::string_view name = "read";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = true;
    unsigned partition;
    Position after;
    std::size_t limit;
};

/// The events of a stream behind the number `after`, at most `limit` of them; none for a stream without
/// events. One trip.
struct ReadStream {
    using answer = std::vector<Event>;
    static constexpr std::string_view name = "read_stream";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = true;
    Key const& stream;
    std::int64_t after;
    std::size_t limit;
};

/// Stores `events` behind those of `stream`, all or none. May fail with `version_conflict`, which says the
/// number that the stream is at, and with `overloaded`. With `id` it may be sent again, also after a lost
/// reply: the id's events are stored once. Without events nothing is done. One trip.
struct AppendEvents {
    using answer = Appended;
    static constexpr std::string_view name = "append";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = false;
    Key const& stream;
    Expected expected;
    std::span<NewEvent const> events;
    OperationId const* id{nullptr};
};

/// What is kept of a partition now: how far a reader is behind.
struct ExtentOfLog {
    using answer = LogExtent;
    static constexpr std::string_view name = "extent";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = true;
    unsigned partition;
};

/// Remembers beside the log how far `consumer` has come, so that `TrimEvents` leaves what it has not read. A
/// position below the remembered one changes nothing, unless `goes_back` says that the consumer reads again
/// what it has read before. It may be sent again. It is no cursor: the cursor is
/// the consumer's own, and may be ahead of it.
struct NoteConsumer {
    using answer = void;
    static constexpr std::string_view name = "note_consumer";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = false;
    std::string_view consumer;
    unsigned partition;
    Position position;
    bool goes_back{false};
};

/// Forgets a consumer that will not read any more: only then is trimmed what it has not read. It may be sent
/// again.
struct ForgetConsumer {
    using answer = void;
    static constexpr std::string_view name = "forget_consumer";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = false;
    std::string_view consumer;
};

/// Removes the events of a partition up to the position `up_to`, but none that a consumer has still to read;
/// the position up to which events are removed now. The numbers of streams go on. It may be sent again.
struct TrimEvents {
    using answer = Position;
    static constexpr std::string_view name = "trim";
    static constexpr std::string_view feature = "events";
    static constexpr bool reads = false;
    unsigned partition;
    Position up_to;
};

/// All of them: an event repository that is chosen at run time carries them out, and starts them.
using EventVerbs =
    List<ReadEvents, ReadStream, AppendEvents, ExtentOfLog, NoteConsumer, ForgetConsumer, TrimEvents>;

}  // namespace verb

/// The partition, of `partitions`, to which a stream belongs: FNV-1a, 64 bits, of the key's bytes. The rule
/// is published, since whoever shares a log must agree on it.
constexpr unsigned partition_of(std::string_view stream, unsigned partitions) noexcept
{
    return static_cast<unsigned>(detail::fnv1a(stream) % (partitions == 0 ? 1 : partitions));
}

// clang-format off

/// A log of events in one store with the states that they are about.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `E::runtime_type`, `e.runtime()` | | as a repository's |
/// | `e.identity()` | `void const*` | equal for handles of one log |
/// | `e.partitions()` | `unsigned` | how many parts the log has; the same for ever |
///
/// Laws, tested by `tests/contract/`: 1. An event is there when, and only when, the commit that it came
/// with was applied. 2. In a stream numbers are 1, 2, 3 in the order of the commits. 3. `ReadEvents` never
/// gives an event, nor a `next` behind it, while an event before it may still be committed: a reader that
/// goes on at `next` misses nothing. No clock decides that. 4. The events of a stream are in one partition,
/// and their positions are in the order of their numbers. There is no order between partitions. 5.
/// `TrimEvents` leaves whatever a consumer that was noted has not read.
template <class E>
concept EventRepository = std::copyable<E> &&
    requires(E const& e, verb::ReadEvents const& read, verb::ReadStream const& read_stream,
             verb::AppendEvents const& append, verb::ExtentOfLog const& extent, verb::NoteConsumer const& note,
             verb::ForgetConsumer const& forget, verb::TrimEvents const& trim, Deadline deadline) {
    typename E::runtime_type;
    { e.runtime() } -> std::convertible_to<typename E::runtime_type>;
    { e.identity() } -> std::convertible_to<void const*>;
    { e.partitions() } -> std::convertible_to<unsigned>;
    { e.carry_out(read, deadline) } -> std::same_as<Outcome<EventPage>>;
    { e.carry_out(read_stream, deadline) } -> std::same_as<Outcome<std::vector<Event>>>;
    { e.carry_out(append, deadline) } -> std::same_as<Outcome<Appended>>;
    { e.carry_out(extent, deadline) } -> std::same_as<Outcome<LogExtent>>;
    { e.carry_out(note, deadline) } -> std::same_as<Outcome<void>>;
    { e.carry_out(forget, deadline) } -> std::same_as<Outcome<void>>;
    { e.carry_out(trim, deadline) } -> std::same_as<Outcome<Position>>;
};

/// A log that wakes its readers. A wake-up is a hint: whoever waits looks again now and then all the same.
///
/// | expression | meaning |
/// |---|---|
/// | `e.subscribe(partition, waiter)` | wakes `waiter` when there may be more to read, until `unsubscribe` has returned |
/// | `e.unsubscribe(partition, waiter)` | afterwards `waiter` is not woken any more |
template <class E>
concept SubscribableEvents = EventRepository<E> && requires(E const& e, unsigned partition, Waiter& waiter) {
    e.subscribe(partition, waiter);
    e.unsubscribe(partition, waiter);
};

// clang-format on

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_EVENT_REPOSITORY_HPP
