// SPDX-License-Identifier: BSL-1.0

// A thread that is cancelled in an operation on PostgreSQL: its transaction is rolled back; its row, lease
// and request are free; and its connection goes on or is replaced.

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
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "support/unwound.hpp"

#include <chrono>

namespace postgres_unwinding_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::cancelled_in;
using interlock_test::fresh_pool;
using interlock_test::Stock;
using postgres::Transaction;

struct Bench {
    Bench() { static_cast<void>(stock.insert(Stock{"x", 1}).value()); }
    static postgres::Pool named_pool()
    {
        auto options = fresh_pool().options();
        options.application_name = options.name_space;
        return postgres::Pool{options};
    }
    postgres::Pool pool{named_pool()};
    postgres::StateRepository<Stock> stock{pool};
};

TEST_CASE("a thread that is cancelled in its operation leaves nothing on the server", "[postgres][unwinding]")
{
    Bench const bench;
    auto const check = [&](auto const& service) {
        for (int i = 0; i < 3; ++i) {
            CHECK(cancelled_in([&](auto const& here) {
                service.do_in_transaction("x", [&](Stock& s) {
                    s.quantity = 100;
                    here();
                });
            }));
            auto const next =
                service.try_do_in_transaction("x", [](Stock& s) { return ++s.quantity; }, {.deadline = 5s});
            REQUIRE(next);
            CHECK(*next == 2 + i);
        }
    };
    SECTION("optimistic")
    {
        check(TransactionService{OptimisticVersioning{}, bench.stock});
    }
    SECTION("row lock")
    {
        check(TransactionService{PessimisticRowLock{}, bench.stock});
    }
    SECTION("lease")
    {
        check(TransactionService{SetNxLock{}, bench.stock});
    }
}

TEST_CASE("statements of a cancelled operation are rolled back", "[postgres][unwinding]")
{
    Bench const bench;
    TransactionService const service{PessimisticRowLock{}, bench.stock};
    CHECK(cancelled_in([&](auto const& here) {
        service.do_in_transaction("x", [&](Stock& s, Transaction& tx) {
            s.quantity = 100;
            tx.exec("CREATE TABLE " + bench.pool.options().name_space + "_left (n int)");
            here.soon();  // while the next statement is under way
            tx.exec("SELECT pg_sleep(0.05)");
            here();
        });
    }));
    service.do_in_transaction(
        "x",
        [&](Stock& s, Transaction& tx) {
            CHECK(s.quantity == 1);
            CHECK(tx.exec("SELECT to_regclass($1) IS NULL", bench.pool.options().name_space + "_left")
                      .value<bool>());
        },
        {.deadline = 5s});
    CHECK(bench.pool.connection_count() <= 2);
}

TEST_CASE("a thread that is to be cancelled ends its calls first", "[postgres][unwinding]")
{
    Bench const bench;
    auto const held = LockStateService{bench.stock}.acquire("x");
    int done = 0;
    CHECK(cancelled_in([&](auto const& here) {
        here.soon();
        done += bench.stock.load("x") ? 1 : 0;
        try {  // by connections that lie in the pool, and by one that the server has ended
            LockStateService{bench.stock}.acquire("x", {.deadline = 200ms});
        } catch (Error const&) {
            ++done;
        }
        interlock_test::postgres_server().command(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
            "application_name = '" +
            bench.pool.options().application_name + "'");
        done += bench.stock.load("x") ? 1 : 0;
        here();
    }));
    CHECK(done == 3);
    CHECK(bench.stock.load("x"));
}

TEST_CASE("the request of a cancelled operation may come again", "[postgres][unwinding]")
{
    Bench const bench;
    IdempotentRequest const request{"r1", Scope{"ann"}};
    auto const check = [&](auto const& service) {
        CHECK(cancelled_in([&](auto const& here) {
            service.do_in_transaction(request, "x", [&](Stock& s) {
                s.quantity = 100;
                here();
                return 0;
            });
        }));
        // The claim is given back by another thread.
        CHECK(interlock_test::eventually([&] {
            auto const again = service.try_do_in_transaction(
                request, "x", [](Stock& s) { return ++s.quantity; }, {.deadline = 5s});
            return again && again->value() == 2;
        }));
    };
    SECTION("claimed")
    {
        check(TransactionService{
            IdempotencyKeys{OptimisticVersioning{}, postgres::IdempotencyStore{bench.pool}}, bench.stock});
    }
    SECTION("in the transaction")
    {
        check(TransactionService{
            IdempotencyInTransaction{
                PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{bench.pool}},
            bench.stock});
    }
}

}  // namespace postgres_unwinding_test
