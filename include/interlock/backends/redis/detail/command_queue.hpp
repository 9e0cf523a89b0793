// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_QUEUE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_QUEUE_HPP

// Everything that is decided on one connection that many commands share: what leaves next and with what,
// which reply is whose, what becomes of the commands when the connection is lost, when there is another
// attempt to connect, whose time is over. A machine without I/O: no mutex, no clock, no socket. Its driver,
// `Pipeline`, reports events, with the time where that matters, and carries out the steps that come back.
//
// The laws that `tests/interleaving/redis_command_queue.cpp` checks in every order of events:
//
// 1. Every command that was submitted gets exactly one outcome, unless its owner forgets it.
// 2. Replies are matched in order: a command gets the reply to itself, or none. A command that was given up
//    stays in its place, so that its late reply is nobody else's.
// 3. A command of which a byte may have been written is never sent again by the queue. When its reply does
//    not come, a command that changes something is unknown, and one that only reads has failed.
// 4. A command of which no byte was written when the connection was lost goes back to the front, in its
// order.
// 5. A command is not sent after its deadline.
// 6. What waits, in number and in bytes, and what is in flight is bounded by the options; beyond the former
//    bounds a command is refused as `overloaded`.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/connection_statistics.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/in_flight_commands.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What the driver of a `CommandQueue` does next.
enum class QueueStep : unsigned char {
    rest,     ///< nothing until the next event
    look,     ///< see whether the connection is quiet, as it should be; then `looked`, then `next`
    close,    ///< close the connection; then `closed`, then `next`
    connect,  ///< connect and greet; then `connected` or `connect_failed`
    wait,     ///< nothing until the alarm, but there is work: the executor must not think that there is none
    write,    ///< write `batch()`; then `write_ended`. A read is under way
    write_and_read,  ///< likewise, and begin to read
};
struct QueueAction {
    QueueStep step{QueueStep::rest};
    /// `tick` is due then, if this is sooner than all other alarms; `max()`: no alarm is needed.
    TimePoint alarm{TimePoint::max()};
};

/// Bytes of one write, or a little more.
inline constexpr std::size_t write_bound = std::size_t{1} << 20;
/// Calls that leave as one command: half a millisecond of the server's time, or a whole one for events.
inline constexpr std::size_t fold_bound = 128;

/// What the driver does after an alarm rang, before it asks for the next step.
struct QueueTick {
    TimePoint alarm{TimePoint::max()};  ///< when the next `tick` is due
    bool stop_connecting{false};        ///< the time for connecting is over
    bool stalled{false};                ///< the server has stopped answering: the connection is of no use
};

/// The failure of a command of so many bytes that does not go behind those which wait to be written.
[[gnu::cold]] inline Failure no_room(std::size_t bytes, std::size_t limit)
{
    if (bytes <= limit)
        return Failure{Errc::overloaded, "redis: too many commands wait to be written"};
    return Failure{
        Errc::overloaded, "redis: a command of " + std::to_string(bytes) +
                              " bytes is beyond Options::max_pending_bytes, " + std::to_string(limit)};
}

/// See above. Events of those who submit commands come first, those of the connection after them.
///
/// **Thread safety.** One thread at a time. `batch()` may be read by another thread between `write` and
/// `write_ended`.
class CommandQueue {
    using State = QueuedCommand::State;

public:
    /// `options` outlive it.
    explicit CommandQueue(Options const& options) noexcept : options_(options) {}
    CommandQueue(CommandQueue const&) = delete;
    CommandQueue& operator=(CommandQueue const&) = delete;

