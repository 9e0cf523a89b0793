// SPDX-License-Identifier: BSL-1.0

// What becomes of locks when operators do odd things, rights are withdrawn, wake-ups are lost, waiters are
// very many, and the system refuses. The letter and number in a name is a row of the fault catalogue in
// tests/README.md.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace redis_operators_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using interlock_test::time_of;
using Repository = redis::StateRepository<Stock>;
Key const x{"x"};

// ---- B13, B20: operators ------------------------------------------------------------------------

TEST_CASE("B13: an operator takes a lock away, and its holder is refused", "[redis][faults]")
{
    Repository const repository{redis::Client{redis_options()}};
    auto const version = repository.insert(Stock{"x", 1}).value();
    LockStateService const locks{repository, {.ttl = 60s}};
    auto lock = locks.acquire("x");
    CHECK(repository.force_release("x").value() == Removal::removed);
    CHECK(locks.write(lock, version, Stock{"x", 2}).errc() == Errc::fenced_out);
    auto const grant = repository.create(x, owner(7), 60s).value();
    CHECK(grant.first > lock.fencing_token());
    CHECK(repository.force_release("x").value() == Removal::removed);
    CHECK(repository.force_release("x").value() == Removal::gone);
}

TEST_CASE(
    "B20: a value that an operator stored under a lock's name makes it busy until the deadline",
    "[redis][faults]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const repository{redis::Client{o}};
    repository.create(x, owner(1), 60s).value();
    auto const keys = server.command({"KEYS", "*lock*"});
    auto const name = keys.substr(0, keys.find('\n'));
    server.command({"SET", name, "mine"});
    auto const busy = repository.create(x, owner(2), 60s);
    CHECK(busy.errc() == Errc::lock_busy);
    CHECK(busy.detail().find("not one of ours") != std::string::npos);
    LockStateService const locks{repository, {.ttl = 60s}};
    auto const waited = time_of([&] {
        CHECK(
            locks.acquire_outcome("x", Wait::until_deadline, {.deadline = 300ms}).errc() ==
            Errc::deadline_exceeded);
    });
    CHECK(waited >= 300ms);
    CHECK(repository.force_release("x").value() == Removal::removed);
    CHECK(locks.try_acquire("x"));
}

TEST_CASE(
    "B14: where leases may be evicted fenced locks are refused, and efficiency locks come with a warning",
    "[redis][faults]")
{
    struct Listener final : Observer {
        void on_unsafe_store(std::string_view why) noexcept override { heard += std::string(why) + "\n"; }
        std::string heard;
    };
    RedisServer server({"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"});
    Repository const repository{redis::Client{redis_options(server)}};
    LockStateService const fenced{repository, {.ttl = 60s}};
    CHECK(fenced.acquire_outcome("x", Wait::no, {}).errc() == Errc::misconfigured);
    Listener listener;
    EfficiencyLockStateService<Stock, Repository> const efficiency{
        repository, {.ttl = 60s, .observer = &listener}};
    CHECK(efficiency.try_acquire("x"));
    CHECK(efficiency.try_acquire("y"));
    CHECK(listener.heard.find("volatile-lru") != std::string::npos);
    CHECK(listener.heard.find('\n') == listener.heard.size() - 1);
}

// ---- B21, B22: rights and pauses in the middle --------------------------------------------------

TEST_CASE(
    "B22: a holder that loses its rights loses its lock by the clock, and no text has the password",
    "[redis][faults]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const repository{redis::Client{o}};
    LockStateService const locks{repository, {.ttl = 900ms}};
    auto lock = locks.acquire("x");
    server.command({"ACL", "SETUSER", "worker", "-evalsha", "-eval"});
    CHECK(eventually([&] { return lock.status() == LockStatus::lost; }, 3s));
    auto const refused = repository.create(Key{"y"}, owner(1), 30s);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK(refused.detail().find("password") == std::string::npos);
}

// ---- B24, B25: wake-ups and waiters -------------------------------------------------------------

