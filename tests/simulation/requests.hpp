// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_REQUESTS_HPP
#define INTERLOCK_TESTS_SIMULATION_REQUESTS_HPP

// Requests that arrive several times, at several processes: the same key with the same body or another,
// naming the same state or another, executed by owners that are slow, paused, or gone.

#include "simulation/run.hpp"

namespace simulated {

/// Some requests of one run, and what is known about who is busy with them.
class Requests {
public:
    /// `lease`: of claims.
    Requests(Run& run, bool in_transaction, std::chrono::nanoseconds lease, Random& random)
        : run_(run), in_transaction_(in_transaction), lease_(lease), all_(1 + random.below(2))
    {
        for (auto& one : all_) {
            one.task = run.checks().new_task();
            one.state = counters[random.below(counters.size())];
        }
    }
    Requests(Requests const&) = delete;
    Requests& operator=(Requests const&) = delete;

    bool in_transaction() const noexcept { return in_transaction_; }

    /// A fault of any store: claims may stay until their lease is over.
    void fault() noexcept { fault_at_ = run_.context().now(); }
    void completed(IdempotentRequest const& request) { note(request, &One::completed_at); }
    /// Somebody has the claim from now on.
    void granted(IdempotentRequest const& request) { note(request, &One::granted_at); }

    Client come(Host host, Random& random)
    {
        auto const i = static_cast<std::size_t>(random.below(all_.size()));
        auto& one = all_[i];
        auto plan = run_.plan(host, random, one.task, false);
        if (plan.end == End::returns && random.percent(15))
            plan.end = End::rejects;
        if (random.percent(15))
            plan.pause = random.time(0ms, 3 * lease_);
        plan.print = random.percent(12) ? 2 : 1;
        std::string state = one.state;
        if (random.percent(20)) {
            state = counters[random.below(counters.size())];
            run_.coverage().note("request with other states");
        } else if (random.percent(5)) {
            state = "nobody";
        }
        co_await make(i, plan, state, random.below(3));
    }

    /// After the faults: each request ends, with the one answer that there is.
    Client come_calmly(Host host, Random& random)
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            auto const policy = random.below(3);
            CallRecord const* record = nullptr;
            for (int tries = 0; tries < 4; ++tries) {
                auto plan = run_.plan(host, random, all_[i].task, true);
                plan.print = 1;
                plan.must_succeed = false;
                record = co_await make(i, plan, all_[i].state, policy);
                if (record->result != Errc::idempotency_in_progress)
                    break;
                co_await run_.sleep(host, in_transaction_ ? 100ms : lease_);
            }
            auto const& known = run_.checks().task(all_[i].task);
            bool const other = record->result == Errc::idempotency_mismatch;
            if (!record->answer && !record->rejected && !other)
                run_.checks().fail(
                    std::string("P4: a key is not usable again after the faults had stopped: ") +
                    interlock::name_of(record->result));
            if (other && known.applied == 0)
                run_.coverage().note("rejection of another body");
        }
    }

private:
    struct One {
        std::uint64_t task{0};
        std::string state;
        unsigned busy{0};         // calls now
        std::uint64_t calls{0};   // so far
        TimePoint stays_until{};  // a claim whose owner does not know better
        TimePoint completed_at{};
        TimePoint granted_at{};
    };

    void note(IdempotentRequest const& request, TimePoint One::* what)
    {
        for (std::size_t i = 0; i < all_.size(); ++i)
            if (key(i) == request.key())
                all_[i].*what = run_.context().now();
    }

    std::string key(std::size_t i) const { return (in_transaction_ ? "t" : "k") + std::to_string(i); }

    asio::awaitable<CallRecord*> make(std::size_t i, Plan plan, std::string state, std::uint64_t policy)
    {
        auto& one = all_[i];
        auto const& own = run_.process(plan.host);
        auto const body = plan.print == 1 ? "body" : "another body";
        IdempotentRequest const request{key(i), interlock::Scope("sim"), interlock::fingerprint(body)};
        auto const started = run_.context().now();
        auto const overslept = run_.context().overslept();
        // What was sent may arrive late: a claim, which then stays for its lease, or the commit that ends a
        // transaction.
        auto const forgotten = longest_way + lease_;
        bool const alone = one.busy == 0 && started >= one.stays_until && started > fault_at_ + forgotten;
        auto const call = ++one.calls;
        ++one.busy;
        static constexpr std::array ways{By::keyed_optimistic, By::keyed_row_lock, By::keyed_lease};
        auto const by = in_transaction_ ? By::in_transaction : ways[policy];
        auto const start = [&](asio::cancellation_signal& signal) {
            return own.change(run_, by, plan, state, request, signal);
        };
        auto* const record = co_await run_.call(plan, start);
        --one.busy;
        auto const now = run_.context().now();
        bool const faulty = fault_at_ >= started;
        // What a call could not end by its deadline is ended behind it, once there is a thread for it.
        one.stays_until = std::max(
            one.stays_until, record->result == Errc::outcome_unknown || faulty || !record->undisturbed
                                 ? now + forgotten
                             : now - started >= plan.deadline ? now + 300ms
                                                              : now + 2 * quantum);
        if (alone && call == one.calls && !faulty && record->result == Errc::idempotency_in_progress)
            run_.checks().fail("P4: a key is not usable at once although nobody is busy with it");
        // A hint that an answer is there may be lost: then it is asked for now and then.
        // In a transaction it waits for the state as well, and so does whoever has got the claim meanwhile.
        if (!in_transaction_ && one.granted_at < started && !faulty && record->undisturbed &&
            record->answer && *record->answer != plan.number)
            run_.checks().require(
                now <= std::max(started, one.completed_at) + plan.pause + 1000ms +
                           (run_.context().overslept() - overslept),
                "P7: a duplicate slept although the answer was there");
        co_return record;
    }

    Run& run_;
    bool in_transaction_;
    std::chrono::nanoseconds lease_;
    std::vector<One> all_;
    TimePoint fault_at_{};
};

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_REQUESTS_HPP
