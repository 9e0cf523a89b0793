// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_QUEUED_COMMAND_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_QUEUED_COMMAND_HPP

// One command on its way through a `CommandQueue`, and a row of such commands.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What a command sends: its bytes, or a call of a script that may leave together with other calls of the
/// same script, as one command. Refers to what it was made of.
class Payload {
public:
    Payload() = default;
    Payload(std::string_view bytes) noexcept : bytes_(bytes) {}            // NOLINT
    Payload(Command const& command) noexcept : bytes_(command.bytes()) {}  // NOLINT
    Payload(ScriptCall const& call) noexcept : call_(&call) {}             // NOLINT

    /// The bytes of the command, or a little more.
    std::size_t size() const noexcept
    {
        return call_ != nullptr ? ScriptCall::room_for_head + call_->size() : bytes_.size();
    }
    /// As a command of its own.
    std::string text() const { return call_ != nullptr ? call_->text() : std::string(bytes_); }
    /// Whether both may leave as one command.
    bool like(Payload const& other) const noexcept
    {
        return call_ != nullptr && other.call_ != nullptr && call_->like(*other.call_);
    }
    /// Whether both may change places: neither touches what the other one does.
    bool apart_from(Payload const& other) const noexcept
    {
        return call_ != nullptr && other.call_ != nullptr && call_->apart_from(*other.call_);
    }
    /// Appends one command. `commands`: one, or several that are all like the first one; `of(command)` is its
    /// payload.
    template <class Commands, class Of>
    static void append(std::string& out, Commands const& commands, Of of)
    {
        if (Payload const& first = of(*commands.begin()); first.call_ == nullptr)
            out += first.bytes_;
        else
            ScriptCall::append(
                out, commands, [&](auto const& command) -> ScriptCall const& { return *of(command).call_; });
    }

private:
    std::string_view bytes_;           // where it is no call of a script
    ScriptCall const* call_{nullptr};  // null where it is none
};

/// A command between `CommandQueue::submit` and its outcome. Whoever submits it derives from it, and keeps it
/// alive until its outcome was taken or it was cancelled or forgotten.
///
/// **Thread safety.** The queue's owner guards everything but `finished_`, which says without a lock whether
/// there is an outcome.
class QueuedCommand {
public:
    QueuedCommand(QueuedCommand const&) = delete;
    QueuedCommand& operator=(QueuedCommand const&) = delete;

    // ---- For the driver of a queue
    TimePoint deadline() const noexcept { return deadline_; }
    /// Whether there is an outcome to be taken. Needs no lock.
    bool has_outcome() const noexcept { return finished_.load(std::memory_order_acquire); }
    /// Whether a queue may know of it. For whoever submits it.
    bool is_submitted() const noexcept { return submitted_; }
    /// The outcome, which stays where it is until the command is submitted again. The command is its owner's
    /// alone from now on.
    Outcome<Reply>* take() noexcept
    {
        settle();
        return &result_;
    }
    /// Why it has no reply yet, or has none; `ok`: it is only not there. `unsent`: why nothing is sent; null:
    /// nobody knows. Called with what guards the queue.
    [[gnu::cold]] Failure reason(Failure const* unsent) const
    {
        if (state_ == State::done && !result_ && result_.errc() != Errc::deadline_exceeded)
            return result_.failure();
        return state_ == State::pending && unsent != nullptr ? *unsent : Failure{Errc::ok};
    }
    /// No queue takes it in: this is the outcome.
    void refuse(Failure failure) noexcept
    {
        submitted_ = true;
        finish(std::move(failure));
    }

protected:
    QueuedCommand(Access access, TimePoint deadline) : access_(access), deadline_(deadline) {}
    ~QueuedCommand() = default;
    Access access() const noexcept { return access_; }
    /// Whether the server has said one thing to it and to those which left with it as one command. Known once
    /// there is an outcome.
    bool answered_with_others() const noexcept { return answered_with_others_; }
    /// The payload holds two commands from now on, or one again (null). The outcome is the reply to the first
    /// command, and `second` becomes the reply to the other one before there is an outcome.
    void expect_second(Reply* second) noexcept { second_ = second; }
    /// The command is to be sent in this life of the server only; see `Life`. 0: in any.
    void of_life(std::uint64_t life) noexcept { life_ = life; }

private:
    friend class CommandQueue;
    friend class InFlightCommands;
    friend class CommandList;
    enum class State : unsigned char { idle, pending, in_flight, done };

