// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_BATCHES_HPP
#define INTERLOCK_TESTS_SIMULATION_BATCHES_HPP

// Several callers of one process change one state at once, so that commits are shared: hurried and patient
// ones, quick and slow ones, and one whose executor stands still.

#include "simulation/run.hpp"

namespace simulated {

inline Client batch_member(Run& run, Plan plan, std::size_t policy, std::chrono::nanoseconds delay)
{
    if (delay > 0ns)
        co_await run.sleep(plan.executor, delay);
    auto const& own = run.process(plan.host);
    static constexpr std::array ways{By::optimistic, By::row_lock, By::lease};
    auto const started = run.context().now();
    auto const overslept = run.context().overslept();
    auto const faults = run.faults_seen();
    auto const start = [&](asio::cancellation_signal& signal) {
        return own.change(run, ways[policy], plan, hot[policy], signal);
    };
    auto const* const record = co_await run.call(plan, start);
    run.coverage().note("batch: " + std::string(interlock::name_of(record->result)));
    // Everybody who writes this state holds its lock, or tries as often as it takes.
    run.checks().require(
        record->result != Errc::version_conflict, "a conflict that the caller alone could not have had");
    if (!run.faults() && faults == run.faults_seen() && policy == 0 && plan.must_succeed && !plan.blocks &&
        record->undisturbed)  // else its own executor stood still
        run.checks().require(
            run.context().now() <= started + 500ms + (run.context().overslept() - overslept),
            "P7: a call waited for another caller's callable");
}

/// Comes back when all members have ended.
inline Client batch(Run& run, Host host, Random& random, bool calm)
{
    auto const policy = static_cast<std::size_t>(random.below(hot.size()));
    auto const members = 2 + random.below(6);
    unsigned running = 0;
    bool sleeper = false;
    for (std::uint64_t i = 0; i < members; ++i) {
        auto plan = run.plan(host, random, run.checks().new_task(), false);
        plan.pause = 0ns;
        plan.deadline = random.percent(40) ? random.time(10ms, 120ms) : std::chrono::nanoseconds{20s};
        if (random.percent(30)) {
            plan.blocks = true;
            plan.pause = random.percent(70) ? random.time(1ms, 40ms) : random.time(100ms, 1500ms);
        }
        if (calm) {
            plan.end = End::returns;
            plan.may_be_cancelled = false;
            plan.must_succeed = plan.deadline == 20s;
        }
        if (!sleeper && random.percent(20)) {
            plan.executor = host + sleepers;
            sleeper = true;
        }
        run.spawn(plan.executor, batch_member(run, plan, policy, random.time(0ms, 6ms)), running);
    }
    if (sleeper) {
        co_await run.sleep(host, random.time(0ms, 8ms));
        run.pause(host + sleepers);
        co_await run.sleep(host, random.time(50ms, 1s));
        run.resume(host + sleepers);
        run.coverage().note("batch: an executor stood still");
    }
    while (running > 0)
        co_await run.sleep(host, 5ms);
}

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_BATCHES_HPP
