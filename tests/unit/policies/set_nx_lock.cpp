// SPDX-License-Identifier: BSL-1.0

// Operations under a leased lock: fencing, lost leases, renewals, hand-on, and other writers beside the lock.
//
// How it works: `World` has a store in memory whose clock moves only when a case says so (`ManualRuntime`), a
// service that renews its leases and one (`fading`) that does not. A lock is taken away through the
// repository behind the service's back; a write without the lock comes from within the operation.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace set_nx_lock_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;
using interlock_test::RecordingObserver;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock, void, ManualRuntime>;

struct World {
    World() { static_cast<void>(repository.insert(Stock{"x", 10}).value()); }
    ManualRuntime runtime;
    Repository repository{{}, runtime};
    RecordingObserver observer;
    TransactionService<Stock, SetNxLock, Repository> service{
        SetNxLock{.lock = {.ttl = 9s}}, repository, {.observer = &observer}};
    TransactionService<Stock, SetNxLock, Repository> fading{
        SetNxLock{.lock = {.ttl = 9s, .renew = false}}, repository, {.observer = &observer}};
    Key const x{std::string("x")};
    int quantity() const { return repository.load("x")->value.quantity; }
    bool locked() const { return repository.create(x, OwnerToken{{9, 9}}, 1s).errc() == Errc::lock_busy; }
};

TEST_CASE("an operation runs under the lock, and afterwards nothing is left of it", "[policies][set_nx_lock]")
{
    World world;
    bool locked = false;
    FencingToken token;
    CHECK(world.service.do_in_transaction("x", [&](Stock& s, Lock<Stock>& lock) {
        locked = world.locked();
        token = lock.fencing_token();
        return --s.quantity;
    }) == 9);
    CHECK(locked);
    CHECK(token);
    CHECK(*world.repository.remove(world.x, OwnerToken{{9, 9}}) == Removal::gone);
    CHECK(world.quantity() == 9);
    CHECK(world.observer.acquires().size() == 1);
    CHECK(world.observer.releases().size() == 1);
}

TEST_CASE("a write after the lock was taken away is fenced out", "[policies][set_nx_lock]")
{
    World world;
    int runs = 0;
    auto const outcome = world.service.try_do_in_transaction("x", [&](Stock& s) {
        ++runs;
        static_cast<void>(world.repository.force_release(world.x));
        s.quantity = -1;
    });
    CHECK(outcome.errc() == Errc::fenced_out);
    CHECK(outcome.effect() == Effect::not_applied);
    CHECK(runs == 1);
    CHECK(world.quantity() == 10);
    CHECK(world.observer.fenced_out().size() == 1);

    // The next holder is there already: neither is it overwritten, nor is its record removed.
    OwnerToken const other{{7, 7}};
    auto const second = world.service.try_do_in_transaction("x", [&](Stock& s) {
        static_cast<void>(world.repository.force_release(world.x));
        static_cast<void>(world.repository.create(world.x, other, 1h).value());
        s.quantity = -1;
    });
    CHECK(second.errc() == Errc::fenced_out);
    CHECK(world.quantity() == 10);
    CHECK(*world.repository.remove(world.x, other) == Removal::removed);
}

