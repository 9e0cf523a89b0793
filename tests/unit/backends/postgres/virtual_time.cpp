// SPDX-License-Identifier: BSL-1.0

// Time-outs, reconnects and lease ends against a real server, by a clock that a test moves by hand.
//
// How it works: every pool here has a `ManualRuntime`. Its clock stands until a case advances it, and a
// library thread that sleeps between two attempts advances it by itself. An hour of waiting therefore costs
// no time, and a pause that is too short or too long is seen to the nanosecond. What the system waits for, a
// reply on a socket, takes real time; a case that waits for one leaves a moment on the virtual clock. A
// `CuttingProxy` between client and server loses replies and closes the door.

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/error_of.hpp"
#include "support/manual_runtime.hpp"
#include "support/postgres_server.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace postgres_virtual_time_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CuttingProxy;
using interlock_test::error_thrown_by;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::ManualRuntime;
using interlock_test::postgres_server;
using interlock_test::RecordingObserver;
using interlock_test::Stock;
using Cut = CuttingProxy::Cut;
using Pool = postgres::BasicPool<ManualRuntime>;
using Repository = postgres::StateRepository<Stock, void, ManualRuntime>;
using Transaction = postgres::BasicTransaction<ManualRuntime>;

/// Calls `act` when the virtual clock comes to a time.
class At final : public Alarm {
public:
    At(ManualRuntime runtime, std::chrono::nanoseconds from_now, std::function<void()> act)
        : runtime_(std::move(runtime)), act_(std::move(act))
    {
        runtime_.arm(*this, runtime_.now() + from_now);
    }
    ~At() { runtime_.cancel(*this); }
    void ring() noexcept override { act_(); }

private:
    ManualRuntime runtime_;
    std::function<void()> act_;
};

/// A stock of ten whose client has a clock of ours, directly and through a proxy; and, by the system's clock,
/// what the server really has.
struct World {
    World()
    {
        static_cast<void>(truth.insert(Stock{"x", 10}).value());
        // The statements are prepared by now, so that a cut hits their execution.
        TransactionService{PessimisticRowLock{}, cut_off}.do_in_transaction(
            "x", [](Stock& s) { s.quantity = 10; });
    }
    int left() const { return truth.load("x").value().value.quantity; }
    postgres::Options options(std::string const& url, std::size_t most = 16) const
    {
        auto out = postgres::Options::parse(url + name_space).value();
        out.max_connections = most;
        return out;
    }

    postgres::Pool server{fresh_pool()};
    postgres::StateRepository<Stock> truth{server};
    std::string name_space{"name_space=" + server.options().name_space};
    ManualRuntime runtime;
    Pool pool{runtime, options(postgres_server().url() + "&")};
    Repository stock{pool};
    CuttingProxy proxy{postgres_server().port()};
    std::string proxy_url{"postgresql://interlock@127.0.0.1:" + std::to_string(proxy.port()) + "/postgres?"};
    Pool cut_off_pool{runtime, options(proxy_url)};
    Repository cut_off{cut_off_pool};
};

/// What a client sends to commit: the name of the prepared statement.
std::string commit_on_the_wire()
{
    return postgres::detail::Statement{"COMMIT"}.name() + '\0';
}

TEST_CASE("the names without Basic are those of the system's runtime", "[postgres][virtual_time]")
{
    STATIC_REQUIRE(std::is_same_v<postgres::Pool, postgres::BasicPool<SystemRuntime>>);
    STATIC_REQUIRE(std::is_same_v<postgres::Transaction, postgres::BasicTransaction<SystemRuntime>>);
    STATIC_REQUIRE(std::is_same_v<postgres::StateRepository<Stock>::runtime_type, SystemRuntime>);
    STATIC_REQUIRE(std::is_same_v<
                   postgres::StateRepository<Stock>, postgres::StateRepository<Stock, void, SystemRuntime>>);
    STATIC_REQUIRE(std::is_same_v<Repository::transaction_type::operation_type, Transaction>);
    STATIC_REQUIRE(RowLockingRepository<Repository>);
    STATIC_REQUIRE(FusedRepository<Repository>);
}

// ---- replies ----------------------------------------------------------------------------------------------

