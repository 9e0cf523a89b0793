// SPDX-License-Identifier: BSL-1.0

// Statements of an operation that runs on an executor: nothing blocks there, and nothing is committed too
// early.
//
// How it works: `run_alone` gives the coroutine an io_context with this one thread. Anything that blocks that
// thread stops the whole case, so a case proves that nothing does by letting something else run meanwhile.
// What became of a transaction is looked up through a second connection.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_async_transaction_test {

namespace asio = boost::asio;
using asio::use_awaitable;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::Stock;
using postgres::AsyncTransaction;
using postgres::Transaction;

struct Shop {
    Shop()
    {
        postgres_server().command(
            "CREATE TABLE " + orders + " (sku text, who text CONSTRAINT " + orders + "_once UNIQUE, n int)");
        static_cast<void>(stock.insert(Stock{"x", 10}).value());
    }
    int ordered() const { return std::stoi(postgres_server().command("SELECT count(*) FROM " + orders)); }
    int left() const { return stock.load("x").value().value.quantity; }
    std::string insert() const { return "INSERT INTO " + orders + " VALUES ($1, $2, $3)"; }

    postgres::Pool pool{fresh_pool()};
    std::string orders{pool.options().name_space + "_orders"};
    postgres::StateRepository<Stock> stock{pool};
    TransactionService<Stock, PessimisticRowLock, postgres::StateRepository<Stock>> service{
        PessimisticRowLock{.max_attempts = 5}, stock};
};

/// Runs `coroutine()` on a context with this thread only, and returns its result.
template <class F>
auto run_alone(F const& coroutine)
{
    asio::io_context context;
    auto result = asio::co_spawn(context, coroutine(), asio::use_future);
    context.run();
    return result.get();
}

TEST_CASE(
    "the only thread goes on while an operation's statement sleeps in the server",
    "[postgres][async_transaction]")
{
    Shop const shop;
    int ticks = 0;
    std::optional<std::thread::id> elsewhere;
    auto const here = std::this_thread::get_id();
    bool done = false;
    auto const tick = [&]() -> asio::awaitable<void> {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        while (!done) {
            timer.expires_after(5ms);
            co_await timer.async_wait(use_awaitable);
            ++ticks;
        }
    };
    auto const answer = run_alone([&]() -> asio::awaitable<int> {
        asio::co_spawn(co_await asio::this_coro::executor, tick(), asio::detached);
        auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<int> {
            auto const before = ticks;
            co_await tx.async_exec("SELECT pg_sleep($1)", 0.3, use_awaitable);
            if (std::this_thread::get_id() != here)
                elsewhere = std::this_thread::get_id();
            auto const during = ticks - before;
            auto const inserted = co_await tx.async_exec(shop.insert(), s.sku, nullptr, 2, use_awaitable);
            s.quantity -= 2;
            co_return inserted.affected_rows() == 1 ? during : -1;
        };
        auto const during = co_await shop.service.async_do_in_transaction("x", operation, use_awaitable);
        done = true;
        co_return during;
    });
    CHECK(answer >= 10);
    CHECK_FALSE(elsewhere);  // the operation itself never left its executor
    CHECK(shop.left() == 8);
    CHECK(shop.ordered() == 1);
}

template <class F>
concept TakenAtOnce = requires(Shop shop, F f) { shop.service.do_in_transaction("x", f); };
template <class F>
concept TakenLater =
    requires(Shop shop, F f) { shop.service.async_do_in_transaction("x", f, asio::use_future); };

TEST_CASE("an asynchronous operation cannot block on a statement", "[postgres][async_transaction]")
{
    auto const blocking = [](Stock&, Transaction& tx) { tx.exec("SELECT 1"); };
    auto const awaiting = [](Stock&, AsyncTransaction& tx) -> asio::awaitable<void> {
        co_await tx.async_exec("SELECT 1", use_awaitable);
    };
    auto const any = [](Stock&, auto& tx) {
        STATIC_REQUIRE(std::is_same_v<decltype(tx), AsyncTransaction&>);
        STATIC_REQUIRE_FALSE(requires { tx.exec("SELECT 1"); } || requires { tx.commit(); });
    };
    STATIC_REQUIRE(TakenAtOnce<decltype(blocking)>);
    STATIC_REQUIRE_FALSE(TakenLater<decltype(blocking)>);
    STATIC_REQUIRE(TakenLater<decltype(awaiting)>);
    STATIC_REQUIRE_FALSE(TakenAtOnce<decltype(awaiting)>);
    Shop const shop;
    shop.service.async_do_in_transaction("x", any, asio::use_future).get();
}

