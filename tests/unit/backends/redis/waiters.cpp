// SPDX-License-Identifier: BSL-1.0

// Who waits for a lock on a Redis server: who is woken, in which order, and what a waiter that leaves or dies
// costs the others.
//
// How it works: a real server, and clients that subscribe and stand in its line (`InLine`).

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <thread>

namespace redis_waiters_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::CuttingProxy;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

Key const x{"x"};

TEST_CASE("a lock that is removed wakes its own waiters and no others", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    Repository const waiting{redis::Client{o}};
    CountingWaiter waiter;
    CountingWaiter foreign;
    CHECK(holder.create(x, owner(1), 10s));
    waiting.subscribe(x, owner(2), waiter);
    waiting.subscribe(Key{"y"}, owner(2), foreign);
    // It listens now: look again.
    CHECK(eventually([&] { return waiter.count() > 0 && foreign.count() > 0; }));
    auto const before = waiter.count();
    auto const before_foreign = foreign.count();
    // Who waits has looked; so the release is announced.
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.remove(x, owner(1)));
    CHECK(eventually([&] { return waiter.count() > before; }));
    CHECK(waiting.remove(x, owner(2)).value() == Removal::removed);  // it was its turn
    // By the fused way, too.
    auto const grant = holder.create(x, owner(1), 10s).value();
    Fence const fence{owner(1), grant.first};
    std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &fence, .release = true}};
    auto const again = waiter.count();
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.create(x, owner(1), 10s).value().first == grant.first);
    CHECK(holder.commit(changes, nullptr));
    CHECK(eventually([&] { return waiter.count() > again; }));
    CHECK(foreign.count() == before_foreign);
    waiting.unsubscribe(x, waiter);
    CHECK(waiting.remove(x, owner(2)).value() == Removal::removed);
    auto const last = waiter.count();
    CHECK(holder.create(x, owner(1), 10s));
    CHECK(holder.remove(x, owner(1)));
    waiting.unsubscribe(Key{"y"}, foreign);
    std::this_thread::sleep_for(50ms);
    CHECK(waiter.count() == last);
}

TEST_CASE(
    "wake-up channels are in the cluster slots of their shards, and their number is bounded",
    "[redis][state_repository]")
{
    using redis::detail::KeySpace;
    for (std::size_t const shards : {1U, 2U, 5U, 64U, 100U, 16384U}) {
        CAPTURE(shards);
        KeySpace const keys{"ns", shards};
        CHECK(keys.channel_count() <= std::max<std::size_t>(KeySpace::least_channels, shards));
        std::set<std::string> names;
        for (std::size_t i = 0; i < keys.channel_count(); ++i)
            names.insert(keys.channel(i));
        CHECK(names.size() == keys.channel_count());
        std::set<std::size_t> used;
        for (int i = 0; i < 500; ++i) {
            auto const key = std::to_string(i);
            auto const name = keys.name("lock", key).text();
            auto const heard = keys.wake_name("lock", key);
            CHECK(heard.hash == interlock::detail::fnv1a(name));
            REQUIRE(heard.channel < keys.channel_count());
            auto const channel = keys.channel(heard.channel);
            auto const slot = [](std::string const& text) { return text.substr(0, text.find('}')); };
            CHECK(slot(channel) == slot(name));
            used.insert(heard.channel);
        }
        CHECK(used.size() > 40);  // spread
    }
    for (std::size_t const shards : {3U, 1000U}) {
        CAPTURE(shards);
        auto const o = redis_options();
        Repository const holder{redis::Client{o}, {.shards = shards}};
        Repository const other{redis::Client{o}, {.shards = shards}};
        for (int i = 0; i < 10; ++i) {
            Key const key{std::to_string(i)};
            CountingWaiter waiter;
            CHECK(holder.create(key, owner(1), 10s));
            other.subscribe(key, owner(2), waiter);
            CHECK(eventually([&] { return waiter.count() > 0; }));
            CHECK(other.create(key, owner(2), 10s).errc() == Errc::lock_busy);
            auto const before = waiter.count();
            CHECK(holder.remove(key, owner(1)));
            CHECK(eventually([&] { return waiter.count() > before; }));
            other.unsubscribe(key, waiter);
        }
    }
}

