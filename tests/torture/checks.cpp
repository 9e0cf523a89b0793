// SPDX-License-Identifier: BSL-1.0

#include "torture/checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace torture {

namespace {

/// Machines that are busy with other work wake threads late.
constexpr double slack = 2.5;

struct Effect {
    std::string key;
    std::string call;
    std::int64_t after;
};
/// What is stored, by operation.
using Effects = std::map<std::string, std::vector<Effect>>;

Effects effects_of(History const& history)
{
    Effects effects;
    for (auto const& [key, state] : history.states)
        for (auto const& entry : state.trail)
            effects[entry.operation].push_back({key, entry.call, entry.after});
    return effects;
}

std::string described(History const& history, std::string const& id)
{
    auto const found = history.calls.find(id);
    if (found == history.calls.end())
        return id + ", which nobody began";
    static constexpr char const* ends[] = {"has not ended", "applied", "not applied",
                                           "unknown",       "threw",   "rejected"};
    auto const& call = found->second;
    return fmt::format(
        "{} ({} {} {}, begun {:.3f}, {} {} {} {})", id, call.kind, call.operation, call.variant, call.begun,
        ends[static_cast<std::size_t>(call.end)], call.error, call.cause, call.answer);
}

bool is_counter(Call const& call)
{
    return call.kind == "counter";
}
bool is_request(Call const& call)
{
    return call.kind.starts_with("request");
}

class Checker {
public:
    Checker(History const& history, Promises promises, Verdict& verdict)
        : history_(history), promises_(promises), verdict_(verdict), effects_(effects_of(history))
    {}

    void all()
    {
        journals();
        states();
        effects();
        if (promises_ == Promises::all) {
            answers();
            acknowledged();
            counters();
            versions();
        }
        settled();
        deadlines();
        intervals();
    }
    std::size_t stored() const
    {
        std::size_t n = 0;
        for (auto const& [operation, effects] : effects_)
            n += effects.size();
        return n;
    }

private:
    std::string describe(std::string const& id) const { return described(history_, id); }
    /// The call whose run is stored for an operation, if there is one.
    std::string winner(std::string const& operation) const
    {
        auto const found = effects_.find(operation);
        return found == effects_.end() ? std::string{} : found->second.front().call;
    }

    void journals()
    {
        auto const whole = verdict_.law("every journal can be read");
        for (auto const& line : history_.damaged)
            whole.broken(line);
        auto const escaped = verdict_.law("P5: a call ends by its outcome, or by what its operation threw");
        for (auto const& line : history_.escaped)
            escaped.broken(line);
    }

    void states()
    {
        auto const sum = verdict_.law("transfers conserve the sum of all accounts");
        auto const chain = verdict_.law("P3: each effect found the state as the one before it had left it");
        auto const fence = verdict_.law("P1: fencing tokens of a state grow in the order of its effects");
        std::int64_t total = 0;
        for (auto const& [key, state] : history_.states) {
            if (key.starts_with('a'))
                total += state.value;
            std::int64_t value = 0;
            std::uint64_t token = 0;
            for (auto const& entry : state.trail) {
                auto const call = history_.calls.find(entry.call);
                auto const amount = call == history_.calls.end() ? 0 : call->second.amount_at(key);
                if (value + amount != entry.after && promises_ == Promises::all)
                    chain.broken(fmt::format(
                        "{} was {}, then {} by {}", key, value, entry.after, describe(entry.call)));
                value = entry.after;
                if (entry.token == 0)
                    continue;
                if (entry.token <= token)
                    fence.broken(
                        fmt::format("{}: {}, then {} by {}", key, token, entry.token, describe(entry.call)));
                token = entry.token;
            }
            chain.expect(
                value == state.value,
                fmt::format("{}: value {}, its last effect left {}", key, state.value, value));
        }
        sum.expect(total == 0 || promises_ != Promises::all, std::to_string(total));
    }