    // ---- Events of those who submit commands
    /// Takes in an idle command. What `payload` refers to stays valid until the outcome was taken or the
    /// command was cancelled or forgotten. True: it waits, and the driver sees to it that `tick` comes at its
    /// deadline, and `next` soon where that is `wanted`. False: it was refused, and has its outcome.
    bool submit(QueuedCommand& command, Payload payload) noexcept
    {
        command.submitted_ = true;
        if (auto failure = refusal(payload.size())) {
            command.finish(*std::move(failure));
            return false;
        }
        command.payload_ = payload;
        pending_.push_back(command);
        return true;
    }
    /// Takes in again what a server that is still loading its data has not run. Nothing is sent to it before
    /// `at`.
    bool submit_at(QueuedCommand& command, Payload payload, TimePoint at) noexcept
    {
        if (command.connection_ == connections_)
            pause_until_ = std::max(pause_until_, at);
        return submit(command, payload);
    }
    /// Takes in again what a replica has not run, for another connection than the one that led there. That
    /// one is closed when all replies that are due on it have come.
    bool submit_elsewhere(QueuedCommand& command, Payload payload) noexcept
    {
        if (command.connection_ == connections_)
            leaving_ = true;
        return submit(command, payload);
    }
    /// The driver cannot do what a command that waits needs of it: there is no memory, or no thread.
    [[gnu::cold]] void refuse(QueuedCommand& command) noexcept
    {
        detach(command);
        command.finish(Failure{Errc::overloaded});
    }
    /// Ends a command without an outcome, unless it is done. A reply that comes later is dropped.
    [[gnu::cold]] Outcome<Reply> cancel(QueuedCommand& command)
    {
        bool const done = command.state_ == State::done;
        auto failure = command.given_up(Errc::cancelled, {});
        forget(command);
        if (done)
            return std::move(command.result_);
        return failure;
    }
    /// Why nothing is sent at present; null: nothing is known to be in the way.
    Failure const* reason() const noexcept { return reason_ ? &*reason_ : nullptr; }
    /// The command goes away, whatever becomes of it.
    void forget(QueuedCommand& command) noexcept
    {
        detach(command);
        command.settle();
    }
    /// Nobody will ask for more: all commands end as cancelled.
    [[gnu::cold]] void close() noexcept
    {
        closed_ = true;
        in_flight_.cancel();
        give_up_pending(Failure{Errc::cancelled});
        pausing_ = false;
        if (phase_ == Phase::waiting)
            phase_ = Phase::idle;
    }

    // ---- What the driver asks
    bool is_closed() const noexcept { return closed_; }
    bool connecting() const noexcept { return !closed_ && phase_ == Phase::connecting; }
    /// Whether the connection is lost, and only its reads and writes have to come back.
    bool closing() const noexcept { return phase_ == Phase::closing; }
    /// Whether somebody has to call `next`. Nobody has where something under way will call it anyhow.
    bool wanted() const noexcept { return !writing_ && (phase_ == Phase::idle || phase_ == Phase::ready); }
    /// Whether commands wait for nothing but time.
    bool waits() const noexcept { return phase_ == Phase::waiting || pausing_; }
    /// Whether `next` has nothing to do.
    bool nothing_to_send() const noexcept { return closed_ || pending_.empty(); }
    bool nothing_in_flight() const noexcept { return in_flight_.empty(); }
    /// The commands that are being written.
    std::string_view batch() const noexcept { return batch_; }
    ConnectionStatistics const& statistics() const noexcept { return statistics_; }

    // ---- Events of the connection
    /// Decides what is done next. `life`: the number of the server's present life, see `Life`.
    QueueAction next(TimePoint now, std::uint64_t life)
    {
        if (nothing_to_send())
            return {};
        if (drop_ != Drop::no)
            return {QueueStep::close};
        if (phase_ == Phase::ready && in_flight_.empty() && !reading_ && !writing_ &&
            !std::exchange(quiet_, false))
            return {QueueStep::look};
        if (phase_ == Phase::ready && leaving_) {
            if (writing_ || reading_ || !in_flight_.empty())
                return {};
            drop_ = Drop::replica;
            return {QueueStep::close};
        }
        if (phase_ == Phase::idle && now < retry_at_) {
            phase_ = Phase::waiting;
            return {QueueStep::wait, retry_at_};
        }
        if (phase_ == Phase::idle) {
            phase_ = Phase::connecting;
            connect_until_ = interlock::detail::add(now, options_.connect_timeout);
            return {QueueStep::connect, connect_until_};
        }
        if (phase_ != Phase::ready || writing_)
            return {};
        if (now < pause_until_) {
            pausing_ = true;
            return {QueueStep::wait, pause_until_};
        }
        gather(now, life);
        if (batch_.empty())
            return {};
        writing_ = true;
        if (std::exchange(reading_, true))
            return {QueueStep::write};
        progress_ = now;
        return {QueueStep::write_and_read, interlock::detail::add(now, options_.reply_timeout)};
    }

    /// `quiet`: the connection is there, and nothing has come in that nobody asked for. Otherwise the server
    /// has ended it, or says what nobody asked for: better to know that now than with a command lost.
    void looked(bool quiet) noexcept
    {
        quiet_ = quiet;
        if (!quiet)  // one that was ended as soon as we were let in is not made again without a pause
            drop_ = stream_end_ == 0 ? Drop::refused : Drop::ended;
    }
    /// After `QueueStep::close`. `random`: 64 random bits, for the pause before the next attempt.
    [[gnu::cold]] void closed(TimePoint now, std::uint64_t random)
    {
        auto const why = std::exchange(drop_, Drop::no);
        if (why == Drop::refused)
            return connect_failed(
                Failure{Errc::unavailable, "redis: the server closed the connection"}, now, random);
        phase_ = Phase::idle;
        if (why == Drop::replica)
            retry_at_ = interlock::detail::add(now, options_.reconnect.delay(++departures_, random));
    }

