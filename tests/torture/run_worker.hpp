// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_RUN_WORKER_HPP
#define INTERLOCK_TESTS_TORTURE_RUN_WORKER_HPP

/// @file
/// The threads of a client process, and how it ends.

#include "torture/timeline.hpp"
#include "torture/worker.hpp"
#include "torture/workload.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <optional>
#include <set>
#include <thread>

namespace torture {

inline std::atomic<bool> told_to_stop{false};

/// Writes down when the whole process stood still, since calls of that time cannot have ended.
inline void watch_for_stalls(Journal& journal, std::atomic<bool> const& done)
{
    for (auto before = now(); !done;) {
        std::this_thread::sleep_for(20ms);
        auto const after = now();
        if (after - before > 0.2)
            journal.line(fmt::format("Z {:.6f} {:.6f}", before, after));
        before = after;
    }
}

/// Until the process is told to stop; then every call that has begun ends.
template <class Store>
void work(
    Workload<Store> const& workload, WorkerOptions const& options, Journal& journal, asio::io_context& loop)
{
    std::vector<std::size_t> deck;
    for (std::size_t i = 0; i < workload.kinds().size(); ++i) {
        deck.insert(deck.end(), workload.kinds()[i].weight, i);
        journal.line("W " + workload.kinds()[i].name);
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < options.threads; ++t)
        threads.emplace_back([&, t] {
            auto const number = static_cast<std::uint64_t>(t);
            Actor actor{journal, loop, options.name + "." + std::to_string(t), options.seed * 1000 + number};
            while (!told_to_stop)
                workload.kinds()[deck[actor.below(deck.size())]].make(actor);
        });
    for (auto& thread : threads)
        thread.join();
}

/// Asks again for what others were not told of, and for all requests and counters; then writes down what is
/// stored.
template <class Store>
void settle(
    Workload<Store> const& workload, WorkerOptions const& options, Journal& journal, asio::io_context& loop)
{
    History history;
    for (auto const& path : options.settle)
        history.read(path);
    std::this_thread::sleep_for(2 * lock_ttl);  // then what killed clients have held or claimed is free
    Actor actor{journal, loop, options.name + ".s", options.seed};
    std::set<std::string> keys;
    std::set<std::string> counters;
    for (auto const& [id, call] : history.calls)
        for (auto const& change : call.changes)
            (call.kind == "counter" ? counters : keys).insert(change.key);
    std::map<std::string, Kind const*> kinds;
    for (auto const& kind : workload.kinds())
        kinds[kind.name] = &kind;
    for (auto const& [operation, calls] : history.operations) {
        auto const& first = history.calls.at(calls.front());
        auto const found = kinds.find(first.kind);
        if (found == kinds.end() || !found->second->settle)
            continue;
        auto const* const kind = found->second;
        bool const doubtful = std::any_of(calls.begin(), calls.end(), [&](auto const& id) {
            auto const end = history.calls.at(id).end;
            return end == End::open || end == End::unknown;
        });
        if (doubtful || !first.kind.starts_with("increment") || actor.one_in(10)) {
            auto const again = [&, &operation = operation](std::string const& variant) {
                kind->settle(
                    actor, CallPlan{
                               .call = actor.next_name(),
                               .operation = operation,
                               .kind = kind->name,
                               .variant = variant,
                               .deadline = 10,
                               .changes = first.changes});
            };
            again("same");
            if (first.kind.starts_with("request"))
                again("other");
        }
    }
    auto const& store = workload.store();
    for (auto const& key : keys) {
        auto const found = store.repository.load(il::Key{key}, 20s);
        if (found)
            journal.line(fmt::format(
                "K {} {} {} {}", key, found->version, found->value.value, word(found->value.trail)));
        else if (found.errc() != il::Errc::not_found)
            throw std::runtime_error("cannot read " + key + ": " + il::name_of(found.errc()));
    }
    if constexpr (requires { store.counters; })
        for (auto const& key : counters)
            journal.line(fmt::format("N {} {}", key, store.counters.load(il::Key{key}, 20s).value()));
}

/// `works_and_settles`: the store is in this process, nobody else can settle it.
template <class Store>
int run_worker(Store store, WorkerOptions const& options, bool works_and_settles = false)
{
    std::signal(SIGTERM, [](int) { told_to_stop = true; });
    sigset_t stop;
    ::sigemptyset(&stop);
    ::sigaddset(&stop, SIGTERM);
    ::sigprocmask(SIG_UNBLOCK, &stop, nullptr);
    Journal journal{options.journal};
    std::atomic<bool> done{false};
    std::thread watcher{[&] { watch_for_stalls(journal, done); }};
    asio::io_context loop;
    auto guard = asio::make_work_guard(loop);
    std::thread looper{[&] { loop.run(); }};
    bool good = true;
    try {
        std::optional<TimelinePart> drawn;  // outlives the services that have its observer
        if (!options.timeline.empty())
            drawn.emplace(options.timeline, options.name, options.number);
        Workload<Store> const workload{std::move(store), drawn ? &drawn->observer() : nullptr};
        if (options.settle.empty())
            work(workload, options, journal, loop);
        if (works_and_settles) {
            auto own = options;
            own.name = "settle";
            own.settle = {options.journal};
            settle(workload, own, journal, loop);
        } else if (!options.settle.empty()) {
            settle(workload, options, journal, loop);
        }
    } catch (std::exception const& e) {
        fmt::print(stderr, "{}: {}\n", options.name, e.what());
        good = false;
    }
    guard.reset();
    looper.join();
    done = true;
    watcher.join();
    journal.line("Q");
    return good ? 0 : 1;
}

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_RUN_WORKER_HPP
