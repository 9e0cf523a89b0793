// SPDX-License-Identifier: BSL-1.0

// Owners of one idempotent request against one model store, in every order of their steps: replies come or
// are lost, calls do not arrive or arrive late, leases end, operations return, throw or reject, calls are
// given up, owners die. Each owner runs on one of two states, whose operation records know nothing of each
// other.

#include <interlock/policies/detail/idempotency_machine.hpp>

#include "support/catch.hpp"
#include "support/explorer.hpp"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {
namespace idempotency_machine {

using interlock::ClaimState;
using interlock::Errc;
using interlock::detail::ClaimAction;
using interlock::detail::ClaimEnd;
using interlock::detail::IdempotencyMachine;

constexpr std::size_t most_owners = 3;
constexpr std::int8_t nobody = -1;

/// Of the request, in the idempotency store.
struct Record {
    bool exists{false};
    std::int8_t owner{nobody};  // nobody: given back with what it names
    bool lease_over{false};
    bool inherited{false};
    std::int8_t home{0};
    bool completed{false};
    bool rejected{false};
    std::int8_t answer{0};
    std::uint32_t attempt{0};
    auto operator<=>(Record const&) const = default;
};

/// Of the operation, one per home.
struct Operation {
    std::uint32_t forbidden{0};
    std::int8_t answer{0};  // 0: none
    auto operator<=>(Operation const&) const = default;
};

struct Commit {
    std::uint32_t attempt{0};
    std::int8_t owner{nobody};
    std::int8_t home{0};
    auto operator<=>(Commit const&) const = default;
};

/// The end of a claim that is made after its call has ended.
struct LateEnd {
    std::int8_t owner{nobody};
    std::int8_t answer{0};  // 0: given back
    bool settled{false};
    auto operator<=>(LateEnd const&) const = default;
};

enum class At : unsigned char { begin, run, commit, resolve, reject, end, over };
enum class Result : unsigned char { none, answer, rejected, nothing, unknown };

struct Owner {
    IdempotencyMachine machine{};
    At at{At::begin};
    ClaimEnd how{ClaimEnd::nothing};
    Result result{Result::none};
    std::int8_t answer{0};
    std::int8_t home{0};
    std::int8_t runs{0};
    bool dead{false};
    auto operator<=>(Owner const&) const = default;
};

struct World {
    Record record;
    std::array<Operation, 2> operations{};
    std::array<Owner, most_owners> owners{};
    std::array<Commit, 2> late_commits{};
    std::array<LateEnd, 2> late_ends{};
    std::int8_t effects{0};
    std::int8_t faults{0};  // so far
    bool kept{false};  // a claim is kept by somebody who is dead, does not know, or could not give it back
    auto operator<=>(World const&) const = default;
};

struct Scope {
    std::size_t owners;
    std::array<std::int8_t, most_owners> homes;
    std::int8_t faults;
    bool rejections;
};

// ---- the model store ----------------------------------------------------------------------------

struct Claimed {
    ClaimState state;
    std::int8_t home{0};
    std::uint32_t attempt{0};
    std::int8_t answer{0};
    bool rejected{false};
};

Claimed claim(World& w, std::int8_t owner, std::int8_t home, std::uint32_t attempt, bool replaces)
{
    auto& r = w.record;
    if (!r.exists) {
        r = Record{.exists = true, .owner = owner, .home = home, .attempt = attempt};
        return {ClaimState::claimed};
    }
    if (r.completed)
        return {ClaimState::completed, 0, 0, r.answer, r.rejected};
    if (r.owner == owner) {
        r.lease_over = false;
        if (replaces) {
            r.home = home;
            r.attempt = attempt;
            r.inherited = false;
        }
    } else {
        if (r.owner != nobody && !r.lease_over)
            return {ClaimState::in_progress};
        r.owner = owner;
        r.lease_over = false;
        r.inherited = true;
    }
    return {r.inherited ? ClaimState::taken_over : ClaimState::claimed, r.home, r.attempt};
}

Errc complete(World& w, std::int8_t owner, std::int8_t answer, bool rejected)
{
    auto& r = w.record;
    if (!r.exists || r.completed || r.owner != owner)
        return Errc::fenced_out;
    r.completed = true;
    r.rejected = rejected;
    r.answer = answer;
    return Errc::ok;
}

Errc give_back(World& w, std::int8_t owner, bool settled)
{
    auto& r = w.record;
    if (!r.exists || r.completed || r.owner != owner)
        return Errc::fenced_out;
    if (settled || !r.inherited)
        r = Record{};
    else
        r.owner = nobody;
    return Errc::ok;
}

/// The record as it then is.
Operation forbid(World& w, std::int8_t home, std::uint32_t attempt)
{
    auto& o = w.operations[static_cast<std::size_t>(home)];
    if (o.answer == 0 && o.forbidden < attempt)
        o.forbidden = attempt;
    return o;
}

Errc commit(World& w, Commit const& c)
{
    auto& o = w.operations[static_cast<std::size_t>(c.home)];
    if (o.answer != 0)
        return Errc::ok;  // nothing is written; that is the answer
    if (c.attempt <= o.forbidden)
        return Errc::superseded;
    o.answer = static_cast<std::int8_t>(c.owner + 1);
    ++w.effects;
    return Errc::ok;
}

// ---- the checker and the walk -------------------------------------------------------------------

/// Keeps the worlds that were met, and what must be true of each of them.
class Checker : public interlock_test::Findings {
public:
    explicit Checker(Scope scope) : scope_(scope) {}

