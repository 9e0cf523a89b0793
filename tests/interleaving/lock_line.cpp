// SPDX-License-Identifier: BSL-1.0

// Every order of what can happen to the line of one lock, for two and three callers: they come, wait, go, ask
// the store and are granted a lease or not; holders release, lose the lock or are slow to come for it;
// records are removed; renewals are on their way; time passes; and memory is short.
//
// How it works: a world is the line and a model of what has happened to it. From each world that was not met
// before all events are tried. The model knows the laws: it says what the line must answer, and checks what
// must hold in every world. A world is known again by its model; of two lines with one model the line that
// came first goes on.

#include <interlock/core/detail/locks/lock_line.hpp>

#include "support/catch.hpp"
#include "support/explorer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace {
namespace lock_line {

using namespace std::chrono_literals;
using interlock::FencingToken;
using interlock::Grant;
using interlock::LockOptions;
using interlock::OwnerToken;
using interlock::TimePoint;
using interlock::Wait;
using interlock::detail::LockLine;

constexpr std::size_t most_callers = 3;
constexpr std::int8_t nobody = 0;  // callers are counted from 1
constexpr TimePoint zero{1h};

/// A queue that can be copied and compared.
struct Queue {
    using Member = std::int8_t;

    bool empty() const noexcept { return count == 0; }
    Member pop_front() noexcept
    {
        auto const first = places[0];
        remove(first);
        return first;
    }
    void push_back(Member member) noexcept { places[static_cast<std::size_t>(count++)] = member; }
    void remove(Member member) noexcept
    {
        auto* const end = places.data() + count;
        auto* const kept = std::remove(places.data(), end, member);
        std::fill(kept, end, nobody);
        count = static_cast<std::int8_t>(kept - places.data());
    }
    auto operator<=>(Queue const&) const = default;

    std::array<Member, most_callers + 1> places{};
    std::int8_t count{0};
};

using Line = LockLine<Queue>;

LockOptions options()
{
    LockOptions o;
    o.ttl = interlock::Ttl{300ms};
    o.drift = 0;
    o.margin = 0ms;
    o.hand_on_count = 2;
    o.hand_on_time = 20ms;
    return o;
}

enum class At : unsigned char {
    out,      // has nothing to do with the lock
    queued,   // waits
    next,     // is to drive
    driving,  // asks the store
    offered,  // holds, and has not come for it
    holding,
};

struct Model {
    std::array<At, most_callers + 1> callers{};
    Queue queue;
    bool removing{false};
    std::int8_t grant{0};        // the number of the last grant
    std::int8_t renewing{0};     // the grant whose renewal is on its way; 0: none
    std::uint8_t last_token{0};  // that a caller held
    std::uint8_t end_token{0};   // the first that the store has not granted
    int now{0};                  // in milliseconds, as all times here
    int lease_end{0};            // of the last grant
    bool renewed{true};          // whether its lease is kept
    int wanted_since{-1};        // when somebody elsewhere was first seen to wait for it; -1: never
    std::int8_t hand_ons{0};     // since then
    auto operator<=>(Model const&) const = default;
};

struct World {
    Line line;
    Model model;
};

OwnerToken owner_of(std::int8_t grant)
{
    return OwnerToken{{static_cast<std::uint64_t>(grant), 1}};
}

TimePoint time_of(int milliseconds)
{
    return zero + std::chrono::milliseconds{milliseconds};
}

class Explorer : public interlock_test::Findings {
public:
    Explorer(std::int8_t callers, std::size_t most_worlds) : callers_(callers), most_worlds_(most_worlds) {}

    void explore(int depth)
    {
        reach(World{});
        worlds_.explore(depth, most_worlds_, [&](World const& world) { step(world); });
    }

