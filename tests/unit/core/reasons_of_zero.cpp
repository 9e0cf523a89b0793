// SPDX-License-Identifier: BSL-1.0

// A deadline of zero: one attempt, which waits for nobody, under every policy.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <chrono>

namespace reasons_of_zero_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::error_thrown_by;
using interlock_test::Stock;
using interlock_test::time_of;
using Repository = memory::StateRepository<Stock>;

auto const add_one = [](Stock& stock) { ++stock.quantity; };

struct Shop {
    Repository stock;
    LockStateService<Stock, Repository> locks{stock};
    TransactionService<Stock, SetNxLock, Repository> lease{SetNxLock{}, stock};
    TransactionService<Stock, PessimisticRowLock, Repository> rows{PessimisticRowLock{}, stock};
    TransactionService<Stock, OptimisticVersioning, Repository> versioned{OptimisticVersioning{}, stock};

    Shop() { static_cast<void>(stock.insert(Stock{"x", 0}).value()); }
};

TEST_CASE("a deadline of zero makes one attempt", "[deadline][zero]")
{
    Shop const shop;
    CallOptions const once{.deadline = 0ms};
    CHECK(shop.lease.try_do_in_transaction("x", add_one, once));
    CHECK(shop.rows.try_do_in_transaction("x", add_one, once));
    CHECK(shop.versioned.try_do_in_transaction("x", add_one, once));
    CHECK(shop.lease.async_try_do_in_transaction("x", add_one, once, boost::asio::use_future).get());
    CHECK(shop.rows.async_try_do_in_transaction("x", add_one, once, boost::asio::use_future).get());
    CHECK(shop.versioned.async_try_do_in_transaction("x", add_one, once, boost::asio::use_future).get());
    CHECK(shop.stock.load("x").value().value.quantity == 6);
    CHECK(shop.locks.acquire("x", {.deadline = 0s}));
    CHECK(shop.locks.async_acquire("x", {.deadline = 0s}, boost::asio::use_future).get());
    CHECK(shop.lease.try_do_in_transaction("y", add_one, once).errc() == Errc::not_found);
}

TEST_CASE("a deadline of zero waits for nobody", "[deadline][zero]")
{
    Shop const shop;
    CallOptions const once{.deadline = 0ms};
    auto const held = LockStateService{shop.stock}.acquire("x");
    auto const took = time_of([&] {
        CHECK(shop.lease.try_do_in_transaction("x", add_one, once).errc() == Errc::lock_busy);
        CHECK(error_thrown_by([&] { return shop.locks.acquire("x", {.deadline = 0ms}); }) == Errc::lock_busy);
        auto async = shop.lease.async_try_do_in_transaction("x", add_one, once, boost::asio::use_future);
        CHECK(async.get().errc() == Errc::lock_busy);
        CHECK_FALSE(shop.locks.try_acquire("x"));
    });
    CHECK(took < 500ms);
    shop.rows.do_in_transaction("x", [&](Stock&) {
        std::jthread{[&] {
            CHECK(shop.rows.try_do_in_transaction("x", add_one, once).errc() == Errc::lock_busy);
        }}.join();
    });
}

TEST_CASE("a deadline of zero runs the operation once", "[deadline][zero]")
{
    Shop const shop;
    int runs = 0;
    auto const overtaken = [&](Stock& stock) {
        ++runs;
        std::jthread{[&] { shop.versioned.do_in_transaction("x", add_one); }}.join();
        ++stock.quantity;
    };
    auto const outcome = shop.versioned.try_do_in_transaction("x", overtaken, {.deadline = 0ms});
    CHECK(outcome.errc() == Errc::version_conflict);
    CHECK(runs == 1);
    CHECK(shop.stock.load("x").value().value.quantity == 1);
}

TEST_CASE("a deadline below zero is over", "[deadline][zero]")
{
    Shop const shop;
    CallOptions const over{.deadline = -1ms};
    CHECK(shop.lease.try_do_in_transaction("x", add_one, over).errc() == Errc::deadline_exceeded);
    CHECK(shop.rows.try_do_in_transaction("x", add_one, over).errc() == Errc::deadline_exceeded);
    CHECK(shop.versioned.try_do_in_transaction("x", add_one, over).errc() == Errc::deadline_exceeded);
    CHECK(shop.stock.load("x").value().value.quantity == 0);
}

}  // namespace reasons_of_zero_test