    void effects()
    {
        auto const begun = verdict_.law("what is stored was asked for");
        auto const once = verdict_.law("P4: an operation is applied at most once, whatever states it names");
        auto const whole = verdict_.law("an effect is whole: in each state that its call named");
        for (auto const& [operation, effects] : effects_) {
            std::set<std::string> calls;
            std::multiset<std::string> keys;
            for (auto const& effect : effects) {
                calls.insert(effect.call);
                keys.insert(effect.key);
            }
            if (calls.size() != 1 && promises_ != Promises::all)
                continue;
            if (calls.size() != 1) {
                std::string which;
                for (auto const& call : calls)
                    which += (which.empty() ? "" : " and ") + describe(call);
                once.broken(which);
                continue;
            }
            auto const call = history_.calls.find(*calls.begin());
            if (call == history_.calls.end() || call->second.operation != operation) {
                begun.broken(operation + " by " + describe(*calls.begin()));
                continue;
            }
            std::multiset<std::string> named;
            for (auto const& change : call->second.changes)
                named.insert(change.key);
            if (keys.size() > named.size() && promises_ == Promises::all)
                once.broken(describe(call->first) + ": more than once in one state");
            else
                whole.expect(keys == named || promises_ != Promises::all, describe(call->first));
        }
    }

    /// What a client was told of an applied operation.
    void answers()
    {
        auto const same =
            verdict_.law("P4: everybody who is told that an operation was applied gets one answer");
        auto const rejected = verdict_.law(
            "P4: an operation is not rejected for one and applied or rejected otherwise for another");
        for (auto const& [operation, ids] : history_.operations) {
            std::string answer, by, rejection;
            for (auto const& id : ids) {
                auto const& call = history_.calls.at(id);
                if (call.end == End::applied && !call.changes.empty()) {
                    if (by.empty())
                        answer = call.answer, by = id;
                    else
                        same.expect(call.answer == answer, describe(by) + " and " + describe(id));
                } else if (call.end == End::rejected) {
                    rejected.expect(
                        rejection.empty() || rejection == call.answer, describe(id) + " and " + rejection);
                    rejection = call.answer;
                }
            }
            if (rejection.empty())
                continue;
            rejected.expect(by.empty(), operation + ": " + rejection + ", but " + describe(by));
            rejected.expect(
                !effects_.contains(operation),
                operation + ": " + rejection + ", but stored by " + describe(winner(operation)));
        }
    }

    void acknowledged()
    {
        auto const present = verdict_.law("P5: what was said to be applied is stored");
        auto const absent = verdict_.law("P5: what was said not to be applied, or threw, is not stored");
        auto const equal = verdict_.law("P4: an answer is the one of the run that is stored");
        auto const mismatch =
            verdict_.law("P4: a request gets no answer that was another one's under the same key");
        for (auto const& [id, call] : history_.calls) {
            if (call.changes.empty() || is_counter(call))
                continue;
            auto const stored = effects_.find(call.operation);
            if (call.end == End::applied) {
                if (stored == effects_.end()) {
                    present.broken(describe(id));
                    continue;
                }
                auto const& first = stored->second;
                bool const found =
                    std::any_of(first.begin(), first.end(), [&answer = call.answer](Effect const& effect) {
                        return answer == fmt::format("{}@{}={}", effect.call, effect.key, effect.after);
                    });
                equal.expect(found, describe(id) + ", stored by " + describe(first.front().call));
                auto const winner = history_.calls.find(first.front().call);
                if (is_request(call) && winner != history_.calls.end())
                    mismatch.expect(
                        winner->second.variant == call.variant,
                        describe(id) + ", stored by " + describe(winner->first));
            } else if (call.end == End::not_applied || call.end == End::threw || call.end == End::rejected) {
                absent.expect(stored == effects_.end() || stored->second.front().call != id, describe(id));
            }
        }
    }

