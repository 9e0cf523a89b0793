// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_INTERLEAVING_REDIS_DRIVEN_QUEUE_HPP
#define INTERLOCK_TESTS_INTERLEAVING_REDIS_DRIVEN_QUEUE_HPP

/// @file
/// For redis_command_queue.cpp: a `CommandQueue` with a driver, owners of commands and a model of a server,
/// all by hand.

#include <interlock/backends/redis/detail/command_queue.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/retry_rule.hpp>

#include "support/catch.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace redis_command_queue {

using namespace std::chrono_literals;
using interlock::Effect;
using interlock::Errc;
using interlock::Failure;
using interlock::Outcome;
using interlock::TimePoint;
using interlock::redis::Access;
using interlock::redis::Options;
using interlock::redis::Reply;
using interlock::redis::ReplyType;
using interlock::redis::detail::Command;
using interlock::redis::detail::CommandQueue;
using interlock::redis::detail::Folding;
using interlock::redis::detail::Payload;
using interlock::redis::detail::QueuedCommand;
using interlock::redis::detail::QueueStep;
using interlock::redis::detail::ReplyReader;
using interlock::redis::detail::RetryRule;
using interlock::redis::detail::Script;
using interlock::redis::detail::ScriptCall;

inline constexpr TimePoint zero{1h};
inline constexpr std::size_t most_calls = 3;

/// What the world may do.
struct Scope {
    char const* name;
    std::size_t calls;
    bool folded;           // the commands are calls of one script, which leave as one command
    bool errors;           // the server may say that it did not run a command
    std::uint64_t random;  // of every pause: the shortest, or the longest
    int depth;
    std::size_t shards{1};  // what such calls are for, by turns
};