TEST_CASE("a holder hears that somebody elsewhere waits for its lock", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    Repository const other{redis::Client{o}};
    CountingWaiter waiter;
    CHECK(holder.create(x, owner(1), 10s));
    CHECK_FALSE(holder.wanted(x, owner(1)));
    for (int i = 0; i < 3; ++i) {
        CHECK(other.create(x, owner(2), 10s).errc() == Errc::lock_busy);
        std::this_thread::sleep_for(20ms);
        CHECK_FALSE(holder.wanted(x, owner(1)));  // who only tries does not wait
    }
    other.subscribe(x, owner(2), waiter);
    CHECK(eventually([&] {
        CHECK(other.create(x, owner(2), 10s).errc() == Errc::lock_busy);
        return holder.wanted(x, owner(1));
    }));
    CHECK_FALSE(holder.wanted(x, owner(3)));  // a later holder is not blamed for it
    CHECK(eventually([&] { return !holder.wanted(x, owner(1)); }));
    other.unsubscribe(x, waiter);
}

// ---- the line -----------------------------------------------------------------------------------

namespace {

/// A client that waits in line.
struct InLine {
    InLine(redis::Options const& options, unsigned char n) : repository(redis::Client{options}), me(owner(n))
    {
        repository.subscribe(x, me, waiter);
        REQUIRE(eventually([&] { return waiter.count() > 0; }));
    }
    ~InLine() { repository.unsubscribe(x, waiter); }
    InLine(InLine const&) = delete;
    InLine& operator=(InLine const&) = delete;
    bool ask() const { return repository.create(x, me, 10s).errc() == Errc::ok; }
    Repository repository;
    OwnerToken me;
    CountingWaiter waiter;
};

}  // namespace

TEST_CASE(
    "waiters of several clients get the lock in the order in which they asked", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    InLine second{o, 2};
    InLine third{o, 3};
    auto const grant = holder.create(x, owner(1), 10s).value();
    CHECK_FALSE(second.ask());
    CHECK_FALSE(third.ask());
    CHECK_FALSE(second.ask());  // again: its place is the same
    auto const before = third.waiter.count();

    CHECK(holder.remove(x, owner(1)).value() == Removal::removed);
    CHECK(holder.create(x, owner(4), 10s).errc() == Errc::lock_busy);  // faster than the one whose turn it is
    CHECK(eventually([&] { return second.waiter.count() > 1; }));
    CHECK(third.waiter.count() == before);  // only the one whose turn it is is woken
    CHECK_FALSE(third.ask());
    auto const next = second.repository.create(x, second.me, 10s).value();
    CHECK(next.first.value() >= grant.first.value() + grant.count);
    CHECK(second.repository.wanted(x, second.me));  // came with the grant

    // The former holder is fenced out from the moment of its release on, taken up or not.
    Fence const old{owner(1), grant.first};
    std::array late{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &old}};
    CHECK(holder.commit(late, nullptr).errc() == Errc::fenced_out);

    // And by the fused way.
    Fence const fence{second.me, next.first};
    std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::guard, .fence = &fence, .release = true}};
    CHECK(second.repository.commit(changes, nullptr));
    CHECK(eventually([&] { return third.waiter.count() > before; }));
    CHECK(third.ask());
    CHECK_FALSE(third.repository.wanted(x, third.me));
    CHECK(third.repository.remove(x, third.me).value() == Removal::removed);
    CHECK(holder.create(x, owner(4), 10s));  // nobody is left in line
}

TEST_CASE("a waiter that leaves the line holds up nobody behind it", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    InLine second{o, 2};
    InLine third{o, 3};
    CHECK(holder.create(x, owner(1), 10s));
    CHECK_FALSE(second.ask());
    CHECK_FALSE(third.ask());
    SECTION("before its turn")
    {
        CHECK(second.repository.remove(x, second.me).value() == Removal::taken);
        CHECK(holder.renew(x, owner(1), 10s));  // the holder's lease is what it was
        CHECK(holder.remove(x, owner(1)));
    }
    SECTION("in its turn")
    {
        CHECK(holder.remove(x, owner(1)));
        CHECK(second.repository.remove(x, second.me).value() == Removal::removed);
    }
    SECTION("when the holder is removed by force")
    {
        CHECK(second.repository.remove(x, second.me));
        CHECK(holder.force_release(x).value() == Removal::removed);
    }
    CHECK(third.ask());
}

TEST_CASE("a waiter that died in line holds up the others for a moment only", "[redis][state_repository]")
{
    auto const o = redis_options();
    Repository const holder{redis::Client{o}};
    {
        InLine dead{o, 2};
        CHECK(holder.create(x, owner(1), 60s));
        CHECK_FALSE(dead.ask());
    }
    CHECK(holder.remove(x, owner(1)));
    CHECK(holder.create(x, owner(3), 60s).failure().retry_after() <= 500ms);
    CHECK(eventually([&] { return holder.create(x, owner(3), 60s).errc() == Errc::ok; }));
    CHECK(holder.remove(x, owner(3)));
}