    /// Who asks again when all faults are over gets an answer.
    void settled()
    {
        auto const law = verdict_.law(
            "P4: after the faults every id and every key of a request is answered, or can be used again");
        for (auto const& [operation, ids] : history_.operations) {
            bool asked = false;
            bool answered = false;
            std::string last;
            for (auto const& id : ids) {
                if (!id.starts_with("settle."))
                    continue;
                auto const& call = history_.calls.at(id);
                asked = true;
                answered = answered || call.end == End::applied || call.end == End::rejected;
                last += (last.empty() ? "" : " and ") + describe(id);
                if (call.end != End::applied && call.end != End::rejected &&
                    call.error != "idempotency_mismatch")
                    law.broken(describe(id));
            }
            law.expect(!asked || answered, last);
        }
    }

    /// A counter has no trail. But each answer of an increment by one is its own, and who asks again is told
    /// the first one.
    void counters()
    {
        if (history_.counters.empty())
            return;
        auto const exact = verdict_.law("P4: a counter is what its operations made it, each applied once");
        auto const absent =
            verdict_.law("P5: a counter's operation that was said not to be applied was not applied");
        std::map<std::string, std::set<std::string>> answers;
        for (auto const& [operation, ids] : history_.operations) {
            if (!is_counter(history_.calls.at(ids.front())))
                continue;
            std::string answer;
            bool may_be = false;  // a call that may have applied it
            bool was = false;     // the last one asked, and was told that it had been applied before
            std::string key;
            for (auto const& id : ids) {
                auto const& call = history_.calls.at(id);
                key = call.changes.front().key;
                if (id.starts_with("settle."))
                    was = call.end == End::applied && call.replayed;
                else
                    may_be = may_be || call.end != End::not_applied;
                if (call.end == End::applied)
                    answer = call.answer;
            }
            if (was && !may_be)
                absent.broken(describe(ids.front()));
            if (!was && answer.empty())
                continue;
            bool const acknowledged = std::any_of(ids.begin(), ids.end(), [&](auto const& id) {
                return !id.starts_with("settle.") && history_.calls.at(id).end == End::applied;
            });
            exact.expect(was || !acknowledged, describe(ids.front()) + ": it was not known any more");
            exact.expect(
                answers[key].insert(answer).second,
                key + " was " + answer + " twice, " + describe(ids.front()));
        }
        for (auto const& [key, value] : history_.counters)
            exact.expect(
                static_cast<std::int64_t>(answers[key].size()) == value,
                fmt::format("{} is {}, by {} operations", key, value, answers[key].size()));
    }

    void deadlines()
    {
        auto const law =
            verdict_.law(fmt::format("P7: a call ends by its deadline, {} s for a busy machine", slack));
        auto const none = verdict_.law("P7: a call ends, if its client lives");
        for (auto const& [id, call] : history_.calls) {
            if (call.end == End::open) {
                none.expect(!history_.orderly[call.journal], describe(id));
                continue;
            }
            auto until = call.begun + call.deadline + call.slept + slack;
            for (auto const& [from, to] : history_.stalls[call.journal])
                until += std::max(0.0, std::min(to, call.ended) - std::max(from, call.begun));
            law.expect(
                call.ended <= until,
                fmt::format(
                    "{} took {:.2f} s of {:.2f} s", describe(id), call.ended - call.begun, call.deadline));
        }
    }

    void versions()
    {
        auto const law = verdict_.law(
            "P3: no version is consumed twice or made twice, and each is above the one it replaces");
        for (auto const& [key, steps] : history_.versions) {
            std::map<std::int64_t, std::string> consumed, produced;
            for (auto const& step : steps) {
                if (step.produced != 0)
                    law.expect(
                        step.produced > step.consumed, fmt::format(
                                                           "{}: {} replaced {} by {}", key, step.produced,
                                                           step.consumed, describe(step.call)));
                if (step.consumed != 0 && !consumed.emplace(step.consumed, step.call).second)
                    law.broken(fmt::format(
                        "{}: {} consumed by {} and {}", key, step.consumed, describe(consumed[step.consumed]),
                        describe(step.call)));
                if (step.produced != 0 && !produced.emplace(step.produced, step.call).second)
                    law.broken(fmt::format(
                        "{}: {} made by {} and {}", key, step.produced, describe(produced[step.produced]),
                        describe(step.call)));
            }
        }
    }

