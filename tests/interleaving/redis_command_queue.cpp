// SPDX-License-Identifier: BSL-1.0

// Commands on one shared Redis connection, in every order of events up to a depth: commands come, are cancelled and reach
// their deadlines; connections are made, refused and lost; writes go through in pieces; the server executes what has reached
// it, or says that it did not, or dies before or after it did. No server and no socket: the machine that decides is given
// the events by hand, and a model of a server counts what was executed.
//
// An order of events is a path of choices. Every path is run anew from the beginning, since a queue cannot be copied. At its
// end the world turns good: connections are made, everything is written and answered, time goes on. Then every command must
// have had exactly one outcome, and an honest one.

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

namespace {
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

constexpr TimePoint zero{1h};
constexpr std::size_t most_calls = 3;

/// What the world may do.
struct Scope {
    char const* name;
    std::size_t calls;
    bool folded;          // the commands are calls of one script, which leave as one command
    bool errors;          // the server may say that it did not run a command
    std::uint64_t random; // of every pause: the shortest, or the longest
    int depth;
};

/// As the server would write it.
Reply reply_of(std::string const& bytes)
{
    ReplyReader reader;
    Reply reply;
    reader.feed(bytes);
    return reader.next(reply) == ReplyReader::Status::ready ? reply : Reply{};
}
std::string as_string(std::string const& text)
{
    return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

Script const& script()
{
    static Script const one{"return ARGV"};
    return one;
}

std::string name_of(std::size_t call)
{
    return "call" + std::to_string(call);
}

ScriptCall script_call(std::size_t call)
{
    ScriptCall made{script(), Folding{.shared_keys = 1, .own_keys = 0, .shared_arguments = 0, .own_arguments = 1}};
    made.add(std::string_view{"key"});
    made.add(name_of(call));
    return made;
}

/// A command, its owner, and what has really become of it. Odd ones read only.
class Call final : public QueuedCommand {
public:
    Call(std::size_t number, bool folded)
        : QueuedCommand(number == 1 ? Access::read : Access::write, zero + (number == 0 ? 5ms : 100ms)),
          plain("APPEND", name_of(number)), call(script_call(number)), payload(folded ? Payload{call} : Payload{plain}), reads(number == 1)
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

class World {
public:
    explicit World(Scope const& scope) : scope_(scope)
    {
        options_.max_pending = 2;
        options_.max_in_flight = 2;
        options_.reply_timeout = 50ms;
        options_.connect_timeout = 20ms;
        options_.reconnect = {.initial = 4ms, .cap = 8ms, .immediate = 1};
        for (std::size_t i = 0; i < scope.calls; ++i)
            calls_.emplace_back(i, scope.folded);
    }

    std::vector<Choice> choices() const
    {
        std::vector<Choice> out;
        for (std::size_t i = 0; i < calls_.size(); ++i)
            if (!calls_[i].submitted && (i == 0 || calls_[i - 1].submitted))  // whoever is first: they are alike
                out.push_back({Event::submit, i});
            else if (calls_[i].submitted && !calls_[i].outcome && !cancelled_)
                out.push_back({Event::cancel, i});
        if (turn_posted_)
            out.push_back({Event::turn, 0});
        if (connecting_)
            for (auto const event : {Event::connected, Event::connect_failed, Event::login_refused})
                out.push_back({event, 0});
        if (writing_)
            for (auto const event : {Event::write_all, Event::write_a_byte, Event::write_failed})
                out.push_back({event, 0});
        if (reading_) {
            if (complete() && !lost_) {
                out.push_back({Event::answer, 0});
                out.push_back({Event::answer_too_much, 0});
                if (scope_.errors) {
                    out.push_back({Event::answer_readonly, 0});
                    out.push_back({Event::answer_loading, 0});
                }
                out.push_back({Event::die_after_executing, 0});
            }
            out.push_back({Event::die_before_executing, 0});
        }
        if (alarm_ != TimePoint::max()) {
            out.push_back({Event::ring, 0});
            if (now_ < alarm_)
                out.push_back({Event::be_late, 0});
        }
        if (!closed_)
            out.push_back({Event::close, 0});
        return out;
    }

    void happen(Choice choice)
    {
        switch (choice.event) {
        case Event::submit: submit(calls_[choice.call], true); break;
        case Event::cancel: cancel(calls_[choice.call]); break;
        case Event::turn:
            turn_posted_ = false;
            advance();
            break;
        case Event::connected: connected(); break;
        case Event::connect_failed: connect_failed(Failure{Errc::unavailable, "nobody there"}); break;
        case Event::login_refused: connect_failed(Failure{Errc::misconfigured, "go away"}); break;
        case Event::write_all: wrote(queue_.batch().size() - written_, false); break;
        case Event::write_a_byte: wrote(1, false); break;
        case Event::write_failed: wrote(0, true); break;
        case Event::answer: answer(Errc::ok); break;
        case Event::answer_readonly: answer_error("READONLY You can't write against a read only replica."); break;
        case Event::answer_loading: answer_error("LOADING Redis is loading the dataset in memory"); break;
        case Event::answer_too_much: answer(Errc::corrupt_state); break;
        case Event::die_after_executing:
            while (complete())
                execute();
            die();
            break;
        case Event::die_before_executing: die(); break;
        case Event::ring:
            now_ = std::max(now_, alarm_);
            ring();
            break;
        case Event::be_late: now_ = alarm_; break;
        case Event::close:
            closed_ = true;
            queue_.close();
            break;
        }
        owners_take();
    }

    /// From now on nothing goes wrong. False: somebody still waits after many steps.
    bool turn_good()
    {
        for (int step = 0; step < 200; ++step) {
            if (turn_posted_)
                happen({Event::turn, 0});
            else if (connecting_)
                happen({Event::connected, 0});
            else if (writing_)
                happen({Event::write_all, 0});
            else if (reading_)
                happen({complete() && !lost_ ? Event::answer : Event::die_before_executing, 0});
            else if (alarm_ != TimePoint::max() && somebody_waits())
                happen({Event::ring, 0});
            else
                break;
        }
        return !somebody_waits();
    }

    void check_end()
    {
        for (auto const& call : calls_) {
            if (!call.submitted)
                continue;
            claim(call.executed <= 1 || call.reads, "a command that changes something was executed twice");
            if (!call.outcome)
                continue;
            bool const applied = static_cast<bool>(*call.outcome);
            claim(!applied || call.executed >= 1, "a command has a reply, and was not executed");
            claim(
                applied || call.reads || call.outcome->effect() == Effect::unknown || call.executed == 0,
                "a command was executed, and its owner was told that it was not");
        }
    }

    char const* problem() const noexcept { return problem_; }
    bool closed() const noexcept { return closed_; }
    auto const& calls() const noexcept { return calls_; }

private:
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
            waiting += other.submitted && !other.outcome && !other.may_have_left && &other != &call && other.ended == 0 &&
                       !in_batch(other);
        bool const taken_in = queue_.submit(call, call.payload);
        if (first && !closed_)
            claim(taken_in == (waiting < options_.max_pending), "what waits is not bounded, or somebody was refused in vain");
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
                claim((*result)->root().text() == name_of(index_of(call)), "a command has the reply of another one");
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
            case QueueStep::write_and_read: claim(!std::exchange(reading_, true), "two reads"); [[fallthrough]];
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
    /// A command of which a byte was written may be executed; of the one behind it, nothing is known to the server.
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
            for (auto at = command.find("call"); at != std::string_view::npos; at = command.find("call", at + 1))
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
    std::size_t written_{0};        // of the batch
    std::string reached_server_;    // and was not executed yet
    std::deque<std::vector<std::size_t>> batched_;  // on this connection, and no reply has come
    char const* problem_{nullptr};
};

class Explorer {
public:
    explicit Explorer(Scope const& scope) : scope_(scope) {}

    void explore() { explore(scope_.depth); }

    std::uint64_t paths{0};
    std::uint64_t problems{0};
    std::string first_problem;
    std::array<std::uint64_t, 3> ends{};  // of calls, by effect

private:
    void explore(int depth)
    {
        World world{scope_};
        for (auto const& choice : path_)
            world.happen(choice);
        auto const choices = world.choices();
        if (depth > 0 && !choices.empty() && world.problem() == nullptr) {
            for (auto const& choice : choices) {
                path_.push_back(choice);
                explore(depth - 1);
                path_.pop_back();
            }
            return;
        }
        ++paths;
        bool const good = world.turn_good();
        world.check_end();
        char const* const problem = world.problem() != nullptr ? world.problem()
                                    : !good                    ? "a command is forgotten"
                                                               : nullptr;
        for (auto const& call : world.calls())
            if (call.outcome)
                ++ends[static_cast<std::size_t>(call.outcome->effect())];
        if (problem == nullptr)
            return;
        if (problems++ == 0) {
            first_problem = problem;
            for (auto const& choice : path_)
                first_problem += " " + std::to_string(static_cast<int>(choice.event)) + "/" + std::to_string(choice.call);
        }
    }

    Scope const& scope_;
    std::vector<Choice> path_;
};

TEST_CASE("redis: every command of a shared connection has one honest outcome, in every order of events", "[redis][queue]")
{
    constexpr auto longest = UINT64_MAX;
    for (auto const& scope : {
             Scope{"two commands", 2, false, false, 0, 8},
             Scope{"two commands, long pauses", 2, false, false, longest, 8},
             Scope{"two commands that the server may refuse", 2, false, true, longest, 8},
             Scope{"three commands", 3, false, false, 0, 8},
             Scope{"three calls of one script", 3, true, true, longest, 8},
         }) {
        Explorer explorer{scope};
        explorer.explore();
        INFO(scope.name << ": " << explorer.paths << " paths; outcomes " << explorer.ends[0] << "/" << explorer.ends[1] << "/"
                        << explorer.ends[2]);
        INFO(explorer.first_problem);
        CHECK(explorer.problems == 0);
        for (auto const count : explorer.ends)
            CHECK(count > 0);
        CHECK(explorer.paths > 1000);
    }
}

TEST_CASE("redis: what is not sent when a connection is lost goes over the next one, in its order", "[redis][queue]")
{
    Scope const scope{"", 3, false, false, 0, 0};
    World world{scope};
    for (auto const choice : {
             Choice{Event::submit, 0}, Choice{Event::submit, 1}, Choice{Event::turn, 0}, Choice{Event::connected, 0},
             Choice{Event::submit, 2}, Choice{Event::write_failed, 0}, Choice{Event::die_before_executing, 0}})
        world.happen(choice);
    for (auto const& call : world.calls())
        CHECK_FALSE(call.outcome);
    CHECK(world.turn_good());
    world.check_end();
    CHECK(world.problem() == nullptr);
    for (auto const& call : world.calls())
        CHECK((call.outcome && *call.outcome));
}

}  // namespace redis_command_queue
}  // namespace
