// SPDX-License-Identifier: BSL-1.0

// What a `LockStateService` promises to asynchronous callers: tokens, cancellation, order, and executors
// that go away or stand still.
//
// How it works: most cases run on a store that answers in place (`immediate`) and on one that blocks
// (`blocking`). Executors stand still in virtual time (`ManualRuntime`), and run when the case says so.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "support/vanishing_context.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace lock_state_service_async_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::eventually;
using interlock_test::Gate;
using interlock_test::ManualRuntime;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;
using ManualRepository = memory::StateRepository<Stock, void, ManualRuntime>;

template <class R>
struct Faces {
    R repository;
    LockStateService<Stock, R> locks;
};

auto immediate()
{
    Repository repository;
    return Faces<Repository>{repository, LockStateService<Stock, Repository>{repository}};
}
auto blocking()
{
    using B = BlockingRepository<Repository>;
    B repository{Repository{}};
    return Faces<B>{repository, LockStateService<Stock, B>{repository}};
}

/// Coroutines: an error is an exception, or a part of the tuple.
template <class F>
void check_coroutines(F const& face)
{
    asio::io_context io;
    auto const& locks = face.locks;
    bool done = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto lock = co_await locks.async_acquire("sku-3", asio::use_awaitable);
            CHECK(lock.status() == LockStatus::held);
            auto maybe = co_await locks.async_try_acquire("sku-3", asio::use_awaitable);
            CHECK_FALSE(maybe);
            auto [error, empty] = co_await locks.async_acquire(
                "sku-3", {.deadline = 20ms}, asio::as_tuple(asio::use_awaitable));
            CHECK(error == Errc::deadline_exceeded);
            CHECK_FALSE(empty);
            co_await locks.async_release(std::move(lock), asio::use_awaitable);
            Stock const named{"sku-3", 7};
            maybe = co_await locks.async_try_acquire(named, asio::deferred);
            CHECK(maybe);
            if (maybe)
                CHECK(maybe->state().quantity == 7);
            bool thrown = false;
            try {
                co_await locks.async_acquire("", asio::use_awaitable);
            } catch (boost::system::system_error const& e) {
                thrown = e.code() == Errc::invalid_argument;
            }
            CHECK(thrown);
            done = true;
        },
        [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
    io.run();
    CHECK(done);
}

template <class F>
void check_tokens(F face)
{
    using Lock = interlock::Lock<Stock>;
    asio::io_context io;
    auto const bound = [&](auto handler) { return asio::bind_executor(io, std::move(handler)); };
    auto const& locks = face.locks;

    // A callback, move-only, on its executor and never from within the call.
    bool called = false;
    locks.async_acquire("sku-1", bound([&, only = std::make_unique<int>(1)](error_code error, Lock lock) {
                            called = true;
                            CHECK(*only == 1);
                            CHECK_FALSE(error);
                            CHECK(lock.status() == LockStatus::held);
                            CHECK(io.get_executor().running_in_this_thread());
                        }));
    CHECK_FALSE(called);
    io.run();
    CHECK(called);

    // A future. Its handler runs where the repository's runtime says.
    auto future = locks.async_acquire("sku-2", {.deadline = 60s}, asio::use_future);
    CHECK(future.get().status() == LockStatus::held);

    // A deferred operation starts nothing until it is called, and may be called when the lock is free again.
    auto deferred = locks.async_try_acquire("sku-4", asio::deferred);
    {
        auto const now = locks.try_acquire("sku-4");
        CHECK(now);
    }
    bool got = false;
    std::move(deferred)(bound([&](error_code, std::optional<Lock> lock) { got = lock.has_value(); }));
    io.restart();
    io.run();
    CHECK(got);
}

TEST_CASE(
    "async_acquire takes callbacks, futures, coroutines, deferred and tuples", "[core][lock_state_service]")
{
    SECTION("on an immediate store")
    {
        auto const face = immediate();
        check_tokens(face);
        check_coroutines(face);
    }
    SECTION("on a blocking store")
    {
        auto const face = blocking();
        check_tokens(face);
        check_coroutines(face);
    }
}