    std::size_t worlds() const noexcept { return worlds_.count(); }
    std::uint64_t hand_ons{0};
    std::uint64_t spent_budgets{0};
    std::uint64_t fenced_by_a_trip{0};
    std::uint64_t passed_over{0};
    std::uint64_t removals_behind_a_renewal{0};

private:
    At& at(World& w, std::int8_t caller) { return w.model.callers[static_cast<std::size_t>(caller)]; }

    void reach(World const& w)
    {
        check(w);
        if (worlds_.meet(w, w.model))
            drain(w);
    }

    // ---- the laws -------------------------------------------------------------------------------

    void check(World const& w)
    {
        auto const& m = w.model;
        int drivers = 0;
        int holders = 0;
        int queued = 0;
        for (auto const one : m.callers) {
            drivers += one == At::next || one == At::driving ? 1 : 0;
            holders += one == At::offered || one == At::holding ? 1 : 0;
            queued += one == At::queued ? 1 : 0;
        }
        int const active = drivers + holders + (m.removing ? 1 : 0);
        expect(active <= 1, "two callers drive or hold");
        expect(queued == 0 || active == 1, "somebody waits, and nobody will wake it");
        auto const state = w.line.state();
        expect(
            (state == Line::State::idle) == (active == 0),
            "the line is idle although somebody is there, or not");
        expect((state == Line::State::trying) == (drivers == 1), "the line does not know its driver");
        expect((state == Line::State::held) == (holders == 1), "the line does not know its holder");
        expect((state == Line::State::removing) == m.removing, "the line does not know of the removal");
        expect(w.line.somebody_queues() == (queued > 0), "the line does not know who waits");
        expect(
            holders == 0 || (m.last_token < m.end_token && m.last_token > 0), "a token that nobody granted");
    }

    /// Everybody ends what it does and comes no more: all get their turn, and the line becomes idle.
    void drain(World w)
    {
        for (int steps = 0; steps < 20; ++steps) {
            if (w.line.state() == Line::State::idle)
                return expect(
                    std::all_of(
                        w.model.callers.begin(), w.model.callers.end(), [](At a) { return a == At::out; }),
                    "the line is idle and somebody is forgotten");
            for (std::int8_t i = 1; i <= callers_; ++i) {
                if (at(w, i) == At::next) {
                    w.line.begin_driving(i);
                    at(w, i) = At::driving;
                } else if (at(w, i) == At::driving) {
                    at(w, i) = At::out;
                    promote(w, w.line.gave_up());
                } else if (at(w, i) == At::offered || at(w, i) == At::holding) {
                    at(w, i) = At::out;
                    expect(
                        w.line.released(time_of(w.model.now), true, options(), [] { return false; }) ==
                            Line::Released::remove_record,
                        "handed on over a write that may still arrive");
                    w.model.removing = true;
                }
            }
            if (w.model.removing) {
                w.line.renewal_returned(owner_of(w.model.grant));
                w.model.removing = false;
                promote(w, w.line.removed());
            }
        }
        expect(false, "a line that never ends");
    }

    // ---- the events -----------------------------------------------------------------------------

    void step(World const& w)
    {
        for (std::int8_t i = 1; i <= callers_; ++i) {
            switch (w.model.callers[static_cast<std::size_t>(i)]) {
            case At::out: enter(w, i); break;
            case At::queued: leave_queue(w, i); break;
            case At::next: next(w, i); break;
            case At::driving: drive(w, i); break;
            case At::offered:
            case At::holding: hold(w, i); break;
            }
        }
        if (w.model.removing)
            remove(w);
        if (w.model.renewing != 0) {
            World after = w;
            after.line.renewal_returned(owner_of(w.model.renewing));
            after.model.renewing = 0;
            reach(after);
        }
        for (int const passed : {12, 160})
            if (w.model.now < 340) {
                World after = w;
                after.model.now += passed;
                reach(after);
            }
    }

    /// The line says who drives next.
    void promote(World& w, std::int8_t next)
    {
        if (w.model.queue.empty())
            return expect(next == nobody, "somebody is to drive who does not wait");
        expect(next == w.model.queue.places[0], "not the first in line is next");
        w.model.queue.remove(next);
        at(w, next) = At::next;
    }

