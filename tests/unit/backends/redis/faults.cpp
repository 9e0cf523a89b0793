// SPDX-License-Identifier: BSL-1.0

// What becomes of locks when processes pause or die, replies are cut, servers stop or fail over, and clocks
// jump. The letter and number in a name is a row of the fault catalogue in tests/README.md.
//
// How it works: real servers, and a `Middleman` on the way that cuts after a given byte. A holder that is to
// be stopped or killed is this test program in a child process, which runs a hidden case ("[.]"); child and
// parent tell each other how far they are by what they store. Clocks are moved in such a child by a preloaded
// module (`clock_shift`).

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/middleman.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace redis_faults_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::Middleman;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using interlock_test::time_of;
using Repository = redis::StateRepository<Stock>;
Key const x{"x"};

Outcome<CommitResult> guarded_write(
    Repository const& repository, Fence const& fence, Version version, int quantity)
{
    Stock const value{"x", quantity};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence}};
    return repository.commit(changes, nullptr, Deadline{10s});
}

// ---- B1, B2: the holder pauses ------------------------------------------------------------------

/// Takes the lock, says so, is stopped by its parent, and then writes as if nothing had happened.
TEST_CASE("a holder that will be stopped", "[.][redis][stopped_holder]")
{
    auto const* const socket = std::getenv("INTERLOCK_TEST_SOCKET");
    auto const* const name_space = std::getenv("INTERLOCK_TEST_NAME_SPACE");
    if (socket == nullptr || name_space == nullptr) {
        SUCCEED("for the cases that start it");
        return;
    }
    Repository const repository{redis::Client{
        RedisServer::as_worker({.unix_path = std::string(socket), .name_space = std::string(name_space)})}};
    LockStateService const locks{repository, {.ttl = 1s}};
    auto lock = locks.acquire("x");
    auto const seen = repository.load("x").value();
    CHECK(lock.status() == LockStatus::held);
    repository.insert(Stock{"ready", 1}).value();
    ::raise(SIGSTOP);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(locks.write(lock, seen.version, Stock{"x", 666}).errc() == Errc::lock_lost);
    // The check passed before the pause, the write comes after it.
    CHECK(guarded_write(repository, lock.fence(), seen.version, 666).errc() == Errc::fenced_out);
    CHECK(locks.release(lock).errc() == Errc::lock_lost);
    // The control: without a fence the write of the past goes through.
    auto const control = repository.load("control").value();
    CHECK(repository.compare_and_set(Key{"control"}, control.version, Stock{"control", 666}));
}

/// Runs the case above in a process of its own, until it holds its lock and has stopped.
pid_t start_holder_that_stops(redis::Options const& o)
{
    ::setenv("INTERLOCK_TEST_SOCKET", o.unix_path.c_str(), 1);
    ::setenv("INTERLOCK_TEST_NAME_SPACE", o.name_space.c_str(), 1);
    auto const child = ::fork();
    if (child == 0) {
        ::execl("/proc/self/exe", "holder", "[stopped_holder]", static_cast<char*>(nullptr));
        ::_exit(127);
    }
    ::unsetenv("INTERLOCK_TEST_SOCKET");
    int status = 0;
    REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
    REQUIRE(WIFSTOPPED(status));
    return child;
}

TEST_CASE(
    "B1, B2: the write of a holder that was paused beyond its lease is refused, whatever the holder believed",
    "[redis][faults]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    auto const version = repository.insert(Stock{"x", 1}).value();
    repository.insert(Stock{"control", 1}).value();
    auto const child = start_holder_that_stops(o);
    REQUIRE(repository.load("ready"));
    LockStateService const locks{repository, {.ttl = 30s}};
    auto lock = locks.acquire("x", {.deadline = 20s});  // when its lease has run out
    CHECK(locks.write(lock, version, Stock{"x", 2}));
    ::kill(child, SIGCONT);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(repository.load("x").value().value.quantity == 2);
    CHECK(repository.load("control").value().value.quantity == 666);
    CHECK(lock.status() == LockStatus::held);
    CHECK(locks.release(lock));
}