TEST_CASE("B24: a lock still changes hands when every wake-up is lost", "[redis][faults]")
{
    RedisServer server;
    server.command({"ACL", "SETUSER", "worker", "-ssubscribe", "-spublish"});
    auto const o = redis_options(server);
    LockStateService const here{Repository{redis::Client{o}}, {.ttl = 20s}};
    LockStateService const there{Repository{redis::Client{o}}, {.ttl = 20s}};
    for (int i = 0; i < 3; ++i) {
        auto lock = here.acquire("x", {.deadline = 20s});
        std::thread other([&] {
            auto theirs = there.acquire("x", {.deadline = 20s});
            CHECK(theirs.status() == LockStatus::held);
            CHECK(there.release(theirs));
        });
        std::this_thread::sleep_for(20ms);
        CHECK(here.release(lock));
        other.join();
    }
}

TEST_CASE("B25: waiters are bounded, and only one of each process asks the server", "[redis][faults]")
{
    RedisServer server;
    auto const o = redis_options(server);
    LockStateService const holder{Repository{redis::Client{o}}, {.ttl = 60s}};
    LockStateService const crowd{Repository{redis::Client{o}}, {.ttl = 60s, .max_waiters = 40}};
    auto lock = holder.acquire("x");
    std::atomic<int> overloaded{0};
    std::atomic<int> got{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 60; ++i)
        threads.emplace_back([&] {
            auto const outcome = crowd.acquire_outcome("x", Wait::until_deadline, {.deadline = 60s});
            overloaded += outcome.errc() == Errc::overloaded;
            got += outcome.errc() == Errc::ok;
        });
    REQUIRE(eventually([&] { return overloaded >= 19; }));
    auto const calls = [&] {
        auto const all = server.command({"INFO", "commandstats"});
        auto const at = all.find("cmdstat_evalsha:calls=");
        return at == std::string::npos ? 0 : std::stoi(all.substr(at + 22));
    };
    auto const before = calls();
    std::this_thread::sleep_for(1s);
    CHECK(calls() - before < 20);  // one asks now and then, and the holder renews
    CHECK(holder.release(lock));
    for (auto& thread : threads)
        thread.join();
    CHECK(overloaded == 19);
    CHECK(got == 41);
}

// ---- G8: what the system refuses ----------------------------------------------------------------

TEST_CASE(
    "G8: without file descriptors the store is unavailable, and afterwards it is not", "[redis][faults]")
{
    Repository const repository{redis::Client{redis_options()}};
    rlimit const all = [] {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        return limit;
    }();
    int const next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(next);
    rlimit few = all;
    few.rlim_cur = static_cast<rlim_t>(next);
    // A sanitizer looks at memory through descriptors.
    bool const limited = ::setrlimit(RLIMIT_NOFILE, &few) == 0;
    auto const refused = repository.create(x, owner(1), 30s, Deadline{2s});
    ::setrlimit(RLIMIT_NOFILE, &all);
    REQUIRE(limited);
    CHECK(refused.errc() == Errc::unavailable);
    CHECK(repository.create(x, owner(1), 30s));
}

TEST_CASE("G8: a host name that cannot be resolved is unavailable", "[redis][faults]")
{
    Repository const repository{redis::Client{"redis://no-such-host.invalid"}};
    CHECK(repository.create(x, owner(1), 30s, Deadline{20s}).errc() == Errc::unavailable);
}

TEST_CASE("G6: a descriptor that this library opens is closed by exec", "[redis][faults]")
{
    Repository const repository{redis::Client{redis_options()}};
    LockStateService const locks{repository, {.ttl = 30s}};
    auto const lock = locks.acquire("x");
    CHECK_FALSE(locks.try_acquire("x"));
    int sockets = 0;
    for (int fd = 3; fd < 256; ++fd) {
        auto const flags = ::fcntl(fd, F_GETFD);
        if (flags < 0)
            continue;
        std::array<char, 64> target{};
        auto const link = "/proc/self/fd/" + std::to_string(fd);
        if (::readlink(link.c_str(), target.data(), target.size() - 1) <= 0 ||
            !std::string(target.data()).starts_with("socket:"))
            continue;
        ++sockets;
        CHECK((flags & FD_CLOEXEC) != 0);
    }
    CHECK(sockets >= 1);
}

}  // namespace redis_operators_test
