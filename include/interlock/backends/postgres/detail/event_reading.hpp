// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_READING_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_READING_HPP

/// @file
/// What readers of a partition know about holes: up to which position nothing can come any more. It asks
/// nobody by itself, and no clock.
///
/// A position that is missing between others was drawn by a transaction which has been rolled back, or which
/// is not at its end. Whoever has drawn a position, and may still commit it, holds an advisory lock (see
/// `event_table.hpp`). So, once a snapshot has shown the position `seen`, whoever might fill a hole before it
/// either holds its lock from then on, or has ended. The transactions that hold one after that snapshot are
/// noted, together with `seen`: a checkpoint. When none of them holds its lock any more, all of them have
/// ended, and a snapshot that is taken then shows everything that they have committed. What is missing
/// before `seen` in such a snapshot never comes: the checkpoint is settled.
///
/// Why a transaction that commits is not lost between the two: it becomes visible before it gives its locks
/// back.
///
/// All of this is of one log. Tables that are made anew under the same names are another log, as are those of
/// a server that was put back: what was settled in the former one says nothing of their holes, and is
/// forgotten.

#include <interlock/backends/postgres/detail/event_table.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Transactions that may append, as they were at one moment; sorted.
using Appenders = std::vector<std::uint32_t>;

/// The checkpoints of one partition, for all readers of this process. Every member may be called from several
/// threads at once.
class ReadingPlace {
public:
    /// What is known before a question is sent.
    struct Before {
        Position settled{0};      ///< true for every snapshot that is taken from now on
        Position seen{0};         ///< the highest position that some snapshot has shown
        std::uint64_t newest{0};  ///< the number of the newest checkpoint
        bool waits{false};        ///< there is a checkpoint that is not settled
        std::int64_t log{0};      ///< the oid of the sequence that all of this is of; 0: nothing is known
    };
    Before before() const;

    /// Whether what was known `before` is of the log that a snapshot has shown: of its sequence, and not of
    /// positions which the log, whose last one is `last`, has yet to draw. If not, it is forgotten.
    bool is_of(Before const& before, std::int64_t log, Position last);

    /// A snapshot of that log has shown this position.
    void saw(std::int64_t log, Position position);

    /// Who appended after `before`. Up to which position all is settled for snapshots that were taken after
    /// `now` was looked at. Notes a checkpoint of what `before` had seen.
    Position look(Before const& before, Appenders now);

private:
    struct Checkpoint {
        std::uint64_t number;  // 1, 2, 3
        Position seen;
        Appenders appenders;
    };
    // A long transaction holds all of them up; what comes later is settled by the last one.
    static constexpr std::size_t most = 16;

    mutable std::mutex mutex_;
    std::int64_t log_{0};
    Position settled_{0};
    Position seen_{0};
    std::uint64_t last_number_{0};
    std::deque<Checkpoint> checkpoints_;  // in the order of their numbers, and so of what was seen
};

/// The columns of `read_text`: those of the partition, and those of an event.
enum ReadColumn : std::size_t {
    log_trimmed,
    log_last,
    log_sequence,    ///< its oid
    event_position,  ///< null: there is no event
    event_number,
    event_stream,
    event_id,
    event_type,
    event_version,
    event_data,
    event_correlation,
    event_cause,
    event_traceparent,
    event_writer,
    event_recorded,  // in microseconds since the epoch
};

/// The event of a row whose columns of an event begin at `event_position`; `corrupt_state` for a row that an
/// event cannot have. `columns`: how many stand before.
Outcome<Event> event_of(Reply const& reply, std::size_t row, unsigned partition, std::size_t columns = 3);

/// A page, and whether a hole ended it of which nothing is known yet.
struct JudgedPage {
    EventPage page;
    Position last{0};  ///< the highest position that the snapshot has shown
    bool hole{false};
};
/// What may be given of what a snapshot has shown to a read behind `after`, if everything up to `settled` is
/// settled for that snapshot. `reply` has one row more than `limit`, if there are as many.
Outcome<JudgedPage> judge_page(
    Reply const& reply, unsigned partition, Position after, std::size_t limit, Position settled);

/// The statements of one partition, but for those that append.
struct PartitionStatements {
    PartitionStatements(EventTable const& log, unsigned partition);

    /// Reads behind a position, at most `rows` rows; one row at least if the partition is there. `rows`: 1 to
    /// a million.
    Statement const& read(std::size_t rows) const noexcept;

    std::array<Statement, 6> reads;  // of at most 10, 100, ... rows
    Statement appenders;             ///< the transactions that may append
    Statement read_stream;
    Statement extent;
    Statement look;        ///< a stream's last number, and an append by its id; see `AppendColumn`
    Statement look_apart;  ///< the same where `keeps_ends_apart`
    Statement note;
    Statement trim_mark;    ///< says how far is trimmed
    Statement trim;         ///< removes what is, and leaves an end of each stream that has nothing else
    Statement trim_apart;   ///< the same where `keeps_ends_apart`
    Statement rename_ends;  ///< that were made when events could have their ids
};

/// Those who append, by the reply to the question about their locks.
Appenders appenders_of(Reply const& reply);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/event_reading.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_READING_HPP
