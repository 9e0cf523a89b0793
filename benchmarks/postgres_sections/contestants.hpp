// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_POSTGRES_SECTIONS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_POSTGRES_SECTIONS_CONTESTANTS_HPP

// Read-modify-write of rows of a user's table by 8 threads, each with its own connection: what somebody
// writes by hand with libpqxx, the same statements in `pgbench -M prepared`, and what the library does.
// Statements are prepared everywhere.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Plan {
    std::string url;
    double seconds;
    std::size_t threads;
    int keys;  ///< rows from 1 on; 1: one hot row
};

/// Changes per second. Throw when a count is wrong at the end.
/// SELECT, then UPDATE ... WHERE version, again after a conflict.
double bare_optimistic(Plan const& plan);
double bare_row_lock(Plan const& plan);          ///< BEGIN, SELECT FOR UPDATE, UPDATE, COMMIT
double pgbench_optimistic(Plan const& plan);     ///< the same without trying again; NaN without pgbench
double pgbench_row_lock(Plan const& plan);       ///< as bare_row_lock
double interlock_optimistic(Plan const& plan);   ///< TransactionService with OptimisticVersioning
double interlock_remembering(Plan const& plan);  ///< the same with all versions cached: `remember`
double interlock_row_lock(Plan const& plan);     ///< TransactionService with PessimisticRowLock
double interlock_lease(Plan const& plan);        ///< TransactionService with SetNxLock
double alone_optimistic(Plan const& plan);       ///< without combining, like the next two
double alone_row_lock(Plan const& plan);
double alone_lease(Plan const& plan);
double interlock_in_transaction(Plan const& plan);  ///< interlock_row_lock and an idempotency key for each
double interlock_leased_keys(Plan const& plan);     ///< the same with the claim first

double changed_members(Plan const& plan);      ///< of wide rows one member is written ...
double all_members(Plan const& plan);          ///< ... or all of them, by `Write::all`
double bare_insert(Plan const& plan);          ///< INSERT ... RETURNING version
double interlock_insert(Plan const& plan);     ///< `insert` of a repository
double bare_watched_insert(Plan const& plan);  ///< the same two where a trigger watches the table, so that
double interlock_checked_insert(Plan const& plan);  ///< the library looks what has become of the insert

/// What many coroutines on few connections come to, each with a row of its own under `PessimisticRowLock`.
struct Crowd {
    double per_second;  ///< changes
    double threads;     ///< of the process, more than before
    double growth;      ///< resident memory at the end, over that when each caller had one change behind it
    double jain;        ///< index of the callers' shares; 1: all the same
};
/// Until there are ten changes for each, however long.
Crowd interlock_crowd(Plan const& plan, std::size_t callers);

/// `make(t)` gives each thread what it calls with keys until time is up; the sum per second of all. `total()`
/// tells by how much all rows grew.
template <class Make, class Total>
double per_second(Plan const& plan, Make make, Total total)
{
    using clock = std::chrono::steady_clock;
    auto const before = total();
    std::vector<long> counts(plan.threads);
    std::vector<std::thread> threads;
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> stop{false};
    for (std::size_t t = 0; t < plan.threads; ++t)
        threads.emplace_back([&, t] {
            auto section = make(t);
            std::uint64_t random = t * 0x9e3779b97f4a7c15ULL + 1;
            section(std::int64_t{1} + static_cast<std::int64_t>(t) % plan.keys);  // connected and prepared
            ++ready;
            while (ready < plan.threads)
                std::this_thread::yield();
            while (!stop) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                section(
                    std::int64_t{1} +
                    static_cast<std::int64_t>(random % static_cast<std::uint64_t>(plan.keys)));
                ++counts[t];
            }
        });
    while (ready < plan.threads)
        std::this_thread::yield();
    auto const begin = clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(plan.seconds));
    stop = true;
    auto const spent = std::chrono::duration<double>(clock::now() - begin).count();
    for (auto& thread : threads)
        thread.join();
    long all = 0;
    for (auto const count : counts)
        all += count;
    if (total() - before != all + static_cast<long>(plan.threads))
        throw std::runtime_error("lost updates");
    return static_cast<double>(all) / spent;
}

#endif  // INTERLOCK_BENCHMARKS_POSTGRES_SECTIONS_CONTESTANTS_HPP
