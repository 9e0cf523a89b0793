// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_CONTEXT_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_CONTEXT_HPP

/// @file
/// A deterministic world: one thread, virtual time, and a seed that decides which ready handler runs next.
///
/// A step runs one ready handler, picked by the seed. Only when none is ready does time move, to the earliest
/// timer. Nothing depends on addresses or on real time, so the same seed gives the same run in every build.

#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace simulation {

using interlock::TimePoint;

/// A group of handlers that is paused together: a simulated process.
using Host = unsigned;

/// Small, and the same everywhere.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t bits() noexcept
    {
        auto z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    /// From [0, n).
    std::uint64_t below(std::uint64_t n) noexcept { return n == 0 ? 0 : bits() % n; }
    bool percent(unsigned p) noexcept { return below(100) < p; }
    std::chrono::nanoseconds time(std::chrono::nanoseconds from, std::chrono::nanoseconds to) noexcept
    {
        return from + std::chrono::nanoseconds{static_cast<std::int64_t>(
                          below(static_cast<std::uint64_t>((to - from).count()) + 1))};
    }

private:
    std::uint64_t state_;
};

/// What a call that blocks its thread does. There is only one thread.
enum class Blocking : unsigned char {
    forbidden,  ///< ends the program: asynchronous code must never block
    nested,     ///< everybody else goes on meanwhile
};

class SimulationContext;

/// Runs handlers as steps of a `SimulationContext`. `delayed`: each becomes ready only after a random time,
/// as on a busy thread pool.
class SimulationExecutor {
public:
    SimulationExecutor(SimulationContext& context, Host host, bool delayed = false) noexcept
        : context_(&context), host_(host), delayed_(delayed)
    {}

    SimulationContext& query(boost::asio::execution::context_t) const noexcept { return *context_; }
    static constexpr boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) noexcept
    {
        return boost::asio::execution::blocking.never;
    }
    SimulationExecutor require(boost::asio::execution::blocking_t::never_t) const noexcept { return *this; }

    template <class F>
    void execute(F f) const;

    Host host() const noexcept { return host_; }
    friend bool operator==(SimulationExecutor const&, SimulationExecutor const&) noexcept = default;

private:
    SimulationContext* context_;
    Host host_;
    bool delayed_;
};

class SimulationContext : public boost::asio::execution_context {
    struct Task {
        Task() = default;
        Task(Task const&) = delete;
        Task& operator=(Task const&) = delete;
        virtual ~Task() = default;
        virtual void run() = 0;
    };
    template <class F>
    struct TaskOf final : Task {
        explicit TaskOf(F f) : function(std::move(f)) {}
        void run() override { function(); }
        F function;
    };

public:
    using executor_type = SimulationExecutor;
    using TimerId = std::uint64_t;

    explicit SimulationContext(std::uint64_t seed, Blocking blocking = Blocking::forbidden)
        : scheduler_(seed), random_(~seed), blocking_(blocking)
    {}
    SimulationContext(SimulationContext const&) = delete;
    SimulationContext& operator=(SimulationContext const&) = delete;
    ~SimulationContext() { end(); }

    SimulationExecutor get_executor(Host host = 0) noexcept { return {*this, host}; }

    TimePoint now() const noexcept { return now_; }
    std::uint64_t random_bits() noexcept { return random_.bits(); }

    // ---- running ----------------------------------------

    /// One handler, or one move of time. False: there is nothing left that could run.
    bool step() { return step_until(TimePoint::max()); }

    void run()
    {
        while (step()) {
        }
    }
    /// Everything up to and including `at`; then time is `at`.
    void run_until(TimePoint at)
    {
        while (step_until(at)) {
        }
        if (now_ < at)
            now_ = at;
    }
    void run_for(std::chrono::nanoseconds time) { run_until(interlock::detail::add(now_, time)); }

    /// A handler that blocks its thread: time passes and nobody runs.
    void stall(std::chrono::nanoseconds time) noexcept { now_ = interlock::detail::add(now_, time); }

    /// From now on no handler runs; what is pending is destroyed with the context. Time moves for those that
    /// block.
    void stop() noexcept { stopped_ = true; }
    bool stopped() const noexcept { return stopped_; }

    std::uint64_t steps() const noexcept { return steps_; }
    /// A hash of every choice and every move of time so far.
    std::uint64_t trace() const noexcept { return trace_; }
    std::size_t ready() const noexcept { return ready_.size(); }
    /// Mixes something the test saw into the trace.
    void note(std::uint64_t value) noexcept { mix(value); }

    /// Withholds the handlers and alarms of `host` while time goes on: SIGSTOP.
    void pause(Host host) { paused_.insert(host); }
    void resume(Host host) { paused_.erase(host); }
    bool paused(Host host) const { return paused_.count(host) != 0; }

    /// Latency of `SimulationRuntime::blocking_executor()`. Zero: none.
    void set_pool_latency(std::chrono::nanoseconds latency) noexcept { pool_latency_ = latency; }
    /// Of one host's, where it is longer: all its threads are busy.
    void set_pool_latency(Host host, std::chrono::nanoseconds latency) noexcept
    {
        slow_[host % slow_.size()] = latency;
    }