    void intervals()
    {
        auto const exclusion = verdict_.law("P2: at most one handle of a lock is valid at a time");
        auto const order =
            verdict_.law("P1: tokens grow in the order of grants, and none is given out twice");
        auto held = history_.intervals;
        std::sort(held.begin(), held.end(), [](auto const& x, auto const& y) {
            return std::tie(x.key, x.from) < std::tie(y.key, y.from);
        });
        std::map<std::pair<std::string, std::uint64_t>, std::string> given;
        for (std::size_t i = 0; i < held.size(); ++i) {
            auto const& y = held[i];
            auto const [first, fresh] = given.emplace(std::pair{y.key, y.token}, y.call);
            order.expect(
                fresh, fmt::format("{}: {} given to {} and to {}", y.key, y.token, first->second, y.call));
            if (i == 0 || held[i - 1].key != y.key)
                continue;
            auto const& x = held[i - 1];
            auto const both = fmt::format(
                "{}: token {} of {} from {:.6f} to {:.6f}, token {} of {} from {:.6f} to {:.6f}", x.key,
                x.token, x.call, x.from, x.to, y.token, y.call, y.from, y.to);
            if (promises_ == Promises::all)
                exclusion.expect(y.from >= x.to, both);
            if (y.from >= x.to)
                order.expect(y.token > x.token, both);
        }
    }

    History const& history_;
    Promises promises_;
    Verdict& verdict_;
    Effects effects_;
};

}  // namespace

void check(History const& history, Promises promises, Demands const& demands, Verdict& verdict)
{
    Checker checker{history, promises, verdict};
    checker.all();

    auto const enough = verdict.law("there was enough traffic to say so");
    std::map<std::string, std::size_t> applied;
    std::map<std::string, std::size_t> seen;
    for (auto const& [id, call] : history.calls) {
        if (id.starts_with("settle."))
            continue;
        if (call.end == End::applied)
            ++applied[call.kind];
        if (call.end == End::unknown)
            ++seen["outcome that is unknown"];
        if (call.end == End::rejected)
            ++seen["rejection"];
        if (call.end == End::threw)
            ++seen["operation that throws"];
        if (call.end == End::applied && call.replayed && is_request(call))
            ++seen["replay"];
        if (call.error == "idempotency_mismatch")
            ++seen["mismatch"];
        if (call.error == "cancelled")
            ++seen["cancellation"];
        if (call.error == "deadline_exceeded")
            ++seen["deadline that passes"];
    }
    enough.expect(
        checker.stored() >= demands.effects,
        fmt::format("{} effects, at least {} expected", checker.stored(), demands.effects));
    for (auto const& kind : history.kinds)
        enough.expect(applied[kind] >= 3, fmt::format("{} applied {} times", kind, applied[kind]));
    for (auto const* what : {"rejection", "operation that throws", "replay", "mismatch", "cancellation"})
        enough.expect(seen[what] > 0, fmt::format("no {}", what));
    enough.expect(
        seen["outcome that is unknown"] >= demands.unknown,
        fmt::format(
            "{} outcomes unknown, at least {} expected", seen["outcome that is unknown"], demands.unknown));
    enough.expect(history.intervals.size() >= 20, fmt::format("{} lock intervals", history.intervals.size()));
}

