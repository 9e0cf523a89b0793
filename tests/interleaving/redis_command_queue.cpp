// SPDX-License-Identifier: BSL-1.0

// Commands on one shared Redis connection, in every order of events up to a depth: commands come, are
// cancelled and reach their deadlines; connections are made, refused and lost; writes go through in pieces;
// the server executes what has reached it, or says that it did not, or dies before or after it did. No server
// and no socket: the machine that decides is given the events by hand, and a model of a server counts what
// was executed.
//
// An order of events is a path of choices. Every path is run anew from the beginning, since a queue cannot be
// copied. At its end the world turns good: connections are made, everything is written and answered, time
// goes on. Then every command must have had exactly one outcome, and an honest one.

#include "interleaving/redis_driven_queue.hpp"
#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace redis_command_queue {

/// What may happen next, and what must hold in the end.
class World : public DrivenQueue {
public:
    using DrivenQueue::DrivenQueue;

    std::vector<Choice> choices() const
    {
        std::vector<Choice> out;
        for (std::size_t i = 0; i < calls_.size(); ++i)
            if (!calls_[i].submitted &&
                (i == 0 || calls_[i - 1].submitted))  // whoever is first: they are alike
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
        case Event::answer_readonly:
            answer_error("READONLY You can't write against a read only replica.");
            break;
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
                first_problem +=
                    " " + std::to_string(static_cast<int>(choice.event)) + "/" + std::to_string(choice.call);
        }
    }

    Scope const& scope_;
    std::vector<Choice> path_;
};

TEST_CASE(
    "redis: every command of a shared connection has one honest outcome, in every order of events",
    "[redis][queue]")
{
    constexpr auto longest = UINT64_MAX;
    for (auto const& scope : {
             Scope{"two commands", 2, false, false, 0, 8},
             Scope{"two commands, long pauses", 2, false, false, longest, 8},
             Scope{"two commands that the server may refuse", 2, false, true, longest, 8},
             Scope{"three commands", 3, false, false, 0, 8},
             Scope{"three calls of one script", 3, true, true, longest, 8},
             Scope{"three calls of one script for two shards", 3, true, true, longest, 8, 2},
         }) {
        Explorer explorer{scope};
        explorer.explore();
        INFO(
            scope.name << ": " << explorer.paths << " paths; outcomes " << explorer.ends[0] << "/"
                       << explorer.ends[1] << "/" << explorer.ends[2]);
        INFO(explorer.first_problem);
        CHECK(explorer.problems == 0);
        for (auto const count : explorer.ends)
            CHECK(count > 0);
        CHECK(explorer.paths > 1000);
    }
}

TEST_CASE("redis: calls of one script for several shards leave as one command for each", "[redis][queue]")
{
    auto const leaves = [](std::size_t shards, bool folded) {
        Scope const scope{"", 3, folded, false, 0, 0, shards};
        World world{scope};
        for (auto const choice :
             {Choice{Event::submit, 0}, Choice{Event::submit, 1}, Choice{Event::submit, 2},
              Choice{Event::turn, 0}, Choice{Event::connected, 0}})
            world.happen(choice);
        return world.batched();
    };
    using Commands = std::deque<std::vector<std::size_t>>;
    CHECK(leaves(2, true) == Commands{{0, 2}});  // no more than two are in flight
    CHECK(leaves(3, true) == Commands{{0}, {1}});
    CHECK(leaves(2, false) == Commands{{0}, {1}});
}

TEST_CASE("redis: calls of one script change places where they are for different shards", "[redis][queue]")
{
    Script const other_script{"return KEYS"};
    auto const call = [](Script const& of, std::string_view shard, std::string_view argument) {
        ScriptCall made{
            of, Folding{.shared_keys = 1, .own_keys = 0, .shared_arguments = 1, .own_arguments = 0}};
        made.add(shard);
        made.add(argument);
        return made;
    };
    auto const one = call(script(), "1", "a");
    auto const other = call(script(), "1", "b");
    auto const of_two = call(script(), "2", "a");
    CHECK(Payload{one}.apart_from(Payload{of_two}));
    CHECK_FALSE(Payload{one}.like(Payload{of_two}));
    CHECK_FALSE(Payload{one}.apart_from(Payload{other}));
    CHECK_FALSE(Payload{one}.like(Payload{other}));
    CHECK_FALSE(Payload{one}.apart_from(Payload{call(other_script, "2", "a")}));
    ScriptCall shared_by_none{script(), Folding{.own_keys = 1}};
    shared_by_none.add(std::string_view{"1"});
    ScriptCall also_by_none{script(), Folding{.own_keys = 1}};
    also_by_none.add(std::string_view{"1"});
    CHECK_FALSE(Payload{shared_by_none}.apart_from(Payload{also_by_none}));
}

TEST_CASE(
    "redis: what is not sent when a connection is lost goes over the next one, in its order",
    "[redis][queue]")
{
    Scope const scope{"", 3, false, false, 0, 0};
    World world{scope};
    for (auto const choice :
         {Choice{Event::submit, 0}, Choice{Event::submit, 1}, Choice{Event::turn, 0},
          Choice{Event::connected, 0}, Choice{Event::submit, 2}, Choice{Event::write_failed, 0},
          Choice{Event::die_before_executing, 0}})
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