TEST_CASE(
    "a lease that is lost midway is lock_lost for a guarded write, and unknown without one",
    "[policies][set_nx_lock]")
{
    World world;
    bool stopped = false;
    auto const guarded = world.fading.try_do_in_transaction("x", [&](Stock& s, TransactionContext& context) {
        auto const stop = context.stop_token();
        s.quantity = -1;
        world.runtime.advance(9s);
        stopped = stop.stop_requested();
    });
    CHECK(guarded.errc() == Errc::lock_lost);
    CHECK(stopped);
    CHECK(world.quantity() == 10);
    REQUIRE(world.observer.lost().size() == 1);
    CHECK(world.observer.lost()[0].second == LostReason::expired);

    auto const unguarded = world.fading.try_do_in_transaction("x", [&](Lock<Stock>& lock) {
        world.runtime.advance(9s);
        CHECK(lock.status() == LockStatus::lost);
    });
    CHECK(unguarded.errc() == Errc::outcome_unknown);
    CHECK(unguarded.cause() == Errc::lock_lost);
    CHECK(unguarded.effect() == Effect::unknown);

    CHECK(world.fading.try_do_in_transaction("x", [](Lock<Stock>&) { return 5; }).value() == 5);
    // What the operation throws is its caller's, lost or not.
    CHECK_THROWS_AS(
        world.fading.do_in_transaction(
            "x",
            [&](Stock&) {
                world.runtime.advance(9s);
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
}

TEST_CASE("a long operation keeps its lease", "[policies][set_nx_lock]")
{
    World world;
    CHECK(
        world.service.do_in_transaction(
            "x",
            [&](Stock& s) {
                world.runtime.advance(10min);
                return --s.quantity;
            },
            {.deadline = 1h}) == 9);
    CHECK(world.observer.renewals().size() >= 100);
    CHECK(world.observer.lost().empty());
}

TEST_CASE("no commit starts after the deadline", "[policies][set_nx_lock]")
{
    World world;
    auto const outcome = world.service.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            world.runtime.advance(3s);
            s.quantity = -1;
        },
        {.deadline = 2s});
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(world.quantity() == 10);
    CHECK_FALSE(world.locked());
}

// Nothing is sent after a deadline. A store in memory keeps the answer all the same: nothing is sent to it.
TEST_CASE(
    "an operation under a lock alone that returns late is applied, and in memory its answer is kept",
    "[policies][set_nx_lock]")
{
    World world;
    TransactionService const jobs{EfficiencySetNxLock{.lock = {.ttl = 9s}}, world.repository};
    int runs = 0;
    auto const late = [&](auto&) {
        world.runtime.advance(3s);
        return ++runs;
    };
    auto const without_fence = [&](EfficiencyLock<Stock>& lock) { return late(lock); };
    auto const with_fence = [&](Lock<Stock>& lock) { return late(lock); };
    CHECK(jobs.try_do_in_transaction("job", without_fence, {.deadline = 2s}).value() == 1);
    CHECK(world.service.try_do_in_transaction("job", with_fence, {.deadline = 2s}).value() == 2);
    OperationId const once{"once"};
    OperationId const fenced{"once, fenced"};
    for (bool const replayed : {false, true}) {
        auto const end = jobs.try_do_in_transaction(once, "job", without_fence, {.deadline = 2s});
        CHECK(end.value() == 3);
        CHECK(end.replayed() == replayed);
    }
    for (bool const replayed : {false, true}) {
        auto const end = world.service.try_do_in_transaction(fenced, "job", with_fence, {.deadline = 2s});
        CHECK(end.value() == 4);
        CHECK(end.replayed() == replayed);
    }
    CHECK_FALSE(world.locked());
}

TEST_CASE("somebody who writes without the lock makes the operation run again", "[policies][set_nx_lock]")
{
    World world;
    int runs = 0;
    CHECK(world.service.do_in_transaction("x", [&](Stock& s) {
        if (++runs == 1)
            static_cast<void>(world.repository.compare_and_set("x", 1, Stock{"x", 50}).value());
        return --s.quantity;
    }) == 49);
    CHECK(runs == 2);
    CHECK(world.observer.conflicts().size() == 1);
    CHECK(world.observer.acquires().size() == 1);  // under the same lock
}

TEST_CASE("a policy that does not wait reports a busy lock at once", "[policies][set_nx_lock]")
{
    World world;
    TransactionService const impatient{SetNxLock{.lock = {.ttl = 9s}, .wait = Wait::no}, world.repository};
    Errc seen{};
    world.service.do_in_transaction("x", [&](Stock&) {
        auto const other = OwnerToken{{1, 1}};
        seen = world.repository.create(world.x, other, 1s).errc();
    });
    CHECK(seen == Errc::lock_busy);
    static_cast<void>(world.repository.create(world.x, OwnerToken{{1, 1}}, 1h).value());
    CHECK(impatient.try_do_in_transaction("x", [](Stock&) {}).errc() == Errc::lock_busy);
}

TEST_CASE("a service made from a lock service shares its queue", "[policies][set_nx_lock]")
{
    World world;
    LockStateService const locks{world.repository, LockOptions{.ttl = 9s}};
    TransactionService const service{SetNxLock{.wait = Wait::no}, locks};
    auto lock = locks.acquire("x");
    CHECK(service.try_do_in_transaction("x", [](Stock&) {}).errc() == Errc::lock_busy);
    CHECK(locks.release(lock));
    CHECK(service.try_do_in_transaction("x", [](Stock&) {}));
}

TEST_CASE("efficiency locks run an operation on the lock alone", "[policies][set_nx_lock]")
{
    World world;
    TransactionService const jobs{EfficiencySetNxLock{.lock = {.ttl = 9s}}, world.repository};
    bool locked = false;
    CHECK(jobs.do_in_transaction("job", [&](EfficiencyLock<Stock>& lock) {
        locked = lock.status() == LockStatus::held;
        return lock.state().sku;
    }) == "job");
    CHECK(locked);
}

TEST_CASE("many threads under one lock lose no update", "[policies][set_nx_lock]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const a{SetNxLock{}, repository};
    TransactionService const b{SetNxLock{}, repository};
    std::atomic<int> failed{0};
    std::atomic<int> runs{0};
    run_threads(8, [&](std::size_t i) {
        auto const& service = i % 2 == 0 ? a : b;
        for (int n = 0; n < 50; ++n)
            failed += service.try_do_in_transaction(
                          "x",
                          [&](Stock& s) {
                              ++runs;
                              ++s.quantity;
                          },
                          {.deadline = 60s})
                          ? 0
                          : 1;
    });
    CHECK(failed == 0);
    CHECK(runs == 400);
    CHECK(repository.load("x")->value.quantity == 400);
}

TEST_CASE("losing the lock cancels an asynchronous operation", "[policies][set_nx_lock]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    TransactionService const service{SetNxLock{.lock = {.ttl = 150ms}}, repository};
    asio::io_context io;
    bool cancelled = false;
    std::optional<Errc> result;
    auto operation = [&](Stock& s) -> asio::awaitable<void> {
        s.quantity = -1;
        static_cast<void>(repository.force_release(Key{std::string("x")}));
        asio::steady_timer timer(io, 60s);
        try {
            co_await timer.async_wait(asio::use_awaitable);
        } catch (boost::system::system_error const&) {
            cancelled = true;
            throw;
        }
    };
    service.async_try_do_in_transaction(
        "x", operation, {.deadline = 60s},
        asio::bind_executor(io, [&](std::exception_ptr e, Outcome<void> outcome) {
            CHECK_FALSE(e);
            result = outcome.errc();
        }));
    io.run();
    CHECK(cancelled);
    CHECK(result == Errc::lock_lost);
    CHECK(repository.load("x")->value.quantity == 10);
}

/// Two callers of one service: the second queues while the first holds, so that it is handed the lock, and
/// with it what the first has written.
struct HandedOn {
    using Blocking = interlock_test::BlockingRepository<memory::StateRepository<Stock>>;

    HandedOn()
    {
        static_cast<void>(inner.insert(Stock{"x", 10}).value());
        repository.before_calls([this](std::string_view call) {
            loads += call == "load" ? 1 : 0;
            commits += call == "commit" ? 1 : 0;
            creates += call == "create_and_load" ? 1 : 0;
        });
    }
    ~HandedOn() { repository.before_calls({}); }

    template <class F>
    auto second(F operation)
    {
        std::optional<Outcome<int>> end;
        std::exception_ptr thrown;
        std::thread thread;
        service.do_in_transaction("x", [&](Stock& s) {
            thread = std::thread([&] {
                try {
                    end = service.try_do_in_transaction("x", operation, {.deadline = 60s});
                } catch (...) {
                    thrown = std::current_exception();
                }
            });
            static_cast<void>(interlock_test::eventually([&] { return locks.waiter_count() == 1; }));
            --s.quantity;
        });
        thread.join();
        if (thrown)
            std::rethrow_exception(thrown);
        return *std::move(end);
    }

    memory::StateRepository<Stock> inner;
    Blocking repository{inner};
    std::atomic<int> loads{0};
    std::atomic<int> commits{0};
    std::atomic<int> creates{0};
    LockStateService<Stock, Blocking> locks{repository};
    TransactionService<Stock, SetNxLock, Blocking> service{SetNxLock{}, locks, {.combine = 1}};
};

TEST_CASE(
    "the next local holder gets the state together with the lock, and loads nothing",
    "[policies][set_nx_lock]")
{
    HandedOn world;
    CHECK(world.second([](Stock& s) { return --s.quantity; }).value() == 8);
    CHECK(world.creates == 1);
    CHECK(world.loads == 0);
    CHECK(world.commits == 2);
    CHECK(world.inner.load("x")->value.quantity == 8);
}

TEST_CASE(
    "a state that was handed on is not believed when somebody wrote without the lock",
    "[policies][set_nx_lock]")
{
    HandedOn world;
    int runs = 0;
    auto const write_behind_the_lock = [&] {
        if (++runs == 1)
            static_cast<void>(
                world.inner.compare_and_set("x", world.inner.load("x")->version, Stock{"x", 100}).value());
    };
    SECTION("a change")
    {
        CHECK(
            world
                .second([&](Stock& s) {
                    write_behind_the_lock();
                    return --s.quantity;
                })
                .value() == 99);
        CHECK(world.inner.load("x")->value.quantity == 99);
    }
    SECTION("no change")
    {
        CHECK(
            world
                .second([&](Stock& s) {
                    write_behind_the_lock();
                    return s.quantity;
                })
                .value() == 100);
    }
    SECTION("a throw")
    {
        CHECK(
            world
                .second([&](Stock& s) {
                    write_behind_the_lock();
                    if (s.quantity < 10)
                        throw std::runtime_error("sold out");
                    return s.quantity;
                })
                .value() == 100);
    }
    SECTION("an erased state")
    {
        auto const end = world.second([&](Stock& s) {
            if (++runs == 1)
                static_cast<void>(world.inner.erase("x", world.inner.load("x")->version).value());
            if (s.quantity < 10)
                throw std::runtime_error("sold out");
            return s.quantity;
        });
        CHECK(end.errc() == Errc::not_found);
        CHECK(runs == 1);
        return;
    }
    CHECK(runs == 2);
}

TEST_CASE("a throw about a state that was handed on and still stands is believed", "[policies][set_nx_lock]")
{
    HandedOn world;
    int runs = 0;
    CHECK_THROWS_AS(
        world.second([&](Stock& s) {
            ++runs;
            if (s.quantity < 10)
                throw std::runtime_error("sold out");
            return s.quantity;
        }),
        std::runtime_error);
    CHECK(runs == 1);
}

/// A transaction of somebody who locks rows, for as long as this lives; it ends with a change.
template <class Repository>
class LockedRow {
public:
    explicit LockedRow(Repository repository) : rows_{PessimisticRowLock{}, std::move(repository)}
    {
        thread_ = std::thread([this] {
            rows_.do_in_transaction(
                "x",
                [this](Stock& s) {
                    gate_.pass();
                    ++s.quantity;
                },
                {.deadline = 60s});
        });
        static_cast<void>(gate_.wait_for(1));
    }
    ~LockedRow()
    {
        end();
        thread_.join();
    }
    void end() { gate_.open(); }

private:
    TransactionService<Stock, PessimisticRowLock, Repository> rows_;
    interlock_test::Gate gate_;
    std::thread thread_;
};

template <class Leased>
void waits_for_a_locked_row(memory::StateRepository<Stock> const& repository, Leased const& leased)
{
    TransactionService const service{SetNxLock{.max_attempts = 1}, leased};
    TransactionService const impatient{SetNxLock{.wait = Wait::no, .max_attempts = 1}, leased};
    auto const before = repository.load("x")->value.quantity;
    LockedRow row{repository};
    CHECK(impatient.try_do_in_transaction("x", [](Stock& s) { ++s.quantity; }).errc() == Errc::lock_busy);
    CHECK(
        service.try_do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 300ms}).errc() ==
        Errc::deadline_exceeded);
    CHECK(repository.waiter_count() == 0);
    std::atomic<int> done{0};
    std::atomic<bool> good{true};
    auto const end = [&](bool ok) {
        good = good && ok;
        ++done;
    };
    std::thread blocking([&] {
        end(static_cast<bool>(
            service.try_do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 60s})));
    });
    std::thread both([&] {
        end(static_cast<bool>(service.try_do_in_transaction(
            keys("x", "y"), [](Stock& x, Stock& y) { ++x.quantity, --y.quantity; }, {.deadline = 60s})));
    });
    service.async_try_do_in_transaction(
        "x", [](Stock& s) { ++s.quantity; }, {.deadline = 60s},
        [&](std::exception_ptr, Outcome<void> outcome) { end(static_cast<bool>(outcome)); });
    std::this_thread::sleep_for(600ms);
    CHECK(done == 0);
    row.end();
    blocking.join();
    both.join();
    CHECK(interlock_test::eventually([&] { return done == 3; }));
    CHECK(good);
    CHECK(interlock_test::eventually([&] { return repository.load("x")->value.quantity == before + 4; }));
}

