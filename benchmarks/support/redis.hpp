// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_REDIS_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_REDIS_HPP

// What the workloads on a redis-server of their own share: the server, one plan per run, contestants, `main`.

#include "../../tests/support/redis_server.hpp"
#include "harness.hpp"

#include <sched.h>
#include <sys/types.h>

#include <chrono>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// One run of a contestant.
struct RedisPlan {
    std::string socket;
    double seconds;
    int run;  // tells the keys of one run from those of another

    /// A repository of its own name space on that server.
    interlock::redis::Options options(std::string const& kind) const
    {
        interlock::redis::Options out;
        out.unix_path = socket;
        out.name_space = kind + std::to_string(run);
        return out;
    }
    /// When a run that begins at `begin` is over.
    std::chrono::steady_clock::time_point end(std::chrono::steady_clock::time_point begin) const
    {
        using clock = std::chrono::steady_clock;
        return begin + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    }
};

/// `count` per second since `begin`.
inline double per_second_since(std::chrono::steady_clock::time_point begin, long count)
{
    return static_cast<double>(count) /
           std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// As long as it lives, keeps this thread, and what it starts, on one processor, and servers on the next one
/// or the same: the system moves them together and apart as it likes, and a round trip between two processors
/// takes several times as long.
class Placement {
public:
    explicit Placement(bool apart)
    {
        if (::sched_getaffinity(0, sizeof before_, &before_) != 0)
            throw std::runtime_error("cannot ask for the processors of this thread");
        std::vector<int> there;
        for (int cpu = 0; cpu < CPU_SETSIZE && there.size() < 2; ++cpu)
            if (CPU_ISSET(cpu, &before_))
                there.push_back(cpu);
        servers_cpu_ = apart ? there.back() : there.front();
        pin(0, there.front());
    }
    Placement(Placement const&) = delete;
    Placement& operator=(Placement const&) = delete;
    ~Placement()
    {
        for (auto const who : placed_)
            static_cast<void>(::sched_setaffinity(who, sizeof before_, &before_));
    }

    void place(interlock_test::RedisServer const& server) { pin(server.pid(), servers_cpu_); }

private:
    void pin(::pid_t who, int cpu)
    {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (::sched_setaffinity(who, sizeof one, &one) != 0)
            throw std::runtime_error("cannot keep a thread on one processor");
        placed_.push_back(who);
    }

    cpu_set_t before_;
    int servers_cpu_{0};
    std::vector<::pid_t> placed_;
};

/// The server, and runs on it.
class RedisRuns {
public:
    RedisRuns(Options options, double seconds) : options_(std::move(options)), seconds_(seconds) {}

    Options const& options() const noexcept { return options_; }
    interlock_test::RedisServer const& server() const noexcept { return server_; }
    bool smoke() const noexcept { return options_.smoke; }
    int rounds(int usual) const noexcept
    {
        return options_.rounds > 0 ? options_.rounds : options_.smoke ? 1 : usual;
    }
    RedisPlan plan() { return {server_.socket(), seconds_, ++run_}; }
    RedisPlan plan(double seconds) { return {server_.socket(), seconds, ++run_}; }

    Contestant contestant(
        std::string name, double (*measure)(RedisPlan const&), std::vector<Target> targets = {})
    {
        return {std::move(name), [this, measure](int) { return measure(plan()); }, std::move(targets)};
    }
    TurnTaker turn_taker(
        std::string name, std::function<void(int)> (*prepare)(RedisPlan const&),
        std::vector<Target> targets = {})
    {
        return {std::move(name), [this, prepare] { return prepare(plan()); }, std::move(targets)};
    }
    double seconds() const noexcept { return seconds_; }

private:
    Options options_;
    double seconds_;
    interlock_test::RedisServer server_;
    int run_{0};
};

/// `main` of a workload: `compare` runs its contestants. `seconds`: of one run, where no option says
/// otherwise.
inline int redis_main(
    int argc, char** argv, char const* workload, double seconds,
    std::function<void(RedisRuns&)> const& compare)
{
    auto const options = parse(argc, argv);
    try {
        RedisRuns runs{options, options.seconds > 0 ? options.seconds : options.smoke ? 0.05 : seconds};
        compare(runs);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "%s: %s\n", workload, error.what());
        return 1;
    }
    return 0;
}

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_REDIS_HPP
