// SPDX-License-Identifier: BSL-1.0

// A program that shuts down stops its calls: those that wait end as `cancelled`, those that have sent a
// commit wait for its outcome. On a store without I/O and on one whose calls may block.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace stop_signal_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::Stock;
using interlock_test::told_to_handler;

using Memory = memory::StateRepository<Stock>;
using Behind = interlock_test::BlockingRepository<Memory>;

static_assert(std::is_trivially_destructible_v<CallOptions>);
static_assert(std::is_trivially_destructible_v<AcquireOptions>);

/// Far beyond what a test may take: whoever returns was stopped.
constexpr auto patience = 10min;

template <class R>
struct World {
    R repository = [] {
        Memory memory;
        static_cast<void>(memory.insert(Stock{"sku-1", 10}).value());
        if constexpr (std::is_same_v<R, Memory>)
            return memory;
        else
            return R{memory};
    }();
    LockStateService<Stock, R> locks{repository};
    TransactionService<Stock, SetNxLock, R> service{SetNxLock{}, locks};
    std::stop_source source;
    std::stop_token stop = source.get_token();

    /// Requests the stop as soon as somebody waits for the lock.
    std::jthread stop_when_waiting()
    {
        return std::jthread{[this] {
            static_cast<void>(eventually([&] { return locks.waiter_count() == 1; }));
            source.request_stop();
        }};
    }
};

template <class F>
Errc code_of(F call)
{
    try {
        call();
    } catch (boost::system::system_error const& error) {  // `Error` is one
        return static_cast<Errc>(error.code().value());
    }
    return Errc::ok;
}

TEMPLATE_TEST_CASE(
    "a stop ends a blocking call that waits in the queue", "[core][stop_signal]", Memory, Behind)
{
    World<TestType> world;
    auto lock = world.locks.acquire("sku-1");
    auto const stopping = world.stop_when_waiting();
    SECTION("for a lock")
    {
        CHECK(code_of([&] {
                  world.locks.acquire("sku-1", {.deadline = patience, .stop = world.stop});
              }) == Errc::cancelled);
    }
    SECTION("for a lock, stopped by the source")
    {
        CHECK(code_of([&] {
                  world.locks.acquire("sku-1", {.deadline = patience, .stop = world.source});
              }) == Errc::cancelled);
    }
    SECTION("for a transaction")
    {
        auto const outcome = world.service.try_do_in_transaction(
            "sku-1", [](Stock& s) { --s.quantity; }, {.deadline = patience, .stop = world.stop});
        CHECK(outcome.errc() == Errc::cancelled);
        CHECK(outcome.effect() == Effect::not_applied);
    }
    CHECK(world.locks.waiter_count() == 0);
    CHECK(lock.release());
    CHECK(world.locks.try_acquire("sku-1"));
}

TEMPLATE_TEST_CASE(
    "a stop ends an asynchronous call that waits in the queue", "[core][stop_signal]", Memory, Behind)
{
    World<TestType> world;
    asio::thread_pool pool{2};
    auto lock = world.locks.acquire("sku-1");
    auto const stopping = world.stop_when_waiting();
    SECTION("for a lock")
    {
        CHECK(told_to_handler([&](auto handler) {
                  world.locks.async_acquire(
                      "sku-1", {.deadline = patience, .stop = world.stop},
                      asio::bind_executor(pool.get_executor(), std::move(handler)));
              }) == Errc::cancelled);
    }
    SECTION("for a transaction")
    {
        auto pending = world.service.async_try_do_in_transaction(
            "sku-1", [](Stock& s) { --s.quantity; }, {.deadline = patience, .stop = world.stop},
            asio::bind_executor(pool.get_executor(), asio::use_future));
        CHECK(pending.get().errc() == Errc::cancelled);
    }
    CHECK(world.locks.waiter_count() == 0);
    CHECK(lock.release());
    CHECK(world.locks.try_acquire("sku-1"));
}