TEST_CASE("a try waits for a lock that is just being removed", "[core][lock_state_service]")
{
    auto const face = blocking();
    // A handle that goes out of scope is released behind its owner's back; the store is slow about it.
    face.repository.before_calls([](std::string_view call) {
        if (call == "remove")
            std::this_thread::sleep_for(50ms);
    });
    {
        auto const held = face.locks.try_acquire("sku-1");
        REQUIRE(held);
        CHECK_FALSE(face.locks.try_acquire("sku-1"));
    }
    CHECK(face.locks.try_acquire("sku-1"));
}

TEST_CASE("a wake-up that meets the end of a call on the pool is not lost", "[core][lock_state_service]")
{
    auto const face = blocking();
    auto held = std::optional{face.locks.acquire("sku-1")};
    asio::io_context io;
    std::optional<error_code> result;
    face.locks.async_acquire(
        "sku-1", {.deadline = 20s},
        asio::bind_executor(io, [&](error_code error, Lock<Stock>) { result = error; }));
    io.run_one();  // sends the first look to the pool
    REQUIRE(eventually([&] { return face.locks.waiter_count() == 1; }));
    CHECK(face.locks.release(std::move(*held)));  // wakes it, before it has taken note of that look's result
    auto const began = std::chrono::steady_clock::now();
    io.run();
    REQUIRE(result);
    CHECK_FALSE(*result);
    CHECK(std::chrono::steady_clock::now() - began < 10s);
}

TEST_CASE("a named handler is copied, not taken away", "[core][lock_state_service]")
{
    auto const face = immediate();
    asio::io_context io;
    auto const count = std::make_shared<int>(0);
    auto handler = [count](error_code, Lock<Stock>) { ++*count; };
    auto bound = asio::bind_executor(io, handler);
    face.locks.async_acquire("sku-1", bound);
    CHECK(count.use_count() > 2);
    io.run();
    face.locks.async_acquire("sku-1", bound);
    io.restart();
    io.run();
    CHECK(*count == 2);
}

template <class F>
void check_cancellation(F face)
{
    asio::io_context io;
    auto held = std::optional{face.locks.acquire("sku-1")};
    asio::cancellation_signal signal;
    std::optional<error_code> result;
    int calls = 0;
    face.locks.async_acquire(
        "sku-1", {.deadline = 60s},
        asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(io, [&](error_code error, Lock<Stock> lock) {
                ++calls;
                result = error;
                CHECK_FALSE(lock);
            })));
    asio::steady_timer timer(io, 50ms);
    timer.async_wait([&](error_code) { signal.emit(asio::cancellation_type::terminal); });
    io.run();
    CHECK(calls == 1);
    REQUIRE(result);
    CHECK(*result == Errc::cancelled);
    CHECK(face.locks.waiter_count() == 0);
    held.reset();
    CHECK(eventually([&] { return face.locks.try_acquire("sku-1").has_value(); }));
}

TEST_CASE("a lock alone does not read the state it locks", "[core][lock_state_service]")
{
    auto const face = blocking();
    std::vector<std::string> calls;
    face.repository.before_calls([&](std::string_view member) { calls.emplace_back(member); });
    auto lock = face.locks.acquire("sku-1");
    CHECK(face.locks.release(lock));
    face.repository.before_calls({});
    CHECK(std::count(calls.begin(), calls.end(), "create") == 1);
    CHECK(std::count(calls.begin(), calls.end(), "create_and_load") == 0);
    CHECK(std::count(calls.begin(), calls.end(), "load") == 0);
}

TEST_CASE("cancelling leaves the queue", "[core][lock_state_service]")
{
    SECTION("of an immediate store")
    {
        check_cancellation(immediate());
    }
    SECTION("of a blocking store")
    {
        check_cancellation(blocking());
    }
}