/// As the server would write it.
inline Reply reply_of(std::string const& bytes)
{
    ReplyReader reader;
    Reply reply;
    reader.feed(bytes);
    return reader.next(reply) == ReplyReader::Status::ready ? reply : Reply{};
}
inline std::string as_string(std::string const& text)
{
    return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

inline Script const& script()
{
    static Script const one{"return ARGV"};
    return one;
}

inline std::string name_of(std::size_t call)
{
    return "call" + std::to_string(call);
}

inline ScriptCall script_call(std::size_t call, std::size_t shards)
{
    ScriptCall made{
        script(), Folding{.shared_keys = 1, .own_keys = 0, .shared_arguments = 0, .own_arguments = 1}};
    made.add("key" + std::to_string(call % shards));
    made.add(name_of(call));
    return made;
}

/// A command, its owner, and what has really become of it. Odd ones read only.
class Call final : public QueuedCommand {
public:
    Call(std::size_t number, bool folded, std::size_t shards)
        : QueuedCommand(number == 1 ? Access::read : Access::write, zero + (number == 0 ? 5ms : 100ms)),
          plain("APPEND", name_of(number)), call(script_call(number, shards)),
          payload(folded ? Payload{call} : Payload{plain}), reads(number == 1)
    {}
    TimePoint until() const noexcept { return deadline(); }
    void finished() noexcept override { ++ended; }

    Command plain;
    ScriptCall call;
    Payload payload;
    bool reads;
    RetryRule rule{false};
    bool submitted{false};
    bool may_have_left{false};  // a byte of it, since it was submitted last
    int ended{0};               // outcomes, since it was submitted last
    int executed{0};
    std::optional<Outcome<Reply>> outcome;  // what its owner was told
};

enum class Event : unsigned char {
    submit,
    cancel,
    turn,
    connected,
    connect_failed,
    login_refused,
    write_all,
    write_a_byte,
    write_failed,
    answer,
    answer_readonly,
    answer_loading,
    answer_too_much,
    die_before_executing,
    die_after_executing,
    ring,
    be_late,
    close,
};
struct Choice {
    Event event;
    std::size_t call;
};

/// A queue, its driver, the owners of its commands and a model of the server: what happens when something
/// happens.
class DrivenQueue {
public:
    explicit DrivenQueue(Scope const& scope) : scope_(scope)
    {
        options_.max_pending = scope.shards + 1;
        options_.max_in_flight = 2;
        options_.reply_timeout = 50ms;
        options_.connect_timeout = 20ms;
        options_.reconnect = {.initial = 4ms, .cap = 8ms, .immediate = 1};
        for (std::size_t i = 0; i < scope.calls; ++i)
            calls_.emplace_back(i, scope.folded, scope.shards);
    }

    char const* problem() const noexcept { return problem_; }
    bool closed() const noexcept { return closed_; }
    auto const& calls() const noexcept { return calls_; }
    auto const& batched() const noexcept { return batched_; }

protected:
    void claim(bool good, char const* what)
    {
        if (!good && problem_ == nullptr)
            problem_ = what;
    }

    bool somebody_waits() const
    {
        for (auto const& call : calls_)
            if (call.submitted && !call.outcome)
                return true;
        return false;
    }

    // ---- Owners

    void submitted(Call& call, bool taken_in)
    {
        call.submitted = true;
        call.may_have_left = false;
        if (!taken_in)
            return;
        alarm_ = std::min(alarm_, call.until());
        turn_posted_ = turn_posted_ || queue_.wanted();
    }
    void submit(Call& call, bool first)
    {
        std::size_t waiting = 0;
        for (auto const& other : calls_)
            waiting += other.submitted && !other.outcome && !other.may_have_left && &other != &call &&
                       other.ended == 0 && !in_batch(other);
        bool const taken_in = queue_.submit(call, call.payload);
        if (first && !closed_)
            claim(
                taken_in == (waiting < options_.max_pending),
                "what waits is not bounded, or somebody was refused in vain");
        submitted(call, taken_in);
    }
    bool in_batch(Call const& call) const
    {
        for (auto const& group : batched_)
            for (auto const i : group)
                if (&calls_[i] == &call)
                    return true;
        return false;
    }
    void cancel(Call& call)
    {
        cancelled_ = true;
        if (call.ended == 0)
            call.outcome = queue_.cancel(call);
    }

    /// Whoever has an outcome takes it, and has the command sent again where the rule allows that.
    void owners_take()
    {
        for (auto& call : calls_) {
            claim(call.ended <= 1, "a command has two outcomes");
            if (call.ended == 0 || call.outcome)
                continue;
            call.ended = 0;
            auto const* const result = call.take();
            if (*result && (*result)->root().is(ReplyType::error)) {
                auto const text = std::string((*result)->root().text());
                auto const verdict = call.rule.after_error(text, now_, call.until(), scope_.random);
                if (verdict.next == RetryRule::Next::elsewhere) {
                    submitted(call, queue_.submit_elsewhere(call, call.payload));
                } else if (verdict.next == RetryRule::Next::later) {
                    submitted(call, queue_.submit_at(call, call.payload, verdict.at));
                    paused_until_ = std::max(paused_until_, verdict.at);
                } else {
                    call.outcome = Failure{Errc::unavailable, text};
                }
                continue;
            }
            if (*result)
                claim(
                    (*result)->root().text() == name_of(index_of(call)),
                    "a command has the reply of another one");
            call.outcome = *result;
        }
    }
    std::size_t index_of(Call const& call) const
    {
        for (std::size_t i = 0; i < calls_.size(); ++i)
            if (&calls_[i] == &call)
                return i;
        return most_calls;
    }

    // ---- The driver

    void advance()
    {
        while (!queue_.nothing_to_send() && !closed_) {
            auto const action = queue_.next(now_, 1);
            alarm_ = std::min(alarm_, action.alarm);
            switch (action.step) {
            case QueueStep::rest: return;
            case QueueStep::wait: claim(action.alarm > now_, "waits for a time that has come"); return;
            case QueueStep::look: queue_.looked(!lost_); break;
            case QueueStep::close:
                claim(batched_.empty(), "a connection is closed on which replies are due");
                new_connection();
                queue_.closed(now_, scope_.random);
                break;
            case QueueStep::connect: connecting_ = true; return;
            case QueueStep::write_and_read:
                claim(!std::exchange(reading_, true), "two reads");
                [[fallthrough]];
            case QueueStep::write: begin_to_write(); return;
            }
        }
    }

    void begin_to_write()
    {
        claim(!std::exchange(writing_, true), "two writes");
        claim(!lost_, "writes to a connection that is lost");
        claim(now_ >= paused_until_, "a command is sent to a server that is still loading");
        written_ = 0;
        auto const groups = read_commands(queue_.batch());
        std::size_t places = 0;
        for (auto const& group : batched_)
            places += group.size();
        for (auto const& group : groups) {
            places += group.size();
            for (auto const i : group) {
                claim(calls_[i].until() > now_, "a command is sent after its deadline");
                claim(!calls_[i].outcome, "a command is sent that has an outcome");
                claim(!calls_[i].may_have_left, "a command is sent again that may have left");
            }
            batched_.push_back(group);
        }
        claim(places <= options_.max_in_flight, "more commands are in flight than are allowed");
    }

    void wrote(std::size_t size, bool failed)
    {
        auto const batch = queue_.batch();
        reached_server_ += batch.substr(written_, size);
        written_ += size;
        queue_.wrote(size);
        note_what_left();
        if (!queue_.closing() && !failed && written_ < batch.size())
            return;
        writing_ = false;
        queue_.write_ended();
        if (closed_)
            return;
        if (queue_.closing())
            return settle();
        if (failed)
            return lose();
        advance();
    }
    /// A command of which a byte was written may be executed; of the one behind it, nothing is known to the
    /// server.
    void note_what_left()
    {
        std::size_t at = 0;
        auto const batch = std::string(queue_.batch());
        for (auto const& group : read_commands(batch)) {
            if (at < written_)
                for (auto const i : group)
                    calls_[i].may_have_left = true;
            at += length_of_first(std::string_view{batch}.substr(at));
        }
    }

    void connected()
    {
        connecting_ = false;
        new_connection();
        queue_.connected();
        advance();
    }
    void connect_failed(Failure failure)
    {
        connecting_ = false;
        queue_.connect_failed(std::move(failure), now_, scope_.random);
        advance();
    }
    void new_connection()
    {
        reached_server_.clear();
        batched_.clear();
        lost_ = false;
        paused_until_ = TimePoint::min();
    }

    void answer(Errc how)
    {
        if (how == Errc::corrupt_state) {
            execute();
            claim(queue_.replied_too_much() == nullptr, "a large reply is nobody's");
        } else {
            auto const group = execute();
            auto bytes = group.size() == 1 ? std::string{} : "*" + std::to_string(group.size()) + "\r\n";
            for (auto const i : group)
                bytes += as_string(name_of(i));
            auto reply = reply_of(bytes);
            claim(queue_.replied(reply) == nullptr, "a reply is nobody's");
        }
        heard();
    }
    void answer_error(std::string const& error)
    {
        skip();
        auto reply = reply_of("-" + error + "\r\n");
        claim(queue_.replied(reply) == nullptr, "a reply is nobody's");
        heard();
    }
    void heard()
    {
        queue_.heard(now_);
        if (closed_)
            return;
        owners_take();
        if (queue_.nothing_in_flight()) {
            reading_ = false;
            queue_.read_ended();
        }
        advance();
    }
    void die()
    {
        reading_ = false;
        queue_.read_ended();
        if (closed_)
            return;
        lost_ = true;
        if (queue_.closing())
            return settle();
        lose();
    }
    void lose()
    {
        lost_ = true;
        queue_.lost(Errc::unavailable, "lost");
        settle();
    }
    void settle()
    {
        if (!queue_.settle(now_, scope_.random))
            return;
        batched_.clear();
        advance();
    }

    void ring()
    {
        alarm_ = TimePoint::max();
        if (closed_)
            return;
        auto const tick = queue_.tick(now_);
        alarm_ = std::min(alarm_, tick.alarm);
        if (tick.stop_connecting)
            return connect_failed(Failure{Errc::unavailable, "timed out"});
        if (tick.stalled)
            return lose();
        advance();
    }

    // ---- The server

    static std::size_t number_behind(std::string_view bytes, std::size_t& at)
    {
        std::size_t number = 0;
        auto const end = bytes.find('\r', at);
        std::from_chars(bytes.data() + at + 1, bytes.data() + end, number);
        at = end + 2;
        return number;
    }
    /// Of the first command; 0: it is not whole.
    static std::size_t length_of_first(std::string_view bytes)
    {
        std::size_t at = 0;
        auto const whole_line = [&] { return bytes.find('\n', at) != std::string_view::npos; };
        if (!whole_line())
            return 0;
        for (auto words = number_behind(bytes, at); words > 0; --words) {
            if (!whole_line())
                return 0;
            at += number_behind(bytes, at) + 2;
            if (at > bytes.size())
                return 0;
        }
        return at;
    }
    /// For each command, the calls that it stands for.
    static std::vector<std::vector<std::size_t>> read_commands(std::string_view bytes)
    {
        std::vector<std::vector<std::size_t>> out;
        while (auto const length = length_of_first(bytes)) {
            auto const command = bytes.substr(0, length);
            auto& group = out.emplace_back();
            for (auto at = command.find("call"); at != std::string_view::npos;
                 at = command.find("call", at + 1))
                group.push_back(static_cast<std::size_t>(command[at + 4] - '0'));
            bytes.remove_prefix(length);
        }
        return out;
    }
    bool complete() const { return length_of_first(reached_server_) != 0; }
    std::vector<std::size_t> skip()
    {
        auto const length = length_of_first(reached_server_);
        auto const group = read_commands(std::string_view{reached_server_}.substr(0, length)).front();
        reached_server_.erase(0, length);
        claim(!batched_.empty() && batched_.front() == group, "commands reach the server out of order");
        if (!batched_.empty())
            batched_.pop_front();
        for (auto const i : group)
            calls_[i].may_have_left = false;  // the server has said what became of it
        return group;
    }
    std::vector<std::size_t> execute()
    {
        auto group = skip();
        for (auto const i : group) {
            ++calls_[i].executed;
            calls_[i].may_have_left = true;
        }
        return group;
    }

    Scope const& scope_;
    Options options_;
    std::deque<Call> calls_;
    CommandQueue queue_{options_};
    TimePoint now_{zero};
    TimePoint alarm_{TimePoint::max()};
    TimePoint paused_until_{TimePoint::min()};
    bool turn_posted_{false};
    bool connecting_{false};
    bool writing_{false};
    bool reading_{false};
    bool lost_{false};
    bool closed_{false};
    bool cancelled_{false};
    std::size_t written_{0};                        // of the batch
    std::string reached_server_;                    // and was not executed yet
    std::deque<std::vector<std::size_t>> batched_;  // on this connection, and no reply has come
    char const* problem_{nullptr};
};

}  // namespace redis_command_queue

#endif  // INTERLOCK_TESTS_INTERLEAVING_REDIS_DRIVEN_QUEUE_HPP