TEST_CASE("a stop that was requested before a call sends nothing to the store", "[core][stop_signal]")
{
    World<Behind> world;
    asio::thread_pool pool{1};
    auto const on_pool = [&] { return asio::bind_executor(pool.get_executor(), asio::use_future); };
    std::string calls;
    std::mutex mutex;
    // Whether the store is fit is asked once, by the first call, which is over here; so is its release.
    world.service.do_in_transaction("sku-1", [](Stock&) {});
    CHECK(world.locks.acquire("sku-1").release());
    TransactionService const optimistic{OptimisticVersioning{}, world.repository};
    world.repository.before_calls([&](std::string_view call) {
        std::lock_guard const lock(mutex);
        (calls += call) += ' ';
    });
    world.source.request_stop();

    auto const take_one = [](Stock& s) { return --s.quantity; };
    CallOptions const options{.stop = world.stop};
    OperationId const id{"id"};
    CHECK(code_of([&] { world.locks.acquire("sku-1", {.stop = world.stop}); }) == Errc::cancelled);
    CHECK(world.service.try_do_in_transaction("sku-1", take_one, options).errc() == Errc::cancelled);
    CHECK(optimistic.try_do_in_transaction("sku-1", take_one, options).errc() == Errc::cancelled);
    CHECK(optimistic.try_do_in_transaction(id, "sku-1", take_one, options).errc() == Errc::cancelled);
    CHECK(told_to_handler([&](auto handler) {
              world.locks.async_acquire(
                  "sku-1", {.stop = world.stop},
                  asio::bind_executor(pool.get_executor(), std::move(handler)));
          }) == Errc::cancelled);
    CHECK(
        world.service.async_try_do_in_transaction("sku-1", take_one, options, on_pool()).get().errc() ==
        Errc::cancelled);
    CHECK(
        optimistic.async_try_do_in_transaction(id, "sku-1", take_one, options, on_pool()).get().errc() ==
        Errc::cancelled);
    world.repository.before_calls(nullptr);
    CHECK(calls == "");
}

TEST_CASE("a stop ends the pause between two attempts", "[core][stop_signal]")
{
    World<Memory> world;
    TransactionService const service{
        OptimisticVersioning{.max_attempts = 100, .backoff = {.initial = 1h, .cap = 1h, .immediate = 0}},
        world.repository};
    std::atomic<int> runs{0};
    auto const disturbed = [&](Stock& s) {
        ++runs;
        auto const version = world.repository.load("sku-1").value().version;
        static_cast<void>(world.repository.compare_and_set("sku-1", version, Stock{"sku-1", 5}));
        --s.quantity;
    };
    std::jthread const stopping{[&] {
        static_cast<void>(eventually([&] { return runs == 1; }));
        std::this_thread::sleep_for(20ms);
        world.source.request_stop();
    }};
    CallOptions const options{.deadline = 24h, .stop = world.stop};
    SECTION("of a blocking call")
    {
        CHECK(service.try_do_in_transaction("sku-1", disturbed, options).errc() == Errc::cancelled);
    }
    SECTION("of an asynchronous call")
    {
        asio::thread_pool pool{1};
        auto pending = service.async_try_do_in_transaction(
            "sku-1", disturbed, options, asio::bind_executor(pool.get_executor(), asio::use_future));
        CHECK(pending.get().errc() == Errc::cancelled);
    }
    CHECK(runs == 1);
    CHECK(world.repository.load("sku-1").value().value.quantity == 5);
}

