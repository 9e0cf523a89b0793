// SPDX-License-Identifier: BSL-1.0

// A thread that is cancelled in its operation, or in what else it brings: the process goes on, nothing of the
// operation is applied, and what it held is free.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/unwound.hpp"

#include <chrono>
#include <string>
#include <thread>

namespace forced_unwinding_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::cancelled_in;
using interlock_test::Stock;

struct Bench {
    Bench() { static_cast<void>(stock.insert(Stock{"x", 1}).value()); }
    memory::StateRepository<Stock> stock;
};

template <class Service>
void check(Service const& service, memory::StateRepository<Stock> const& stock)
{
    for (int i = 0; i < 3; ++i) {
        CHECK(cancelled_in([&](auto const& here) {
            service.do_in_transaction("x", [&](Stock& s) {
                s.quantity = 100;
                here();
            });
        }));
        CHECK(stock.load("x").value().value.quantity == 1 + i);
        auto const next =
            service.try_do_in_transaction("x", [](Stock& s) { return ++s.quantity; }, {.deadline = 5s});
        REQUIRE(next);
        CHECK(*next == 2 + i);
    }
}

TEST_CASE(
    "a thread that is cancelled in its operation applies nothing and holds nothing", "[core][unwinding]")
{
    Bench const bench;
    SECTION("optimistic")
    {
        check(TransactionService{OptimisticVersioning{}, bench.stock}, bench.stock);
    }
    SECTION("optimistic, on a remembered state")
    {
        check(TransactionService{OptimisticVersioning{.remember = 10}, bench.stock}, bench.stock);
    }
    SECTION("row lock")
    {
        check(TransactionService{PessimisticRowLock{}, bench.stock}, bench.stock);
    }
    SECTION("lease")
    {
        check(TransactionService{SetNxLock{}, bench.stock}, bench.stock);
    }
}

TEST_CASE("others that wait for the same state go on when a thread is cancelled", "[core][unwinding]")
{
    Bench const bench;
    auto const waits = [&](auto const& service) {
        std::thread other;
        CHECK(cancelled_in([&](auto const& here) {
            service.do_in_transaction("x", [&](Stock& s) {
                s.quantity = 100;
                other = std::thread([&] {
                    CHECK(service.try_do_in_transaction(
                        "x", [](Stock& mine) { ++mine.quantity; }, {.deadline = 10s}));
                });
                std::this_thread::sleep_for(50ms);
                here();
            });
        }));
        other.join();
        CHECK(bench.stock.load("x").value().value.quantity == 2);
    };
    SECTION("optimistic")
    {
        waits(TransactionService{OptimisticVersioning{}, bench.stock});
    }
    SECTION("row lock")
    {
        waits(TransactionService{PessimisticRowLock{}, bench.stock});
    }
    SECTION("lease")
    {
        waits(TransactionService{SetNxLock{}, bench.stock});
    }
}

TEST_CASE("a request whose thread is cancelled may come again", "[core][unwinding]")
{
    Bench const bench;
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, memory::IdempotencyStore{}}, bench.stock};
    IdempotentRequest const request{"r1", Scope{"ann"}};
    CHECK(cancelled_in([&](auto const& here) {
        service.do_in_transaction(request, "x", [&](Stock& s) {
            s.quantity = 100;
            here();
            return 0;
        });
    }));
    auto const again =
        service.try_do_in_transaction(request, "x", [](Stock& s) { return ++s.quantity; }, {.deadline = 5s});
    REQUIRE(again);
    CHECK(again->value() == 2);
}

TEST_CASE("an operation with an id whose thread is cancelled may come again", "[core][unwinding]")
{
    Bench const bench;
    TransactionService const service{OptimisticVersioning{}, bench.stock};
    OperationId const id{"o1"};
    CHECK(cancelled_in([&](auto const& here) {
        service.do_in_transaction(id, "x", [&](Stock& s) {
            s.quantity = 100;
            here();
            return 0;
        });
    }));
    CHECK(service.do_in_transaction(id, "x", [](Stock& s) { return ++s.quantity; }) == 2);
}

TEST_CASE("a cancellation that comes while the library waits acts behind the call", "[core][unwinding]")
{
    Bench const bench;
    TransactionService const service{SetNxLock{}, bench.stock};
    auto const began = std::chrono::steady_clock::now();
    service.do_in_transaction("x", [&](Stock&) {
        bool returned = false;
        CHECK(cancelled_in([&](auto const& here) {
            here.soon();  // the cancellation is pending, and the next wait is the library's
            static_cast<void>(service.try_do_in_transaction("x", [](Stock&) {}, {.deadline = 100ms}));
            returned = true;
            here();
        }));
        CHECK(returned);
    });
    CHECK(std::chrono::steady_clock::now() - began < 10s);
}

}  // namespace forced_unwinding_test
