// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace pessimistic_row_lock_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::Gate;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;

TEST_CASE("an operation runs once and no update is lost", "[policies][pessimistic_row_lock]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const service{PessimisticRowLock{}, repository};
    std::atomic<int> runs{0};
    run_threads(8, [&](std::size_t) {
        for (int i = 0; i < 100; ++i)
            service.do_in_transaction(
                "x",
                [&](Stock& s) {
                    ++runs;
                    ++s.quantity;
                },
                {.deadline = 60s});
    });
    CHECK(repository.load("x")->value.quantity == 800);
    CHECK(runs == 800);
}

TEST_CASE(
    "while an operation runs its row can be neither written nor locked", "[policies][pessimistic_row_lock]")
{
    Repository const repository;
    auto const version = repository.insert(Stock{"x", 0}).value();
    TransactionService const service{PessimisticRowLock{}, repository};
    TransactionService const impatient{PessimisticRowLock{.wait = Wait::no}, repository};
    Gate gate;
    std::thread holder([&] {
        service.do_in_transaction("x", [&](Stock& s) {
            gate.pass();
            ++s.quantity;
        });
    });
    REQUIRE(gate.wait_for(1));
    CHECK(repository.compare_and_set("x", version, Stock{"x", 9}).errc() == Errc::lock_busy);
    CHECK(impatient.try_do_in_transaction("x", [](Stock&) {}).errc() == Errc::lock_busy);
    CHECK(
        service.try_do_in_transaction("x", [](Stock&) {}, {.deadline = 20ms}).errc() ==
        Errc::deadline_exceeded);
    CHECK(repository.waiter_count() == 0);
    gate.open();
    holder.join();
    CHECK(repository.load("x")->value.quantity == 1);
}

TEST_CASE(
    "waiting operations get the row in the order in which they came", "[policies][pessimistic_row_lock]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const service{PessimisticRowLock{}, repository};
    Gate gate;
    std::vector<int> order;  // guarded by the row
    std::vector<std::thread> threads;
    threads.emplace_back([&] { service.do_in_transaction("x", [&](Stock&) { gate.pass(); }); });
    REQUIRE(gate.wait_for(1));
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&, i] {
            service.do_in_transaction("x", [&](Stock&) { order.push_back(i); }, {.deadline = 60s});
        });
        REQUIRE(eventually([&] { return repository.waiter_count() == static_cast<std::size_t>(i) + 1; }));
    }
    gate.open();
    for (auto& thread : threads)
        thread.join();
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5});
}

TEST_CASE("an operation may use the store's own transaction", "[policies][pessimistic_row_lock]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"x", 4}).value());
    TransactionService const service{PessimisticRowLock{}, repository};
    CHECK(service.do_in_transaction("x", [](Stock& s, Repository::transaction_type& tx) {
        static_assert(RowTransaction<Repository::transaction_type, Stock>);
        static_cast<void>(tx);
        return --s.quantity;
    }) == 3);
    CHECK(repository.load("x")->value.quantity == 3);
}

}  // namespace pessimistic_row_lock_test