TEST_CASE("a write that waits until its deadline waits for a row that is locked", "[policies][set_nx_lock]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    static_cast<void>(repository.insert(Stock{"y", 10}).value());
    SECTION("in place")
    {
        waits_for_a_locked_row(repository, repository);
    }
    SECTION("on the pool")
    {
        waits_for_a_locked_row(repository, interlock_test::BlockingRepository{repository});
    }
}

TEST_CASE("transactions that lock rows do not starve transactions under leases", "[policies][set_nx_lock]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const rows{PessimisticRowLock{}, repository, ServiceOptions{.combine = 1}};
    TransactionService const leases{SetNxLock{.max_attempts = 1}, repository};
    std::atomic<bool> stop{false};
    std::atomic<int> changes{0};
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t i) {
        if (i == 0) {
            for (int n = 0; n < 20; ++n)
                if (leases.try_do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 60s}))
                    ++changes;
                else
                    ++failed;
            stop = true;
        }
        while (!stop) {
            rows.do_in_transaction(
                "x",
                [](Stock& s) {
                    std::this_thread::sleep_for(1ms);
                    ++s.quantity;
                },
                {.deadline = 60s});
            ++changes;
        }
    });
    CHECK(failed == 0);
    CHECK(repository.load("x")->value.quantity == changes);
}

