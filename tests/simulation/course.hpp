// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_COURSE_HPP
#define INTERLOCK_TESTS_SIMULATION_COURSE_HPP

// The course of a run: clients and faults, then calm, then what is left in the stores.

#include "simulation/batches.hpp"
#include "simulation/requests.hpp"
#include "simulation/run.hpp"
#include "simulation/workload.hpp"

namespace simulated {

inline Run::Run(std::uint64_t seed, Mutant mutant, Coverage& coverage)
    : coverage_(coverage), events_(coverage), context_(seed, simulation::Blocking::nested),
      random_(seed * 2 + 1), mutant_(mutant), checks_(context_, coverage),
      script_(std::make_shared<scripted::Script<Account>>()),
      record_script_(std::make_shared<simulation::RecordScript>()),
      store_(interlock::memory::RepositoryOptions{}, SimulationRuntime{context_}),
      claims_(interlock::memory::IdempotencyStoreOptions{}, SimulationRuntime{context_}),
      counter_script_(std::make_shared<simulation::ScriptedCounters::Script>()),
      counters_(counter_script_, SimulationRuntime{context_, outside})
{}

inline Run::~Run()
{
    // A service that goes waits a little for its removals, and clients would go on meanwhile.
    context_.stop();
    late_arrivals_.clear();
    *script_ = {};  // what is still pending goes with the context, after the logs
    *record_script_ = {};
    *counter_script_ = {};
    decoding_throws = nullptr;
}

inline void Run::block(std::chrono::nanoseconds time)
{
    if (blocked_)
        return;
    blocked_ = true;
    SimulationRuntime{context_, outside}.sleep_until(context_.now() + time);
    blocked_ = false;
}

inline void Run::pause(Host host)
{
    checks_.tell("pause", host);
    ++pauses_[host];
    context_.pause(host);
}

inline void Run::resume(Host host)
{
    checks_.tell("resume", host);
    context_.resume(host);
    ++pauses_[host];
}

inline void Run::force_release(std::string const& key)
{
    checks_.forced(key);
    static_cast<void>(store_.force_release(Key{std::string_view{key}}));
    coverage_.note("force_release");
}

inline void Run::ended_with(std::exception_ptr exception)
{
    try {
        if (exception)
            std::rethrow_exception(exception);
    } catch (std::exception const& error) {
        checks_.fail(std::string("a client ended with: ") + error.what());
    } catch (...) {
        checks_.fail("a client ended with something that is no exception");
    }
}

inline void Run::spawn(Host host, Client client, unsigned& running)
{
    ++running;
    asio::co_spawn(
        context_.get_executor(host), std::move(client), [this, &running](std::exception_ptr exception) {
            --running;
            ended_with(std::move(exception));
        });
}

inline Plan Run::plan(Host host, Random& random, std::uint64_t task, bool calm)
{
    Plan plan;
    plan.host = plan.executor = host;
    plan.task = task;
    plan.number = checks_.new_call();
    plan.amount = static_cast<std::int64_t>(1 + random.below(9));
    if (!calm && random.percent(12)) {
        static constexpr std::array ends{End::throws, End::throws,     End::throws_no_exception,
                                         End::aborts, End::translates, End::translates};
        plan.end = ends[random.below(ends.size())];
    }
    plan.pause = calm || random.percent(50) ? 0ns : random.time(0ms, 50ms);
    plan.deadline = calm ? std::chrono::nanoseconds{20s} : random.time(1ms, 2s);
    plan.may_be_cancelled = !calm && random.percent(20);
    plan.must_succeed = calm;
    return plan;
}

inline Fault Run::next_fault()
{
    if (!faults_ || !random_.percent(fault_percent_))
        return Fault::none;
    coverage_.note("fault");
    ++faults_seen_;
    for (auto const& some : requests_)
        some->fault();
    return static_cast<Fault>(1 + random_.below(4));
}

inline void Run::watch_store()
{
    script_->fault = [this](scripted::Call call, std::uint64_t) {
        // A removal that fails keeps a thread of the pool while it is tried again: covered elsewhere.
        auto const fault = call == scripted::Call::remove ? Fault::none : next_fault();
        checks_.tell("  store: call", static_cast<int>(call), "fault", static_cast<int>(fault));
        return fault;
    };
    auto const later = [this](std::function<void()> arrives) {
        coverage_.note("arrived late");
        auto const number = ++last_arrival_;
        late_arrivals_.emplace(number, std::move(arrives));
        context_.add_timer(outside, context_.now() + random_.time(0ms, longest_way), [this, number] {
            auto const arrival = late_arrivals_.extract(number);
            if (!arrival.empty())
                arrival.mapped()();
        });
    };
    script_->later = later;
    script_->on_applied = [this](std::span<interlock::Change<Account> const> changes, auto const*) {
        checks_.applied(changes, script_->arriving_late);
    };
    script_->on_created = [this](Key const& name, auto owner, interlock::Grant const& grant, bool confirmed) {
        checks_.granted(name, owner, grant, confirmed);
    };
    script_->on_renewed = [this](Key const& name, auto owner, auto renewed, bool confirmed) {
        checks_.renewed(name, owner, renewed, confirmed);
    };
    script_->on_removed = [this](Key const& name, auto owner, bool) { checks_.removed(name, owner); };
    script_->ignores_fences = mutant_ == Mutant::no_fences;
    record_script_->later = later;
    counter_script_->later = later;
    counter_script_->fault = [this] { return next_fault(); };
    counter_script_->on_changed = [this](OperationId const& id) { checks_.tallied(id.value()); };
    record_script_->hint_is_lost = [this] { return random_.percent(30); };
    record_script_->on_blocking_call = [this] {
        checks_.require(context_.on_pool(), "P7: a call that blocks was made on an executor");
    };
    decoding_throws = [this] {
        bool const throws = faults_ && fault_percent_ > 0 && random_.percent(4);
        if (throws)
            coverage_.note("a decode threw");
        return throws;
    };
}

inline void Run::make_processes()
{
    interlock::LockOptions lock{.ttl = ttl};
    lock.observer = &events_;
    static constexpr std::array<std::chrono::milliseconds, 3> leases{100ms, 300ms, 2000ms};
    interlock::IdempotencyOptions keyed;
    keyed.lease = leases[random_.below(leases.size())];
    simulation::TransactionalRecords const records{record_script_, SimulationRuntime{context_, outside}};
    for (Host host = 0; host < hosts; ++host) {
        SimulationRuntime const runtime{context_, host};
        bool const in_place = random_.percent(50);
        keyed.duplicates = random_.percent(50) ? interlock::Duplicates::wait : interlock::Duplicates::refuse;
        processes_.emplace_back(Process::Options{
            {store_, script_, runtime, in_place},
            {store_, script_, runtime, false},
            {claims_, record_script_, in_place},
            {records, runtime},
            lock,
            keyed,
            random_.percent(30) ? 1 : 0,
            &events_});
    }
    requests_[0] = std::make_unique<Requests>(*this, false, keyed.lease.value(), random_);
    requests_[1] = std::make_unique<Requests>(*this, true, 50ms, random_);
    record_script_->fault = [this](auto call, IdempotentRequest const& request) {
        auto const fault = next_fault();
        static constexpr std::array names{"claim", "complete", "give back", "reject", "find"};
        checks_.tell(
            "  records:", request.key(), names[static_cast<std::size_t>(call)], "fault",
            static_cast<int>(fault));
        return fault;
    };
    record_script_->on_claim = [this](IdempotentRequest const& request, interlock::ClaimState state) {
        checks_.tell("  claimed:", request.key(), static_cast<int>(state));
        if (state == interlock::ClaimState::claimed || state == interlock::ClaimState::taken_over)
            for (auto const& some : requests_)
                some->granted(request);
    };
    record_script_->on_completed = [this](IdempotentRequest const& request) {
        for (auto const& some : requests_)
            some->completed(request);
    };
}

inline Client client(Run& run, Host host, unsigned number, unsigned calls)
{
    Random random{run.random().bits() + number};
    for (unsigned i = 0; i < calls; ++i) {
        co_await run.sleep(host, random.time(0ms, 30ms));
        auto const kind = random.below(100);
        if (run.mutant() == Mutant::unguarded)
            co_await unguarded(run, host, random);
        else if (kind < 30)
            co_await increment(run, host, random, false);
        else if (kind < 40)
            co_await transfer(run, host, random);
        else if (kind < 50)
            co_await add_up(run, host, random);
        else if (kind < 68)
            co_await hold(run, host, random);
        else if (kind < 74)
            co_await batch(run, host, random, false);
        else if (kind < 77)
            tally(run, host, random);
        else
            co_await run.requests(kind < 90 ? 0 : 1).come(host, random);
    }
}

inline Client calm_client(Run& run, Host host)
{
    Random random{run.random().bits()};
    for (int i = 0; i < 2; ++i)
        co_await increment(run, host, random, true);
    co_await run.requests(0).come_calmly(host, random);
    co_await run.requests(1).come_calmly(host, random);
    if (random.percent(20))
        co_await batch(run, host, random, true);
}

inline Client nemesis(Run& run)
{
    auto& random = run.random();
    for (int i = 0; i < 6; ++i) {
        co_await run.sleep(outside, random.time(0ms, 400ms));
        auto const host = static_cast<Host>(random.below(hosts));
        switch (random.below(5)) {
        case 0:
        case 1:
            run.pause(host);
            co_await run.sleep(outside, random.time(1ms, 3 * ttl));
            run.resume(host);
            run.coverage().note("pause");
            break;
        case 2: run.force_release(counters[random.below(counters.size())]); break;
        case 3:
            run.make_busy(host, random.time(50ms, 400ms));
            co_await run.sleep(outside, random.time(1ms, 400ms));
            run.make_busy(host, 0ns);
            run.coverage().note("busy pool");
            break;
        default: run.let_faults_vary();
        }
    }
}

inline void Run::until_all_ended(std::chrono::nanoseconds limit, char const* problem)
{
    auto const at = context_.now() + limit;
    try {
        while (running_ != 0 && checks_.problem().empty() && context_.now() < at && context_.step())
            checks_.compare_handles();
    } catch (std::exception const& error) {
        checks_.fail(std::string("an exception left by an executor: ") + error.what());
    } catch (...) {
        checks_.fail("what is no exception left by an executor");
    }
    checks_.require(running_ == 0, problem);
}

inline std::string Run::go()
{
    context_.set_pool_latency(pool_latency);
    watch_store();
    auto const put = [this](char const* key, std::int64_t value) {
        static_cast<void>(store_.insert(Account{key, value, {}}));
        checks_.expect_value(key, value);
    };
    for (auto const* key : counters)
        put(key, 0);
    for (auto const* key : hot)
        put(key, 0);
    put(left, total / 2);
    put(right, total / 2);
    make_processes();
    let_faults_vary();
    auto const clients = 3 + static_cast<unsigned>(random_.below(4));
    for (unsigned i = 0; i < clients; ++i)
        spawn(i % hosts, client(*this, i % hosts, i, 6), running_);
    spawn(outside, nemesis(*this), running_);
    until_all_ended(10min, "liveness: a client never ended");
    if (checks_.problem().empty() && mutant_ == Mutant::none) {  // the faults stop, and everybody gets on
        faults_ = false;
        for (Host host = 0; host < hosts; ++host)
            spawn(host, calm_client(*this, host), running_);
        until_all_ended(2min, "liveness: a client did not end after the faults had stopped");
    }
    if (checks_.problem().empty())
        check_stores();
    return checks_.problem();
}

inline void Run::check_stores()
{
    context_.run_for(3s);
    checks_.compare_calls(mutant_ == Mutant::none);
    checks_.compare_intervals();
    checks_.compare_tallies();
    auto const& values = checks_.values();
    for (auto const& [key, value] : values) {
        auto const loaded = store_.load(Key{std::string_view{key}});
        checks_.require(
            loaded && loaded->value.value == value, "the store differs from the log of its writes");
    }
    checks_.require(values.at(left) + values.at(right) == total, "the total has changed");
    for (auto const& one : processes_)
        checks_.require(one.waiter_count() == 0, "a waiter is left in a lock service");
    checks_.require(store_.waiter_count() == 0, "a waiter is left in the store");
    for (auto const& [name, value] : values) {
        Key const key{std::string_view{name}};
        interlock::OwnerToken const owner{{1, 2}};
        checks_.require(store_.create(key, owner, ttl).has_value(), "a lock is left in the store");
        checks_.require(store_.remove(key, owner).has_value(), "a lock cannot be removed");
        auto const* const keys = &key;
        checks_.require(
            store_.load_for_update(std::span{&keys, 1}, interlock::Wait::no).has_value(),
            "a row lock is left in the store");
    }
    checks_.require(store_.key_count() == values.size(), "a key is left in the store");
}

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_COURSE_HPP
