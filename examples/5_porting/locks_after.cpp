// SPDX-License-Identifier: BSL-1.0

// Porting, the side of after: locks as Redisson, redlock and flock are used, with the library. README.md has
// the other side. Any repository stands in place of the one in memory.
// Needs: nothing.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

namespace {

// A lock needs a name only: no value is stored.
using Names = il::memory::StateRepository<std::string, std::string>;

int done = 0;
void work()
{
    ++done;
}
void charge(std::string const& /*order*/, il::FencingToken /*token*/)
{
    ++done;
}

void as_with_redisson(Names const& names)
{
    // #region redisson
    il::LockStateService const locks{names, {.ttl = 30s}};   // renewed while it is held, as the watchdog does
    auto lock = locks.acquire("order-7", {.deadline = 5s});  // throws `Error` when it cannot be had in time
    work();
    lock.check();  // throws `lock_lost`: ask before each effect, which Redisson leaves to you
    work();
    locks.release(lock).value();  // says when it was lost before; the destructor releases as well
    // #endregion redisson
}

void as_with_redlock(Names const& names)
{
    // #region redlock
    il::LockStateService const locks{names, {.ttl = 10s}};
    auto const lock = locks.acquire("order-7");
    std::stop_callback const on_loss{lock.stop_token(), [] { fmt::print("stop what you are at\n"); }};
    charge("order-7", lock.fencing_token());  // whoever is charged refuses a lower token than it has seen
    // #endregion redlock
}

void as_with_flock(Names const& names)
{
    // #region flock
    il::LockStateService const locks{names};
    std::optional const lock = locks.try_acquire("nightly");  // flock -n
    if (!lock)
        return;  // another machine is at it
    work();
    // #endregion flock
}

}  // namespace

int main()
{
    Names const names;
    as_with_redisson(names);
    as_with_redlock(names);
    as_with_flock(names);
    fmt::print("{} pieces of work\n", done);
    return done == 4 ? 0 : 1;
}