    // ---- work ----------------------------------------

    template <class F>
    void push(Host host, F f)
    {
        ready_.push_back({host, std::make_unique<TaskOf<F>>(std::move(f)), nullptr, 0, false});
    }

    /// For a thread of the pool.
    template <class F>
    void push_delayed(Host host, F f)
    {
        auto const longest = std::max(pool_latency_, slow_[host % slow_.size()]);
        if (longest.count() == 0)
            ready_.push_back({host, std::make_unique<TaskOf<F>>(std::move(f)), nullptr, 0, true});
        else
            add_timer(host, now_ + scheduler_.time({}, longest), std::move(f), true);
    }
    /// Whether the handler that runs has a thread that may be blocked.
    bool on_pool() const noexcept { return on_pool_; }

    template <class F>
    TimerId add_timer(Host host, TimePoint at, F f, bool pool = false)
    {
        auto const timer_id = ++last_timer_;
        timers_.emplace(
            std::pair{at, timer_id},
            Item{host, std::make_unique<TaskOf<F>>(std::move(f)), nullptr, timer_id, pool});
        timer_times_.emplace(timer_id, at);
        return timer_id;
    }
    /// False: it has run, or was never there.
    bool remove_timer(TimerId timer_id)
    {
        Item item;  // destroyed last: its destructor may come back here
        if (auto const it = timer_times_.find(timer_id); it != timer_times_.end()) {
            auto const place = timers_.find({it->second, timer_id});
            item = std::move(place->second);
            timers_.erase(place);
            timer_times_.erase(it);
            return true;
        }
        auto const it = std::find_if(
            ready_.begin(), ready_.end(), [&](Item const& one) { return one.timer == timer_id; });
        if (it == ready_.end())
            return false;
        item = std::move(*it);
        ready_.erase(it);
        return true;
    }

    void arm(Host host, interlock::Alarm& alarm, TimePoint at)
    {
        disarm(alarm);
        auto const timer_id = ++last_timer_;
        timers_.emplace(std::pair{at, timer_id}, Item{host, nullptr, &alarm, 0, false});
        armed_.emplace(&alarm, std::pair{at, timer_id});
    }
    bool disarm(interlock::Alarm& alarm) noexcept
    {
        auto const it = armed_.find(&alarm);
        if (it == armed_.end())
            return false;
        if (timers_.erase(it->second) == 0)
            std::erase_if(ready_, [&](Item const& item) { return item.alarm == &alarm; });
        armed_.erase(it);
        return true;
    }
    std::size_t armed_alarms() const noexcept { return armed_.size(); }

    // ---- for a thread that blocks ----------------------------------------

    void block_until(TimePoint at, std::unique_lock<std::mutex>* lock)
    {
        if (blocking_ == Blocking::forbidden) {
            std::fputs("simulation: asynchronous code blocked its thread\n", stderr);
            std::abort();
        }
        auto const pool = on_pool_;
        if (lock != nullptr)
            lock->unlock();
        if (lock == nullptr) {
            run_until(at);
            overslept_ += now_ - at;
        } else if (!step_until(at) && now_ < at) {
            if (at == TimePoint::max()) {
                std::fputs("simulation: a thread waits for ever\n", stderr);
                std::abort();
            }
            now_ = at;
        }
        on_pool_ = pool;
        if (lock != nullptr)
            lock->lock();
    }
    /// There is one stack for all threads, so that of those that sleep the last one wakes first: by how much
    /// all of them together came too late.
    std::chrono::nanoseconds overslept() const noexcept { return overslept_; }

    std::uint64_t generation{0};

private:
    struct Item {
        Host host{0};
        std::unique_ptr<Task> task;
        interlock::Alarm* alarm{nullptr};
        TimerId timer{0};
        bool pool{false};
    };

