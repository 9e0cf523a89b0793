// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_OURS_HPP
#define INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_OURS_HPP

// The library as a contestant, whatever the store. Many events are worked off in batches, each of which is
// one commit of its effects and of the place behind it. Where the time to the handler is measured, a
// subscription hands events over, and an inbox makes the effects.

#include <interlock/core/event.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/subscription.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe.hpp>

#include "../support/harness.hpp"
#include "contestants.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace pipeline {

namespace il = interlock;
using clock = std::chrono::steady_clock;

struct Job {
    long number{0};
    std::string text;
    static constexpr il::EventType event{"job", 1};
};
BOOST_DESCRIBE_STRUCT(Job, (), (number, text))

constexpr std::size_t callers = 16;

inline void figure(double value)
{
    std::printf("figure %.6g\n", value);
}
inline il::NewEvent job(long number)
{
    return il::new_event(Job{number, std::string(200, 'x')});
}
inline il::Key stream(long number)
{
    return il::Key{"stream-" + std::to_string(number % 256)};
}
inline long job_of(il::Event const& event)
{
    return event.as<Job>().value().number;
}

/// How many events are one commit at most. A worker that is to be killed takes few, so that there are kills
/// while it works.
inline std::size_t batch_of(Plan const& plan)
{
    return plan.work == "worker" ? 100 : 1000;
}

inline double seconds_since(clock::time_point begin)
{
    return std::chrono::duration<double>(clock::now() - begin).count();
}
inline double microseconds()
{
    return std::chrono::duration<double, std::micro>(clock::now().time_since_epoch()).count();
}

/// Calls `f(i)` for each i below `count`, by so many threads.
inline void in_threads(std::size_t threads, long count, std::function<void(long)> const& f)
{
    std::atomic<long> next{0};
    std::vector<std::future<void>> all;
    for (std::size_t i = 0; i < threads; ++i)
        all.push_back(std::async(std::launch::async, [&] {
            for (auto k = next++; k < count; k = next++)
                f(k);
        }));
    for (auto& one : all)
        one.get();
}

/// `Store` has `events`, and repositories of `effects` of the inbox, with the members `job` and `count`, and
/// of `cursors`. `handle_batch(partition)` handles the next events of a partition, and returns how many they
/// were; `move_to(partition, position)` passes those before; `counts(jobs)` is how often each job had its
/// effect.
template <class Store>
class Ours {
public:
    explicit Ours(Store store) : store_(std::move(store)) {}

    void carry_out(Plan const& plan)
    {
        if (plan.work == "put")
            figure(static_cast<double>(plan.count) / put(plan.count));
        else if (plan.work == "fill")
            fill(plan.count);
        else if (plan.work == "work")
            figure(static_cast<double>(plan.count) / work(plan.count));
        else if (plan.work == "late")
            figure(late(plan.count));
        else if (plan.work == "worker")
            run_worker();
        else if (plan.work == "effects")
            count_effects(plan.count);
        else if (plan.work == "growth")
            growth(plan.count);
        else
            throw std::invalid_argument("no such work: " + plan.work);
    }

private:
    using Effect = typename decltype(Store::effects)::value_type;
    double put(long count)
    {
        auto const begin = clock::now();
        in_threads(callers, count, [&](long i) {
            std::vector<il::NewEvent> const one{job(i)};
            static_cast<void>(store_.events.append(stream(i), il::Expected::any(), one).value());
        });
        return seconds_since(begin);
    }

    void fill(long count)
    {
        in_threads(4, 256, [&](long first) {
            std::vector<il::NewEvent> batch;
            for (long i = first; i < count; i += 256) {
                batch.push_back(job(i));
                if (batch.size() == 512 || i + 256 >= count) {
                    static_cast<void>(store_.events.append(stream(i), il::Expected::any(), batch).value());
                    batch.clear();
                }
            }
        });
    }

