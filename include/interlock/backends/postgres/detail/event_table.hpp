// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_TABLE_HPP

/// @file
/// The tables of a log of events, and the statements that append to it: for the commits of repositories, and
/// for `EventRepository`. It sends nothing by itself.
///
/// **Positions and holes.** A position is drawn from a sequence, and nobody waits for whoever has drawn the
/// one before: transactions commit in another order, or not at all. A reader must therefore know of a missing
/// position whether an event with it may still be committed. The statement that appends takes, in this order:
/// 1. the transaction's id;
/// 2. a shared advisory lock whose name is made of the log and that id. Nobody waits for it: no other
///    transaction takes this name. It ends with the transaction, of which PREPARE TRANSACTION is no end;
/// 3. the position.
///
/// So whoever has drawn a position, and may still commit it, has its lock. A reader that has seen a position
/// asks for the locks there are, see `ReadingPlace`. The lock must come before the position, and its name
/// must be the transaction's own, or a reader would take a live transaction for an ended one.
///
/// **Numbers.** Whoever appends holds an advisory lock of the stream until the transaction ends. It is taken
/// behind the locks of rows, and of several streams in one order, so that it adds no deadlock. A statement
/// that takes it may also look for the stream's last number, although its snapshot is the older of the two:
/// if somebody else has appended in between, the number is taken, the unique index refuses the event, and
/// nothing is written. Then, and where that has happened to the stream before, the lock is taken by a
/// statement of its own first, so that the one behind it sees what those before have committed. A position is
/// drawn behind the snapshot in either case, so that positions follow the numbers.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Which statement appends.
enum class Appending : unsigned char {
    with_commit,  ///< only if `EventSink::add_lock`, or the change of the state, has said so
    first,        ///< the first part of an append by itself, which looks at what is expected
    alone,        ///< the same, and takes the lock of the stream
    plain,        ///< all of an append without an id that expects nothing; takes the lock, too
    further,      ///< another part of it, if the first one was made
};

/// The columns of what `Appending::first` and `alone` answer. The others answer the last two alone: `further`
/// in one row, `plain` in a row for each event.
enum AppendColumn : std::size_t {
    stream_number,    ///< of the stream's last event, before the append
    known_number,     ///< of an earlier append with this id; null: there was none
    known_position,   // of that append
    append_number,    ///< of the last event that was appended; null: none was
    append_position,  // of that event
};

/// One log. Never changed once it is made, but for what it has learnt. Every member may be called from
/// several threads at once.
class EventTable final : public EventSink {
public:
    /// `pool`: the `PoolState` that the log belongs to. Throws `Error` (`invalid_argument`).
    EventTable(void const* pool, std::string_view name_space, EventRepositoryOptions options);

    void const* pool() const noexcept override { return pool_; }
    std::string const& name() const noexcept override { return names_.events.text; }
    unsigned partitions() const noexcept { return options_.partitions; }
    unsigned partition(std::string_view stream) const noexcept override
    {
        return partition_of(stream, partitions());
    }
    std::uint64_t wake_hash(unsigned partition) const noexcept { return wake_hashes_[partition]; }
    std::uint64_t wake_hash_of(std::string_view stream) const noexcept override
    {
        return wake_hash(partition(stream));
    }
    /// The DDL of the log: statements, each with `;` and a line break behind it.
    std::string schema() const;

    /// `text` with the names of the log in the place of `{table}`, `{streams}`, `{partitions}` and
    /// `{consumers}`, and for one partition its number in that of `{partition}`, its sequence in that of
    /// `{sequence}`, and the first half of the name of its appenders' locks in that of `{log}`.
    std::string line(std::string_view text, unsigned partition = 0) const;

    bool is_known() const noexcept override { return known_.load(std::memory_order_acquire); }
    /// Whether the ends of trimmed streams are in `{streams}`, as in a log that version 0.2 has made. To be
    /// asked once the log is known.
    bool keeps_ends_apart() const noexcept { return ends_apart_.load(std::memory_order_relaxed); }
    void add_check(Batch& batch) const override;
    Outcome<void> judge_check(Reply const& reply) const override;

