// SPDX-License-Identifier: BSL-1.0

// Every sequence of events that a driver can feed to the machine, up to a depth: what the store answers, how
// the callable ends, how far time moves, and a cancellation before any of them.

#include <interlock/core/detail/transaction/transaction_machine.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

namespace {
namespace transaction_machine {

using namespace std::chrono_literals;
using interlock::Backoff;
using interlock::Errc;
using interlock::RetryLimits;
using interlock::TimePoint;
using interlock::detail::Action;
using interlock::detail::HasId;
using interlock::detail::Ran;
using interlock::detail::Resolved;
using interlock::detail::TransactionMachine;

constexpr TimePoint zero{1h};

struct Scope {
    int max_attempts;
    HasId has_id;
    bool guarded;
    bool concludes;
    int depth;
};

/// What a run so far has done, next to the machine that decided it.
struct Run {
    TransactionMachine machine;
    TimePoint now;
    bool cancelled{false};
    bool in_transaction{false};  // between a successful begin and commit or rollback
    bool unresolved{false};      // a commit may have been applied and nobody knows
    bool interrupted{false};     // an unguarded callable has run, or been interrupted somewhere
    bool applied{false};
    bool concluded{false};
    int runs{0};
    int begins{0};
    int commits{0};
};

class Explorer {
public:
    explicit Explorer(Scope scope) : scope_(scope) {}

    void explore()
    {
        RetryLimits const limits{scope_.max_attempts, Backoff{.initial = 8ms, .cap = 8ms, .immediate = 1}};
        for (auto const deadline : {zero, zero + 15ms}) {
            Run run{
                TransactionMachine{limits, deadline, scope_.has_id, scope_.guarded, scope_.concludes}, zero};
            auto const action = run.machine.start(run.now);
            next(run, action, scope_.depth);
        }
    }

    std::uint64_t ends{0};
    std::uint64_t problems{0};
    std::string first_problem;
    std::array<std::uint64_t, 8> results{};  // see `finish`

private:
    static constexpr std::uint64_t low{0};  // draws of the random source
    static constexpr auto high = std::numeric_limits<std::uint64_t>::max();
    static constexpr std::array begin_codes{Errc::ok,        Errc::not_found,         Errc::unavailable,
                                            Errc::lock_busy, Errc::deadline_exceeded, Errc::cancelled};
    static constexpr std::array commit_codes{
        Errc::ok,        Errc::version_conflict, Errc::unavailable,    Errc::fenced_out,
        Errc::lock_lost, Errc::superseded,       Errc::outcome_unknown};

    void claim(bool good, char const* what)
    {
        if (!good && problems++ == 0)
            first_problem = what;
    }

    /// The driver is to do `action`: what must hold, and everything that may come of it.
    void next(Run const& run, Action action, int depth)
    {
        if (action == Action::finish)
            return finish(run);
        check(run, action);
        if (depth == 0)
            return;
        for (bool const cancel : {false, true}) {
            if (cancel && run.cancelled)
                continue;
            for (auto const passed : {0ms, 9ms}) {
                Run after = run;
                after.now += passed;
                if (cancel) {
                    after.cancelled = true;
                    after.machine.cancel();
                }
                answer(after, action, depth - 1);
            }
        }
    }

    void check(Run const& run, Action action)
    {
        switch (action) {
        case Action::commit:
            claim(run.in_transaction, "commit outside of a transaction");
            if (scope_.guarded) {
                claim(run.now < run.machine.deadline(), "commit at or after the deadline");
                claim(!run.cancelled, "commit after cancellation");
            }
            break;
        case Action::begin:
            claim(!run.unresolved, "another attempt although a commit is unresolved");
            claim(!run.interrupted, "another attempt although an unguarded operation has run");
            claim(run.begins < scope_.max_attempts, "more attempts than allowed");
            break;
        case Action::run: claim(run.in_transaction, "run outside of a transaction"); break;
        case Action::resolve:
            claim(scope_.has_id != HasId::no, "resolve without an id");
            claim(run.unresolved, "resolve although nothing is unresolved");
            break;
        case Action::sleep:
            claim(run.machine.wake_at() < run.machine.deadline(), "sleep to the deadline or beyond");
            break;
        case Action::look_up: claim(scope_.has_id == HasId::yes, "look-up without an id"); break;
        case Action::conclude:
            claim(
                scope_.concludes && !run.concluded && !run.in_transaction,
                "concluded at another time than the end");
            break;
        case Action::verify:
        case Action::reject: claim(false, "the machine never asks for it"); break;
        case Action::rollback:  // harmless where nothing is open
        case Action::finish: break;
        }
    }