TEST_CASE("G6: a killed holder's lock is free when its lease is over, and not before", "[redis][faults]")
{
    auto const o = redis_options();
    Repository const repository{redis::Client{o}};
    repository.insert(Stock{"x", 1}).value();
    auto const child = start_holder_that_stops(o);
    LockStateService const locks{repository, {.ttl = 30s}};
    CHECK_FALSE(locks.try_acquire("x"));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    std::optional<Lock<Stock>> lock;
    auto const waited = time_of([&] { lock = locks.acquire("x", {.deadline = 20s}); });
    CHECK(lock->status() == LockStatus::held);
    CHECK(waited < 5s);
}

// ---- B3 to B6: replies and requests that are lost, late or doubled ------------------------------

TEST_CASE(
    "B3, B4: a grant whose reply is cut anywhere is recognised, and never given twice", "[redis][faults]")
{
    RedisServer server({"--port", "@PORT@"});
    auto direct = redis_options(server);
    Middleman middleman{server.port()};
    auto through = direct;
    through.unix_path.clear();
    through.host = "127.0.0.1";
    through.port = middleman.port();
    Repository const cut{redis::Client{through}};
    Repository const sure{redis::Client{direct}};
    for (std::ptrdiff_t after = 0; after < 40; after += 3) {
        auto const name = "cut " + std::to_string(after);
        Key const key{name};
        static_cast<void>(cut.load(key, Deadline{10s}));  // a connection that is ready
        middleman.cut_next_reply(after);
        auto const lost = cut.create(key, owner(1), 30s, Deadline{5s});
        if (!lost)
            CHECK(lost.errc() == Errc::outcome_unknown);
        // The record may be there; if so it is ours, by our own token.
        auto again = cut.create(key, owner(1), 30s, Deadline{5s});
        if (again.errc() == Errc::outcome_unknown)  // the farewell came with this one
            again = cut.create(key, owner(1), 30s, Deadline{5s});
        INFO(
            after << ": " << name_of(lost.errc()) << ", then " << name_of(again.errc()) << " "
                  << again.detail());
        REQUIRE(again);
        if (lost)
            CHECK(lost->first == again->first);
        CHECK(sure.create(key, owner(2), 30s).errc() == Errc::lock_busy);
        CHECK(sure.remove(key, owner(1)).value() == Removal::removed);
    }
    // The same through the service: it asks again by itself.
    LockStateService const locks{cut, {.ttl = 30s}};
    locks.try_acquire("first").value();
    for (std::ptrdiff_t after : {0, 1, 7, 20}) {
        middleman.cut_next_reply(after);
        auto lock = locks.acquire("by itself", {.deadline = 20s});
        CHECK(lock.status() == LockStatus::held);
        CHECK(sure.create(Key{"by itself"}, owner(2), 30s).errc() == Errc::lock_busy);
        CHECK(locks.release(lock));
    }
}

TEST_CASE("B4: a release whose reply is cut anywhere is made, and is known to be made", "[redis][faults]")
{
    RedisServer server({"--port", "@PORT@"});
    Middleman middleman{server.port()};
    // The operator may use what the server has instead of a script, where it has such a thing.
    for (auto direct : {redis_options(server), server.operator_options()}) {
        direct.name_space = interlock_test::fresh_name_space();
        auto through = direct;
        through.unix_path.clear();
        through.host = "127.0.0.1";
        through.port = middleman.port();
        asio::io_context io;
        redis::Client const client{io, through};
        LockStateService const locks{Repository{client}, {.ttl = 30s}};
        Repository const sure{redis::Client{direct}};
        for (std::ptrdiff_t after = 0; after < 4; ++after) {
            CAPTURE(after);
            auto lock = locks.acquire("x", {.deadline = 20s});
            middleman.cut_next_reply(after);
            CHECK(locks.release(lock));
            CHECK(sure.create(x, owner(1), 30s));
            CHECK(sure.remove(x, owner(1)));

            // A connection that is ready, over which the release then goes.
            std::optional<Lock<Stock>> asynchronous;
            locks.async_acquire(
                "x", AcquireOptions{.deadline = 20s},
                asio::bind_executor(
                    io, [&](error_code, Lock<Stock> granted) { asynchronous.emplace(std::move(granted)); }));
            io.restart();
            io.run();
            REQUIRE(*asynchronous);
            middleman.cut_next_reply(after);
            error_code released = asio::error::would_block;
            locks.async_release(*std::move(asynchronous), asio::bind_executor(io, [&](error_code error) {
                released = error;
            }));
            io.restart();
            io.run();
            CHECK_FALSE(released);
            CHECK(sure.create(x, owner(1), 30s));
            CHECK(sure.remove(x, owner(1)));
        }
    }
}