    std::size_t worlds() const noexcept { return seen_.size(); }
    std::uint64_t ends{0};
    std::array<std::uint64_t, 5> results{};
    std::uint64_t settled_elsewhere{0};
    std::uint64_t taken_over{0};
    std::uint64_t probes{0};

protected:
    static std::size_t index(std::int8_t owner) noexcept { return static_cast<std::size_t>(owner); }

    /// What the four sentences say of every world; those that were not met before are gone on from.
    void reach(World const& w)
    {
        auto const [place, fresh] = seen_.insert(w);
        if (!fresh)
            return;
        frontier_.push_back(&*place);
        expect(w.effects <= 1, "more than one effect");
        expect(
            w.effects == 0 || w.record.exists,
            "applied, but the claim is forgotten, and what was asked for with it");
        expect(!w.record.completed || w.record.rejected || w.effects == 1, "an answer without an effect");
        expect(!w.record.rejected || w.effects == 0, "a rejection and an effect");
        std::int8_t applied = 0;
        for (auto const& o : w.operations)
            applied = o.answer != 0 ? o.answer : applied;
        bool quiet = w.late_commits == World{}.late_commits && w.late_ends == World{}.late_ends;
        for (std::size_t i = 0; i < scope_.owners; ++i) {
            auto const& o = w.owners[i];
            quiet = quiet && (o.dead || o.at == At::over);
            if (o.at != At::over)
                continue;
            ++results[static_cast<std::size_t>(o.result)];
            expect(
                o.result != Result::answer || o.answer == applied,
                "an answer that is not that of the applied one");
            expect(o.result != Result::rejected || w.record.rejected, "rejected, but that is not stored");
            expect(
                o.result != Result::nothing || applied != static_cast<int>(i) + 1,
                "not applied, said the one that was applied");
        }
        if (!quiet)
            return;
        ++ends;
        for (std::int8_t home = 0; home < 2; ++home)
            probe(w, home);
    }

    /// Somebody comes with the request when all is over and nothing fails any more.
    void probe(World w, std::int8_t home)
    {
        ++probes;
        if (w.kept)
            w.record.lease_over = true;  // "at once" where nobody was left in doubt
        auto const before = w.effects;
        std::int8_t const self = most_owners;
        Owner o;
        o.home = home;
        for (int steps = 0;; ++steps) {
            if (steps == 20)
                return expect(false, "a key that never ends");
            auto const action = o.machine.begin();
            if (action == ClaimAction::run) {
                expect(before == 0, "run again although it was applied");
                o.machine.committing();
                auto const code = commit(w, {o.machine.attempt(), self, home});
                o.machine.committed(code);
                if (code == Errc::ok)
                    break;
                continue;
            }
            if (action == ClaimAction::done)
                break;
            if (action == ClaimAction::claim) {
                auto const c = claim(w, self, home, o.machine.attempt(), o.machine.naming());
                auto const after = o.machine.claimed(c.state, c.home == home, c.attempt);
                if (c.state == ClaimState::completed)
                    return expect(
                        c.rejected ? before == 0 : before == 1,
                        "what is stored is not what became of the request");
                if (after == ClaimAction::wait)
                    return expect(false, "a key that cannot be used although nothing goes on");
                continue;
            }
            if (action == ClaimAction::settle) {
                auto const at = o.machine.settles_elsewhere() ? w.record.home : home;
                o.machine.settled(forbid(w, at, o.machine.settled_attempt()).answer != 0);
                continue;
            }
            auto const& found = w.operations[index(home)];
            o.machine.looked_up({found.answer != 0, found.forbidden});
        }
        expect(w.effects == 1, "more than one effect, or none, after a last call");
    }

