// SPDX-License-Identifier: BSL-1.0

// Calls whose store does not answer before or behind the operation: nothing has been sent that could be
// applied, so the outcome is not unknown; and what the operation threw is no result until the store has said
// that the operation saw what there was.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/scripted_repository.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace unanswered_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;
using scripted::Call;
using scripted::Fault;
using Memory = memory::StateRepository<Stock, std::string>;
using Scripted = scripted::ScriptedRepository<Stock, std::string, SystemRuntime>;

struct World {
    World()
    {
        inner.insert(Stock{"a", 10}).value();
        inner.insert(Stock{"b", 10}).value();
    }
    /// Between the two loads of the first attempt somebody moves five pieces.
    void tear()
    {
        script->before = [this](Call call, std::uint64_t nth) {
            if (call != Call::load || nth != 2)
                return;
            inner.compare_and_set("a", inner.load("a")->version, Stock{"a", 5}).value();
            inner.compare_and_set("b", inner.load("b")->version, Stock{"b", 15}).value();
        };
    }
    Memory inner;
    std::shared_ptr<scripted::Script<Stock>> script{std::make_shared<scripted::Script<Stock>>()};
    Scripted repository{inner, script, SystemRuntime{}, true};
};

IdempotentRequest request()
{
    return IdempotentRequest("k", Scope("s"), fingerprint("body"));
}

TEST_CASE("an exception about states that the store could not compare is no result", "[policies][unanswered]")
{
    World world;
    world.tear();
    auto const fault = GENERATE(Fault::refused, Fault::lost_request, Fault::lost_reply);
    CAPTURE(static_cast<int>(fault));
    auto const check = [](Stock& a, Stock& b) {
        if (a.quantity + b.quantity != 20)
            throw FinalRejection("the books do not balance");
        return a.quantity;
    };
    SECTION("it runs again")
    {
        world.script->fail(Call::commit, 1, fault);
        TransactionService const service{OptimisticVersioning{}, world.repository};
        CHECK(service.try_do_in_transaction(keys("a", "b"), check).value() == 5);
    }
    SECTION("it runs again, and no rejection is kept")
    {
        world.script->fail(Call::commit, 1, fault);
        TransactionService const service{
            IdempotencyKeys{OptimisticVersioning{}, memory::IdempotencyStore{}}, world.repository};
        CHECK(service.try_do_in_transaction(request(), keys("a", "b"), check).value().value() == 5);
    }
    SECTION("the attempts end")
    {
        world.script->fail_between(Call::commit, 1, 9, fault);
        TransactionService const service{OptimisticVersioning{.max_attempts = 1}, world.repository};
        auto const end = service.try_do_in_transaction(keys("a", "b"), check);
        CHECK(end.errc() == Errc::unavailable);
        CHECK(end.effect() == Effect::not_applied);
    }
    SECTION("what cannot be helped is said")
    {
        world.script->fail(Call::commit, 1, Fault::gone);
        TransactionService const service{OptimisticVersioning{}, world.repository};
        CHECK(service.try_do_in_transaction(keys("a", "b"), check).errc() == Errc::misconfigured);
    }
    CHECK(world.inner.load("a")->value.quantity == 5);
    CHECK(world.inner.load("b")->value.quantity == 15);
}

TEST_CASE(
    "a request for a lock that gets no reply leaves no doubt about an operation", "[policies][unanswered]")
{
    World world;
    int runs = 0;
    auto const take = [&](Stock& s) {
        ++runs;
        return --s.quantity;
    };
    auto const fault = GENERATE(Fault::refused, Fault::lost_request, Fault::lost_reply);
    CAPTURE(static_cast<int>(fault));
    SECTION("of a call")
    {
        world.script->fail_between(Call::create, 1, 1000, fault);
        TransactionService const service{
            SetNxLock{.lock = {.max_attempts = 2}, .max_attempts = 2}, world.repository};
        auto const end = service.try_do_in_transaction("a", take, {.deadline = 10s});
        CHECK(end.errc() == Errc::unavailable);
        CHECK(runs == 0);
    }
    SECTION("of a lock")
    {
        world.script->fail(Call::create, 1, fault);
        LockStateService const locks{world.repository};
        CHECK(interlock_test::error_thrown_by([&] {
                  return locks.acquire("a", {.deadline = 0s});
              }) == Errc::unavailable);
        // What may have been granted is taken back.
        CHECK(locks.acquire("a", {.deadline = 10s}).status() == LockStatus::held);
    }
    SECTION("and later attempts may succeed")
    {
        world.script->fail_between(Call::create, 1, 3, fault);
        TransactionService const service{SetNxLock{.lock = {.max_attempts = 2}}, world.repository};
        CHECK(service.do_in_transaction("a", take) == 9);
        CHECK(runs == 1);
    }
}