    [[gnu::cold]] void connected() noexcept
    {
        phase_ = Phase::ready;
        if (connections_++ != 0)
            ++statistics_.reconnects;
        leaving_ = false;
        pause_until_ = TimePoint::min();
        pausing_ = false;
        reason_.reset();
        stream_end_ = 0;
        stream_sent_ = 0;
    }
    /// Neither connected nor connecting. What was not sent waits for the next attempt, where that makes
    /// sense.
    [[gnu::cold]] void connect_failed(Failure failure, TimePoint now, std::uint64_t random)
    {
        phase_ = Phase::idle;
        pausing_ = false;
        retry_at_ = interlock::detail::add(now, options_.reconnect.delay(++failures_, random));
        if (failure.errc() == Errc::misconfigured)
            give_up_pending(failure);
        reason_ = std::move(failure);
    }

    /// One system call has written so many bytes of the batch.
    void wrote(std::size_t size) noexcept
    {
        ++statistics_.writes;
        stream_sent_ += size;
    }
    /// No write is under way any more; what is left of the batch is not written.
    void write_ended() noexcept
    {
        writing_ = false;
        if (batch_.capacity() > write_bound)
            batch_ = {};
    }
    /// The server has sent something.
    void heard(TimePoint now) noexcept { progress_ = now; }
    void read_ended() noexcept { reading_ = false; }

    /// The next reply. Returns what is wrong with it, or null.
    char const* replied(Reply& reply)
    {
        if (closed_ || phase_ != Phase::ready)
            return nullptr;
        bool accepted = false;
        auto const* const wrong = in_flight_.replied(reply, accepted);
        if (wrong == nullptr)
            failures_ = 0;
        if (accepted)
            departures_ = 0;
        return wrong;
    }
    /// The next reply was too large and is gone: it is the failure of the commands that it answered, and of
    /// no other.
    [[gnu::cold]] char const* replied_too_much()
    {
        if (closed_ || phase_ != Phase::ready)
            return nullptr;
        failures_ = 0;
        return in_flight_.replied_too_much();
    }

    /// The connection is of no use any more; the driver closes it. Which commands have left is known only
    /// when its reads and writes have come back: then `settle`.
    [[gnu::cold]] void lost(Errc code, std::string detail)
    {
        lost_.emplace(code, std::move(detail));
        phase_ = Phase::closing;
    }
    /// A connection that was lost: true once nothing of it is under way. Its commands then have an outcome,
    /// or wait again.
    [[gnu::cold]] bool settle(TimePoint now, std::uint64_t random)
    {
        if (writing_ || reading_)
            return false;
        auto const lost = *std::exchange(lost_, std::nullopt);
        in_flight_.lose(
            stream_sent_, lost, [this](QueuedCommand& command) {  // from the last: they keep their order
                pending_.push_front(command);
            });
        connect_failed(Failure{Errc::unavailable, lost.detail()}, now, random);
        return true;
    }

    // ---- Time
    /// The alarm rang: gives up whose deadline has come, and ends what waited for this time. Then `next`.
    [[gnu::cold]] QueueTick tick(TimePoint now)
    {
        auto next = end_expired(now);
        // Later alarms within this time ring together, however many deadlines there are.
        next = std::max(next, interlock::detail::add(now, std::chrono::milliseconds{1}));
        if (phase_ == Phase::waiting && (pending_.empty() || now >= retry_at_))
            phase_ = Phase::idle;
        if (phase_ == Phase::waiting)
            next = std::min(next, retry_at_);
        if (pausing_ && (pending_.empty() || now >= pause_until_))
            pausing_ = false;
        if (pausing_)
            next = std::min(next, pause_until_);
        QueueTick tick;
        tick.stop_connecting = phase_ == Phase::connecting && now >= connect_until_;
        if (phase_ == Phase::connecting && !tick.stop_connecting)
            next = std::min(next, connect_until_);
        if (phase_ == Phase::ready && !in_flight_.empty()) {
            auto const stalled_at = interlock::detail::add(progress_, options_.reply_timeout);
            tick.stalled = now >= stalled_at;
            if (!tick.stalled)
                next = std::min(next, stalled_at);
        }
        tick.alarm = next;
        return tick;
    }

private:
    enum class Phase : unsigned char {
        idle,     ///< not connected, nothing to do
        waiting,  ///< not connected, the next attempt comes later
        connecting,
        ready,
        closing,  ///< lost, and a read or write has not come back yet
    };
    /// Why a connection that is ready is to be closed.
    enum class Drop : unsigned char { no, ended, refused, replica };