TEST_CASE("a stop while an operation runs rolls back what it made", "[core][stop_signal]")
{
    World<Memory> world;
    auto const stops = [&](Stock& s) {
        world.source.request_stop();
        --s.quantity;
    };
    SECTION("of a blocking call")
    {
        CHECK(
            world.service.try_do_in_transaction("sku-1", stops, {.stop = world.stop}).errc() ==
            Errc::cancelled);
    }
    SECTION("of an asynchronous call")
    {
        asio::thread_pool pool{1};
        auto pending = world.service.async_try_do_in_transaction(
            "sku-1", stops, {.stop = world.stop}, asio::bind_executor(pool.get_executor(), asio::use_future));
        CHECK(pending.get().errc() == Errc::cancelled);
    }
    CHECK(world.repository.load("sku-1").value().value.quantity == 10);
    CHECK(world.locks.try_acquire("sku-1"));
}

TEST_CASE("a stop after the commit was sent changes nothing", "[core][stop_signal]")
{
    World<Behind> world;
    TransactionService const service{OptimisticVersioning{}, world.repository};
    world.repository.before_calls([&](std::string_view call) {
        if (call == "commit" || call == "compare_and_set")
            world.source.request_stop();
    });
    auto const take_one = [](Stock& s) { return --s.quantity; };
    SECTION("of a blocking call")
    {
        CHECK(service.do_in_transaction("sku-1", take_one, {.stop = world.stop}) == 9);
    }
    SECTION("of an asynchronous call")
    {
        asio::thread_pool pool{1};
        auto pending = service.async_do_in_transaction(
            "sku-1", take_one, {.stop = world.stop},
            asio::bind_executor(pool.get_executor(), asio::use_future));
        CHECK(pending.get() == 9);
    }
    CHECK(world.stop.stop_requested());
}

TEST_CASE(
    "options with a stop may be written in place inside a co_await, and the call keeps its own token",
    "[core][stop_signal]")
{
    World<Memory> world;
    asio::io_context io;
    int cancelled = 0;
    auto const wait = [&](int i) -> asio::awaitable<void> {
        auto const take_one = [](Stock& s) { --s.quantity; };
        auto start = [&] {
            std::stop_token const gone_before_the_call_ends = world.source.get_token();
            return world.service.async_try_do_in_transaction(
                "sku-1", take_one, {.deadline = patience, .stop = gone_before_the_call_ends},
                asio::use_awaitable);
        };
        if (i % 2 == 0) {
            auto const outcome = co_await start();
            cancelled += outcome.errc() == Errc::cancelled ? 1 : 0;
        } else {
            auto const outcome = co_await world.service.async_try_do_in_transaction(
                "sku-1", take_one, {.deadline = patience, .stop = world.stop}, asio::use_awaitable);
            cancelled += outcome.errc() == Errc::cancelled ? 1 : 0;
        }
    };
    auto lock = world.locks.acquire("sku-1");
    for (int i = 0; i < 10; ++i)
        asio::co_spawn(io, wait(i), asio::detached);
    io.poll();
    CHECK(world.locks.waiter_count() == 10);
    world.source.request_stop();
    io.run();
    CHECK(cancelled == 10);
}

TEST_CASE("stops that meet calls at every moment lose no lock and no call", "[core][stop_signal]")
{
    World<Memory> world;
    asio::thread_pool pool{2};
    int applied = 0;
    int cancelled = 0;
    for (int round = 0; round < 300; ++round) {
        std::stop_source source;
        std::vector<std::future<Outcome<void>>> pending;
        for (int i = 0; i < 4; ++i)
            pending.push_back(world.service.async_try_do_in_transaction(
                "sku-1", [](Stock& s) { ++s.quantity; }, {.deadline = patience, .stop = source},
                asio::bind_executor(pool.get_executor(), asio::use_future)));
        std::jthread const stopping{[&] { source.request_stop(); }};
        for (auto& one : pending) {
            auto const outcome = one.get();
            CHECK((outcome || outcome.errc() == Errc::cancelled));
            (outcome ? applied : cancelled) += 1;
        }
    }
    CHECK(world.repository.load("sku-1").value().value.quantity == 10 + applied);
    CHECK(applied + cancelled == 1200);
    CHECK(world.locks.try_acquire("sku-1"));
}

}  // namespace stop_signal_test