    void enter(World const& w, std::int8_t i)
    {
        auto const& m = w.model;
        bool const idle = w.line.state() == Line::State::idle;
        for (auto const wait : {Wait::no, Wait::until_deadline})
            for (bool const room : {true, false}) {
                World after = w;
                bool const waits = wait != Wait::no || (m.removing && m.queue.empty());
                auto const entered = after.line.enter(i, wait, [&] {
                    expect(!idle && waits, "room is asked for and not needed");
                    return room;
                });
                auto const expected = idle     ? Line::Entered::drive
                                      : !waits ? Line::Entered::busy
                                      : room   ? Line::Entered::queue
                                               : Line::Entered::overloaded;
                expect(entered == expected, "a caller that comes is answered wrongly");
                if (entered == Line::Entered::drive)
                    at(after, i) = At::driving;
                if (entered == Line::Entered::queue) {
                    at(after, i) = At::queued;
                    after.model.queue.push_back(i);
                }
                reach(after);
            }
    }

    void leave_queue(World w, std::int8_t i)
    {
        expect(w.line.leave(i) == Line::Left::queue, "one that waits is taken for the next");
        w.model.queue.remove(i);
        at(w, i) = At::out;
        reach(w);
    }

    void next(World const& w, std::int8_t i)
    {
        expect(w.line.promoted() == i, "the line does not know who is to drive");
        World begins = w;
        begins.line.begin_driving(i);
        at(begins, i) = At::driving;
        reach(begins);

        World leaves = w;
        expect(leaves.line.leave(i) == Line::Left::turn, "the next one is taken for one that waits");
        at(leaves, i) = At::out;
        promote(leaves, leaves.line.gave_up());
        reach(leaves);

        World late = w;
        auto const instead = late.line.pass_over();
        if (w.model.queue.empty()) {
            expect(instead == nobody && late.line.promoted() == i, "the only one is passed over");
        } else {
            ++passed_over;
            at(late, i) = At::queued;
            late.model.queue.push_back(i);
            promote(late, instead);
        }
        reach(late);
    }

    void drive(World const& w, std::int8_t i)
    {
        World fails = w;
        at(fails, i) = At::out;
        promote(fails, fails.line.gave_up());
        reach(fails);
        if (w.model.grant == 3)
            return;
        for (std::uint32_t const count : {1U, 2U, 4U}) {
            World granted = w;
            auto& m = granted.model;
            Grant const grant{FencingToken{m.end_token + 1U}, count, 300ms};
            ++m.grant;
            m.last_token = m.end_token;
            m.end_token = static_cast<std::uint8_t>(m.end_token + 1U + count);
            m.lease_end = m.now + 300;
            m.renewed = true;
            m.wanted_since = -1;
            m.hand_ons = 0;
            granted.line.granted(owner_of(m.grant), grant, time_of(m.now), options());
            World without_memory = granted;
            holds(granted, i, At::offered);
            reach(granted);

            static_cast<void>(without_memory.line.hold());
            without_memory.line.not_held();
            reach(without_memory);  // it drives on, and gives up
        }
    }

    /// `i` is told that it holds.
    void holds(World& w, std::int8_t i, At how)
    {
        auto const token = w.line.hold().value();
        expect(token > w.model.last_token, "a token that is not greater than the one before");
        expect(token < w.model.end_token, "a token that the store has not granted");
        w.model.last_token = static_cast<std::uint8_t>(token);
        at(w, i) = how;
    }