TEST_CASE(
    "the line of waiters is bounded, and can be left on a server without memory", "[redis][state_repository]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const holder{redis::Client{o}};
    CHECK(holder.create(x, owner(1), 60s));
    CountingWaiter waiter;
    for (int i = 0; i < 200; ++i) {
        holder.subscribe(x, owner(static_cast<unsigned char>(10 + i)), waiter);
        CHECK(holder.create(x, owner(static_cast<unsigned char>(10 + i)), 60s).errc() == Errc::lock_busy);
        holder.unsubscribe(x, waiter);
    }
    CHECK(
        server.command({"STRLEN", redis::detail::KeySpace{o.name_space, 1}.name("lock", x.bytes()).text()}) ==
        std::to_string(64 + 16 * redis::detail::longest_line));
    server.command({"CONFIG", "SET", "maxmemory", "1"});
    CHECK(holder.remove(x, owner(1)).value() == Removal::removed);
    server.command({"CONFIG", "SET", "maxmemory", "0"});
    CHECK(holder.create(x, owner(2), 60s));  // at once: free, since nobody could be made its next holder
}

TEST_CASE("wake-ups work again after the server was away", "[redis][state_repository]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const holder{redis::Client{o}};
    Repository const waiting{redis::Client{o}};
    CountingWaiter waiter;
    waiting.subscribe(x, owner(2), waiter);
    CHECK(eventually([&] { return waiter.count() > 0; }));
    auto const before = waiter.count();
    server.kill();
    server.start();
    CHECK(eventually([&] { return waiter.count() > before; }));
    auto const again = waiter.count();
    CHECK(holder.create(x, owner(1), 10s));
    CHECK(waiting.create(x, owner(2), 10s).errc() == Errc::lock_busy);
    CHECK(holder.remove(x, owner(1)));
    CHECK(eventually([&] { return waiter.count() > again; }));
    waiting.unsubscribe(x, waiter);
}

TEST_CASE("a server that lets nobody listen is asked later each time", "[redis][state_repository]")
{
    RedisServer const server{{"--port", "@PORT@"}};
    CuttingProxy proxy{server.port()};
    auto o = redis_options(server);
    o.unix_path.clear();
    o.host = "127.0.0.1";
    o.port = proxy.port();
    Repository const waiting{redis::Client{o}};
    CountingWaiter waiter;
    proxy.cut(CuttingProxy::Cut::request, "SSUBSCRIBE", true);
    waiting.subscribe(x, owner(2), waiter);
    std::this_thread::sleep_for(2s);
    CHECK(proxy.cuts() > 1);
    CHECK(proxy.cuts() < 40);  // the pauses grow from 20 ms at most to 2 seconds at most
    CHECK(waiter.count() == 0);
    proxy.cut(CuttingProxy::Cut::nothing, "");
    CHECK(eventually([&] { return waiter.count() > 0; }));
    waiting.unsubscribe(x, waiter);
}

TEST_CASE(
    "the last handle may be dropped on the thread that is woken, or while the client connects",
    "[redis][state_repository]")
{
    for (int i = 0; i < 20; ++i) {
        Repository const repository{redis::Client{redis_options()}};
        CountingWaiter waiter;
        repository.subscribe(x, owner(1), waiter);
        repository.unsubscribe(x, waiter);
    }
    SUCCEED("nothing to join, nothing left");
}

TEST_CASE("a lock goes from one client to another faster than either polls", "[redis][state_repository]")
{
    auto const o = redis_options();
    LockOptions const locks{.poll = {.initial = 2s, .cap = 2s, .immediate = 0}};
    LockStateService const a{Repository{redis::Client{o}}, locks};
    LockStateService const b{Repository{redis::Client{o}}, locks};
    static_cast<void>(Repository{redis::Client{o}}.insert(Stock{"x", 0}).value());
    auto const began = std::chrono::steady_clock::now();
    std::atomic<int> inside{0};
    std::atomic<int> broken{0};
    run_threads(2, [&](std::size_t i) {
        auto const& service = i == 0 ? a : b;
        for (int n = 0; n < 10; ++n) {
            auto lock = service.acquire("x", {.deadline = 60s});
            broken += inside.fetch_add(1) == 0 ? 0 : 1;
            std::this_thread::sleep_for(2ms);
            inside.fetch_sub(1);
        }
    });
    CHECK(broken == 0);
    CHECK(std::chrono::steady_clock::now() - began < 10s);
}

/// The child's part of the next test; by itself it does nothing.

}  // namespace redis_waiters_test