TEST_CASE(
    "a renewal that is under way when a commit removes the record does not harm the next holder",
    "[policies][set_nx_lock]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    interlock_test::BlockingRepository const blocking{repository};
    LockStateService const locks{blocking, LockOptions{.ttl = 3s}};
    TransactionService const service{SetNxLock{}, locks};
    interlock_test::Gate gate;
    blocking.before_calls([&](std::string_view member) {
        if (member == "renew")
            gate.pass();
    });
    // Its lock is renewed while it commits, and the commit waits for no renewal.
    CHECK(service.do_in_transaction("x", [&](Stock& s) {
        CHECK(gate.wait_for(1));
        return --s.quantity;
    }) == 9);
    // The record went with the commit.
    CHECK(repository.create(Key{std::string("x")}, OwnerToken{{1, 1}}, 1s));
    CHECK(repository.remove(Key{std::string("x")}, OwnerToken{{1, 1}}));
    auto const next = locks.acquire("x");
    gate.open();  // it leaves now
    std::this_thread::sleep_for(300ms);
    CHECK(next.status() == LockStatus::held);
    CHECK(repository.create(Key{std::string("x")}, OwnerToken{{1, 1}}, 1s).errc() == Errc::lock_busy);
    std::this_thread::sleep_for(3500ms);
    CHECK(next.status() == LockStatus::held);
    blocking.before_calls({});
}

}  // namespace set_nx_lock_test
