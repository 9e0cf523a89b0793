// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_RUN_HPP
#define INTERLOCK_TESTS_SIMULATION_RUN_HPP

// One run: a store, three processes, the faults between them, and a call of a service with all that is
// checked about it.

#include <boost/asio/co_spawn.hpp>

#include "simulation/checks.hpp"
#include "simulation/services.hpp"
#include "support/simulation/counters.hpp"

#include <exception>

namespace simulated {

class Requests;

class Run final : public Stage {
public:
    Run(std::uint64_t seed, Mutant mutant, Coverage& coverage);
    ~Run();

    /// The first thing that is wrong, or nothing.
    std::string go();
    std::string story() const { return checks_.story(); }
    std::uint64_t trace() const { return context_.trace(); }
    std::uint64_t steps() const { return context_.steps(); }

    // ---- for the workload ----------------------------------------

    SimulationContext& context() noexcept override { return context_; }
    Random& random() noexcept { return random_; }
    Checks& checks() noexcept { return checks_; }
    Coverage& coverage() noexcept { return coverage_; }
    Store const& store() const noexcept { return store_; }
    Process const& process(Host host) const { return processes_[host]; }
    simulation::ScriptedCounters tallies(Host host) const
    {
        return {counters_, SimulationRuntime{context_, host}};
    }
    /// 0: under claims, 1: in transactions.
    Requests& requests(std::size_t i) { return *requests_[i]; }
    Mutant mutant() const noexcept { return mutant_; }
    bool faults() const noexcept { return faults_; }
    /// Faults so far, of any kind.
    std::uint64_t faults_seen() const noexcept { return faults_seen_; }
    auto sleep(Host host, std::chrono::nanoseconds time)
    {
        return simulation::async_sleep(context_, host, time, asio::use_awaitable);
    }
    /// One thread at a time, since there is one stack.
    void block(std::chrono::nanoseconds time) override;
    void watch(std::string const& key, Lock const& lock) override { checks_.watch(key, lock); }
    void forget(Lock const& lock) noexcept override
    {
        if (!context_.stopped())  // else the checks have gone before the operation
            checks_.forget(lock);
    }
    /// All threads of its pool are busy: a call has to wait for one, up to that long.
    void make_busy(Host host, std::chrono::nanoseconds longest)
    {
        ++shortages_;
        context_.set_pool_latency(host, longest);
    }
    void pause(Host host);
    void resume(Host host);
    void force_release(std::string const& key);
    void let_faults_vary()
    {
        fault_percent_ = random_.percent(50) ? 0 : static_cast<unsigned>(random_.below(15));
    }

    /// Starts a client of its own. `running`: counts those that have not ended.
    void spawn(Host host, Client client, unsigned& running);
    /// Makes the call that `start` makes, and checks what can be checked about one call.
    template <class Start>
    asio::awaitable<CallRecord*> call(Plan plan, Start start);

    /// A plan for one call of `task` with what clients do at random, good or bad.
    Plan plan(Host host, Random& random, std::uint64_t task, bool calm);

private:
    void watch_store();
    void make_processes();
    void until_all_ended(std::chrono::nanoseconds limit, char const* problem);
    void check_stores();
    Fault next_fault();
    void ended_with(std::exception_ptr exception);

    Coverage& coverage_;
    Events events_;  // told until the last operation has gone, with the context
    mutable SimulationContext context_;
    Random random_;
    Mutant mutant_;
    Checks checks_;
    std::map<std::uint64_t, std::function<void()>> late_arrivals_;
    std::shared_ptr<scripted::Script<Account>> script_;
    std::shared_ptr<simulation::RecordScript> record_script_;
    Store store_;
    Claims claims_;
    std::shared_ptr<simulation::ScriptedCounters::Script> counter_script_;
    simulation::ScriptedCounters counters_;
    std::vector<Process> processes_;
    std::array<std::unique_ptr<Requests>, 2> requests_;
    bool faults_{true};
    bool blocked_{false};
    unsigned running_{0};
    unsigned fault_percent_{0};
    std::uint64_t faults_seen_{0};
    std::uint64_t shortages_{0};
    std::uint64_t last_arrival_{0};
    std::array<std::uint64_t, sleepers + hosts> pauses_{};
};

// ---- one call ----------------------------------------

template <class Start>
asio::awaitable<CallRecord*> Run::call(Plan plan, Start start)
{
    auto& record = checks_.record(plan.task, plan.number);
    record.print = plan.print;
    auto const started = context_.now();
    auto const pauses = pauses_[plan.host] + pauses_[plan.executor];
    auto const shortages = shortages_;
    bool const asleep = context_.paused(plan.host) || context_.paused(plan.executor);
    auto const overslept = context_.overslept();
    asio::cancellation_signal signal;
    std::optional<SimulationContext::TimerId> cancel;
    if (plan.may_be_cancelled)
        cancel = context_.add_timer(plan.host, started + random_.time(0ms, 400ms), [&signal, &cancel] {
            cancel.reset();
            signal.emit(asio::cancellation_type::terminal);
        });
    checks_.tell(
        "call", plan.number, "of task", plan.task, "at", plan.host, "on", plan.executor, "body", plan.print,
        "deadline", plan.deadline / 1us, "pause", plan.pause / 1us, "end", static_cast<int>(plan.end));
    auto running = start(signal);
    Ended const end = co_await std::move(running);
    if (cancel)
        context_.remove_timer(*cancel);
    checks_.tell(
        "call", plan.number, "ends:", end.result ? interlock::name_of(*end.result) : "by an exception",
        end.detail, "answer", end.answer.value_or(0), "rejected", end.rejected.value_or(0));
    ++record.completions;
    record.undecodable = end.undecodable;
    record.rejected = end.rejected;
    record.threw = !end.result && !end.undecodable && !end.rejected;
    coverage_.note(
        end.result        ? interlock::name_of(*end.result)
        : end.undecodable ? "threw while decoding"
        : end.rejected    ? "rejected"
                          : "threw");
    bool const awake = !asleep && pauses == pauses_[plan.host] + pauses_[plan.executor];
    record.undisturbed = awake && shortages == shortages_;
    if (awake)
        checks_.require(
            context_.now() <=
                started + plan.deadline + plan.pause + late + (context_.overslept() - overslept),
            "P7: a call ended after its deadline");
    if (end.result) {
        record.result = *end.result;
        if (record.result == Errc::cancelled)
            checks_.require(plan.may_be_cancelled, "cancelled, but nobody did");
        record.answer = end.answer;
        if (end.answer)
            checks_.require(
                end.replayed || *end.answer == plan.number || plan.sums,
                "another execution's answer is not called so");
    }
    if (plan.must_succeed && !end.answer && !end.rejected)
        checks_.fail(
            std::string("liveness: a call failed after the faults had stopped: ") +
            (end.result ? interlock::name_of(*end.result) : "it threw") + " " + end.detail);
    co_return &record;
}

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_RUN_HPP