    void hold(World const& w, std::int8_t i)
    {
        if (w.model.callers[static_cast<std::size_t>(i)] == At::offered) {
            World taken = w;
            at(taken, i) = At::holding;
            taken.model.renewed = true;
            taken.line.lease().set_renewed(true);
            reach(taken);
            World neglected = w;
            neglected.model.renewed = false;
            neglected.line.lease().set_renewed(false);
            reach(neglected);
        }
        for (bool const unresolved : {false, true})
            for (bool const wanted : {false, true})
                for (bool const memory : {true, false})
                    release(w, i, unresolved, wanted, memory);
        World lost = w;
        at(lost, i) = At::out;
        promote(lost, lost.line.lost());
        reach(lost);
        if (w.model.renewing == 0) {
            World renewing = w;
            renewing.line.renewal_left();
            renewing.model.renewing = w.model.grant;
            reach(renewing);
        }
    }

    void release(World const& w, std::int8_t i, bool unresolved, bool wanted, bool memory)
    {
        World after = w;
        auto& m = after.model;
        bool asked = false;
        auto const action = after.line.released(time_of(m.now), unresolved, options(), [&] {
            asked = true;
            return wanted;
        });
        bool const possible =
            !m.queue.empty() && m.last_token + 1 < m.end_token && m.renewed && m.lease_end - m.now >= 150;
        expect(
            !(unresolved && action == Line::Released::hand_on),
            "handed on over a write that may still arrive");
        expect(
            asked == (possible && !unresolved),
            "the store is asked for its waiters at another time than it matters");
        bool within_budget = true;
        if (possible && !unresolved && wanted) {
            if (m.wanted_since < 0)
                m.wanted_since = m.now;
            m.hand_ons = static_cast<std::int8_t>(std::min(m.hand_ons + 1, 3));
            within_budget = m.hand_ons <= 2 && m.now - m.wanted_since <= 20;
            spent_budgets += within_budget ? 0U : 1U;
        }
        bool const expected = possible && !unresolved && within_budget;
        fenced_by_a_trip += unresolved && possible ? 1U : 0U;
        expect(
            (action == Line::Released::hand_on) == expected,
            "handed on where it must not be, or not where it could be");
        at(after, i) = At::out;
        if (action == Line::Released::remove_record) {
            m.removing = true;
            return reach(after);
        }
        ++hand_ons;
        if (!memory) {
            static_cast<void>(after.line.hold());
            after.line.not_handed_on();
            m.removing = true;
            return reach(after);
        }
        auto const first = m.queue.places[0];
        holds(after, first, At::offered);
        expect(after.line.take_next() == first, "not the first in line is handed the lock");
        m.queue.remove(first);
        reach(after);
    }

    void remove(World const& w)
    {
        World lapses = w;
        lapses.model.removing = false;
        promote(lapses, lapses.line.lapsed());
        reach(lapses);
        // A record whose renewal is on its way might be written again behind its removal.
        bool const renewing = w.line.renewal_under_way(owner_of(w.model.grant));
        expect(renewing == (w.model.renewing == w.model.grant), "the line does not know of a renewal");
        if (renewing) {
            ++removals_behind_a_renewal;
            return;
        }
        World removed = w;
        removed.model.removing = false;
        promote(removed, removed.line.removed());
        reach(removed);
    }

    std::int8_t callers_;
    std::size_t most_worlds_;
    interlock_test::Worlds<World, Model> worlds_;
};

void explore(std::int8_t callers, int depth, std::size_t most_worlds)
{
    Explorer explorer{callers, most_worlds};
    explorer.explore(depth);
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.worlds() > 10'000);
    CHECK(explorer.hand_ons > 100);
    CHECK(explorer.spent_budgets > 10);
    CHECK(explorer.fenced_by_a_trip > 100);
    CHECK(explorer.passed_over > 100);
    CHECK(explorer.removals_behind_a_renewal > 100);
}

}  // namespace lock_line
}  // namespace

TEST_CASE(
    "The line of a lock keeps its laws for two callers, in every order of events",
    "[interleaving][lock_line]")
{
    lock_line::explore(2, 30, 100'000);
}

TEST_CASE(
    "The line of a lock keeps its laws for three callers, in every order of events",
    "[interleaving][lock_line]")
{
    lock_line::explore(3, 30, 150'000);
}