    /// Every answer that there can be to `action`, and what follows each of them.
    void answer(Run const& run, Action action, int depth)
    {
        switch (action) {
        case Action::look_up: answer_look_up(run, depth); break;
        case Action::begin:
            for (auto const code : begin_codes) {
                Run r = run;
                ++r.begins;
                r.in_transaction = code == Errc::ok;  // a begin that fails leaves nothing open
                next(r, r.machine.began(code, r.now, high), depth);
            }
            break;
        case Action::run: answer_run(run, depth); break;
        case Action::commit: answer_commit(run, depth); break;
        case Action::rollback: {
            Run r = run;
            r.in_transaction = false;
            next(r, r.machine.rolled_back(), depth);
        } break;
        case Action::resolve:
            for (auto const how : {Resolved::applied, Resolved::not_applied, Resolved::unknown}) {
                Run r = run;
                r.unresolved = how == Resolved::unknown;
                r.applied = how == Resolved::applied;
                next(r, r.machine.resolved(how, r.now, high), depth);
            }
            break;
        case Action::sleep: {
            Run r = run;
            if (r.now < r.machine.wake_at() && !r.cancelled)
                r.now = r.machine.wake_at();
            next(r, r.machine.slept(r.now), depth);
        } break;
        case Action::conclude: answer_conclude(run, depth); break;
        case Action::verify:
        case Action::reject:
        case Action::finish: break;
        }
    }

    void answer_look_up(Run const& run, int depth)
    {
        Run found = run;
        found.applied = true;  // by an earlier execution
        next(found, found.machine.looked_up(true, Errc::ok, found.now, low), depth);
        for (auto const code : {Errc::ok, Errc::unavailable}) {
            Run r = run;
            next(r, r.machine.looked_up(false, code, r.now, high), depth);
        }
    }

    void answer_run(Run const& run, int depth)
    {
        Run ran = run;
        ++ran.runs;
        ran.interrupted = !scope_.guarded;
        for (auto const how : {Ran::returned, Ran::threw, Ran::lock_lost}) {
            Run r = ran;
            next(r, r.machine.ran(how, r.now), depth);
        }
        next(ran, ran.machine.refused(Errc::invalid_argument), depth);
    }

    void answer_commit(Run const& run, int depth)
    {
        for (auto const code : commit_codes) {
            if (code == Errc::superseded && scope_.has_id == HasId::no)
                continue;
            Run r = run;
            ++r.commits;
            r.in_transaction = r.in_transaction && code != Errc::ok;
            r.applied = code == Errc::ok;
            r.unresolved = code == Errc::outcome_unknown;
            next(r, r.machine.committed(code, false, Errc::unavailable, r.now, high), depth);
        }
        if (scope_.has_id != HasId::no) {
            Run r = run;
            r.in_transaction = false;
            r.applied = true;
            next(r, r.machine.committed(Errc::ok, true, Errc::ok, r.now, low), depth);
        }
    }

    void answer_conclude(Run const& run, int depth)
    {
        for (bool const found : {false, true}) {
            Run r = run;
            r.concluded = true;
            if (found) {  // another call of the same operation was applied
                if (r.applied || r.unresolved || r.interrupted)
                    continue;
                r.applied = true;
            }
            next(r, r.machine.concluded(found), depth);
        }
    }

    void finish(Run const& run)
    {
        ++ends;
        auto const& machine = run.machine;
        auto const result = machine.result();
        claim(!run.in_transaction, "finished with an open transaction");
        claim(run.concluded == scope_.concludes, "not concluded");
        claim(run.runs <= scope_.max_attempts, "the operation ran more often than allowed");
        claim(machine.attempts() <= scope_.max_attempts, "attempts above the maximum");
        if (scope_.max_attempts == 1)
            claim(run.begins <= 1 && run.runs <= 1, "max_attempts = 1 means no retry");
        if (machine.threw()) {
            ++results[1];
            claim(
                result == Errc::ok && !run.applied && !run.unresolved, "threw, but something may be applied");
            return;
        }
        if (run.unresolved)
            claim(result == Errc::outcome_unknown, "an unresolved commit must end as unknown");
        if (run.applied)
            claim(result == Errc::ok || !scope_.guarded, "applied, but not reported as such");
        if (result == Errc::ok)
            claim(run.applied, "reported as applied, but is not");
        if (result == Errc::outcome_unknown)
            claim(run.unresolved || run.interrupted, "unknown without a reason");
        if (run.interrupted && !run.applied)
            claim(
                interlock::effect_of(result) == interlock::Effect::unknown || run.runs == 0,
                "an unguarded operation has run, but the call says not applied");
        if (result == Errc::deadline_exceeded)
            claim(
                interlock::effect_of(result) == interlock::Effect::not_applied,
                "effect of deadline_exceeded");
        switch (result) {
        case Errc::ok: ++results[0]; break;
        case Errc::cancelled: ++results[2]; break;
        case Errc::deadline_exceeded: ++results[3]; break;
        case Errc::outcome_unknown: ++results[4]; break;
        case Errc::lock_lost: ++results[5]; break;
        case Errc::version_conflict: ++results[6]; break;
        default: ++results[7];
        }
    }

