// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_WORKLOAD_HPP
#define INTERLOCK_TESTS_SIMULATION_WORKLOAD_HPP

// What clients do: changes of one state and of two, sums, locks held for a while, and the mistake without the
// library.

#include "simulation/run.hpp"

namespace simulated {

inline Client increment(Run& run, Host host, Random& random, bool calm)
{
    std::string const key = counters[random.below(counters.size())];
    auto const& own = run.process(host);
    auto const task = run.checks().new_task();
    static constexpr std::array ways{By::optimistic, By::row_lock, By::lease, By::lease_and_handle};
    auto const by = ways[random.below(ways.size())];
    std::optional<OperationId> id;
    unsigned callers = 1;
    if (random.percent(40)) {
        id.emplace("op" + std::to_string(task));
        callers = 1 + static_cast<unsigned>(random.below(3));
    }
    auto plan = run.plan(host, random, task, calm);
    for (unsigned i = 0; i < callers; ++i) {
        if (i > 0) {
            plan.number = run.checks().new_call();
            plan.deadline = calm ? std::chrono::nanoseconds{20s} : random.time(1ms, 2s);
        }
        auto const start = [&](asio::cancellation_signal& signal) {
            return id ? own.change(run, by, plan, key, *id, signal) : own.change(run, by, plan, key, signal);
        };
        co_await run.call(plan, start);
    }
}

inline Client transfer(Run& run, Host host, Random& random)
{
    auto const& own = run.process(host);
    auto plan = run.plan(host, random, run.checks().new_task(), false);
    plan.pause = 0ns;
    static constexpr std::array ways{By::optimistic, By::row_lock, By::lease};
    auto const by = ways[random.below(ways.size())];
    auto const start = [&](asio::cancellation_signal& signal) { return own.transfer(by, plan, signal); };
    co_await run.call(plan, start);
}

inline Client add_up(Run& run, Host host, Random& random)
{
    auto const& own = run.process(host);
    auto plan = run.plan(host, random, run.checks().new_task(), false);
    plan.pause = 0ns;
    plan.end = End::returns;
    plan.sums = true;
    auto const by = random.percent(50) ? By::optimistic : By::row_lock;
    auto const start = [&](asio::cancellation_signal& signal) { return own.add_up(by, plan, signal); };
    auto* const record = co_await run.call(plan, start);
    if (record->answer) {
        run.coverage().note("sum");
        run.checks().require(*record->answer == total, "F11: half of a transfer was seen");
        record->answer.reset();  // reading has no effect to look for
    }
}

/// Takes a lock, holds it for a while, writes under it, gives it back or drops it.
inline Client hold(Run& run, Host host, Random& random)
{
    std::string const key = counters[random.below(counters.size())];
    auto const& own = run.process(host);
    auto& checks = run.checks();
    auto const task = checks.new_task();
    Lock lock;
    try {
        auto acquiring = own.acquire(key, random.time(50ms, 2s));
        lock = co_await std::move(acquiring);
    } catch (boost::system::system_error const& error) {
        run.coverage().note("acquire " + error.code().message());
        co_return;
    }
    checks.watch(key, lock);
    auto const token = lock.fencing_token().value();
    checks.granted_token(key, token);
    auto const from = run.context().now();
    auto to = from;
    // A paused process hears of its grant late; then there is nothing to compare.
    bool const held_at_once = lock.status() != interlock::LockStatus::lost;
    auto const look = [&] {
        if (lock.status() != interlock::LockStatus::lost)
            to = run.context().now();
        else
            run.coverage().note("lock_lost");
    };
    look();
    for (auto n = random.below(4); n > 0; --n) {
        co_await run.sleep(host, random.time(0ms, 150ms));
        look();
    }
    if (auto loaded = own.repository().store().load(Key{std::string_view{key}})) {
        bool const lost = lock.status() == interlock::LockStatus::lost;
        auto const number = checks.new_call();
        loaded->value.change(task, 1, number);
        // A blocking call; elsewhere it would block the client.
        if (own.repository().capabilities().answers_in_place) {
            auto const written = own.write(lock, loaded->version, loaded->value);
            auto& record = checks.record(task, number);
            record.completions = 1;
            record.result = written.errc();
            if (written)
                record.answer = number;
            run.coverage().note(interlock::name_of(record.result));
            checks.require(!lost || !written, "P6: a write under a lock that is lost");
        }
    }
    look();
    if (held_at_once)
        checks.held(key, token, from, to);
    checks.forget(lock);
    if (random.percent(50)) {
        auto releasing = own.release(std::move(lock));
        try {
            co_await std::move(releasing);
        } catch (boost::system::system_error const&) {
            run.coverage().note("release failed");
        }
    }
}

/// Changes a counter, and blocks its thread meanwhile.
inline void tally(Run& run, Host host, Random& random)
{
    OperationId const id{"tally" + std::to_string(run.checks().new_task())};
    auto const change = random.percent(50) ? interlock::increment(1) : interlock::decrement(1, 0);
    auto const outcome =
        run.tallies(host).change(id, Key{std::string_view{"tally"}}, change, {random.time(1ms, 600ms)});
    run.checks().told_of_tally(id.value(), outcome);
    run.coverage().note(std::string("counter: ") + interlock::name_of(outcome.errc()));
    if (outcome && outcome->replayed)
        run.coverage().note("counter: replayed");
}

/// The mistake that this library is there to prevent.
inline Client unguarded(Run& run, Host host, Random& random)
{
    Key const key{std::string_view{counters[0]}};
    auto const task = run.checks().new_task();
    auto seen = run.store().load(key);
    co_await run.sleep(host, random.time(1ms, 20ms));
    auto const fresh = run.store().load(key);
    if (!seen || !fresh)
        co_return;
    seen->value.change(task, 1, run.checks().new_call());
    static_cast<void>(run.process(host).repository().compare_and_set(
        key, fresh->version, seen->value, interlock::Deadline{}));
}

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_WORKLOAD_HPP
