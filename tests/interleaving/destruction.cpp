// SPDX-License-Identifier: BSL-1.0

// The context of the handlers is destroyed at the n-th step, for every n, with operations pending on it;
// services and locks go before or after it. Handlers are destroyed and not called, and the store is in order.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/catch.hpp"
#include "support/simulation/world.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace {
namespace destruction {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock::Outcome;
using simulation::Counter;
using simulation::Lock;
using simulation::Locks;
using simulation::World;

struct Scene {
    bool in_place;
    bool contended;
    bool services_first;
};

/// False: the call had ended before step `n`.
template <class Start>
bool destroyed_at(std::uint64_t n, Scene const& scene, Start start)
{
    World world{23, simulation::Blocking::nested};
    REQUIRE(world.store.insert(Counter{"a", 0}));
    auto io = std::make_unique<asio::io_context>();
    std::optional<Locks> locks{Locks{world.repository(0, scene.in_place), {.ttl = 300ms}}};
    std::optional<Lock> held;
    if (scene.contended)
        held.emplace(Locks{world.repository(1), {.ttl = 300ms}}.acquire("a"));
    auto const alive = std::make_shared<int>(0);
    bool called = false;
    start(world, *locks, *io, [alive, &called] { called = true; });
    bool stopped = false;
    for (std::uint64_t step = 0; !called; ++step) {
        if (step == n) {
            stopped = true;
            break;
        }
        if (io->poll_one() == 0 && !world.context.step())
            break;
        if (held && step == 6)
            held.reset();
    }
    INFO("destroyed at step " << n << ", in place " << scene.in_place << ", contended " << scene.contended);
    bool const was_called = called;
    if (scene.services_first)
        locks.reset();
    io.reset();
    CHECK(alive.use_count() == 1);  // the handler is gone
    held.reset();
    world.context.run_for(2s);
    CHECK(called == was_called);
    CHECK(alive.use_count() == 1);
    if (locks)
        CHECK(locks->waiter_count() == 0);
    locks.reset();
    world.context.run_for(2s);
    CHECK(world.store.waiter_count() == 0);
    CHECK(world.is_free("a"));
    CHECK(world.value("a") <= 1);
    return stopped;
}

template <class Start>
void destroy_everywhere(Start start)
{
    for (bool const in_place : {true, false})
        for (bool const contended : {false, true})
            for (bool const services_first : {false, true}) {
                std::uint64_t n = 0;
                while (destroyed_at(n, {in_place, contended, services_first}, start))
                    ++n;
                CHECK(n >= 1);
            }
}

template <class Policy>
void destroy_transactions(Policy const& policy)
{
    using Service = interlock::TransactionService<Counter, Policy, simulation::Repository>;
    SECTION("an operation that does not await")
    {
        destroy_everywhere([&](World&, Locks const& locks, asio::io_context& io, auto done) {
            auto const operation = [](Counter& a) { return ++a.value; };
            Service{policy, locks.repository()}.async_try_do_in_transaction(
                "a", operation,
                asio::bind_executor(io, [done](std::exception_ptr, Outcome<std::int64_t>) { done(); }));
        });
    }
    SECTION("an operation that awaits")
    {
        destroy_everywhere([&](World&, Locks const& locks, asio::io_context& io, auto done) {
            auto const operation = [&io](Counter& a) -> asio::awaitable<std::int64_t> {
                for (int i = 0; i < 3; ++i) {
                    asio::steady_timer timer{io, std::chrono::seconds{0}};
                    co_await timer.async_wait(asio::use_awaitable);
                }
                co_return ++a.value;
            };
            Service{policy, locks.repository()}.async_try_do_in_transaction(
                "a", operation,
                asio::bind_executor(io, [done](std::exception_ptr, Outcome<std::int64_t>) { done(); }));
        });
    }
}

}  // namespace destruction
}  // namespace

TEST_CASE("An optimistic transaction goes with the context of its handler", "[interleaving][destruction]")
{
    destruction::destroy_transactions(interlock::OptimisticVersioning{});
}

TEST_CASE("A row lock transaction goes with the context of its handler", "[interleaving][destruction]")
{
    destruction::destroy_transactions(interlock::PessimisticRowLock{});
}

TEST_CASE("A lease transaction goes with the context of its handler", "[interleaving][destruction]")
{
    interlock::SetNxLock policy;
    policy.lock.ttl = std::chrono::milliseconds{300};
    destruction::destroy_transactions(policy);
}

TEST_CASE("An acquire goes with the context of its handler", "[interleaving][destruction]")
{
    using namespace destruction;
    destroy_everywhere([&](World&, Locks const& locks, asio::io_context& io, auto done) {
        locks.async_acquire("a", asio::bind_executor(io, [done](interlock::error_code, Lock) { done(); }));
    });
}

TEST_CASE("A release goes with the context of its handler", "[interleaving][destruction]")
{
    using namespace destruction;
    destroy_everywhere([&](World& world, Locks const& locks, asio::io_context& io, auto done) {
        auto lock = locks.acquire_outcome("a", interlock::Wait::no, {});
        if (!lock) {  // contended: nothing to release
            asio::post(io, done);
            return;
        }
        world.context.note(1);
        locks.async_release(
            std::move(*lock), asio::bind_executor(io, [done](interlock::error_code) { done(); }));
    });
}

TEST_CASE("A handle outlives its service", "[interleaving][destruction]")
{
    using namespace destruction;
    for (bool const in_place : {true, false}) {
        World world{1, simulation::Blocking::nested};
        std::optional<Lock> lock;
        {
            Locks const locks{world.repository(0, in_place), {.ttl = 300ms}};
            lock.emplace(locks.acquire("a"));
        }
        world.context.run_for(2s);
        CHECK(lock->status() == interlock::LockStatus::held);  // still renewed
        lock.reset();
        world.context.run_for(0s);
        CHECK(world.is_free("a"));
        auto const renewals = world.script->calls(scripted::Call::renew);
        world.context.run_for(2s);
        CHECK(world.script->calls(scripted::Call::renew) == renewals);  // law P9
    }
}