    Scope scope_;
    std::set<World> seen_;
    std::vector<World const*> frontier_;  // met, and not gone on from
};

class Explorer : public Checker {
public:
    explicit Explorer(Scope scope, std::size_t most_worlds) : Checker(scope), most_worlds_(most_worlds) {}

    void explore(int depth)
    {
        World first;
        for (std::size_t i = 0; i < most_owners; ++i) {
            first.owners[i].home = scope_.homes[i];
            if (i >= scope_.owners)
                first.owners[i].at = At::over;
        }
        reach(first);
        for (; depth > 0 && !frontier_.empty() && seen_.size() < most_worlds_; --depth) {
            auto const now = std::exchange(frontier_, {});
            for (auto const* const world : now)
                next(*world);
        }
    }

private:
    void next(World const& w)
    {
        for (std::size_t i = 0; i < scope_.owners; ++i) {
            auto const& o = w.owners[i];
            if (o.dead || o.at == At::over)
                continue;
            step(w, static_cast<std::int8_t>(i));
            if (w.faults < scope_.faults) {
                World after = w;  // dies
                ++after.faults;
                after.owners[i].dead = true;
                after.kept = true;
                reach(after);
            }
        }
        if (w.record.exists && !w.record.completed && w.record.owner != nobody && !w.record.lease_over) {
            World after = w;
            after.record.lease_over = true;
            reach(after);
        }
        for (std::size_t i = 0; i < 2; ++i)
            if (auto const& sent = w.late_commits[i]; sent.owner != nobody) {
                World after = w;
                after.late_commits[i] = Commit{};
                static_cast<void>(commit(after, sent));
                reach(after);
            }
        for (std::size_t i = 0; i < 2; ++i)
            if (auto const& late = w.late_ends[i]; late.owner != nobody) {
                World after = w;
                after.late_ends[i] = LateEnd{};
                static_cast<void>(
                    late.answer != 0 ? complete(after, late.owner, late.answer, false)
                                     : give_back(after, late.owner, late.settled));
                reach(after);
            }
    }

    template <class X>
    static void put(std::array<X, 2>& places, X const& one)
    {
        auto& place = places[0] == X{} ? places[0] : places[1];
        if (place == X{})
            place = one;  // a third one is lost
    }

    void to_end(Owner& o, ClaimEnd how, Result result, std::int8_t answer = 0)
    {
        o.at = At::end;
        o.how = how;
        o.result = result;
        o.answer = answer;
    }

    /// Everything that may come of an owner's next step.
    void step(World const& w, std::int8_t i)
    {
        switch (w.owners[index(i)].at) {
        case At::begin: return begin(w, i);
        case At::run: return run(w, i);
        case At::commit: return send(w, i);
        case At::resolve: return resolve(w, i);
        case At::reject: return reject(w, i);
        case At::end: return end(w, i);
        case At::over: return;
        }
    }

    /// The deadline or a cancellation ends the wait.
    void give_up(World const& w, std::int8_t i, ClaimEnd how, Result result)
    {
        World after = w;
        to_end(after.owners[index(i)], how, result);
        reach(after);
    }

