// SPDX-License-Identifier: BSL-1.0

// What the threads of the library use is there for as long as they are: also while `exit` destroys statics.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace exit_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::Stock;

/// A static of the program's own that was made before those of the library, and so is destroyed after them.
/// It takes its time, as one does that flushes a log, say; meanwhile a lock is renewed several times, or it
/// is lost.
struct SlowAtExit {
    ~SlowAtExit()
    {
        if (held == nullptr)
            return;
        std::this_thread::sleep_for(1s);
        if (held->status() != LockStatus::held)
            ::_exit(3);
    }
    LockStateService<Stock, redis::StateRepository<Stock>>* locks{nullptr};
    Lock<Stock>* held{nullptr};
} slow_at_exit;

TEST_CASE("a program that ends while its lock is renewed", "[.][exit][ending_program]")
{
    auto const* const socket = std::getenv("INTERLOCK_TEST_SOCKET");
    auto const* const name_space = std::getenv("INTERLOCK_TEST_NAME_SPACE");
    if (socket == nullptr || name_space == nullptr) {
        SUCCEED("for the case that starts it");
        return;
    }
    redis::StateRepository<Stock> const repository{redis::Client{
        RedisServer::as_worker({.unix_path = std::string(socket), .name_space = std::string(name_space)})}};
    // Of a thread that nobody joins, as it were.
    slow_at_exit.locks = new LockStateService{repository, LockOptions{.ttl = 600ms}};
    slow_at_exit.held = new Lock<Stock>{slow_at_exit.locks->acquire("x")};
}

TEST_CASE("a lock is renewed until the process has ended, though statics were destroyed", "[exit]")
{
    auto const name_space = interlock_test::fresh_name_space();
    ::setenv("INTERLOCK_TEST_SOCKET", redis_server().socket().c_str(), 1);
    ::setenv("INTERLOCK_TEST_NAME_SPACE", name_space.c_str(), 1);
    auto const child = ::fork();
    if (child == 0) {
        ::execl("/proc/self/exe", "ending", "[ending_program]", static_cast<char*>(nullptr));
        ::_exit(127);
    }
    ::unsetenv("INTERLOCK_TEST_SOCKET");
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace exit_test
