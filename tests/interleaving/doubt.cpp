// SPDX-License-Identifier: BSL-1.0

// Locks whose requests, or the answers to them, are lost: what may have been applied is found out, given back
// or not handed on, and what callers are told by their deadlines.

#include <interlock/interlock.hpp>

#include "support/catch.hpp"
#include "support/simulation/world.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace {
namespace doubt {

using namespace std::chrono_literals;
using interlock::Effect;
using interlock::Errc;
using interlock::error_code;
using interlock::LockStatus;
using interlock::OperationId;
using interlock::Outcome;
using interlock::Wait;
using scripted::Call;
using scripted::Fault;
using simulation::Blocking;
using simulation::Counter;
using simulation::Lock;
using simulation::Locks;
using simulation::World;

/// What a pending `async_acquire` came to.
struct Waiting {
    std::optional<Errc> code;
    Lock lock;
    void start(Locks const& locks, interlock::AcquireOptions options)
    {
        locks.async_acquire("a", options, [this](error_code error, Lock got) {
            code = static_cast<Errc>(error.value());
            lock = std::move(got);
        });
    }
};

}  // namespace doubt
}  // namespace

TEST_CASE(
    "A grant whose reply was lost is given back, whatever became of the attempts after it",
    "[interleaving][doubt]")
{
    using namespace doubt;
    for (bool const in_place : {true, false})
        for (bool const asynchronous : {true, false})
            for (auto const removals_fail : {std::uint64_t{0}, std::uint64_t{5}}) {
                INFO(
                    "in place " << in_place << ", asynchronous " << asynchronous << ", removals that fail "
                                << removals_fail);
                World world{1, Blocking::nested};
                world.script->fail_between(Call::create, 2, 1000000, Fault::refused);
                world.script->fail(Call::create, 1, Fault::lost_reply);
                world.script->fail_between(Call::remove, 1, removals_fail, Fault::refused);
                Locks const locks{world.repository(0, in_place), {.ttl = 60s}};
                auto const start = world.context.now();
                if (asynchronous) {
                    Waiting waiting;
                    waiting.start(locks, {.deadline = 500ms});
                    while (!waiting.code && world.context.step()) {
                    }
                    CHECK(waiting.code == Errc::deadline_exceeded);
                } else {
                    CHECK(
                        locks.acquire_outcome("a", Wait::until_deadline, {.deadline = 500ms}).errc() ==
                        Errc::deadline_exceeded);
                }
                CHECK(world.script->calls(Call::create) > 1);
                CHECK(world.context.now() - start < 1s);
                world.context.run_for(2s);
                CHECK(world.script->calls(Call::remove) == removals_fail + 1);
                CHECK(world.is_free("a"));
            }
}

TEST_CASE(
    "That somebody else has the lock now does not say that an earlier attempt is not on its way",
    "[interleaving][doubt]")
{
    using namespace doubt;
    World world{1, Blocking::nested};
    Locks const locks{world.repository(0), {.ttl = 60s}};
    Locks const others{world.repository(1), {.ttl = 60s}};
    std::optional<Lock> other;
    world.script->fail(Call::create, 1, Fault::lost_request);
    world.script->before = [&](Call call, std::uint64_t nth) {
        if (call == Call::create && nth == 2)
            other = others.try_acquire("a");
    };
    CHECK(
        locks.acquire_outcome("a", Wait::until_deadline, {.deadline = 100ms}).errc() ==
        Errc::deadline_exceeded);
    REQUIRE(other);
    CHECK(world.script->calls(Call::remove) == 1);  // asked to be given back, and not ours
    CHECK(other->status() == LockStatus::held);
    CHECK_FALSE(world.is_free("a"));
}

namespace {
namespace doubt {

/// A commit under a lock loses its request or its reply. While it is being found out what became of the
/// commit, one elsewhere takes the lock and one here waits for it: the two never hold it together.
void commit_that_may_have_removed_its_lock(bool in_place, bool with_id, Fault fault)
{
    INFO("in place " << in_place << ", id " << with_id << ", applied " << (fault == Fault::lost_reply));
    World world{1, Blocking::nested};
    REQUIRE(world.store.insert(Counter{"a", 0}));
    Locks const locks{world.repository(0, in_place), {.ttl = 60s}};
    Locks const others{world.repository(1, in_place), {.ttl = 60s}};
    interlock::TransactionService const service{interlock::SetNxLock{}, locks};
    Waiting waiting;
    std::optional<Lock> other;
    Lock kept;  // the operation's own handle, carried off
    std::optional<LockStatus> kept_status;
    bool never_both = true;
    auto const look = [&] {
        never_both = never_both && !(other && waiting.lock && other->status() != LockStatus::lost &&
                                     waiting.lock.status() != LockStatus::lost);
    };
    world.script->fail(Call::commit, 1, fault);
    // While it is being found out what became of the commit, one elsewhere takes it and one here
    // waits.
    world.script->before = [&](Call call, std::uint64_t nth) {
        if (call == Call::forbid_operation && nth == 1) {
            kept_status = kept.status();
            other = others.try_acquire("a");
            waiting.start(locks, {.deadline = 30s});
        }
    };
    int runs = 0;
    auto const change = [&](Counter& a, Lock& lock) {
        if (++runs == 1)
            kept = std::move(lock);
        return ++a.value;
    };
    auto const end = with_id
                         ? service.try_do_in_transaction(OperationId{"once"}, "a", change, {.deadline = 2s})
                         : service.try_do_in_transaction("a", change, {.deadline = 2s});
    look();
    CHECK(kept.status() == LockStatus::lost);
    if (with_id) {
        CHECK(kept_status == LockStatus::lost);
        if (fault == Fault::lost_reply) {
            REQUIRE(end);
            CHECK(end.replayed());
            REQUIRE(other);
        } else {
            CHECK((end || end.effect() == Effect::not_applied));
        }
    } else {
        CHECK(end.errc() == Errc::outcome_unknown);
    }
    for (int i = 0; i < 200; ++i) {
        world.context.run_for(5ms);
        look();
    }
    CHECK(never_both);
    kept = Lock{};
    other.reset();
    world.context.run_for(2s);
    if (waiting.code) {
        CHECK(waiting.lock.status() == LockStatus::held);
        waiting.lock = Lock{};
    }
    world.context.run_for(2s);
    CHECK(world.is_free("a"));
    CHECK(world.value("a") == (fault == Fault::lost_reply || end ? 1 : 0));
}

}  // namespace doubt
}  // namespace