TEST_CASE(
    "a statement of an operation whose deadline has come by the client's clock is not sent",
    "[postgres][virtual_time]")
{
    World const world;
    TransactionService const service{PessimisticRowLock{}, world.stock};
    std::optional<Errc> code;
    auto const outcome = service.try_do_in_transaction(
        "x",
        [&](Stock& s, Transaction& tx) {
            s.quantity = tx.exec("SELECT 5").value<int>();  // the server answers
            world.runtime.advance(59min);
            tx.exec("SELECT 6");  // and once more
            world.runtime.advance(1min);
            try {
                tx.exec("SELECT 7");
            } catch (Error const& error) {
                code = error.errc();
            }
        },
        {.deadline = 1h});
    CHECK(code == Errc::deadline_exceeded);
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(outcome.effect() == Effect::not_applied);
    CHECK(world.left() == 10);
    // The transaction was rolled back, so that the row is free: by the server's clock only moments have gone.
    CHECK(
        TransactionService{PessimisticRowLock{}, world.truth}.do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 20s}) == 9);
}

TEST_CASE(
    "a commit whose deadline has come by the client's clock is not sent, whatever the policy",
    "[postgres][virtual_time]")
{
    World const world;
    auto const late = [&](auto policy) {
        return TransactionService{policy, world.stock}.try_do_in_transaction(
            "x",
            [&](Stock& s) {
                world.runtime.advance(1h);
                --s.quantity;
            },
            {.deadline = 1h});
    };
    auto const row_lock = late(PessimisticRowLock{});
    CHECK(row_lock.errc() == Errc::deadline_exceeded);
    CHECK(row_lock.effect() == Effect::not_applied);
    auto const versioning = late(OptimisticVersioning{});
    CHECK(versioning.errc() == Errc::deadline_exceeded);
    CHECK(versioning.effect() == Effect::not_applied);
    CHECK(world.left() == 10);
}

TEST_CASE("a reply is waited for as long as the client's clock has left", "[postgres][virtual_time]")
{
    World const world;
    auto const began = std::chrono::steady_clock::now();
    auto const end = error_thrown_by([&] {
        TransactionService{PessimisticRowLock{}, world.stock}.do_in_transaction(
            "x",
            [&](Stock& s, Transaction& tx) {
                world.runtime.advance(1h - 300ms);
                --s.quantity;
                tx.exec("SELECT pg_sleep(60)");
            },
            {.deadline = 1h});
    });
    auto const taken = std::chrono::steady_clock::now() - began;
    CHECK(end == Errc::deadline_exceeded);
    CHECK(taken >= 300ms);
    CHECK(taken < 20s);
    CHECK(world.left() == 10);
}

TEST_CASE("a wait for a connection ends by the client's clock", "[postgres][virtual_time]")
{
    World const world;
    Repository const narrow{Pool{world.runtime, world.options(postgres_server().url() + "&", 1)}};
    Key const x{"x"};
    Key const* const keys[]{&x};
    auto const only = narrow.load_for_update(keys, Wait::until_deadline, 24h);  // has the only connection
    REQUIRE(only);
    std::atomic<bool> ended{false};
    std::optional<Errc> code;
    std::thread waiting([&] {
        code = narrow.load("x", 1h).errc();
        ended = true;
    });
    world.runtime.advance(1h - 1ns);
    std::this_thread::sleep_for(100ms);
    CHECK_FALSE(ended);
    world.runtime.advance(1h);  // whenever the wait began
    waiting.join();
    CHECK(code == Errc::overloaded);
}

// ---- reconnects -------------------------------------------------------------------------------------------

TEST_CASE(
    "a COMMIT whose reply is lost is asked for until the deadline, with pauses that grow",
    "[postgres][virtual_time]")
{
    World world;
    world.proxy.cut(Cut::reply, commit_on_the_wire());
    auto const began = world.runtime.now();
    auto const before = world.proxy.arrivals();
    auto const outcome = TransactionService{PessimisticRowLock{}, world.cut_off}.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            world.proxy.close_the_door(true);
            return --s.quantity;
        },
        {.deadline = 20s});
    CHECK(outcome.errc() == Errc::outcome_unknown);
    CHECK(world.runtime.now() - began <= 20s);
    CHECK(world.runtime.now() - began > 19900ms);
    auto const asked = world.proxy.arrivals() - before;
    CHECK(asked >= 200);
    CHECK(asked < 2000);  // without pauses that grow there would be ten thousand
    CHECK(world.left() == 9);
}

