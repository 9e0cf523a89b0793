// SPDX-License-Identifier: BSL-1.0

// Shows a lock on Redis by itself: who holds it, for how long, and what another system does with its fencing
// token. Needs: a Redis server, 7.0 or later, whose URL is the argument; without one it says so and does
// nothing.
// Run with: redis_lock redis://localhost

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

/// Somebody else's system, which knows nothing of locks but compares tokens.
struct Printer {
    il::FencingToken highest{};

    bool print(il::FencingToken token)
    {
        if (token < highest)
            return false;  // a holder of the past
        highest = token;
        return true;
    }
};

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("redis_lock: name a server, like redis://localhost\n");
        return 77;
    }
    il::redis::Client const client{argv[1]};
    // A lock needs a name only: no value is stored.
    il::redis::StateRepository<std::string, std::string> const jobs{client, {.name_space = "examples.jobs"}};
    il::LockStateService const locks{jobs, {.ttl = 5s}};  // renewed while it is held
    auto const job = fmt::format("nightly report {:016x}", il::SystemRuntime::random_bits());
    Printer printer;

    auto lock = locks.acquire(job, {.deadline = 10s});
    check(lock.remaining() > 4s);
    check(printer.print(lock.fencing_token()));
    check(!locks.try_acquire(job));              // this process
    il::LockStateService const elsewhere{jobs};  // stands for another one
    check(!elsewhere.try_acquire(job));

    auto const token = lock.fencing_token();
    check(locks.release(lock).has_value());
    auto next = elsewhere.acquire(job);
    check(printer.print(next.fencing_token()));
    check(!printer.print(token));  // who was paused comes too late

    // An operator takes it away: somebody else may have it at once, and the former holder's guarded writes
    // are refused.
    check(jobs.force_release(job).value() == il::Removal::removed);
    auto const last = locks.acquire(job, {.deadline = 10s});
    check(last.fencing_token() > next.fencing_token());
    fmt::print("done\n");
}
