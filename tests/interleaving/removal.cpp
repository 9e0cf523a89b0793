// SPDX-License-Identifier: BSL-1.0

// Every order of what can happen to the removal of a lock record: attempts are answered, refused, not sent,
// or lost on either way; what was lost arrives late; somebody else takes the lock; time passes, also beyond
// the end of the lease.
//
// How it works: the explorer plays the store. It knows whether an attempt of this removal has removed the
// record, which the machine can only learn from answers. Whenever the machine says that it is over, what it
// reports is compared with that.

#include <interlock/core/detail/locks/removal_machine.hpp>

#include "support/catch.hpp"
#include "support/explorer.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace {
namespace removal {

using namespace std::chrono_literals;
using interlock::Backoff;
using interlock::Errc;
using interlock::Failure;
using interlock::Outcome;
using interlock::Removal;
using interlock::TimePoint;
using interlock::detail::Doubt;
using interlock::detail::RemovalMachine;

constexpr TimePoint zero{1h};
constexpr TimePoint lease_end = zero + 100ms;
constexpr Backoff polls{.initial = 30ms, .cap = 30ms, .immediate = 0};

/// When an attempt was answered, and the luck of the next delay.
struct Moment {
    TimePoint at;
    std::uint64_t random;
    TimePoint now() const noexcept { return at; }
    std::uint64_t random_bits() const noexcept { return random; }
};

enum class Record : unsigned char { ours, gone, taken };

struct Run {
    RemovalMachine machine{polls, lease_end};
    TimePoint now{zero};
    Record record{Record::ours};
    bool removed_by_us{false};
    bool doubtful{false};  // an attempt was unknown, and the store has not answered since
    int late{0};           // attempts that may still arrive
};

class Explorer : public interlock_test::Findings {
public:
    std::uint64_t ends{0};
    std::array<std::uint64_t, 5> results{};  // removed, gone, taken, not applied, unknown
    std::uint64_t repeated{0};

    /// The machine is to make an attempt.
    void attempt(Run const& run, int depth)
    {
        if (depth == 0)
            return;
        answered(run, depth);
        for (auto const code :
             {Errc::unavailable, Errc::overloaded, Errc::deadline_exceeded, Errc::misconfigured}) {
            Run r = run;  // not sent, or refused
            came(r, Outcome<Removal>{code}, depth);
        }
        Run lost_reply = run;
        apply(lost_reply);
        unknown(lost_reply, depth);
        Run lost_request = run;
        ++lost_request.late;
        unknown(lost_request, depth);
    }

private:
    static Removal apply(Run& run)
    {
        if (run.record == Record::taken)
            return Removal::taken;
        bool const ours = run.record == Record::ours;
        run.removed_by_us = run.removed_by_us || ours;
        run.record = Record::gone;
        return ours ? Removal::removed : Removal::gone;
    }

    void answered(Run run, int depth)
    {
        auto const found = apply(run);
        run.doubtful = run.doubtful && found == Removal::taken;
        came(run, Outcome<Removal>{found}, depth);
    }

    void unknown(Run run, int depth)
    {
        run.doubtful = true;
        came(run, Outcome<Removal>{Failure::unknown(Errc::unavailable)}, depth);
    }

    void came(Run const& run, Outcome<Removal> const& outcome, int depth)
    {
        for (std::uint64_t const random : {std::uint64_t{0}, ~std::uint64_t{0}}) {
            Run r = run;
            auto removed = outcome;
            if (r.machine.answered(removed, Moment{r.now, random}) == RemovalMachine::Action::over) {
                expect(r.machine.over(), "over, and does not know it");
                over(r, removed, random == 0);
            } else {
                ++repeated;
                auto const at = r.machine.again_at();
                expect(!r.machine.over(), "over, and asks again");
                expect(
                    at >= r.now && at < lease_end,
                    "asks at another time than between now and the end of the lease");
                expect(!removed || r.doubtful, "asks again although the store has answered");
                later(r, at, depth - 1);
            }
        }
    }

    /// Time passes until the next attempt, at least.
    void later(Run const& run, TimePoint at, int depth)
    {
        for (auto const slow : {0ms, 40ms, 110ms})
            for (bool const arrives : {false, true})
                for (bool const elsewhere : {false, true}) {
                    Run r = run;
                    r.now = at + slow;
                    if (arrives) {
                        if (r.late == 0)
                            continue;
                        --r.late;
                        apply(r);
                    }
                    if (r.now >= lease_end && r.record == Record::ours)
                        r.record = Record::gone;
                    if (elsewhere) {
                        if (r.record != Record::gone)
                            continue;
                        r.record = Record::taken;
                    }
                    attempt(r, depth);
                }
    }

    /// What the removal reports, once.
    void over(Run const& run, Outcome<Removal> const& removed, bool could_ask_again)
    {
        ++ends;
        if (removed) {
            ++results[static_cast<std::size_t>(*removed)];
            expect(
                *removed == Removal::taken ? run.record == Record::taken : run.record == Record::gone,
                "reports what the store has not said");
            expect(
                *removed != Removal::taken || !(run.removed_by_us || run.late > 0),
                "reports the lock lost although an attempt has removed the record, or may have");
            return;
        }
        bool const unknown = removed.errc() == Errc::outcome_unknown;
        ++results[unknown ? 4 : 3];
        expect(
            unknown || (!run.removed_by_us && run.late == 0),
            "reports not applied, and an attempt was applied or may be");
        expect(!unknown || run.doubtful, "reports unknown without a reason");
        bool const undecidable = unknown && removed.cause() == Errc::lock_lost;
        expect(!undecidable || run.record == Record::taken, "reports another's record that is not there");
        bool const refused = removed.errc() == Errc::misconfigured;
        expect(
            undecidable || refused || !could_ask_again || run.now >= lease_end,
            "does not ask again although nobody knows and there is time");
    }
};

}  // namespace removal
}  // namespace

TEST_CASE(
    "The removal of a record remembers doubt and ends with the lease, in every order of events",
    "[interleaving][removal]")
{
    using namespace removal;
    Explorer explorer;
    explorer.attempt(Run{}, 5);
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.ends > 10'000);
    CHECK(explorer.repeated > 10'000);
    for (auto const count : explorer.results)
        CHECK(count > 100);
}

TEST_CASE("A removal that takes over from another one takes over its doubt", "[interleaving][removal]")
{
    using namespace removal;
    Doubt doubt;
    doubt.sent();
    RemovalMachine machine{polls, lease_end, doubt};
    Outcome<Removal> removed{Removal::taken};
    CHECK(machine.answered(removed, Moment{zero, 0}) == RemovalMachine::Action::over);
    CHECK(removed.errc() == Errc::outcome_unknown);
    CHECK(removed.cause() == Errc::lock_lost);
}

TEST_CASE("A definite refusal behind an unknown attempt is asked about again", "[interleaving][removal]")
{
    using namespace removal;
    RemovalMachine machine{polls, lease_end};
    Outcome<Removal> first{Failure::unknown(Errc::unavailable)};
    REQUIRE(machine.answered(first, Moment{zero, 0}) == RemovalMachine::Action::ask_again);
    Outcome<Removal> second{Errc::misconfigured};
    CHECK(machine.answered(second, Moment{zero, 0}) == RemovalMachine::Action::ask_again);
    CHECK(second.errc() == Errc::outcome_unknown);
    CHECK(second.cause() == Errc::misconfigured);
}