TEST_CASE("a call that tries once begins with nothing that may be outdated", "[policies][unanswered]")
{
    World world;
    interlock_test::BlockingRepository<Memory> const repository{world.inner};
    TransactionService const service{OptimisticVersioning{.remember = 8}, repository};
    service.do_in_transaction("a", [](Stock& s) { --s.quantity; });
    for (int i = 0; i < 4; ++i) {
        auto const read =
            service.try_do_in_transaction("a", [](Stock& s) { return s.quantity; }, {.deadline = 0s});
        INFO(read.detail());
        CHECK(read.value() == 9);
        service.do_in_transaction("a", [](Stock& s) { s.sku = "a"; });
    }
    CHECK_THROWS_AS(
        service.try_do_in_transaction(
            "a", [](Stock&) -> int { throw std::runtime_error("mine"); }, {.deadline = 0s}),
        std::runtime_error);
}

TEST_CASE("an operation id has its answer kept under a lock without a fence, too", "[policies][unanswered]")
{
    World world;
    int runs = 0;
    auto const count = [&](EfficiencyLock<Stock>&) { return ++runs; };
    auto const count_of_two = [&](EfficiencyLock<Stock>&, EfficiencyLock<Stock>&) { return ++runs; };
    TransactionService const jobs{EfficiencySetNxLock{}, world.inner};
    OperationId const id{"once"};
    CHECK_FALSE(jobs.try_do_in_transaction(id, "a", count).replayed());
    auto const again = jobs.try_do_in_transaction(id, "a", count);
    CHECK(again.replayed());
    CHECK(again.value() == 1);
    OperationId const of_two{"once, of two"};
    CHECK(jobs.do_in_transaction(of_two, keys("a", "b"), count_of_two) == 2);
    CHECK(jobs.try_do_in_transaction(of_two, keys("a", "b"), count_of_two).replayed());
    CHECK(runs == 2);
    TransactionService const requests{
        IdempotencyKeys{EfficiencySetNxLock{}, memory::IdempotencyStore{}}, world.inner};
    CHECK(requests.do_in_transaction(request(), "a", count).value() == 3);
    CHECK(requests.do_in_transaction(request(), "a", count).replayed());
    // The locks are free.
    CHECK(LockStateService{world.inner}.try_acquire("a"));
    CHECK(world.inner.load("a")->version == 1);
}

TEST_CASE(
    "a rejection is kept although all threads wait for the row that it was about", "[policies][unanswered]")
{
    World world;
    interlock_test::BlockingRepository<Memory> const repository{world.inner};
    TransactionService const service{
        IdempotencyKeys{PessimisticRowLock{}, memory::IdempotencyStore{}}, repository};
    boost::asio::thread_pool pool{2};
    std::atomic<bool> runs{false};
    std::atomic<bool> go{false};
    std::atomic<bool> rejected{false};
    std::atomic<int> done{0};
    auto const call = [&](std::string const& key, auto operation, auto then) {
        IdempotentRequest const named{key, Scope("s"), fingerprint("body")};
        service.async_try_do_in_transaction(
            named, "a", operation, {.deadline = 20s}, boost::asio::bind_executor(pool, then));
    };
    call(
        "first",
        [&](Stock&) -> int {
            runs = true;
            while (!go)
                std::this_thread::sleep_for(1ms);
            throw FinalRejection("no");
        },
        [&](std::exception_ptr thrown, Outcome<Answer<int>> const&) { rejected = thrown != nullptr; });
    CHECK(interlock_test::eventually([&] { return runs.load(); }));
    for (int i = 0; i < 20; ++i)
        call(
            std::to_string(i), [](Stock& s) { return --s.quantity; },
            [&](std::exception_ptr, Outcome<Answer<int>> const& end) { done += end ? 1 : 0; });
    std::this_thread::sleep_for(100ms);  // until as many as there are threads wait for the row
    auto const before = std::chrono::steady_clock::now();
    go = true;
    pool.join();
    CHECK(std::chrono::steady_clock::now() - before < 10s);
    CHECK(rejected);
    CHECK(done == 20);
}

}  // namespace unanswered_test