TEST_CASE("B5, B6: requests that arrive late or twice harm nobody", "[redis][faults]")
{
    Repository const repository{redis::Client{redis_options()}};
    auto const first = repository.create(x, owner(1), 30s).value();
    CHECK(repository.create(x, owner(1), 30s).value().first == first.first);  // delivered twice
    CHECK(repository.remove(x, owner(1)).value() == Removal::removed);
    auto const second = repository.create(x, owner(2), 30s).value();
    CHECK(second.first > first.first);
    CHECK(repository.remove(x, owner(1)).value() == Removal::taken);  // a late release
    CHECK(repository.renew(x, owner(1), 30s).errc() == Errc::lock_lost);
    CHECK(repository.create(x, owner(1), 30s).errc() == Errc::lock_busy);  // a late acquire
    CHECK(repository.renew(x, owner(2), 30s));
}

// ---- B7 to B10: the server stops, restarts, fails over ------------------------------------------

TEST_CASE(
    "B7, B21: a holder knows by its own clock that its lease ended while the server slept", "[redis][faults]")
{
    RedisServer server;
    Repository const repository{redis::Client{redis_options(server)}};
    auto const version = repository.insert(Stock{"x", 1}).value();
    LockStateService const locks{repository, {.ttl = 800ms}};
    auto lock = locks.acquire("x");
    server.pause();
    std::this_thread::sleep_for(1s);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(locks.write(lock, version, Stock{"x", 2}).errc() == Errc::lock_lost);
    server.resume();
    auto other = locks.acquire("x", {.deadline = 20s});
    CHECK(guarded_write(repository, lock.fence(), version, 3).errc() == Errc::fenced_out);
    CHECK(locks.write(other, version, Stock{"x", 4}));
}

TEST_CASE(
    "B10: after a failover that lost the grant two callers believe they hold it, and one can write",
    "[redis][faults]")
{
    RedisServer primary({"--port", "@PORT@", "--repl-diskless-sync-delay", "0"});
    RedisServer replica(
        {"--port", "@PORT@", "--replicaof", "127.0.0.1 " + std::to_string(primary.port()),
         "--replica-read-only", "yes"});
    auto o = redis_options(primary);
    Repository const before{redis::Client{o}};
    auto const version = before.insert(Stock{"x", 1}).value();
    auto o2 = redis_options(replica);
    o2.name_space = o.name_space;
    Repository const after{redis::Client{o2}};
    REQUIRE(eventually([&] { return after.load(x, Deadline{5s}).errc() == Errc::ok; }));
    replica.pause();
    primary.command({"CLIENT", "KILL", "TYPE", "replica"});  // or it would find the grant when it wakes up
    auto const lost = before.create(x, owner(1), 60s).value();
    primary.kill();
    replica.resume();
    replica.command({"REPLICAOF", "NO", "ONE"});
    auto const granted = after.create(x, owner(2), 60s, Deadline{20s});
    REQUIRE(granted);  // both believe
    // Whoever compares tokens refuses the first one.
    CHECK(granted->first.value() >= lost.first.value() + lost.count);
    CHECK(guarded_write(after, Fence{owner(1), lost.first}, version, 2).errc() == Errc::fenced_out);
    CHECK(after.renew(x, owner(1), 60s).errc() == Errc::lock_lost);
    CHECK(guarded_write(after, Fence{owner(2), granted->first}, version, 3));
}