    void begin(World const& w, std::int8_t i)
    {
        auto const& before = w.owners[index(i)];
        bool const may_fail = w.faults < scope_.faults;
        switch (before.machine.begin()) {
        case ClaimAction::claim:
            for (int way = 0; way < 3; ++way) {  // done; done, but the reply is lost; not done
                if (way > 0 && !may_fail)
                    continue;
                World after = w;
                auto& o = after.owners[index(i)];
                after.faults = static_cast<std::int8_t>(after.faults + (way > 0 ? 1 : 0));
                Claimed c{ClaimState::claimed};
                if (way < 2)
                    c = claim(after, i, o.home, o.machine.attempt(), o.machine.naming());
                if (way > 0) {
                    o.machine.claim_failed(way == 1 ? Errc::outcome_unknown : Errc::unavailable);
                    reach(after);
                    continue;
                }
                taken_over += c.state == ClaimState::taken_over ? 1U : 0U;
                auto const action = o.machine.claimed(c.state, c.home == o.home, c.attempt);
                if (c.state == ClaimState::completed) {
                    to_end(o, ClaimEnd::applied, c.rejected ? Result::rejected : Result::answer, c.answer);
                } else if (action == ClaimAction::wait) {
                    reach(after);  // asks again
                    to_end(o, ClaimEnd::nothing, Result::nothing);
                }
                reach(after);
            }
            break;
        case ClaimAction::settle: settle(w, i, At::begin); break;
        case ClaimAction::look_up: {
            World after = w;
            auto& o = after.owners[index(i)];
            auto const& found = after.operations[index(o.home)];
            o.machine.looked_up({found.answer != 0, found.forbidden});
            if (o.machine.answered())
                to_end(o, ClaimEnd::applied, Result::answer, found.answer);
            reach(after);
            break;
        }
        default: {
            World after = w;
            after.owners[index(i)].at = At::run;
            reach(after);
        }
        }
        if (may_fail) {
            World tired = w;
            ++tired.faults;
            give_up(tired, i, ClaimEnd::nothing, Result::nothing);
        }
    }

    void settle(World const& w, std::int8_t i, At at)
    {
        for (int way = 0; way < 3; ++way) {
            if (way > 0 && w.faults >= scope_.faults)
                continue;
            World after = w;
            auto& o = after.owners[index(i)];
            after.faults = static_cast<std::int8_t>(after.faults + (way > 0 ? 1 : 0));
            bool const elsewhere = o.machine.settles_elsewhere();
            settled_elsewhere += elsewhere ? 1U : 0U;
            auto const home = elsewhere ? static_cast<std::int8_t>(1 - o.home) : o.home;
            Operation found;
            if (way < 2)
                found = forbid(after, home, o.machine.settled_attempt());
            if (way > 0) {
                if (at == At::reject)
                    to_end(o, ClaimEnd::nothing, Result::nothing);
                else if (at == At::end)
                    o.machine.settle_failed();
            } else {
                o.machine.settled(found.answer != 0);
                if (found.answer != 0)
                    to_end(o, ClaimEnd::applied, Result::answer, found.answer);
            }
            reach(after);
        }
    }

    void run(World const& w, std::int8_t i)
    {
        if (w.owners[index(i)].runs == 2)
            return give_up(w, i, ClaimEnd::nothing, Result::nothing);
        World returned = w;
        ++returned.owners[index(i)].runs;
        returned.owners[index(i)].at = At::commit;
        reach(returned);
        give_up(w, i, ClaimEnd::nothing, Result::nothing);  // it threw
        if (scope_.rejections) {
            World rejected = w;
            rejected.owners[index(i)].at = At::reject;
            reach(rejected);
        }
    }

    void send(World const& w, std::int8_t i)
    {
        enum Way { done, reply_lost, lost, late, refused };
        for (auto const way : {done, reply_lost, lost, late, refused}) {
            if (way != done && w.faults >= scope_.faults)
                continue;
            World after = w;
            auto& o = after.owners[index(i)];
            after.faults = static_cast<std::int8_t>(after.faults + (way != done ? 1 : 0));
            o.machine.committing();
            Commit const sent{o.machine.attempt(), i, o.home};
            auto code = Errc::outcome_unknown;
            if (way == done)
                code = commit(after, sent);
            else if (way == reply_lost)
                static_cast<void>(commit(after, sent));
            else if (way == late)
                put(after.late_commits, sent);
            else if (way == refused)
                code = Errc::version_conflict;
            o.machine.committed(code);
            if (code == Errc::ok)
                to_end(o, ClaimEnd::applied, Result::answer, after.operations[index(o.home)].answer);
            else
                o.at = code == Errc::outcome_unknown ? At::resolve : At::begin;
            reach(after);
        }
    }