TEST_CASE("awaited statements report errors as blocking statements do", "[postgres][async_transaction]")
{
    Shop const shop;
    auto const answer = run_alone([&]() -> asio::awaitable<std::string> {
        auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<std::string> {
            co_await tx.async_exec(shop.insert(), s.sku, "ann", 1, use_awaitable);
            auto const twice = co_await tx.async_try_exec(shop.insert(), s.sku, "ann", 1, use_awaitable);
            auto const nul =
                co_await tx.async_try_exec("SELECT $1::text", std::string("a\0b", 3), use_awaitable);
            auto const end = co_await tx.async_try_exec("COMMIT", use_awaitable);
            auto const fine = co_await tx.async_try_exec("SELECT $1::int + 1", 41, use_awaitable);
            --s.quantity;
            std::string said;
            for (auto const code : {twice.errc(), nul.errc(), end.errc()})
                said += std::string(name_of(code)) + " ";
            co_return said + std::to_string(fine->value<int>());
        };
        co_return co_await shop.service.async_do_in_transaction("x", operation, use_awaitable);
    });
    CHECK(answer == "constraint_violated invalid_argument invalid_argument 42");
    CHECK(shop.ordered() == 1);
    auto const failed = run_alone([&]() -> asio::awaitable<Errc> {
        auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<void> {
            --s.quantity;
            co_await tx.async_exec(shop.insert(), s.sku, "ann", 1, use_awaitable);
        };
        try {
            co_await shop.service.async_do_in_transaction("x", operation, use_awaitable);
        } catch (Error const& error) {
            co_return error.errc();
        }
        co_return Errc::ok;
    });
    CHECK(failed == Errc::constraint_violated);
    CHECK(shop.left() == 9);
}

TEST_CASE(
    "a slow statement of an asynchronous operation ends by the deadline", "[postgres][async_transaction]")
{
    Shop const shop;
    auto const began = std::chrono::steady_clock::now();
    auto const thrown = run_alone([&]() -> asio::awaitable<Errc> {
        auto operation = [](Stock& s, AsyncTransaction& tx) -> asio::awaitable<void> {
            --s.quantity;
            co_await tx.async_exec("SELECT pg_sleep(30)", use_awaitable);
        };
        try {
            co_await shop.service.async_do_in_transaction("x", operation, {.deadline = 200ms}, use_awaitable);
        } catch (Error const& error) {
            co_return error.errc();
        }
        co_return Errc::ok;
    });
    CHECK(thrown == Errc::deadline_exceeded);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    CHECK(shop.left() == 10);
}

TEST_CASE(
    "statements run one at a time, and an operation with one that was not awaited is not committed",
    "[postgres][async_transaction]")
{
    Shop const shop;
    auto two = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<int> {
        auto first = tx.async_try_exec("SELECT pg_sleep(0.1)", asio::use_future);
        auto const second = co_await tx.async_try_exec(shop.insert(), s.sku, "bob", 1, use_awaitable);
        while (first.wait_for(0s) != std::future_status::ready) {
            asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
            co_await timer.async_wait(use_awaitable);
        }
        co_return first.get() && second.errc() == Errc::invalid_argument ? 1 : 0;
    };
    CHECK(shop.service.async_do_in_transaction("x", two, asio::use_future).get() == 1);
    CHECK(shop.ordered() == 0);
    std::atomic<int> ended{0};
    auto forgotten = [&](Stock& s, AsyncTransaction& tx) {
        --s.quantity;
        tx.async_exec(
            "INSERT INTO " + shop.orders + " SELECT 'x', 'eve', 1 FROM pg_sleep(0.5)",
            [&](std::exception_ptr, postgres::Result const&) { ++ended; });
    };
    auto const outcome = shop.service.async_try_do_in_transaction("x", forgotten, asio::use_future).get();
    CHECK(outcome.errc() == Errc::invalid_argument);
    CHECK(outcome.effect() == Effect::not_applied);
    CHECK(eventually([&] { return ended == 1; }));
    CHECK(shop.ordered() == 0);
    CHECK(shop.left() == 10);
    CHECK(shop.service.do_in_transaction("x", [](Stock& s) { return --s.quantity; }) == 9);
}

TEST_CASE("a statement that nobody awaits does not stop the only thread", "[postgres][async_transaction]")
{
    Shop const shop;
    asio::io_context context;
    std::optional<Errc> call;
    int handled = 0;
    auto forgotten = [&](Stock& s, AsyncTransaction& tx) {
        --s.quantity;
        tx.async_try_exec(
            shop.insert(), s.sku, nullptr, 1,
            asio::bind_executor(context, [&](Outcome<postgres::Result>) { ++handled; }));
    };
    int applied = 0;
    for (int round = 1; round <= 20; ++round) {
        shop.service.async_try_do_in_transaction(
            "x", forgotten, asio::bind_executor(context, [&](std::exception_ptr, Outcome<void> outcome) {
                call = outcome.errc();
            }));
        context.run();
        context.restart();
        applied += call == Errc::ok ? 1 : 0;  // it may have ended in time
        CHECK((call == Errc::ok || call == Errc::invalid_argument));
        CHECK(handled == round);
    }
    CHECK(shop.ordered() == applied);
    CHECK(shop.left() == 10 - applied);
}