/// A primary and a replica of it. `repository` wants the replica to have each grant within 200 ms, `patient`
/// within 10 s.
struct Replicated {
    Replicated() { REQUIRE(in_step()); }
    bool in_step()
    {
        return eventually([&] { return primary.command({"WAIT", "1", "100"}) == "1"; });
    }
    Outcome<Grant> create(bool asynchronous, Deadline deadline = {}, bool patiently = false)
    {
        auto const& by = patiently ? patient : repository;
        if (!asynchronous)
            return by.create(x, owner(1), 60s, deadline);
        CountingWaiter waiter;
        auto call = by.start(verb::Create{x, owner(1), 60s}, deadline, waiter);
        for (;; io.restart()) {
            if (auto outcome = call->poll())
                return *std::move(outcome);
            io.run_for(1ms);
        }
    }
    RedisServer primary{{"--port", "@PORT@", "--repl-diskless-sync-delay", "0"}};
    RedisServer replica{
        {"--port", "@PORT@", "--replicaof", "127.0.0.1 " + std::to_string(primary.port()),
         "--replica-read-only", "yes"}};
    redis::Options o{primary.operator_options()};
    asio::io_context io;
    redis::RepositoryOptions one{.replicas = 1, .replica_timeout = 200ms};
    Repository repository{redis::Client{io, o}, one};
    Repository patient{redis::Client{io, o}, {.replicas = 1, .replica_timeout = 10s}};
    std::string name{"v1:{" + o.name_space + ".0}:lock:1:x"};
};

TEST_CASE("B11: a grant that too few replicas have confirmed is taken back", "[redis][faults]")
{
    Replicated w;
    for (bool const asynchronous : {false, true}) {
        INFO(asynchronous);
        w.primary.command({"SCRIPT", "FLUSH"});  // also what takes it back is a script
        CHECK(w.create(asynchronous, 20s, true));
        CHECK(w.primary.command({"EXISTS", w.name}) == "1");
        CHECK(w.replica.command({"EXISTS", w.name}) == "1");
        CHECK(w.repository.remove(x, owner(1)).value() == Removal::removed);

        w.replica.pause();
        w.primary.command({"SCRIPT", "FLUSH"});
        auto const refused = w.create(asynchronous);
        CHECK(refused.errc() == Errc::unavailable);
        CHECK(refused.effect() == Effect::not_applied);
        CHECK(refused.failure().detail() == "redis: 0 of 1 replicas have the grant; it was taken back");
        CHECK(w.primary.command({"EXISTS", w.name}) == "0");
        // Another's is left alone, and there is time to take it back before the deadline.
        CHECK(w.create(asynchronous, Deadline{250ms}).errc() == Errc::unavailable);
        REQUIRE(Repository{redis::Client{w.o}}.create(x, owner(2), 60s));
        CHECK(w.create(asynchronous).errc() == Errc::lock_busy);
        CHECK(w.repository.remove(x, owner(2)).value() == Removal::removed);
        w.replica.resume();
        REQUIRE(w.in_step());
    }
}

