// SPDX-License-Identifier: BSL-1.0

// A hundred thousand coroutines wait for one key. How many bytes does each of them take, and how does the
// cost of handing the key on grow with the queue? Each figure comes from a process of its own, so that none
// inherits the memory of another.

#include "../support/harness.hpp"
#include "contestants.hpp"

#include <sys/types.h>
#include <sys/wait.h>

#include <exception>

namespace {

/// Calls `measure()` in a forked process.
template <class F>
Cost apart(F measure)
{
    int ends[2];
    if (::pipe(ends) != 0)
        throw std::runtime_error("pipe");
    std::fflush(stdout);
    auto const child = ::fork();
    if (child < 0)
        throw std::runtime_error("fork");
    if (child == 0) {
        int code = 1;
        try {
            Cost const cost = measure();
            code = ::write(ends[1], &cost, sizeof cost) == static_cast<ssize_t>(sizeof cost) ? 0 : 1;
        } catch (std::exception const& error) {
            std::fprintf(stderr, "%s\n", error.what());
        }
        std::fflush(stderr);
        ::_exit(code);
    }
    ::close(ends[1]);
    Cost cost;
    bool const whole = ::read(ends[0], &cost, sizeof cost) == static_cast<ssize_t>(sizeof cost);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!whole || status != 0)
        throw std::runtime_error("a measuring process failed");
    return cost;
}

struct Entry {
    char const* name;
    Cost (*run)(std::size_t, Style);
    bool ours;
};

constexpr Entry entries[] = {
    {"timer_queue", timer_queue, false},
    {"pessimistic_row_lock", pessimistic_row_lock, true},
    {"set_nx_lock", set_nx_lock, true},
    {"lock_state_service", lock_state_service, true},
};

void weigh(bench::Options const& options, std::size_t waiters)
{
    auto const spawn = apart([&] { return Cost{spawn_bytes(waiters), 0, 0, 0}; }).bytes;
    auto const awaitable = apart([&] { return Cost{awaitable_bytes(waiters), 0, 0, 0}; }).bytes;
    if (!options.csv) {
        std::printf("\nwaiters, %zu of them: bytes each\n", waiters);
        std::printf(
            "  (co_spawn keeps %.0f for a coroutine; that and the user's frame are not the library's. Of the "
            "library's, %.0f are the frame that use_awaitable makes around anything)\n",
            spawn, awaitable);
        std::printf(
            "  %-22s %-10s %9s %9s %9s %9s\n", "contestant", "style", "all", "frame", "library", "resident");
    }
    for (auto const style : {Style::coroutine, Style::handler})
        for (auto const& entry : entries) {
            auto const cost = apart([&] { return entry.run(waiters, style); });
            bool const coroutine = style == Style::coroutine;
            auto const library = cost.bytes - (coroutine ? cost.frame + spawn : 0);
            auto const* const kind = coroutine ? "coroutine" : "handler";
            bench::row(
                options, "waiters", std::to_string(waiters) + " " + kind, entry.name, 0, library, "bytes");
            if (options.csv)
                continue;
            std::printf(
                "  %-22s %-10s %9.0f %9.0f %9.0f %9.0f", entry.name, kind, cost.bytes, cost.frame, library,
                cost.resident);
            if (entry.ours)
                std::printf("   target < 1024: %s", library < 1024 ? "reached" : "MISSED");
            std::printf("\n");
            std::fflush(stdout);
        }
}

}  // namespace

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 5;
    std::vector<std::size_t> const lengths = options.smoke ? std::vector<std::size_t>{100, 1'000}
                                                           : std::vector<std::size_t>{1'000, 10'000, 100'000};
    try {
        weigh(options, lengths.back());
        using Kind = bench::Target::Kind;
        std::vector<bench::Contestant> contestants;
        for (auto const& entry : entries) {
            auto const first = std::string(entry.name) + " " + std::to_string(lengths.front());
            for (auto const length : lengths) {
                auto const name = std::string(entry.name) + " " + std::to_string(length);
                std::vector<bench::Target> targets;
                if (length != lengths.front())
                    // Cache misses may cost that much.
                    targets.push_back({first, Kind::at_most, entry.ours ? 2.0 : 0});
                contestants.push_back(
                    {name,
                     [&entry, length](int) {
                         // Short queues run several times, since what a process does only once must not
                         // count.
                         auto const times = length < 10'000 ? std::size_t{20} : std::size_t{1};
                         return apart([&] {
                                    Cost sum;
                                    for (std::size_t i = 0; i < times; ++i) {
                                        auto const one = entry.run(length, Style::coroutine).hand_on;
                                        sum.hand_on = i == 0 || one < sum.hand_on ? one : sum.hand_on;
                                    }
                                    return sum;
                                })
                             .hand_on;
                     },
                     std::move(targets)});
            }
        }
        bench::compete(
            options, "waiters", "queue of coroutines", "ns of processor time per hand-on", rounds,
            contestants);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "waiters: %s\n", error.what());
        return 1;
    }
    return 0;
}