namespace {

struct Doubt {
    std::size_t calls{0}, asked_again{0}, applied{0}, not_applied{0}, nobody_knows{0};
};

/// Of each kind of call: how many were begun, and after that how many ended in each way.
using Kinds = std::map<std::string, std::vector<std::size_t>>;
/// Of each reason why a caller was not told the outcome: what had happened.
using Doubts = std::map<std::string, Doubt>;

/// Adds one call of the operation that was called as `ids` say.
void count_call(
    History const& history, Effects const& effects, std::string const& operation,
    std::vector<std::string> const& ids, std::string const& id, Kinds& kinds, Doubts& doubts)
{
    auto const& call = history.calls.at(id);
    auto& row = kinds[id.starts_with("settle.") ? "asked again at the end" : call.kind];
    row.resize(7);
    ++row[0];
    ++row[1 + static_cast<std::size_t>(call.end)];
    if (call.end != End::unknown && call.end != End::open)
        return;
    auto& doubt = doubts[call.end == End::open ? "client was killed" : call.cause];
    ++doubt.calls;
    bool const again = std::any_of(ids.begin(), ids.end(), [&](auto const& other) {
        auto const& later = history.calls.at(other);
        return other != id && later.begun >= call.begun &&
               (later.end == End::applied || later.end == End::rejected);
    });
    doubt.asked_again += again ? 1 : 0;
    if (call.changes.empty())
        ++doubt.nobody_knows;
    else if (is_counter(call)) {
        auto const& last = history.calls.at(ids.back());
        ++(last.end == End::applied && last.replayed ? doubt.applied : doubt.not_applied);
    } else {
        auto const stored = effects.find(operation);
        bool const own = stored != effects.end() && stored->second.front().call == id;
        ++(own ? doubt.applied : doubt.not_applied);
    }
}

void print_kinds(Kinds const& kinds)
{
    auto const print = [](std::string const& kind, std::vector<std::size_t> const& row) {
        fmt::print(
            "{:<30}{:>8}{:>9}{:>9}{:>9}{:>7}{:>9}{:>7}\n", kind, row[0], row[2], row[3], row[4], row[5],
            row[6], row[1]);
    };
    fmt::print(
        "\n{:<30}{:>8}{:>9}{:>9}{:>9}{:>7}{:>9}{:>7}\n", "calls", "begun", "applied", "not", "unknown",
        "threw", "rejected", "killed");
    std::vector<std::size_t> total(7);
    for (auto const& [kind, row] : kinds) {
        print(kind, row);
        for (std::size_t i = 0; i < row.size(); ++i)
            total[i] += row[i];
    }
    print("all", total);
}

void print_doubts(Doubts const& doubts)
{
    fmt::print(
        "\n{:<30}{:>8}{:>13}{:>9}{:>13}{:>16}\n", "not known, because of", "calls", "asked again", "applied",
        "not applied", "changed nothing");
    for (auto const& [cause, doubt] : doubts)
        fmt::print(
            "{:<30}{:>8}{:>13}{:>9}{:>13}{:>16}\n", cause, doubt.calls, doubt.asked_again, doubt.applied,
            doubt.not_applied, doubt.nobody_knows);
}

}  // namespace

void print_calls(History const& history)
{
    auto const effects = effects_of(history);
    Kinds kinds;
    Doubts doubts;
    for (auto const& [operation, ids] : history.operations)
        for (auto const& id : ids)
            count_call(history, effects, operation, ids, id, kinds, doubts);
    print_kinds(kinds);
    std::size_t stored = 0;
    for (auto const& [operation, all] : effects)
        stored += all.size();
    std::size_t versions = 0;
    for (auto const& [state, all] : history.versions)
        versions += all.size();
    fmt::print(
        "{} effects in {} states, {} lock intervals, {} versioned writes\n", stored, history.states.size(),
        history.intervals.size(), versions);
    print_doubts(doubts);

    std::map<std::string, std::size_t> errors;
    for (auto const& [id, call] : history.calls)
        if (call.end == End::not_applied)
            ++errors[call.error];
    fmt::print("\nnot applied:");
    for (auto const& [error, n] : errors)
        fmt::print(" {} {}", n, error);
    fmt::print("\n");
}

}  // namespace torture