TEST_CASE("A lock that a commit may have removed is handed on to nobody", "[interleaving][doubt]")
{
    using namespace doubt;
    for (bool const in_place : {true, false})
        for (bool const with_id : {true, false})
            for (auto const fault : {Fault::lost_reply, Fault::lost_request})
                commit_that_may_have_removed_its_lock(in_place, with_id, fault);
}

TEST_CASE("A lock under which a write is unknown is handed on to nobody", "[interleaving][doubt]")
{
    using namespace doubt;
    for (bool const in_place : {true, false})
        for (bool const dropped : {true, false}) {
            World world{1, Blocking::nested};
            auto const version = world.store.insert(Counter{"a", 0});
            REQUIRE(version);
            Locks const locks{world.repository(0, in_place), {.ttl = 60s}};
            auto lock = locks.acquire("a");
            Waiting waiting;
            waiting.start(locks, {.deadline = 30s});
            world.context.run_for(1ms);
            world.script->fail(Call::commit, 1, Fault::lost_request);
            CHECK(locks.write(lock, *version, Counter{"a", 9}).errc() == Errc::outcome_unknown);
            auto const fence = lock.fence();
            if (dropped)
                lock = Lock{};
            else
                CHECK(locks.release(std::move(lock)));
            world.context.run_for(1s);
            REQUIRE(waiting.code == Errc::ok);
            // It arrives now.
            interlock::Key const key{"a"};
            Counter const late{"a", 9};
            interlock::Change<Counter> change{
                .key = &key, .version = *version, .value = &late, .fence = &fence};
            CHECK(world.store.commit(std::span{&change, 1}, nullptr).errc() == Errc::fenced_out);
            CHECK(world.script->calls(Call::create) == 2);
            CHECK(world.value("a") == 0);
        }
}

TEST_CASE(
    "Another's record behind a removal that may have been made does not say that the lock had been lost",
    "[interleaving][doubt]")
{
    using namespace doubt;
    for (bool const in_place : {true, false})
        for (bool const asynchronous : {true, false}) {
            World world{1, Blocking::nested};
            Locks const locks{world.repository(0, in_place), {.ttl = 60s}};
            Locks const others{world.repository(1, in_place), {.ttl = 60s}};
            auto lock = locks.acquire("a");
            std::optional<Lock> other;
            world.script->fail(Call::remove, 1, Fault::lost_reply);
            world.script->before = [&](Call call, std::uint64_t nth) {
                if (call == Call::remove && nth == 2)
                    other = others.try_acquire("a");
            };
            std::optional<Errc> code;
            if (asynchronous)
                locks.async_release(
                    std::move(lock), [&](error_code error) { code = static_cast<Errc>(error.value()); });
            else
                code = locks.release(std::move(lock)).errc();
            while (!code && world.context.step()) {
            }
            REQUIRE(other);
            CHECK(code == Errc::outcome_unknown);
            CHECK(world.script->calls(Call::remove) == 2);
            world.context.run_for(1s);
            CHECK(other->status() == LockStatus::held);
        }
}

TEST_CASE(
    "A release ends by its deadline, and the lock is free as soon as the store can be asked again",
    "[interleaving][doubt]")
{
    using namespace doubt;
    for (bool const in_place : {true, false})
        for (bool const asynchronous : {true, false})
            for (auto const fault : {Fault::refused, Fault::lost_request}) {
                INFO("in place " << in_place << ", asynchronous " << asynchronous);
                World world{1, Blocking::nested};
                Locks const locks{world.repository(0, in_place), {.ttl = 1h}};
                auto lock = locks.acquire("a");
                world.script->fault = [fault](Call call, std::uint64_t) {
                    return call == Call::remove ? fault : Fault::none;
                };
                auto const start = world.context.now();
                std::optional<Outcome<void>> end;
                if (asynchronous)
                    locks.async_release(std::move(lock), [&](error_code error) {
                        end.emplace(static_cast<Errc>(error.value()));
                    });
                else
                    end.emplace(locks.release(std::move(lock)));
                while (!end && world.context.step()) {
                }
                REQUIRE(end);
                CHECK(world.context.now() - start <= 5001ms);
                CHECK(world.context.now() - start >= 4s);
                CHECK(end->errc() == Errc::outcome_unknown);  // it may be applied yet
                CHECK_FALSE(locks.acquire_outcome("a", Wait::until_deadline, {.deadline = 100ms}));
                world.script->fault = nullptr;
                world.context.run_for(1s);
                CHECK(world.is_free("a"));
                CHECK(locks.try_acquire("a"));
            }
}