TEST_CASE(
    "a COMMIT whose reply is lost is known to be applied once the server is there again",
    "[postgres][virtual_time]")
{
    World world;
    world.proxy.cut(Cut::reply, commit_on_the_wire());
    auto const began = world.runtime.now();
    std::optional<At> back;
    auto const outcome = TransactionService{PessimisticRowLock{}, world.cut_off}.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            world.proxy.close_the_door(true);
            back.emplace(world.runtime, 10s, [&] { world.proxy.close_the_door(false); });
            return --s.quantity;
        },
        {.deadline = 1h});
    REQUIRE(outcome);
    CHECK(*outcome == 9);
    CHECK(world.left() == 9);
    CHECK(world.runtime.now() - began >= 10s);
    CHECK(world.runtime.now() - began < 11s);
}

TEST_CASE(
    "a change of a counter whose reply is lost is asked for until the server is there again",
    "[postgres][virtual_time]")
{
    World world;
    postgres::BasicCounters<ManualRuntime> const counters{world.cut_off_pool};
    REQUIRE(counters.atomic_once(OperationId{"first"}, Key{"c"}, {.amount = 1}, 20s));
    auto const began = world.runtime.now();
    world.proxy.cut(Cut::reply, "interlock_");
    world.proxy.close_the_door(true);  // for connections to come; the one that was made stays
    At const back{world.runtime, 30s, [&] { world.proxy.close_the_door(false); }};
    auto const answer = counters.atomic_once(OperationId{"second"}, Key{"c"}, {.amount = 2}, 1h);
    REQUIRE(answer);
    // Once, whether the connection was cut before the server had made the change or after.
    CHECK(answer->value == 3);
    CHECK(world.runtime.now() - began >= 30s);
    CHECK(world.runtime.now() - began < 31s);
    CHECK(postgres::Counters{world.server}.load(Key{"c"}).value() == 3);
}

TEST_CASE(
    "the connection for wake-ups is made again after a pause by the client's clock",
    "[postgres][virtual_time]")
{
    World world;
    struct Ear final : Waiter {
        void wake() noexcept override { ++woken; }
        std::atomic<int> woken{0};
    } ear;
    Key const x{"x"};
    world.proxy.close_the_door(true);
    auto const before = world.proxy.arrivals();
    auto const tries = [&] { return world.proxy.arrivals() - before; };
    world.cut_off.subscribe(x, OwnerToken{{1, 1}}, ear);
    REQUIRE(eventually([&] { return tries() >= 1; }));
    std::this_thread::sleep_for(300ms);  // with a clock that went by itself there would be five by now
    CHECK(tries() == 1);
    int advances = 0;
    for (; tries() < 8 && advances < 1000; ++advances) {
        CHECK(tries() <= advances + 1);
        world.runtime.advance(2s);  // no pause is longer
        std::this_thread::sleep_for(20ms);
    }
    CHECK(tries() >= 8);
    CHECK(ear.woken == 0);
    world.proxy.close_the_door(false);
    CHECK(eventually([&] {
        world.runtime.advance(2s);
        return ear.woken >= 1;  // once it listens, since what happened before that was not heard
    }));
    world.cut_off.unsubscribe(x, ear);
}

// ---- leases -----------------------------------------------------------------------------------------------

TEST_CASE(
    "a lease that is not renewed is over by the client's clock, though the server still has it",
    "[postgres][virtual_time]")
{
    World const world;
    RecordingObserver observer;
    LockStateService const locks{
        world.stock, LockOptions{.ttl = 1h, .renew = false, .drift = 0, .observer = &observer}};
    LockStateService const others{world.truth, LockOptions{.ttl = 1h}};
    auto lock = locks.acquire("x");
    auto const stop = lock.stop_token();
    world.runtime.advance(1h - 10s);
    CHECK(lock.status() == LockStatus::held);
    CHECK_FALSE(stop.stop_requested());
    world.runtime.advance(10s);
    CHECK(lock.status() == LockStatus::lost);
    CHECK(lock.lost_reason() == LostReason::expired);
    CHECK(stop.stop_requested());
    REQUIRE(observer.lost().size() == 1);
    CHECK_FALSE(others.try_acquire("x"));  // for the server hardly any of the hour is over
    CHECK(locks.release(lock).errc() == Errc::lock_lost);
}

