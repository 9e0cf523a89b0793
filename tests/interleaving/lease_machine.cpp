// SPDX-License-Identifier: BSL-1.0

// Every sequence of ticks, renewals, late and lost answers, up to a depth, against a model that knows what
// was confirmed.

#include <interlock/core/detail/locks/lease_machine.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace {
namespace lease_machine {

using namespace std::chrono_literals;
using interlock::Errc;
using interlock::TimePoint;
using interlock::detail::LeaseMachine;
using interlock::detail::LeaseTerms;

constexpr TimePoint zero{1h};
constexpr auto ttl = 300ms;
constexpr LeaseTerms terms{.ttl = ttl, .drift = 0.01, .margin = 5ms, .renew = true};

/// The latest moment at which a lease confirmed for a request sent at `sent` may be believed.
constexpr TimePoint believable(TimePoint sent)
{
    return sent + 297ms - 5ms;
}

struct Run {
    LeaseMachine machine{terms};
    TimePoint now{zero};
    TimePoint confirmed{zero};           // the last confirmed request was sent then
    std::optional<TimePoint> in_flight;  // a renewal was sent then
    bool over{false};                    // lost or released
};

class Explorer {
public:
    std::uint64_t runs{0};
    std::uint64_t lost{0};
    std::uint64_t renewals{0};
    std::uint64_t doubts{0};
    std::uint64_t problems{0};
    std::string first_problem;

    void explore(Run const& run, int depth)
    {
        check(run);
        if (depth == 0) {
            ++runs;
            return;
        }
        for (auto const passed : {0ms, 60ms, 110ms, 310ms}) {  // time, then a look at the clock
            Run next = run;
            next.now += passed;
            acted(next, next.machine.tick(next.now));
            explore(next, depth - 1);
        }
        if (run.in_flight) {
            Run confirmed = run;
            confirmed.machine.renewed(*run.in_flight, ttl);
            if (!confirmed.over)
                confirmed.confirmed = *run.in_flight;
            confirmed.in_flight.reset();
            claim(confirmed.over || !confirmed.machine.in_doubt(), "confirmed, but still in doubt");
            explore(confirmed, depth - 1);
            for (auto const code : {Errc::unavailable, Errc::outcome_unknown, Errc::lock_lost}) {
                Run failed = run;
                failed.in_flight.reset();
                auto const before = failed.machine.valid_until();
                auto const action = failed.machine.renewal_failed(code, failed.now);
                claim(failed.machine.valid_until() == before, "a failed renewal moved the end of the lease");
                claim(
                    (action == LeaseMachine::Action::lost) == (code == Errc::lock_lost && !failed.over),
                    "only an answer that names somebody else ends the lease early");
                if (action == LeaseMachine::Action::lost)
                    failed.over = true;
                else if (!failed.over)
                    ++doubts, claim(failed.machine.in_doubt(), "not confirmed, and not in doubt");
                explore(failed, depth - 1);
            }
        } else {
            Run early = run;
            if (early.machine.renew_early(early.now)) {
                claim(!early.over && early.now < early.machine.valid_until(), "renewed a lease that is over");
                early.in_flight = early.now;
                explore(early, depth - 1);
            }
        }
        if (!run.over) {
            Run released = run;
            released.machine.stop();
            released.over = true;
            explore(released, depth - 1);
        }
    }

private:
    void claim(bool good, char const* what)
    {
        if (!good && problems++ == 0)
            first_problem = what;
    }

    void acted(Run& run, LeaseMachine::Action action)
    {
        switch (action) {
        case LeaseMachine::Action::none:
            if (!run.over)
                claim(run.now < run.machine.valid_until(), "the end of the lease was not noticed");
            break;
        case LeaseMachine::Action::renew:
            ++renewals;
            claim(!run.over, "a renewal after release or loss");
            claim(!run.in_flight, "two renewals at once");
            claim(run.now < run.machine.valid_until(), "a renewal of a lease that is over");
            run.in_flight = run.now;
            break;
        case LeaseMachine::Action::lost:
            ++lost;
            claim(!run.over, "lost twice");
            claim(run.now >= run.machine.valid_until(), "lost before its end");
            run.over = true;
            break;
        }
    }

    void check(Run const& run)
    {
        // Law P6: never beyond what the last confirmed request allows, counted from before it was sent.
        claim(run.machine.valid_until() <= believable(run.confirmed), "believed for too long");
        claim(run.machine.stopped() == run.over, "stopped and over differ");
        if (!run.over)
            claim(run.machine.next() <= run.machine.valid_until(), "the next look is after the end");
        if (!run.over && !run.in_flight)
            claim(
                run.machine.next() <= run.now || run.machine.next() <= run.confirmed + ttl / 3 ||
                    run.machine.in_doubt(),
                "a renewal comes late");
    }
};

}  // namespace lease_machine
}  // namespace

TEST_CASE("The lease machine never believes longer than what was confirmed", "[interleaving][lease]")
{
    using namespace lease_machine;
    Run run;
    run.machine.granted(zero, ttl);
    Explorer explorer;
    explorer.explore(run, 8);
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.runs > 10000);
    CHECK(explorer.lost > 0);
    CHECK(explorer.renewals > 0);
    CHECK(explorer.doubts > 0);
}

TEST_CASE("Without renewal a lease ends once and asks for nothing", "[interleaving][lease]")
{
    using namespace lease_machine;
    auto without = terms;
    without.renew = false;
    LeaseMachine machine{without};
    machine.granted(zero, ttl);
    CHECK(machine.next() == machine.valid_until());
    CHECK(machine.tick(zero + 200ms) == LeaseMachine::Action::none);
    CHECK(machine.tick(machine.valid_until()) == LeaseMachine::Action::lost);
    CHECK(machine.tick(machine.valid_until() + 1h) == LeaseMachine::Action::none);
}
