// SPDX-License-Identifier: BSL-1.0

// Cancelled at the n-th step of the scheduler, for every n: the handler is called once, the answer fits what
// is in the store, and nothing is left behind.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/catch.hpp"
#include "support/simulation/world.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <variant>

namespace {
namespace cancellation {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock::Errc;
using interlock::Outcome;
using scripted::Call;
using scripted::Fault;
using simulation::Counter;
using simulation::Lock;
using simulation::Locks;
using simulation::Random;
using simulation::World;

/// In what surroundings a call is cancelled.
struct Scene {
    bool in_place;
    bool contended;  // somebody else holds the key for a while
    bool faulty;     // the replies of the store are lost now and then
};
constexpr Scene scenes[]{
    {true, false, false}, {false, false, false}, {true, true, false},
    {false, true, false}, {true, true, true},    {false, true, true},
};

struct Tally {
    std::uint64_t runs{0};
    std::set<Errc> results;
};

void prepare(World& world, Scene const& scene)
{
    REQUIRE(world.store.insert(Counter{"a", 0}));
    REQUIRE(world.store.insert(Counter{"b", 0}));
    world.context.set_pool_latency(2ms);
    if (scene.faulty)
        world.script->fault = [random = Random{scene.in_place ? 5U : 6U}](Call call, std::uint64_t) mutable {
            // A release that fails blocks a thread of the pool, which has no place in a simulation.
            if (call == Call::remove || !random.percent(25))
                return Fault::none;
            return static_cast<Fault>(1 + random.below(3));
        };
}

void check_clean(World& world, Locks const& locks)
{
    CHECK(locks.waiter_count() == 0);
    CHECK(world.store.waiter_count() == 0);
    CHECK(world.is_free("a"));
    CHECK(world.is_free("b"));
    CHECK(world.store.key_count() == 2);
}

/// Runs `start(world, handler)` and cancels it at step `n`. False: it had ended before.
template <class R, class Start>
bool cancelled_at(std::uint64_t n, Scene const& scene, Tally& tally, std::int64_t keys, Start start)
{
    World world{17, simulation::Blocking::nested};
    prepare(world, scene);
    Locks const locks{world.repository(0, scene.in_place), {.ttl = 300ms}};
    Locks const others{world.repository(1, scene.in_place), {.ttl = 300ms}};
    std::optional<Lock> held;
    if (scene.contended) {
        held.emplace(others.acquire("a"));
        world.context.add_timer(1, world.context.now() + 30ms, [&] { held.reset(); });
    }
    world.context.run_until(world.context.now());
    auto const before = world.value("a") + world.value("b");
    asio::cancellation_signal signal;
    int called = 0;
    Errc result = Errc::ok;
    start(
        world, locks,
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr exception, Outcome<R> end) {
            ++called;
            CHECK(!exception);
            result = end.errc();
        }));
    auto const first = world.context.steps();
    bool emitted = false;
    auto const limit = world.context.now() + 10s;
    while (world.context.now() < limit && !emitted) {
        if (called == 0 && world.context.steps() - first >= n) {
            emitted = true;
            signal.emit(asio::cancellation_type::terminal);
        } else if (called != 0 || !world.context.step()) {
            break;
        }
    }
    world.context.run_until(limit);
    world.script->fault = nullptr;
    world.context.run_for(1s);
    INFO("cancelled at step " << n << ", in place " << scene.in_place << ", contended " << scene.contended);
    INFO("faulty " << scene.faulty << ", ended with " << interlock::name_of(result));
    CHECK(called == 1);
    auto const added = world.value("a") + world.value("b") - before;
    switch (interlock::effect_of(result)) {
    case interlock::Effect::applied: CHECK(added == keys); break;
    case interlock::Effect::not_applied: CHECK(added == 0); break;
    case interlock::Effect::unknown: CHECK((added == 0 || added == keys)); break;
    }
    if (emitted && !scene.faulty)
        CHECK((result == Errc::ok || result == Errc::cancelled));
    check_clean(world, locks);
    ++tally.runs;
    tally.results.insert(result);
    return emitted;
}

template <class R, class Start>
void cancel_everywhere(std::int64_t keys, Start start)
{
    for (auto const& scene : scenes) {
        Tally tally;
        std::uint64_t n = 0;
        while (cancelled_at<R>(n, scene, tally, keys, start))
            ++n;
        CHECK(tally.runs >= 2);
        if (!scene.faulty) {
            CHECK(tally.results.count(Errc::cancelled) == 1);
            CHECK(tally.results.count(Errc::ok) == 1);
        }
    }
}