    std::optional<Failure> refusal(std::size_t bytes) const
    {
        if (closed_)
            return Failure{Errc::cancelled};
        if (auto failure = missing_tls(options_))
            return failure;
        auto const room = options_.max_pending_bytes - std::min(pending_.bytes(), options_.max_pending_bytes);
        if (pending_.size() >= options_.max_pending || bytes > room)
            return no_room(bytes, options_.max_pending_bytes);
        return std::nullopt;
    }

    /// What it means that the deadline of a command came before it was sent.
    [[gnu::cold]] Failure too_late() const
    {
        return reason_
                   ? *reason_
                   : Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to redis"};
    }

    /// Takes a command out of its row.
    void detach(QueuedCommand& command) noexcept
    {
        if (command.state_ == State::in_flight)
            in_flight_.leave(command);
        if (command.state_ != State::pending)
            return;
        pending_.remove(command);
        if (!pending_.empty())
            return;
        pausing_ = false;
        if (phase_ == Phase::waiting)
            phase_ = Phase::idle;
    }
    [[gnu::cold]] void give_up_pending(Failure const& failure) noexcept
    {
        while (auto* const command = pending_.front()) {
            pending_.remove(*command);
            command->finish(Outcome<Reply>{failure});
        }
    }

    /// Makes a batch of all that waits, as far as the bounds allow.
    void gather(TimePoint now, std::uint64_t life)
    {
        batch_.clear();
        while (!pending_.empty() && in_flight_.size() < options_.max_in_flight &&
               batch_.size() < write_bound) {
            gather_alike(now, life);
            if (together_.empty())
                return;
            auto const begin = stream_end_ - batch_.size();
            in_flight_.push(together_, stream_end_, connections_);
            Payload::append(batch_, together_, [](QueuedCommand const* command) -> Payload const& {
                return command->payload_;
            });
            stream_end_ = begin + batch_.size();
            ++statistics_.commands;
        }
    }
    /// Takes out the first command that may be sent, and those behind it that can leave as one with it.
    void gather_alike(TimePoint now, std::uint64_t life)
    {
        together_.clear();
        auto const most = std::min(fold_bound, options_.max_in_flight - in_flight_.size());
        auto* next = pending_.front();
        for (auto sum = batch_.size(); next && together_.size() < most && sum < write_bound;) {
            auto& command = *std::exchange(next, CommandList::behind(*next));
            sum += command.payload_.size();
            pending_.remove(command);
            bool const late = command.deadline_ <= now;
            if (late || (command.life_ != 0 && command.life_ != life))
                command.finish(late ? too_late() : another_life());
            else
                together_.push_back(&command);
            if (!together_.empty())
                next = CommandList::alike(*together_.front(), next);
        }
    }

    /// Ends all whose deadline has come; returns the next deadline.
    [[gnu::cold]] TimePoint end_expired(TimePoint now)
    {
        auto next = in_flight_.expire(now);
        for (auto* waiting = pending_.front(); waiting != nullptr;) {
            auto& command = *std::exchange(waiting, CommandList::behind(*waiting));
            if (command.deadline_ > now) {
                next = std::min(next, command.deadline_);
                continue;
            }
            pending_.remove(command);
            command.finish(too_late());
        }
        return next;
    }

    Options const& options_;
    bool closed_{false};
    Phase phase_{Phase::idle};
    Drop drop_{Drop::no};
    bool quiet_{false};    // the driver has just looked: the next write may go
    bool writing_{false};  // a write is under way, which `batch_` belongs to
    bool reading_{false};
    bool leaving_{false};         // the present connection led to a replica
    bool pausing_{false};         // the server is loading its data, and commands wait for `pause_until_`
    CommandList pending_;         // not sent yet
    InFlightCommands in_flight_;  // sent, or about to be
    std::string batch_;
    std::vector<QueuedCommand*> together_;  // while a batch is gathered: those that leave as one command
    std::uint64_t stream_end_{0};           // bytes that this connection sends, with the present batch
    std::uint64_t stream_sent_{0};          // bytes of those that may have left
    std::uint64_t connections_{0};          // made so far
    int failures_{0};                       // to connect, since a command was last answered
    int departures_{0};                     // from replicas, since a write was last accepted
    TimePoint retry_at_{TimePoint::min()};  // no attempt to connect before it
    TimePoint connect_until_{};
    TimePoint progress_{};                     // when the server last sent something, or was first asked
    TimePoint pause_until_{TimePoint::min()};  // nothing is sent before it
    std::optional<Failure> lost_;              // why the connection was lost, while closing
    std::optional<Failure> reason_;            // why there is no connection
    ConnectionStatistics statistics_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_QUEUE_HPP