    Outcome<void> validate_texts(std::span<NewEvent const> events) const override;
    std::int64_t lock_number(std::string_view stream) const noexcept override;
    std::string lock_words(std::string_view number) const override;
    void add_lock(Batch& batch, std::string_view stream) const override;
    void add_events(Batch& batch, std::string_view stream, std::span<NewEvent const> events) const override;
    bool fit_the_change(std::string_view stream, std::span<NewEvent const> events) const noexcept override;
    std::size_t change_params(std::size_t count) const noexcept override;
    void add_change_params(
        Params& params, std::string_view stream, std::span<NewEvent const> events) const override;
    std::string locks_words(unsigned partition, std::size_t parameter) const override;
    std::string insert_words(
        unsigned partition, std::size_t count, std::size_t parameter, std::string_view from) const override;
    bool lost_race(SqlError const& error, std::string_view stream) const override;

    /// Whether somebody has lost such a race for the stream in this process, as far as that is remembered.
    bool contended(std::string_view stream) const noexcept;
    /// Adds the statements of an append by itself. `locks_first`: one that takes the lock of the stream comes
    /// before all others.
    void add_append(Batch& batch, verb::AppendEvents const& append, bool locks_first) const;
    /// What their answers say.
    Outcome<Appended> judge_append(
        verb::AppendEvents const& append, bool locks_first, std::span<Reply const> replies) const;
    Failure append_failed(SqlError const& error, Access access) const override;
    /// `failure`; if a table of the log is gone that was there, also what a running program does about that.
    Failure explained(Failure failure) const;

private:
    /// Which parameters of a statement are what.
    struct Numbers {
        std::size_t stream{1};
        std::size_t writer{2};
        std::size_t append{0};  // 0: there is none
        std::size_t events{0};  // the last one before those of the first event
    };
    /// What is remembered of streams for which somebody has lost a race, by the number of their lock. Another
    /// stream may take the place: then one race more is lost.
    static constexpr std::size_t remembered = 256;
    std::atomic<std::int64_t>& place_of(std::int64_t lock_number) const noexcept
    {
        return contended_[static_cast<std::uint64_t>(lock_number) % remembered];
    }

    /// What the log is made of.
    struct Names {
        SqlName events;
        SqlName sequences;  // of the positions, without the number of the partition
        SqlName streams;
        SqlName partitions;
        SqlName consumers;
    };
    /// As statements name them: with the schema in which the first check has found all of them. A connection
    /// with another search path, or a table that comes in front, would else store events in another log.
    Names const& names() const noexcept { return is_known() && settled_ ? *settled_ : names_; }

    /// The names of all tables and sequences of a log that is found through the search path; else none.
    std::vector<std::string> names_without_schema() const;
    std::string guard() const;
    static SqlWords words_of(Names const& names, unsigned partition);
    SqlWords words(unsigned partition) const { return words_of(names(), partition); }
    static std::string lock_expression(Names const& names, std::string_view number);
    static std::string lock_words(Names const& names, std::string_view number);
    std::string insertion(
        SqlWords words, std::size_t count, Numbers const& numbers, std::string_view from,
        std::string_view expected) const;
    std::string lock_expression(std::string_view number) const;
    std::string last_number_words(SqlWords words) const;
    static Appending way_of(verb::AppendEvents const& append, bool locks_first) noexcept;
    static void add_event_params(Params& params, std::span<NewEvent const> events);
    void add_part(
        Batch& batch, Appending how, std::string_view stream, std::span<NewEvent const> events,
        verb::AppendEvents const* append) const;
    std::string append_text(Appending how, unsigned partition, std::size_t count, bool is_last) const;
    Statement const& statement(Appending how, unsigned partition, std::size_t count, bool is_last) const;

    void const* pool_;
    EventRepositoryOptions options_;
    Names names_;                             // as the options have them
    std::vector<std::uint64_t> wake_hashes_;  // of each partition

    // Written once, before the log is known.
    mutable std::optional<Names> settled_;
    mutable Statement lock_;

    mutable std::array<std::atomic<std::int64_t>, remembered> contended_{};
    mutable std::atomic<bool> known_{false};
    mutable std::atomic<bool> ends_apart_{false};
    mutable std::mutex mutex_;  // guards what follows
    mutable std::map<std::uint64_t, Statement> statements_;
    mutable std::string number_constraint_;  // keeps two events of a stream from having one number
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/event_table.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_TABLE_HPP