    Scope scope_;
};

}  // namespace transaction_machine

TEST_CASE("Between the questions what became of a commit there is a wait", "[interleaving][transaction]")
{
    using namespace transaction_machine;
    auto const immediate = GENERATE(0, 1, std::numeric_limits<int>::max());
    TransactionMachine machine{
        RetryLimits{10, Backoff{.initial = 1ms, .cap = 8ms, .immediate = immediate}}, zero + 1h, HasId::yes};
    auto now = zero;
    CHECK(machine.start(now) == Action::look_up);
    CHECK(machine.looked_up(false, Errc::ok, now, 0) == Action::begin);
    CHECK(machine.began(Errc::ok, now, 0) == Action::run);
    CHECK(machine.ran(Ran::returned, now) == Action::commit);
    auto const code = Errc::outcome_unknown;
    CHECK(machine.committed(code, false, Errc::unavailable, now, 0) == Action::resolve);
    for (int i = 0; i < 5; ++i) {
        CHECK(machine.resolved(Resolved::unknown, now, ~std::uint64_t{0}) == Action::sleep);
        CHECK(machine.wake_at() - now >= std::min(1ms * (1 << i), 8ms) / 2);
        now = machine.wake_at();
        CHECK(machine.slept(now) == Action::resolve);
    }
}

}  // namespace

TEST_CASE(
    "The transaction machine keeps its promises in every sequence of events", "[interleaving][transaction]")
{
    using namespace transaction_machine;
    for (auto const max_attempts : {1, 2, 3}) {
        for (auto const has_id : {HasId::no, HasId::yes, HasId::looked_up_by_begin}) {
            for (auto const guarded : {false, true}) {
                bool const concludes = has_id == HasId::looked_up_by_begin;
                Explorer explorer{Scope{max_attempts, has_id, guarded, concludes, concludes ? 13 : 12}};
                explorer.explore();
                INFO(
                    "max_attempts " << max_attempts << ", id " << static_cast<int>(has_id) << ", guarded "
                                    << guarded);
                INFO(explorer.first_problem);
                CHECK(explorer.problems == 0);
                CHECK(explorer.ends > 100);
                for (std::size_t i : {0U, 1U, 3U, 4U})  // every kind of end was seen
                    CHECK(explorer.results[i] > 0);
                CHECK((explorer.results[2] > 0 || !guarded));
            }
        }
    }
}

TEST_CASE("A deadline in the past ends the call before anything is begun", "[interleaving][transaction]")
{
    using namespace transaction_machine;
    TransactionMachine machine{RetryLimits{3, {}}, zero, HasId::no};
    CHECK(machine.start(zero) == Action::finish);
    CHECK(machine.result() == Errc::deadline_exceeded);
    CHECK(machine.attempts() == 0);
}

TEST_CASE("An unknown commit without an operation id is never run again", "[interleaving][transaction]")
{
    using namespace transaction_machine;
    TransactionMachine machine{RetryLimits{1000, {}}, zero + 1h, HasId::no};
    REQUIRE(machine.start(zero) == Action::begin);
    REQUIRE(machine.began(Errc::ok, zero, 0) == Action::run);
    REQUIRE(machine.ran(Ran::returned, zero) == Action::commit);
    REQUIRE(machine.committed(Errc::outcome_unknown, false, Errc::unavailable, zero, 0) == Action::rollback);
    REQUIRE(machine.rolled_back() == Action::finish);
    CHECK(machine.result() == Errc::outcome_unknown);
    CHECK(machine.cause() == Errc::unavailable);
}

TEST_CASE(
    "An unguarded operation is not run again after its record was forbidden", "[interleaving][transaction]")
{
    using namespace transaction_machine;
    TransactionMachine machine{RetryLimits{1000, {}}, zero + 1h, HasId::yes, false};
    REQUIRE(machine.start(zero) == Action::look_up);
    REQUIRE(machine.looked_up(false, Errc::ok, zero, 0) == Action::begin);
    REQUIRE(machine.began(Errc::ok, zero, 0) == Action::run);
    REQUIRE(machine.ran(Ran::returned, zero) == Action::commit);
    REQUIRE(machine.committed(Errc::outcome_unknown, false, Errc::unavailable, zero, 0) == Action::resolve);
    REQUIRE(machine.resolved(Resolved::not_applied, zero, 0) == Action::rollback);
    CHECK(machine.result() == Errc::outcome_unknown);
}