TEST_CASE(
    "statements that wait for others' transactions do not run out of threads",
    "[postgres][async_transaction]")
{
    Shop const shop;
    constexpr int callers = 12;  // each on a row of its own, all of them on one more
    for (int i = 0; i < callers; ++i)
        static_cast<void>(shop.stock.insert(Stock{"s" + std::to_string(i), 0}).value());
    postgres_server().command("INSERT INTO " + shop.orders + " VALUES ('hot', 'all', 0)");
    auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<void> {
        co_await tx.async_exec("UPDATE " + shop.orders + " SET n = n + 1 WHERE sku = 'hot'", use_awaitable);
        co_await tx.async_exec("SELECT pg_sleep(0.01)", use_awaitable);
        co_await tx.async_exec("UPDATE " + shop.orders + " SET n = n + 1 WHERE sku = 'hot'", use_awaitable);
        ++s.quantity;
    };
    auto const began = std::chrono::steady_clock::now();
    asio::thread_pool threads(2);
    std::vector<std::future<Outcome<void>>> all;
    for (int i = 0; i < callers; ++i)
        all.push_back(asio::co_spawn(
            threads,
            [](auto service, auto& run, std::string key) -> asio::awaitable<Outcome<void>> {
                co_return co_await service.async_try_do_in_transaction(
                    key, run, {.deadline = 20s}, use_awaitable);
            }(shop.service, operation, "s" + std::to_string(i)),
            asio::use_future));
    for (auto& one : all)
        CHECK(one.get());
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    CHECK(postgres_server().command("SELECT n FROM " + shop.orders) == std::to_string(2 * callers));
}

TEST_CASE("a cancelled operation waits for its statement and leaves nothing", "[postgres][async_transaction]")
{
    Shop const shop;
    asio::io_context context;
    asio::cancellation_signal cancel;
    std::optional<Errc> ended;
    bool went_on = false;
    auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<void> {
        --s.quantity;
        co_await tx.async_exec(shop.insert(), s.sku, "ann", 1, use_awaitable);
        asio::post(context, [&] { cancel.emit(asio::cancellation_type::terminal); });
        co_await tx.async_exec("SELECT pg_sleep(0.1)", use_awaitable);
        co_await tx.async_exec("SELECT 1", use_awaitable);
        went_on = true;
    };
    shop.service.async_try_do_in_transaction(
        "x", operation,
        asio::bind_cancellation_slot(
            cancel.slot(), asio::bind_executor(context, [&](std::exception_ptr, Outcome<void> outcome) {
                ended = outcome.errc();
            })));
    context.run();
    CHECK(ended == Errc::cancelled);
    CHECK_FALSE(went_on);
    CHECK(shop.ordered() == 0);
    CHECK(shop.left() == 10);
}

TEST_CASE(
    "a context that is destroyed ends the operation and leaves its row unlocked",
    "[postgres][async_transaction]")
{
    Shop const shop;
    for (auto const pause : {0ms, 20ms, 60ms}) {
        bool went_on = false;
        {
            asio::io_context context;
            auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<void> {
                --s.quantity;
                co_await tx.async_exec("SELECT pg_sleep(1)", use_awaitable);
                went_on = true;
            };
            auto ended = asio::bind_executor(context, [](std::exception_ptr) {});
            shop.service.async_do_in_transaction("x", operation, std::move(ended));
            context.run_for(pause);
        }
        CHECK_FALSE(went_on);
        CHECK(shop.service.do_in_transaction("x", [](Stock& s) { return s.quantity; }) == 10);
    }
}

TEST_CASE("a conflict of an awaited statement runs the operation again", "[postgres][async_transaction]")
{
    postgres::Pool const pool{fresh_pool()};
    postgres::StateRepository<Stock> const stock{pool, {.isolation = postgres::Isolation::repeatable_read}};
    REQUIRE(stock.insert(Stock{"x", 1}));
    REQUIRE(stock.insert(Stock{"y", 1}));
    auto const table = pool.options().name_space + "_state";
    int runs = 0;
    auto operation = [&](Stock& s, AsyncTransaction& tx) -> asio::awaitable<int> {
        auto const lock_y = "SELECT version FROM " + table + " WHERE key = 'y' FOR UPDATE";
        if (++runs == 1)
            postgres_server().command("UPDATE " + table + " SET version = version + 1 WHERE key = 'y'");
        co_await tx.async_exec(lock_y, use_awaitable);
        co_return ++s.quantity;
    };
    TransactionService const service{PessimisticRowLock{}, stock};
    CHECK(service.async_do_in_transaction("x", operation, asio::use_future).get() == 2);
    CHECK(runs == 2);
}

}  // namespace postgres_async_transaction_test