template <class Policy>
void cancel_transactions(Policy const& policy)
{
    using Service = interlock::TransactionService<Counter, Policy, simulation::Repository>;
    SECTION("an operation that does not await")
    {
        cancel_everywhere<std::int64_t>(1, [&](World& world, Locks const& locks, auto handler) {
            Service const service{policy, locks.repository()};
            auto const operation = [&world](Counter& a) {
                world.context.note(1);
                return ++a.value;
            };
            service.async_try_do_in_transaction("a", operation, std::move(handler));
        });
    }
    SECTION("an operation that awaits")
    {
        cancel_everywhere<std::int64_t>(1, [&](World& world, Locks const& locks, auto handler) {
            Service const service{policy, locks.repository()};
            auto const operation = [&world](Counter& a) -> asio::awaitable<std::int64_t> {
                co_await simulation::async_sleep(world.context, 0, 5ms, asio::use_awaitable);
                ++a.value;
                co_await simulation::async_sleep(world.context, 0, 5ms, asio::use_awaitable);
                co_return a.value;
            };
            service.async_try_do_in_transaction("a", operation, std::move(handler));
        });
    }
    SECTION("two keys and an operation id")
    {
        cancel_everywhere<std::int64_t>(2, [&](World& world, Locks const& locks, auto handler) {
            Service const service{policy, locks.repository()};
            auto const operation = [&world](Counter& b, Counter& a) -> asio::awaitable<std::int64_t> {
                ++b.value;
                co_await simulation::async_sleep(world.context, 0, 5ms, asio::use_awaitable);
                co_return ++a.value;
            };
            service.async_try_do_in_transaction(
                interlock::OperationId{"once"}, interlock::keys("b", "a"), operation, std::move(handler));
        });
    }
}

}  // namespace cancellation
}  // namespace

TEST_CASE("A cancelled optimistic transaction leaves nothing behind", "[interleaving][cancellation]")
{
    cancellation::cancel_transactions(interlock::OptimisticVersioning{});
}

TEST_CASE("A cancelled row lock transaction leaves nothing behind", "[interleaving][cancellation]")
{
    cancellation::cancel_transactions(interlock::PessimisticRowLock{});
}

TEST_CASE("A cancelled lease transaction leaves nothing behind", "[interleaving][cancellation]")
{
    using namespace std::chrono_literals;
    interlock::SetNxLock policy;
    policy.lock.ttl = 300ms;
    cancellation::cancel_transactions(policy);
}

TEST_CASE("A cancelled acquire leaves nothing behind", "[interleaving][cancellation]")
{
    using namespace cancellation;
    cancel_everywhere<std::monostate>(0, [&](World& world, Locks const& locks, auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        locks.async_acquire(
            "a", asio::bind_cancellation_slot(
                     slot,
                     [&world, locks, h = std::move(handler)](interlock::error_code error, Lock lock) mutable {
                         auto const code = static_cast<Errc>(error.value());
                         CHECK(bool(lock) == !error);
                         if (lock)
                             locks.async_release(
                                 std::move(lock), [&world](interlock::error_code) { world.context.note(2); });
                         h(std::exception_ptr{},
                           error ? Outcome<std::monostate>{code} : Outcome<std::monostate>{std::monostate{}});
                     }));
    });
}

TEST_CASE(
    "Cancelling while an unknown commit is being resolved does not spin", "[interleaving][cancellation]")
{
    using namespace cancellation;
    World world;
    REQUIRE(world.store.insert(Counter{"a", 0}));
    world.script->fail(Call::commit, 1, Fault::lost_reply);
    world.script->fail_between(Call::forbid_operation, 1, 1000000, Fault::refused);
    interlock::TransactionService const service{interlock::OptimisticVersioning{}, world.repository()};
    asio::cancellation_signal signal;
    std::optional<Errc> result;
    auto const operation = [&](Counter& a) {
        // Cancelled once the commit cannot be called back.
        world.script->after = [&](Call call, std::uint64_t) {
            if (call == Call::commit)
                signal.emit(asio::cancellation_type::terminal);
        };
        return ++a.value;
    };
    auto const fault = world.script->fault;
    world.script->fault = [&, fault](Call call, std::uint64_t nth) {
        if (call == Call::forbid_operation && nth > 10000)
            throw std::runtime_error("the store is asked again without a pause");
        return fault(call, nth);
    };
    service.async_try_do_in_transaction(
        interlock::OperationId{"once"}, "a", operation, {.deadline = 1s},
        asio::bind_cancellation_slot(
            signal.slot(), [&](std::exception_ptr, Outcome<std::int64_t> end) { result = end.errc(); }));
    REQUIRE_NOTHROW(world.context.run_for(10s));
    CHECK(result == Errc::outcome_unknown);
    CHECK(world.script->calls(Call::forbid_operation) < 1000);
    CHECK(world.value("a") == 1);
}