    void resolve(World const& w, std::int8_t i)
    {
        for (int way = 0; way < 2; ++way) {
            World after = w;
            auto& o = after.owners[index(i)];
            auto const found = forbid(after, o.home, o.machine.attempt());
            if (way == 1) {  // the reply is lost, and then there is no time left
                after.kept = true;
                to_end(o, ClaimEnd::unknown, Result::unknown);
            } else {
                o.machine.resolved(found.answer != 0);
                if (found.answer != 0)
                    to_end(o, ClaimEnd::applied, Result::answer, found.answer);
                else
                    o.at = At::begin;
            }
            reach(after);
        }
        World after = w;  // it never got there
        after.kept = true;
        to_end(after.owners[index(i)], ClaimEnd::unknown, Result::unknown);
        reach(after);
    }

    void reject(World const& w, std::int8_t i)
    {
        if (w.owners[index(i)].machine.reject() == ClaimAction::settle)
            return settle(w, i, At::reject);
        for (int way = 0; way < 3; ++way) {
            if (way > 0 && w.faults >= scope_.faults)
                continue;
            World after = w;
            auto& o = after.owners[index(i)];
            after.faults = static_cast<std::int8_t>(after.faults + (way > 0 ? 1 : 0));
            auto code = Errc::unavailable;
            if (way < 2)
                code = complete(after, i, 0, true);
            if (way == 0)
                o.machine.ended();
            if (way == 0 && code == Errc::ok)
                to_end(o, ClaimEnd::applied, Result::rejected);
            else
                to_end(o, ClaimEnd::nothing, Result::nothing);
            reach(after);
        }
    }

    void end(World const& w, std::int8_t i)
    {
        auto const& before = w.owners[index(i)];
        auto const action = before.machine.end(before.how);
        if (action == ClaimAction::settle)
            return settle(w, i, At::end);
        for (int way = 0; way < 3; ++way) {  // now, later, never
            if (way > 0 && (w.faults >= scope_.faults || action == ClaimAction::done))
                continue;
            World after = w;
            auto& o = after.owners[index(i)];
            after.faults = static_cast<std::int8_t>(after.faults + (way > 0 ? 1 : 0));
            if (action != ClaimAction::done) {
                LateEnd const ending{
                    i, action == ClaimAction::complete ? o.answer : std::int8_t{0}, o.machine.settled()};
                if (way == 1)
                    put(after.late_ends, ending);
                else if (way == 2)
                    after.kept = true;
                else if (action == ClaimAction::complete)
                    static_cast<void>(complete(after, i, o.answer, false));
                else
                    static_cast<void>(give_back(after, i, ending.settled));
            }
            o.machine.ended();
            o.at = At::over;
            reach(after);
        }
    }

    std::size_t most_worlds_;
};

void explore(Scope const& scope, int depth, std::size_t most_worlds)
{
    Explorer explorer{scope, most_worlds};
    explorer.explore(depth);
    INFO(
        scope.owners << " owners at " << int{scope.homes[0]} << int{scope.homes[1]} << int{scope.homes[2]}
                     << ", " << int{scope.faults} << " faults");
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.ends > 100);
    CHECK(explorer.probes > 100);
    CHECK(explorer.taken_over > 100);
    CHECK((explorer.settled_elsewhere > 100 || scope.homes[0] == scope.homes[1]));
    for (auto const result : {Result::answer, Result::rejected, Result::nothing, Result::unknown})
        CHECK(
            (explorer.results[static_cast<std::size_t>(result)] > 0 ||
             (result == Result::rejected && !scope.rejections)));
    CHECK(explorer.worlds() > 100'000);
}

}  // namespace idempotency_machine
}  // namespace

TEST_CASE(
    "Two owners of a request make one effect and get one answer in every order of events",
    "[interleaving][idempotency]")
{
    using namespace idempotency_machine;
    for (std::array<std::int8_t, 3> const homes : {std::array<std::int8_t, 3>{0, 0, 0}, {0, 1, 0}})
        explore({2, homes, 2, true}, 60, 400'000);
}

TEST_CASE("Three owners of a request do, too", "[interleaving][idempotency]")
{
    using namespace idempotency_machine;
    for (std::array<std::int8_t, 3> const homes : {std::array<std::int8_t, 3>{0, 0, 1}, {0, 1, 0}, {0, 1, 1}})
        explore({3, homes, 1, true}, 60, 200'000);
}