TEST_CASE(
    "a lease is renewed each time a third of it is over by the client's clock", "[postgres][virtual_time]")
{
    World const world;
    RecordingObserver observer;
    LockStateService const locks{world.stock, LockOptions{.ttl = 9h, .observer = &observer}};
    auto const expires = [&] {
        return postgres_server().command(
            "SELECT extract(epoch FROM expires) * 1000000 FROM " + world.server.options().name_space +
            "_lock");
    };
    auto lock = locks.acquire("x");
    auto last = expires();
    for (std::size_t n = 1; n <= 6; ++n) {
        world.runtime.advance(3h - 1s);
        std::this_thread::sleep_for(20ms);
        CHECK(observer.renewals().size() == n - 1);
        world.runtime.advance(1s);
        REQUIRE(eventually([&] { return observer.renewals().size() == n; }));
        CHECK(observer.renewals().back().first == Errc::ok);
        CHECK(expires() > last);
        last = expires();
    }
    CHECK(lock.status() == LockStatus::held);  // after twice its ttl
    CHECK(locks.release(lock));
}

TEST_CASE(
    "an operation that outlasts its lease by the client's clock commits nothing", "[postgres][virtual_time]")
{
    World const world;
    TransactionService const service{SetNxLock{.lock = {.ttl = 1h, .renew = false}}, world.stock};
    auto const outcome = service.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            world.runtime.advance(1h);
            --s.quantity;
        },
        {.deadline = 24h});
    CHECK(outcome.errc() == Errc::lock_lost);
    CHECK(outcome.effect() == Effect::not_applied);
    CHECK(world.left() == 10);
}

TEST_CASE("a wait for a lock ends at its deadline by the client's clock", "[postgres][virtual_time]")
{
    World const world;
    LockStateService const others{world.truth, LockOptions{.ttl = 1h}};
    LockStateService const locks{world.stock, LockOptions{.ttl = 1h}};
    auto const theirs = others.acquire("x");
    world.runtime.waits_advance(true);
    auto const began = world.runtime.now();
    Errc code = Errc::ok;
    try {
        static_cast<void>(locks.acquire("x", {.deadline = 10s}));
    } catch (Error const& error) {
        code = error.errc();
    }
    CHECK(code == Errc::deadline_exceeded);
    CHECK(world.runtime.now() - began >= 10s);
    CHECK(world.runtime.now() - began < 11s);
    CHECK(theirs.status() == LockStatus::held);
}

// ---- the rest of the backend on another runtime ----------------------------------------------------------

TEST_CASE("free rows, idempotency keys and records work by the client's clock", "[postgres][virtual_time]")
{
    World const world;
    int runs = 0;
    auto const sell = [&](Stock& s) {
        ++runs;
        return --s.quantity;
    };
    TransactionService const claiming{
        IdempotencyKeys{OptimisticVersioning{}, postgres::BasicIdempotencyStore<ManualRuntime>{world.pool}},
        world.stock};
    IdempotentRequest const one{"one", Scope{"test"}, Fingerprint{}};
    CHECK(claiming.do_in_transaction(one, "x", sell) == 9);
    CHECK(claiming.do_in_transaction(one, "x", sell) == 9);
    TransactionService const inside{
        IdempotencyInTransaction{
            PessimisticRowLock{}, postgres::BasicTransactionalIdempotencyStore<ManualRuntime>{world.pool}},
        world.stock};
    IdempotentRequest const two{"two", Scope{"test"}, Fingerprint{}};
    CHECK(inside.do_in_transaction(two, "x", sell) == 8);
    CHECK(inside.do_in_transaction(two, "x", sell) == 8);
    CHECK(runs == 2);
    CHECK(world.left() == 8);

    auto const table = interlock_test::fresh_name_space();
    postgres_server().command(
        "CREATE TABLE " + table + " (sku text PRIMARY KEY, quantity int, version bigint)");
    postgres_server().command("INSERT INTO " + table + " VALUES ('a', 5, 1)");
    postgres::FreeRows const free{
        Repository{world.pool, {.table = table, .key = "sku"}}, {.where = "quantity > $1::int"}};
    STATIC_REQUIRE(std::is_same_v<decltype(free)::runtime_type, ManualRuntime>);
    TransactionService const workers{PessimisticRowLock{}, free};
    CHECK(workers.do_in_transaction("1", sell) == 4);
    CHECK(postgres_server().command("SELECT quantity FROM " + table) == "4");
}

}  // namespace postgres_virtual_time_test
