// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_SINK_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_SINK_HPP

/// @file
/// What a repository needs of a log of events to store events in its own transactions. It is all that a
/// program compiles of the log that stores no events; `EventTable` is the log.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A log that commits append to. It sends nothing by itself. Every member may be called from several threads
/// at once.
class EventSink {
public:
    EventSink(EventSink const&) = delete;
    EventSink& operator=(EventSink const&) = delete;
    virtual ~EventSink() = default;

    /// The `PoolState` that the log belongs to.
    virtual void const* pool() const noexcept = 0;
    /// For messages.
    virtual std::string const& name() const noexcept = 0;

    /// Whether it is known already that the log is as it must be.
    virtual bool is_known() const noexcept = 0;
    /// Adds the question whether it is.
    virtual void add_check(Batch& batch) const = 0;
    /// What its answer says: `misconfigured`, in words, or success, which is then known.
    virtual Outcome<void> judge_check(Reply const& reply) const = 0;
    /// Success, or why these events cannot be stored, whatever the server says.
    virtual Outcome<void> validate_texts(std::span<NewEvent const> events) const = 0;

    /// The parameter by which the lock of a stream is known, a number.
    virtual std::int64_t lock_number(std::string_view stream) const noexcept = 0;
    /// An expression that takes the lock of a stream and says that the statements behind may append.
    /// `number`: the parameter.
    virtual std::string lock_words(std::string_view number) const = 0;
    /// The same as a statement.
    virtual void add_lock(Batch& batch, std::string_view stream) const = 0;
    /// Adds the statements that append `events` if that was said; no more than a few, however many events
    /// there are.
    virtual void add_events(
        Batch& batch, std::string_view stream, std::span<NewEvent const> events) const = 0;
    /// Whether the events of one commit may be appended by the statement that makes the change. That
    /// statement has one snapshot, which is older than the lock of the stream: somebody who writes into the
    /// stream otherwise than by changing the same state may have appended meanwhile. Then it fails
    /// (`lost_race`), nothing is written, and the events of this stream come behind the change from then on.
    virtual bool fit_the_change(std::string_view stream, std::span<NewEvent const> events) const noexcept = 0;
    /// How many parameters such a statement has for `count` events, and the parameters.
    virtual std::size_t change_params(std::size_t count) const noexcept = 0;
    virtual void add_change_params(
        Params& params, std::string_view stream, std::span<NewEvent const> events) const = 0;
    /// An expression that takes all locks of an append to a stream of `partition`, and is true. `parameter`:
    /// the number of the first of those parameters.
    virtual std::string locks_words(unsigned partition, std::size_t parameter) const = 0;
    /// The INSERT of `count` events, if `from` has a row, whose column `lock` is that expression.
    virtual std::string insert_words(
        unsigned partition, std::size_t count, std::size_t parameter, std::string_view from) const = 0;
    virtual unsigned partition(std::string_view stream) const noexcept = 0;
    /// Whether the error says that somebody else has appended meanwhile. Notes it of the stream.
    virtual bool lost_race(SqlError const& error, std::string_view stream) const = 0;

    /// What an error of a statement that appends means. An event that somebody else has appended with the
    /// same number was not seen, because the transaction's snapshot is older: it must run again.
    virtual Failure append_failed(SqlError const& error, Access access) const = 0;
    /// Under what wake-ups of those who read the stream's partition are sent, see `Subscriber`.
    virtual std::uint64_t wake_hash_of(std::string_view stream) const noexcept = 0;

protected:
    EventSink() = default;
};

/// The locks of the streams that a commit appends to, in the one order in which every transaction takes them.
/// They come behind all rows of all its tables, since whoever waits for a row holds no stream then. Logs and
/// streams must outlive it.
class StreamLocks {
public:
    void add(EventSink const& log, std::string const& stream)
    {
        locks_.push_back({log.lock_number(stream), &log, &stream});
    }
    void add_to(Batch& batch)
    {
        std::sort(locks_.begin(), locks_.end(), [](Lock const& a, Lock const& b) {
            return std::tie(a.number, *a.stream, a.log->name()) <
                   std::tie(b.number, *b.stream, b.log->name());
        });
        for (auto const& lock : locks_)
            lock.log->add_lock(batch, *lock.stream);
    }

private:
    struct Lock {
        std::int64_t number;
        EventSink const* log;
        std::string const* stream;
    };
    std::vector<Lock> locks_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_EVENT_SINK_HPP