TEST_CASE("what was granted to a cancelled acquire is given back", "[core][lock_state_service]")
{
    auto const check = [](auto const& face) {
        asio::io_context io;
        asio::cancellation_signal signal;
        std::optional<error_code> result;
        face.locks.async_acquire(
            "sku-1", asio::bind_cancellation_slot(
                         signal.slot(), asio::bind_executor(io, [&](error_code error, Lock<Stock> lock) {
                             result = error;
                             CHECK_FALSE(lock);
                         })));
        CHECK_FALSE(result);  // never from within the call
        signal.emit(asio::cancellation_type::total);
        io.run();
        REQUIRE(result);
        CHECK(*result == Errc::cancelled);
        CHECK(eventually([&] { return face.locks.try_acquire("sku-1").has_value(); }));
    };
    SECTION("by an immediate store")
    {
        check(immediate());
    }
    SECTION("by a blocking store")
    {
        check(blocking());
    }
}

TEST_CASE("many asynchronous acquires on one key all get it, in order", "[core][lock_state_service]")
{
    auto const face = immediate();
    asio::io_context io;
    std::vector<int> order;
    for (int i = 0; i < 100; ++i)
        face.locks.async_acquire(
            "sku-1", {.deadline = 60s}, asio::bind_executor(io, [&, i](error_code error, Lock<Stock>) {
                if (!error)
                    order.push_back(i);
            }));
    io.run();
    REQUIRE(order.size() == 100);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE(
    "an execution context that goes away destroys waiting acquires and calls nobody",
    "[core][lock_state_service]")
{
    auto const face = immediate();
    auto held = std::optional{face.locks.acquire("sku-1")};
    auto const alive = std::make_shared<int>(0);
    bool called = false;
    {
        asio::io_context io;
        face.locks.async_acquire(
            "sku-1", {.deadline = 60s},
            asio::bind_executor(io, [&, alive](error_code, Lock<Stock>) { called = true; }));
        io.poll();
        CHECK(face.locks.waiter_count() == 1);
    }
    CHECK_FALSE(called);
    CHECK(alive.use_count() == 1);
    CHECK(face.locks.waiter_count() == 0);
    held.reset();
    CHECK(face.locks.try_acquire("sku-1"));
}

TEST_CASE(
    "an execution context may go away while the store is being asked on its behalf",
    "[core][lock_state_service]")
{
    auto const face = blocking();
    interlock_test::vanish_during(face.repository, "create", [&](asio::io_context& io, auto const& alive) {
        face.locks.async_acquire(
            "sku-1", {.deadline = 60s}, asio::bind_executor(io, [alive](error_code, Lock<Stock>) {}));
    });
    // The late grant was given back.
    CHECK(eventually([&] { return face.locks.try_acquire("sku-1").has_value(); }));
}

TEST_CASE("asynchronous releases cannot block the renewals they wait for", "[core][lock_state_service]")
{
    BlockingRepository const repository{Repository{}};
    LockStateService const locks{repository, LockOptions{.ttl = 3s}};
    std::vector<Lock<Stock>> held;
    for (int i = 0; i < 8; ++i)
        held.push_back(locks.acquire("sku-" + std::to_string(i)));
    std::vector<Lock<Stock>> kept;
    for (int i = 0; i < 8; ++i)
        kept.push_back(locks.acquire("kept-" + std::to_string(i)));
    // All threads for calls that end something are busy until renewals are due, and the releases wait in line
    // for them.
    Gate gate;
    SystemRuntime const runtime;
    for (int i = 0; i < 64; ++i)
        asio::post(store_executor(runtime, BlockingCalls::ending, repository), [&] { gate.pass(); });
    REQUIRE(gate.wait_for(64));
    auto const released = std::make_shared<std::atomic<int>>(0);
    for (auto& lock : held)
        locks.async_release(std::move(lock), [released](error_code) { ++*released; });
    std::this_thread::sleep_for(3800ms);  // longer than a lease
    for (auto const& one : kept)
        CHECK(one.status() == LockStatus::held);
    gate.open();
    CHECK(eventually([&] { return *released == 8; }));
}

// ---- executors that stand still -----------------------------------------------------------------

/// An executor that runs only when a test says so, and what its acquire came to.
struct Standing {
    template <class Service>
    void acquire(Service const& locks, std::chrono::nanoseconds deadline)
    {
        locks.async_acquire(
            "sku-1", {.deadline = deadline},
            asio::bind_executor(io, [this](error_code error, Lock<Stock> got) {
                code = static_cast<Errc>(error.value());
                lock = std::move(got);
            }));
    }
    void run()
    {
        io.restart();
        io.poll();
    }
    asio::io_context io;
    std::optional<Errc> code;
    Lock<Stock> lock;
};

struct StandingStill {
    /// `waiter` asks for the lock, and gets it from the store, or from a holder here that hands it on.
    void grant(Standing& waiter, bool handed_on)
    {
        auto held = handed_on ? locks.acquire("sku-1") : Lock<Stock>{};
        waiter.acquire(locks, 1h);
        if (handed_on)
            CHECK(locks.release(held));
    }
    ManualRuntime runtime;
    ManualRepository repository{{}, runtime};
    LockStateService<Stock, ManualRepository> locks{repository, LockOptions{.ttl = 9s}};
    LockStateService<Stock, ManualRepository> others{repository, LockOptions{.ttl = 9s}};
};

TEST_CASE(
    "a lock that was granted to an executor that stands still is not renewed for ever",
    "[core][lock_state_service]")
{
    for (bool const handed_on : {false, true}) {
        StandingStill world;
        Standing waiter;
        world.grant(waiter, handed_on);
        world.runtime.advance(1s);
        CHECK_FALSE(world.others.try_acquire("sku-1"));
        world.runtime.advance(20s);
        auto other = world.others.try_acquire("sku-1");
        REQUIRE(other);
        waiter.run();
        CHECK(waiter.lock.status() == LockStatus::lost);
        if (handed_on) {  // it has queued again
            CHECK_FALSE(waiter.code);
            CHECK(world.others.release(*other));
            waiter.run();
            CHECK(waiter.code == Errc::ok);
            CHECK(waiter.lock.status() == LockStatus::held);
        }
    }
}

TEST_CASE(
    "a lock that was granted is renewed again when its executor comes for it late",
    "[core][lock_state_service]")
{
    for (bool const handed_on : {false, true}) {
        StandingStill world;
        Standing waiter;
        world.grant(waiter, handed_on);
        world.runtime.advance(6s);  // the first renewal would have been due at 3 s
        waiter.run();
        REQUIRE(waiter.code == Errc::ok);
        CHECK(waiter.lock.status() == LockStatus::held);
        world.runtime.advance(10min);
        CHECK(waiter.lock.status() == LockStatus::held);
    }
}

TEST_CASE("who is next in line but stands still is passed over", "[core][lock_state_service]")
{
    ManualRuntime const runtime;
    ManualRepository const repository{{}, runtime};
    LockStateService const locks{repository, LockOptions{.ttl = 9s, .renew = false}};
    Standing first;
    Standing second;
    auto held = locks.acquire("sku-1");
    first.acquire(locks, 1h);
    second.acquire(locks, 1h);
    runtime.advance(5s);  // less than half of the lease is left: it is not handed on
    CHECK(locks.release(held));
    second.run();
    CHECK_FALSE(second.code);
    runtime.advance(1100ms);
    second.run();
    REQUIRE(second.code == Errc::ok);
    CHECK(second.lock.status() == LockStatus::held);
    first.run();
    CHECK_FALSE(first.code);
    CHECK(locks.release(second.lock));
    first.run();
    CHECK(first.code == Errc::ok);
    CHECK(first.lock.status() == LockStatus::held);
}

TEST_CASE(
    "a free record waits for the first in the store's line, but not for ever", "[core][lock_state_service]")
{
    StandingStill world;
    Standing first;
    Standing second;
    LockStateService const third{world.repository, LockOptions{.ttl = 9s}};
    auto held = third.acquire("sku-1");
    first.acquire(world.locks, 1h);
    second.acquire(world.others, 1h);
    CHECK(third.release(held));
    second.run();
    world.runtime.advance(500ms);
    second.run();
    CHECK_FALSE(second.code);
    world.runtime.advance(600ms);
    second.run();
    world.runtime.advance(20ms);
    second.run();
    REQUIRE(second.code == Errc::ok);
    CHECK(second.lock.status() == LockStatus::held);
    first.run();
    CHECK_FALSE(first.code);
    CHECK(world.others.release(second.lock));
    first.run();
    CHECK(first.code == Errc::ok);
}

}  // namespace lock_state_service_async_test