TEST_CASE("B11: a renewal that too few replicas have is not believed", "[redis][faults]")
{
    Replicated w;
    auto const granted = w.create(false, 20s, true);
    REQUIRE(granted);
    CHECK(w.patient.renew(x, owner(1), 90s, 20s).value() == 90s);
    w.replica.pause();
    w.primary.command({"CLIENT", "KILL", "TYPE", "replica"});  // or it would find them when it wakes up
    auto const refused = w.repository.renew(x, owner(1), 1h);
    CHECK(refused.errc() == Errc::outcome_unknown);
    CHECK(refused.cause() == Errc::unavailable);
    CHECK(refused.failure().detail().find("0 of 1 replicas have the renewal") != std::string::npos);
    Key const other{"other"};
    std::array together{Renewal{&x, owner(1)}, Renewal{&other, owner(1)}};
    w.primary.command({"SCRIPT", "FLUSH"});
    w.repository.renew_all(together, 1h);
    CHECK(together[0].granted.errc() == Errc::outcome_unknown);
    CHECK(together[1].granted.errc() == Errc::lock_lost);
    CHECK(w.repository.renew(x, owner(2), 1h).errc() == Errc::lock_lost);

    w.primary.kill();  // and the replica, which never got the renewals, is promoted
    w.replica.resume();
    w.replica.command({"REPLICAOF", "NO", "ONE"});
    auto const lease = std::stoll(w.replica.command({"PTTL", w.name}));
    CHECK(lease > 0);
    CHECK(lease <= 90'000);
}

TEST_CASE("B11: a grant that is given up or cut off while a replica is waited for", "[redis][faults]")
{
    Replicated w;
    // Connected, and the script is known. The first replication of a busy machine may take its time.
    REQUIRE(eventually([&] { return w.create(true, 20s).has_value(); }));
    CHECK(w.repository.remove(x, owner(1)).value() == Removal::removed);
    w.replica.pause();
    CountingWaiter waiter;
    auto call = w.repository.start(verb::Create{x, owner(1), 60s}, 20s, waiter);
    w.io.restart();
    w.io.run_for(50ms);
    CHECK_FALSE(call->poll());
    call.reset();
    CHECK(w.repository.load(x, 20s).errc() == Errc::not_found);
    CHECK(w.create(true, 20s).errc() == Errc::unavailable);
    call = w.repository.start(verb::Create{x, owner(1), 60s}, 20s, waiter);
    w.io.restart();
    w.io.run_for(50ms);
    w.primary.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    w.io.run_for(50ms);
    auto const cut = call->poll();
    REQUIRE(cut);
    CHECK(cut->errc() == Errc::outcome_unknown);
    CHECK(w.repository.remove(x, owner(1)).value() == Removal::removed);
    w.replica.resume();
    REQUIRE(w.in_step());
}

TEST_CASE("B11: a lock service and a user without rights learn that replicas are missing", "[redis][faults]")
{
    Replicated w;
    LockStateService const certain{w.patient};
    auto lock = certain.acquire("x", {.deadline = 20s});
    CHECK(certain.release(lock));
    LockStateService const locks{w.repository};
    w.replica.kill();
    REQUIRE(eventually([&] { return w.primary.command({"WAIT", "1", "1"}) == "0"; }));
    CHECK_THROWS_AS(locks.acquire("x", {.deadline = 1s}), Error);
    CHECK(eventually([&] { return w.primary.command({"EXISTS", w.name}) == "0"; }));

    Repository const unentitled{redis::Client{w.primary.options()}, w.one};
    auto const refused = unentitled.create(x, owner(1), 60s);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK(refused.failure().detail().find("WAIT") != std::string::npos);
    CHECK_THROWS_AS((Repository{redis::Client{w.o}, {.replica_timeout = 0ms}}), Error);
    CHECK_THROWS_AS((Repository{redis::Client{w.o}, {.replicas = 1001}}), Error);
}

TEST_CASE(
    "B12: after a jump of the server's wall clock two callers believe they hold it, and one can write",
    "[redis][faults]")
{
    std::string name = "/tmp/interlock_clock.XXXXXX";
    int const file = ::mkstemp(name.data());
    REQUIRE(file >= 0);
    auto const shift_clock = [&](std::chrono::seconds by) {
        std::int64_t const seconds = by.count();
        REQUIRE(::pwrite(file, &seconds, sizeof seconds, 0) == sizeof seconds);
    };
    shift_clock(0s);
    ::setenv("INTERLOCK_CLOCK_SHIFT", name.c_str(), 1);
    ::setenv("LD_PRELOAD", INTERLOCK_CLOCK_SHIFT_MODULE, 1);
    RedisServer server;
    ::unsetenv("LD_PRELOAD");
    ::unsetenv("INTERLOCK_CLOCK_SHIFT");

    Repository const repository{redis::Client{redis_options(server)}};
    auto const version = repository.insert(Stock{"x", 1}).value();
    LockStateService const here{repository, {.ttl = 10min}};
    LockStateService const there{repository, {.ttl = 10min}};
    auto const lock = here.acquire("x");
    CHECK_FALSE(there.try_acquire("x"));
    shift_clock(1h);
    std::optional<Lock<Stock>> second;
    // Valkey 9 looks at it now and then.
    REQUIRE(eventually([&] { return (second = there.try_acquire("x")).has_value(); }));
    CHECK(second->status() == LockStatus::held);
    CHECK(lock.status() == LockStatus::held);  // it believes: exclusion is void
    CHECK(guarded_write(repository, lock.fence(), version, 2).errc() == Errc::fenced_out);
    CHECK(guarded_write(repository, second->fence(), version, 3));
    CHECK(repository.load("x").value().value.quantity == 3);
    // Back again: a lease lasts longer than it should, and tokens go on.
    shift_clock(0s);
    CHECK(eventually([&] { return repository.create(x, owner(1), 60s).failure().retry_after() > 1h; }));
    CHECK(repository.force_release("x").value() == Removal::removed);
    CHECK(repository.create(x, owner(1), 60s)->first > second->fencing_token());
    ::close(file);
    ::unlink(name.c_str());
}

/// The child's part of the next test; by itself it does nothing.
TEST_CASE("a process whose clocks jump", "[.][redis][jumping_process]")
{
    auto const* const name = std::getenv("INTERLOCK_CLOCK_SHIFT");
    auto const* const socket = std::getenv("INTERLOCK_TEST_SOCKET");
    if (name == nullptr || socket == nullptr) {
        SUCCEED("not the jumping process");
        return;
    }
    int const file = ::open(name, O_RDWR | O_CLOEXEC);
    REQUIRE(file >= 0);
    enum Clock : ::off_t { wall, boot };
    auto const shift = [&](Clock clock, std::chrono::seconds by) {
        std::int64_t const seconds = by.count();
        REQUIRE(
            ::pwrite(file, &seconds, sizeof seconds, clock * static_cast<::off_t>(sizeof seconds)) ==
            sizeof seconds);
    };
    Repository const repository{
        redis::Client{RedisServer::as_worker({.unix_path = socket, .name_space = "jumping"})}};
    auto version = repository.insert(Stock{"x", 1}).value();
    LockStateService const locks{repository, {.ttl = 10min}};
    auto lock = locks.acquire("x");
    auto const now = std::chrono::system_clock::now();
    for (auto const by : {1h, -1h}) {
        shift(wall, by);
        auto const jumped = std::chrono::system_clock::now() - now - by;
        REQUIRE(jumped > -1min);
        REQUIRE(jumped < 1min);
        CHECK(lock.status() == LockStatus::held);
        CHECK(lock.remaining() > 9min);
        version = locks.write(lock, version, Stock{"x", 2}).value();
        CHECK(locks.release(locks.acquire("y", {.deadline = 20s})));
    }
    // As after a suspend: the lease is over, whatever the server says.
    shift(boot, 1h);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::expired);
    CHECK(lock.remaining() == 0ns);
    CHECK(locks.write(lock, version, Stock{"x", 3}).errc() == Errc::lock_lost);
    CHECK(locks.release(lock).errc() == Errc::lock_lost);
    CHECK(repository.load("x").value().value.quantity == 2);
    CHECK(locks.release(locks.acquire("x", {.deadline = 20s})));
    ::close(file);
}

