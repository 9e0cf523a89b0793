// SPDX-License-Identifier: BSL-1.0

// Asynchronous calls on a store whose client library blocks: deadlines, threads, and what throws.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "support/throwing_state.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <string>
#include <thread>

namespace postgres_asynchronous_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::Gate;
using interlock_test::Stock;

TEST_CASE("calls that wait for locked rows do not hold up a call for a free row", "[postgres][asynchronous]")
{
    postgres::StateRepository<Stock> const rows{fresh_pool()};
    constexpr int locked = 8;
    rows.insert(Stock{"free", 0}).value();
    for (int i = 0; i < locked; ++i)
        rows.insert(Stock{"locked" + std::to_string(i), 0}).value();
    TransactionService const service{PessimisticRowLock{}, rows};
    Gate gate;
    auto const touch = [](Stock& s) { ++s.quantity; };
    std::thread holder([&] {
        service.do_in_transaction(
            keys("locked0", "locked1", "locked2", "locked3"),
            [&](Stock& s, Stock&, Stock&, Stock&) {
                gate.pass();
                ++s.quantity;
            },
            {.deadline = 60s});
    });
    REQUIRE(gate.wait_for(1));
    asio::thread_pool pool{1};
    std::atomic<int> applied{0};
    for (int i = 0; i < locked; ++i)
        service.async_try_do_in_transaction(
            "locked" + std::to_string(i % 4), touch, {.deadline = 60s},
            asio::bind_executor(
                pool, [&](std::exception_ptr, Outcome<void> o) { applied += o.has_value(); }));
    std::this_thread::sleep_for(300ms);
    auto free = service.async_try_do_in_transaction(
        "free", touch, {.deadline = 10s}, asio::bind_executor(pool, asio::use_future));
    CHECK(free.get());
    CHECK(applied == 0);
    gate.open();
    holder.join();
    pool.join();
    CHECK(applied == locked);
}

TEST_CASE(
    "an exception of a state's traits ends the call on a blocking store, too", "[postgres][asynchronous]")
{
    postgres::StateRepository<interlock_test::Moody> const repository{fresh_pool()};
    interlock_test::throwing_traits_end_the_call(repository);
}

}  // namespace postgres_asynchronous_test