    /// There is an outcome to be taken. Called by the queue, so with whatever guards it.
    virtual void finished() noexcept = 0;

    /// This is the outcome.
    void finish(Outcome<Reply>&& result) noexcept
    {
        result_ = std::move(result);
        state_ = State::done;
        finished_.store(true, std::memory_order_release);
        finished();
    }
    /// What it means that there will be no reply: the command may have been carried out, or surely was not.
    Failure given_up(Errc cause, std::string detail) const
    {
        if (state_ == State::in_flight && access_ != Access::read)
            return Failure::unknown(cause, std::move(detail));
        return Failure{cause, std::move(detail)};
    }
    /// The outcome was taken, or nobody wants it: the command is its owner's alone again.
    void settle() noexcept
    {
        state_ = State::idle;
        submitted_ = false;
        finished_.store(false, std::memory_order_relaxed);
    }

    Payload payload_;
    Access access_;
    State state_{State::idle};
    TimePoint deadline_;
    QueuedCommand* before_{nullptr};  // its neighbours while it is pending
    QueuedCommand* behind_{nullptr};
    std::uint64_t place_{0};  // while it is in flight: which of all commands since the beginning it is
    std::uint64_t life_{0};
    std::uint64_t connection_{0};  // the number of the connection that it was sent over last
    Outcome<Reply> result_;
    Reply* second_{nullptr};
    std::atomic<bool> finished_{false};
    bool answered_with_others_{false};
    bool submitted_{false};  // the queue may know of it; used by whoever submits it only
};

/// Commands that wait, in a row. Each is a link of the row, so that one that goes leaves no place behind, and
/// joining takes no memory.
class CommandList {
public:
    std::size_t size() const noexcept { return size_; }
    /// Of all their payloads.
    std::size_t bytes() const noexcept { return bytes_; }
    bool empty() const noexcept { return size_ == 0; }
    /// Null where there is none.
    QueuedCommand* front() const noexcept { return front_; }
    static QueuedCommand* behind(QueuedCommand const& command) noexcept { return command.behind_; }
    /// The first one, from `next` on, that may leave as one with `first`. It passes calls of the same script
    /// for other shards, 32 of them at most: so calls for several shards, which come in any order, leave as
    /// one command for each. Null where there is none.
    static QueuedCommand* alike(QueuedCommand const& first, QueuedCommand* next) noexcept
    {
        int passed = 0;
        for (; next != nullptr && !first.payload_.like(next->payload_); next = next->behind_)
            if (!first.payload_.apart_from(next->payload_) || ++passed > 32)
                return nullptr;
        return next;
    }

    void push_back(QueuedCommand& command) noexcept { insert(command, back_, nullptr); }
    void push_front(QueuedCommand& command) noexcept { insert(command, nullptr, front_); }
    void remove(QueuedCommand& command) noexcept
    {
        (command.before_ != nullptr ? command.before_->behind_ : front_) = command.behind_;
        (command.behind_ != nullptr ? command.behind_->before_ : back_) = command.before_;
        command.before_ = nullptr;
        command.behind_ = nullptr;
        --size_;
        bytes_ -= command.payload_.size();
    }

private:
    void insert(QueuedCommand& command, QueuedCommand* before, QueuedCommand* behind) noexcept
    {
        command.state_ = QueuedCommand::State::pending;
        command.before_ = before;
        command.behind_ = behind;
        (before != nullptr ? before->behind_ : front_) = &command;
        (behind != nullptr ? behind->before_ : back_) = &command;
        ++size_;
        bytes_ += command.payload_.size();
    }

    QueuedCommand* front_{nullptr};
    QueuedCommand* back_{nullptr};
    std::size_t size_{0};
    std::size_t bytes_{0};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_QUEUED_COMMAND_HPP