    bool step_until(TimePoint limit)
    {
        if (stopped_)
            return false;
        for (;;) {
            auto const candidates = runnable();
            if (candidates != 0) {
                auto const choice = scheduler_.below(candidates);
                mix(choice);
                mix(candidates);
                mix(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
                ++steps_;
                run_item(place_of(static_cast<std::size_t>(choice)));
                return true;
            }
            if (timers_.empty() || timers_.begin()->first.first > limit)
                return false;
            auto timer = timers_.extract(timers_.begin());
            if (now_ < timer.key().first)
                now_ = timer.key().first;
            timer_times_.erase(timer.key().second);
            ready_.push_back(std::move(timer.mapped()));
        }
    }

    std::size_t runnable() const
    {
        if (paused_.empty())
            return ready_.size();
        std::size_t n = 0;
        for (auto const& item : ready_)
            n += paused_.count(item.host) == 0 ? 1 : 0;
        return n;
    }

    std::size_t place_of(std::size_t choice) const
    {
        if (paused_.empty())
            return choice;
        for (std::size_t i = 0;; ++i)
            if (paused_.count(ready_[i].host) == 0 && choice-- == 0)
                return i;
    }

    void run_item(std::size_t place)
    {
        auto item = std::move(ready_[place]);
        ready_[place] = std::move(ready_.back());
        ready_.pop_back();
        on_pool_ = item.pool;
        if (item.alarm != nullptr) {
            armed_.erase(item.alarm);
            item.alarm->ring();
        } else {
            item.task->run();
        }
    }

    void mix(std::uint64_t value) noexcept { trace_ = (trace_ ^ value) * 1099511628211ULL; }

    void end() noexcept
    {
        shutdown();  // operations are destroyed here, in the order of Asio: services first
        while (!ready_.empty() || !timers_.empty()) {
            auto const ready = std::move(ready_);
            auto const timers = std::move(timers_);
            ready_.clear();
            timers_.clear();
            timer_times_.clear();
        }
        destroy();
    }

    Random scheduler_;
    Random random_;
    Blocking blocking_;
    TimePoint now_{std::chrono::hours{1}};
    std::chrono::nanoseconds pool_latency_{0};
    std::array<std::chrono::nanoseconds, 8> slow_{};
    std::chrono::nanoseconds overslept_{0};
    bool on_pool_{false};
    bool stopped_{false};
    std::vector<Item> ready_;
    std::map<std::pair<TimePoint, TimerId>, Item> timers_;
    std::map<TimerId, TimePoint> timer_times_;
    std::unordered_map<interlock::Alarm*, std::pair<TimePoint, TimerId>> armed_;  // looked up, never iterated
    std::set<Host> paused_;
    TimerId last_timer_{0};
    std::uint64_t steps_{0};
    std::uint64_t trace_{1469598103934665603ULL};
};

template <class F>
void SimulationExecutor::execute(F f) const
{
    if (delayed_)
        context_->push_delayed(host_, std::move(f));
    else
        context_->push(host_, std::move(f));
}

static_assert(boost::asio::execution::is_executor<SimulationExecutor>::value);

/// Models `interlock::Runtime` in a `SimulationContext`, for the handlers and alarms of one host.
class SimulationRuntime {
public:
    SimulationRuntime(SimulationContext& context, Host host = 0) noexcept : context_(&context), host_(host) {}

    TimePoint now() const noexcept { return context_->now(); }
    std::uint64_t random_bits() const noexcept { return context_->random_bits(); }
    std::uint64_t generation() const noexcept { return context_->generation; }
    void arm(interlock::Alarm& alarm, TimePoint at) const { context_->arm(host_, alarm, at); }
    bool disarm(interlock::Alarm& alarm) const noexcept { return context_->disarm(alarm); }
    void cancel(interlock::Alarm& alarm) const noexcept { context_->disarm(alarm); }
    void wait_until(std::condition_variable&, std::unique_lock<std::mutex>& lock, TimePoint at) const
    {
        context_->block_until(at, &lock);
    }
    void sleep_until(TimePoint at) const { context_->block_until(at, nullptr); }
    SimulationExecutor executor() const noexcept { return {*context_, host_}; }
    SimulationExecutor blocking_executor() const noexcept { return {*context_, host_, true}; }

    SimulationContext& context() const noexcept { return *context_; }
    Host host() const noexcept { return host_; }

private:
    SimulationContext* context_;
    Host host_;
};

static_assert(interlock::Runtime<SimulationRuntime>);

namespace detail {

template <class Handler>
struct Sleeper {
    Sleeper(Handler h, SimulationExecutor e)
        : handler(std::move(h)), executor(boost::asio::get_associated_executor(handler, e))
    {}

    static void finish(std::shared_ptr<Sleeper> self, boost::system::error_code error)
    {
        if (std::exchange(self->finished, true))
            return;
        boost::asio::get_associated_cancellation_slot(self->handler).clear();
        auto const executor = self->executor;
        boost::asio::post(executor, [self = std::move(self), error] {
            auto h = std::move(self->handler);
            std::move(h)(error);
        });
    }

    Handler handler;
    boost::asio::associated_executor_t<Handler, SimulationExecutor> executor;
    bool finished{false};
};

}  // namespace detail

/// Waits in virtual time. Completion `void(error_code)`; cancellation: all types.
template <class CompletionToken>
auto async_sleep(
    SimulationContext& context, Host host, std::chrono::nanoseconds time, CompletionToken&& token)
{
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
        [&context, host](auto handler, std::chrono::nanoseconds t) {
            using Sleeper = detail::Sleeper<decltype(handler)>;
            auto sleeper = std::make_shared<Sleeper>(std::move(handler), context.get_executor(host));
            auto const id = context.add_timer(
                host, interlock::detail::add(context.now(), t), [sleeper] { Sleeper::finish(sleeper, {}); });
            auto slot = boost::asio::get_associated_cancellation_slot(sleeper->handler);
            if (slot.is_connected())
                slot.assign(
                    [&context, id, weak = std::weak_ptr<Sleeper>(sleeper)](boost::asio::cancellation_type) {
                        if (auto alive = weak.lock()) {
                            context.remove_timer(id);
                            Sleeper::finish(std::move(alive), boost::asio::error::operation_aborted);
                        }
                    });
        },
        token, time);
}

}  // namespace simulation

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_CONTEXT_HPP