    /// Handles events by 16 threads, until `enough()`; `handled` is called for each that had its effect.
    void handle(std::function<void(il::Event const&)> const& handled, std::function<bool()> const& enough)
    {
        std::stop_source stop;
        auto const handler = [&](il::Event const& event) {
            auto done =
                inbox_.handle(event, std::to_string(job_of(event)), [](Effect& effect) { ++effect.count; });
            if (done)
                handled(event);
            if (enough())
                stop.request_stop();
            return done;
        };
        std::vector<std::future<void>> threads;
        for (std::size_t i = 0; i < callers; ++i)
            threads.push_back(
                std::async(std::launch::async, [&] { jobs_.run(handler, stop.get_token()).value(); }));
        for (auto& thread : threads)
            thread.get();
    }

    /// Handles batches, each partition by a thread of its own, until `enough()`. `handled` is told how many.
    void handle_batches(std::function<void(long)> const& handled, std::function<bool()> const& enough)
    {
        std::vector<std::future<void>> threads;
        for (unsigned partition = 0; partition < store_.events.partitions(); ++partition)
            threads.push_back(std::async(std::launch::async, [&, partition] {
                while (!enough())
                    if (auto const count = store_.handle_batch(partition); count > 0)
                        handled(static_cast<long>(count));
                    else
                        std::this_thread::sleep_for(std::chrono::milliseconds{1});
            }));
        for (auto& thread : threads)
            thread.get();
    }

    double work(long count)
    {
        std::atomic<long> done{0};
        auto const begin = clock::now();
        handle_batches([&](long more) { done += more; }, [&] { return done >= count; });
        return seconds_since(begin);
    }

    double late(long count)
    {
        std::mutex mutex;
        std::vector<double> times;
        std::atomic<long> done{0};
        auto handling = std::async(std::launch::async, [&] {
            handle(
                [&](il::Event const& event) {
                    auto const now = microseconds();
                    std::lock_guard const lock(mutex);
                    times.push_back((now - std::stod(event.as<Job>().value().text)) / 1000);
                    ++done;
                },
                [&] { return done >= count; });
        });
        for (long i = 0; i < count; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
            std::vector<il::NewEvent> const one{il::new_event(Job{i, std::to_string(microseconds())})};
            static_cast<void>(store_.events.append(stream(i), il::Expected::any(), one).value());
        }
        handling.get();
        return bench::median(times);
    }

    void run_worker()
    {
        std::mutex mutex;
        long done = 0;
        handle_batches(
            [&](long more) {
                std::lock_guard const lock(mutex);
                for (auto lines = (done + more) / 50 - done / 50; lines > 0; --lines)
                    std::printf("done\n");
                done += more;
                std::fflush(stdout);
            },
            [] { return false; });
    }

    void count_effects(long count)
    {
        long had = 0;
        long more = 0;
        for (auto const effects : store_.counts(count)) {
            had += effects > 0 ? 1 : 0;
            more += effects > 1 ? 1 : 0;
        }
        std::printf("effects %ld %ld\n", had, more);
    }

    void growth(long count)
    {
        fill(count);
        for (unsigned partition = 0; partition < store_.events.partitions(); ++partition)
            store_.move_to(partition, store_.events.extent(partition).value().last);
        constexpr long more = 2000;
        figure((put(more) + work(more)) * 1e6 / more);
    }

    using Effects = il::TransactionService<Effect, il::OptimisticVersioning, decltype(Store::effects)>;

    Store store_;
    il::Inbox<Effects> inbox_{
        Effects{il::OptimisticVersioning{.missing = il::Missing::create}, store_.effects}, "jobs"};
    il::Subscription<decltype(Store::events), decltype(Store::cursors)> jobs_{
        store_.events, store_.cursors, "jobs", {.batch = 1000, .ttl = il::Ttl{std::chrono::seconds{2}}}};
};

}  // namespace pipeline

#endif  // INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_OURS_HPP