TEST_CASE(
    "G9: a jump of the holder's wall clock changes nothing, and a suspend ends its lease", "[redis][faults]")
{
    RedisServer const server;
    std::string name = "/tmp/interlock_clock.XXXXXX";
    int const file = ::mkstemp(name.data());
    REQUIRE(file >= 0);
    std::array<std::int64_t, 2> const none{};
    REQUIRE(::pwrite(file, none.data(), sizeof none, 0) == sizeof none);
    interlock_test::ChildProcess child;
    child.start({"/proc/self/exe", "[jumping_process]"}, SIGKILL, [&] {
        ::setenv("INTERLOCK_TEST_SOCKET", server.socket().c_str(), 1);
        ::setenv("INTERLOCK_CLOCK_SHIFT", name.c_str(), 1);
        ::setenv("LD_PRELOAD", INTERLOCK_CLOCK_SHIFT_MODULE, 1);
        // A sanitizer would be first.
        auto const* const before = std::getenv("ASAN_OPTIONS");
        ::setenv(
            "ASAN_OPTIONS",
            ((before != nullptr ? std::string(before) : "") + ":verify_asan_link_order=0").c_str(), 1);
    });
    CHECK(child.wait() == 0);
    ::close(file);
    ::unlink(name.c_str());
}

TEST_CASE(
    "a server that became a replica is reported as unavailable, and not as a lock that is held",
    "[redis][faults]")
{
    RedisServer primary({"--port", "@PORT@"});
    RedisServer server({"--port", "@PORT@"});
    Repository const repository{redis::Client{redis_options(server)}};
    repository.insert(Stock{"x", 1}).value();
    server.command({"REPLICAOF", "127.0.0.1", std::to_string(primary.port())});
    auto const refused = repository.create(x, owner(1), 30s, Deadline{2s});
    CHECK(refused.errc() == Errc::unavailable);
}

}  // namespace redis_faults_test
