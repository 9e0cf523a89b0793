// SPDX-License-Identifier: BSL-1.0

// A user's own statements in the transaction that locks and commits the states.
//
// How it works: a real server, a stock of ten, and a table of reservations with constraints of its own. An
// operation takes from the stock and inserts a reservation; stock and reservations, counted through another
// connection, tell whether both were committed or neither.

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace postgres_transaction_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::Stock;
using postgres::Transaction;

/// A stock of ten, and a table of reservations beside it.
struct Shop {
    explicit Shop(postgres::RepositoryOptions options = {}) : stock(pool, std::move(options))
    {
        postgres_server().command(
            "CREATE TABLE " + reservations +
            " (id bigserial PRIMARY KEY, sku text NOT NULL, quantity int NOT NULL CONSTRAINT some_quantity "
            "CHECK (quantity > 0), "
            "who text, CONSTRAINT " +
            one_each + " UNIQUE (who))");
        static_cast<void>(stock.insert(Stock{"x", 10}).value());
    }
    int reserved() const
    {
        return std::stoi(postgres_server().command("SELECT count(*) FROM " + reservations));
    }
    int left() const { return stock.load("x").value().value.quantity; }
    std::string insert() const
    {
        return "INSERT INTO " + reservations + " (sku, quantity, who) VALUES ($1, $2, $3)";
    }

    postgres::Pool pool{fresh_pool()};
    std::string reservations{pool.options().name_space + "_reservations"};
    std::string one_each{pool.options().name_space + "_one_each"};
    postgres::StateRepository<Stock> stock;
    auto service(PessimisticRowLock policy = {}) const { return TransactionService{policy, stock}; }
};

TEST_CASE("an operation's own statements commit with its state, or not at all", "[postgres][transaction]")
{
    Shop const shop;
    auto const service = shop.service();
    CHECK(service.do_in_transaction("x", [&](Stock& s, Transaction& tx) {
        s.quantity -= 2;
        return tx.exec(shop.insert(), s.sku, 2, nullptr).affected_rows();
    }) == 1);
    CHECK(shop.left() == 8);
    CHECK(shop.reserved() == 1);
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "x",
            [&](Stock& s, Transaction& tx) {
                s.quantity -= 2;
                tx.exec(shop.insert(), s.sku, 2, "ann");
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
    CHECK(shop.left() == 8);
    CHECK(shop.reserved() == 1);
    // Also where the state itself is left as it was.
    service.do_in_transaction(
        "x", [&](Stock& s, Transaction& tx) { tx.exec(shop.insert(), s.sku, 1, "bob"); });
    CHECK(shop.reserved() == 2);
    CHECK(
        service.try_do_in_transaction("nothing", [&](Stock&, Transaction& tx) { tx.exec("SELECT 1"); })
            .errc() == Errc::not_found);
}

TEST_CASE("an operation id covers the operation's own statements", "[postgres][transaction]")
{
    Shop const shop;
    std::atomic<int> good{0};
    run_threads(6, [&](std::size_t) {
        good += shop.service().do_in_transaction(
                    OperationId{"op"}, "x",
                    [&](Stock& s, Transaction& tx) {
                        tx.exec(shop.insert(), s.sku, 1, nullptr);
                        return --s.quantity;
                    },
                    {.deadline = 30s}) == 9
                    ? 1
                    : 0;
    });
    CHECK(good == 6);
    CHECK(shop.reserved() == 1);
    CHECK(shop.left() == 9);
}

TEST_CASE("values are read as they were written", "[postgres][transaction]")
{
    Shop const shop;
    shop.service().do_in_transaction("x", [&](Stock&, Transaction& tx) {
        CHECK(tx.exec("SELECT $1::int + $2::bigint", 1, std::int64_t{2}).value<int>() == 3);
        CHECK(tx.exec("SELECT $1::text", "a'b\"c\\d;--$1").value<std::string>() == "a'b\"c\\d;--$1");
        CHECK(tx.exec("SELECT $1::double precision", 0.1).value<double>() == 0.1);
        CHECK(tx.exec("SELECT NOT $1::boolean", true).value<bool>() == false);
        CHECK_FALSE(tx.exec("SELECT $1::int", std::optional<int>{}).value<std::optional<int>>());
        CHECK(tx.exec("SELECT $1::int", std::optional<int>{5}).value<std::optional<int>>() == 5);
        CHECK(
            tx.exec("SELECT octet_length($1::bytea)", postgres::Bytes{std::string_view("a\0b", 3)})
                .value<int>() == 3);
        auto const rows = tx.exec("SELECT * FROM (VALUES (1, 'one'), (2, NULL)) v (n, word) ORDER BY n");
        REQUIRE(rows.size() == 2);
        CHECK(rows.get<int>(1, "n") == 2);
        CHECK(rows.get<std::string>(0, "word") == "one");
        CHECK(rows.is_null(1, 1));
        CHECK_THROWS_AS(rows.get<std::string>(1, 1), Error);
        CHECK_THROWS_AS(rows.get<int>(0, "word"), Error);
        CHECK_THROWS_AS(rows.get<int>(0, "none"), Error);
        CHECK_THROWS_AS(rows.get<int>(2, 0), Error);
        CHECK_THROWS_AS(rows.value<int>(), Error);
        CHECK(tx.try_exec("SELECT $1::text", std::string("a\0b", 3)).errc() == Errc::invalid_argument);
    });
}

/// A transaction whose inside can be reached.
struct Raw : Transaction {
    explicit Raw(
        postgres::Pool const& pool, TimePoint until = interlock::detail::add(SystemRuntime::now(), 20s))
        : Transaction(
              postgres::PoolAccess::state(pool), postgres::PoolAccess::state(pool)->take(until).value(),
              until)
    {}
    Outcome<postgres::detail::Exchange> run(std::string sql, bool last)
    {
        postgres::detail::Batch batch;
        batch.add(std::move(sql));
        return last ? commit(batch, until_) : step(batch, until_);
    }
};

TEST_CASE("a COMMIT that the server makes a ROLLBACK is not applied", "[postgres][transaction]")
{
    Shop const shop;
    Raw tx{shop.pool};
    REQUIRE(tx.run("BEGIN", false));
    REQUIRE(tx.run("INSERT INTO " + shop.reservations + " (sku, quantity) VALUES ('x', 1)", false));
    CHECK(tx.run("SELECT 1 / 0", false).value().error->state == "22012");  // and whoever asked does not care
    auto const done = tx.run("COMMIT", true);                              // the server reports no error
    CHECK(done.errc() == Errc::misconfigured);
    CHECK(done.effect() == Effect::not_applied);
    CHECK(shop.reserved() == 0);
}

TEST_CASE("no form of a statement ends the transaction", "[postgres][transaction]")
{
    Shop const shop;
    auto const service = shop.service();
    for (std::string const sql :
         {"COMMIT", "commit", " \n/* a /* b */ */ -- c\n COMMIT", "ROLLBACK", "END", "ABORT", "BEGIN",
          "START TRANSACTION", "SAVEPOINT a", "RELEASE a", "PREPARE TRANSACTION 'a'", "(COMMIT)", ";COMMIT",
          " ;; /* */ ; ROLLBACK"}) {
        CAPTURE(sql);
        service.do_in_transaction("x", [&](Stock& s, Transaction& tx) {
            --s.quantity;
            CHECK(tx.try_exec(sql).errc() == Errc::invalid_argument);
            ++s.quantity;
        });
    }
    // What the server refuses: two statements in one text, and COMMIT inside of a procedure.
    postgres_server().command(
        "CREATE OR REPLACE PROCEDURE sneaky() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$");
    for (std::string const sql : {"SELECT 1; COMMIT", "CALL sneaky()", "DO $$ BEGIN COMMIT; END $$"}) {
        CAPTURE(sql);
        CHECK_THROWS_AS(
            service.do_in_transaction(
                "x",
                [&](Stock& s, Transaction& tx) {
                    --s.quantity;
                    tx.exec(shop.insert(), s.sku, 1, nullptr);
                    CHECK_FALSE(tx.try_exec(sql));
                    throw std::runtime_error("mine");
                }),
            std::runtime_error);
    }
    CHECK(shop.left() == 10);
    CHECK(shop.reserved() == 0);
}

TEST_CASE(
    "an operation that takes any kind of transaction gets one without a commit", "[postgres][transaction]")
{
    Shop const shop;
    shop.service().do_in_transaction("x", [](Stock&, auto& tx) {
        STATIC_REQUIRE(std::is_same_v<decltype(tx), Transaction&>);
        STATIC_REQUIRE_FALSE(requires { tx.commit(); });
        CHECK(tx.exec("SELECT 1").template value<int>() == 1);
    });
}

TEST_CASE(
    "a violated constraint is a result that names it, and the operation may go on", "[postgres][transaction]")
{
    Shop const shop;
    auto const answer = shop.service().do_in_transaction("x", [&](Stock& s, Transaction& tx) {
        tx.exec(shop.insert(), s.sku, 1, "ann");
        auto const twice = tx.try_exec(shop.insert(), s.sku, 1, "ann");
        CHECK(twice.errc() == Errc::constraint_violated);
        CHECK(twice.effect() == Effect::not_applied);
        CHECK_THAT(twice.detail(), Catch::Matchers::ContainsSubstring(shop.one_each));
        auto const none = tx.try_exec(shop.insert(), s.sku, 0, "bob");
        CHECK_THAT(none.detail(), Catch::Matchers::ContainsSubstring("some_quantity"));
        CHECK(tx.try_exec("SELECT 1").value().value<int>() == 1);
        --s.quantity;
        return std::string("ann has hers");
    });
    CHECK(answer == "ann has hers");
    CHECK(shop.reserved() == 1);
    CHECK(shop.left() == 9);
}

TEST_CASE(
    "after an error that was not undone nothing is committed, whatever the operation returns",
    "[postgres][transaction]")
{
    Shop const shop;
    auto const swallowed = shop.service().try_do_in_transaction("x", [&](Stock& s, Transaction& tx) {
        --s.quantity;
        tx.exec(shop.insert(), s.sku, 1, "ann");
        try {
            tx.exec(shop.insert(), s.sku, 1, "ann");
        } catch (Error const&) {
        }
        return 1;
    });
    CHECK(swallowed.errc() == Errc::constraint_violated);
    CHECK_THAT(swallowed.detail(), Catch::Matchers::ContainsSubstring(shop.one_each));
    CHECK(shop.reserved() == 0);
    CHECK(shop.left() == 10);
    Errc thrown = Errc::ok;
    try {
        shop.service().do_in_transaction(
            "x", [&](Stock&, Transaction& tx) { tx.exec("SELECT * FROM no_such_table"); });
    } catch (Error const& error) {
        thrown = error.errc();
    }
    CHECK(thrown == Errc::misconfigured);
}

TEST_CASE("a conflict in an operation's own statement runs the operation again", "[postgres][transaction]")
{
    Shop const shop{{.isolation = postgres::Isolation::serializable}};
    // Write skew: each reads the sum of all reservations and adds one only while there are fewer than one.
    static_cast<void>(shop.stock.insert(Stock{"y", 10}).value());
    std::atomic<int> runs{0};
    std::atomic<int> added{0};
    std::atomic<int> failed{0};
    std::atomic<int> inside{0};
    run_threads(2, [&](std::size_t i) {
        auto const outcome = shop.service().try_do_in_transaction(
            i == 0 ? "x" : "y",
            [&](Stock& s, Transaction& tx) {
                ++runs;
                auto const count = tx.exec("SELECT count(*) FROM " + shop.reservations).value<int>();
                ++inside;
                interlock_test::eventually(
                    [&] { return inside >= 2; });  // both have read before either writes
                if (count > 0)
                    return 0;
                tx.exec(shop.insert(), s.sku, 1, nullptr);
                return 1;
            },
            {.deadline = 30s});
        failed += outcome ? 0 : 1;
        added += outcome ? *outcome : 0;
    });
    CHECK(failed == 0);
    CHECK(added == 1);
    CHECK(shop.reserved() == 1);
    CHECK(runs >= 3);
}

TEST_CASE(
    "a session of which nobody knows what a statement left is not used again", "[postgres][transaction]")
{
    Shop const shop;
    auto const service = shop.service();
    auto const pid = [&] {
        return service.do_in_transaction(
            "x", [](Stock&, Transaction& tx) { return tx.exec("SELECT pg_backend_pid()").value<int>(); });
    };
    auto const first = pid();
    CHECK(pid() == first);
    for (std::string const sql :
         {"DO $$ BEGIN PERFORM pg_advisory_lock(5); END $$", "LOAD 'auto_explain'",
          "VACUUM (ANALYZE) pg_class"}) {
        CAPTURE(sql);
        auto const before = pid();
        service.do_in_transaction("x", [&](Stock&, Transaction& tx) {
            static_cast<void>(tx.try_exec(sql));  // some of them cannot be executed in a transaction
        });
        CHECK(pid() != before);
    }
    CHECK(interlock_test::eventually([] {
        return postgres_server().command(
                   "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 5") == "0";
    }));
}

TEST_CASE("a slow statement ends by the deadline, and nothing is applied", "[postgres][transaction]")
{
    Shop const shop;
    auto const began = std::chrono::steady_clock::now();
    Errc thrown = Errc::ok;
    try {
        shop.service().do_in_transaction(
            "x",
            [&](Stock& s, Transaction& tx) {
                --s.quantity;
                tx.exec("SELECT pg_sleep(30)");
            },
            {.deadline = 200ms});
    } catch (Error const& error) {
        thrown = error.errc();
    }
    CHECK(thrown == Errc::deadline_exceeded);
    CHECK(std::chrono::steady_clock::now() - began < 2s);
    CHECK(shop.left() == 10);
}

}  // namespace postgres_transaction_test

// Queries of the user's own through the pool: what they read, what they may not do, and how they fail.

namespace postgres_query_test {

using namespace interlock;
using namespace std::chrono_literals;
using boost::asio::use_future;
using Catch::Matchers::ContainsSubstring;
using interlock_test::ended;
using interlock_test::fresh_pool;
using interlock_test::sql;

std::string count()
{
    return interlock_test::postgres_server().command("SELECT count(*) FROM q_orders");
}

void make_orders()
{
    sql(
        {"DROP TABLE IF EXISTS q_orders",
         "CREATE TABLE q_orders (id int PRIMARY KEY, note text, paid boolean NOT NULL, data bytea)",
         "INSERT INTO q_orders VALUES (1, 'one', true, NULL), (2, NULL, false, '\\x0001'), "
         "(3, 'it''s; DROP', true, NULL)"});
}

TEST_CASE("a query reads rows by place, by name and one after the other", "[postgres][query]")
{
    make_orders();
    auto const pool = fresh_pool();
    auto const rows = pool.query("SELECT id, note, paid FROM q_orders ORDER BY id");
    REQUIRE(rows.size() == 3);
    CHECK(rows[0]["id"].as<int>() == 1);
    CHECK(rows[0][1].as<std::string>() == "one");
    CHECK(rows[1]["note"].is_null());
    CHECK(rows[1]["note"].as<std::optional<std::string>>() == std::nullopt);
    CHECK_FALSE(rows[1]["paid"].as<bool>());
    CHECK(rows.get<int>(2, "id") == 3);
    CHECK(rows[2]["note"].text() == "it's; DROP");
    int sum = 0;
    for (auto const row : rows)
        sum += row["id"].as<int>();
    CHECK(sum == 6);
    CHECK(ended([&] { static_cast<void>(rows[3]); }).errc() == Errc::invalid_argument);
    CHECK(ended([&] { static_cast<void>(rows[0]["none"]); }).errc() == Errc::invalid_argument);
    CHECK(ended([&] { static_cast<void>(rows[0][3]); }).errc() == Errc::invalid_argument);
    CHECK(ended([&] { static_cast<void>(rows[1]["note"].as<int>()); }).errc() == Errc::invalid_argument);
    CHECK(pool.query("SELECT 1 WHERE false").empty());
    CHECK(pool.query("SHOW server_version_num").value<int>() >= 150000);
}

TEST_CASE("parameters of a query are values, and never a part of its text", "[postgres][query]")
{
    make_orders();
    auto const pool = fresh_pool();
    std::string const text = "it's; DROP";
    CHECK(pool.query("SELECT id FROM q_orders WHERE note = $1", text).value<int>() == 3);
    CHECK(pool.query("SELECT id FROM q_orders WHERE note = $1", "'; DROP TABLE q_orders; --").empty());
    std::string const bytes("\0\1", 2);
    CHECK(pool.query("SELECT id FROM q_orders WHERE data = $1", postgres::Bytes{bytes}).value<int>() == 2);
    CHECK(pool.query("SELECT $1::int + $2", 40, std::optional{2}).value<int>() == 42);
    CHECK(pool.query("SELECT $1::text IS NULL", nullptr).value<bool>());
    CHECK(pool.try_query("SELECT $1::text", std::string("a\0b", 3)).errc() == Errc::invalid_argument);
    CHECK(pool.try_query("SELECT $1::int", "secret").errc() == Errc::invalid_argument);
    CHECK_THAT(pool.try_query("SELECT $1::int", "secret").message(), !ContainsSubstring("secret"));
    CHECK(count() == "3");
}

TEST_CASE("a query changes nothing, by the word of the server", "[postgres][query]")
{
    make_orders();
    sql(
        {"CREATE OR REPLACE FUNCTION q_hidden() RETURNS int LANGUAGE sql AS "
         "$$ INSERT INTO q_orders VALUES (9, 'x', true) RETURNING id $$",
         "CREATE SEQUENCE IF NOT EXISTS q_numbers"});
    auto const pool = fresh_pool();
    for (std::string const statement :
         {"INSERT INTO q_orders VALUES (8, 'x', true)", "UPDATE q_orders SET paid = true",
          "DELETE FROM q_orders", "SELECT q_hidden()", "SELECT nextval('q_numbers')",
          "SELECT * FROM q_orders FOR UPDATE", "CREATE TABLE q_more (id int)", "TRUNCATE q_orders",
          "WITH w AS (DELETE FROM q_orders RETURNING id) SELECT id FROM w",
          "EXPLAIN ANALYZE DELETE FROM q_orders"}) {
        auto const refused = pool.try_query(statement);
        INFO(statement << ": " << refused.message());
        CHECK(refused.errc() == Errc::invalid_argument);
        CHECK_THAT(refused.detail(), ContainsSubstring("only reads"));
        CHECK(refused.effect() == Effect::not_applied);
    }
    // Nor can its text end the transaction, or make it one that writes.
    for (std::string const statement :
         {"COMMIT", "ROLLBACK", "BEGIN READ WRITE", "SET TRANSACTION READ WRITE", "SELECT 1; SELECT 2",
          "SELECT set_config('transaction_read_only', 'off', true)", "COPY q_orders TO STDOUT"}) {
        INFO(statement);
        CHECK_FALSE(pool.try_query(statement));
    }
    CHECK(count() == "3");
    // Its connections are as good as before.
    CHECK(pool.query("SELECT count(*) FROM q_orders").value<int>() == 3);
    CHECK(pool.connection_count() <= 2);
}

TEST_CASE("what a query leaves in its session meets nobody else", "[postgres][query]")
{
    auto const pool = fresh_pool();
    static_cast<void>(pool.query("SELECT set_config('app.user', 'ann', false)"));
    static_cast<void>(pool.query("SET work_mem = '1MB'"));
    static_cast<void>(pool.query("SELECT pg_advisory_lock(4711)"));
    CHECK(pool.query("SELECT coalesce(current_setting('app.user', true), '')").value<std::string>().empty());
    CHECK(pool.query("SHOW work_mem").value<std::string>() != "1MB");
    CHECK(pool.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").value<int>() == 0);
    CHECK(pool.query("SHOW transaction_read_only").value<std::string>() == "on");
}

TEST_CASE("a query fails as the classifier says, by its deadline at the latest", "[postgres][query]")
{
    auto const pool = fresh_pool();
    auto const begin = std::chrono::steady_clock::now();
    auto const late = pool.try_query(300ms, "SELECT pg_sleep(60)");
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK_THAT(late.detail(), ContainsSubstring("postgres"));
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    CHECK(ended([&] {
              static_cast<void>(pool.query(300ms, "SELECT pg_sleep(60)"));
          }).errc() == Errc::deadline_exceeded);
    CHECK(pool.try_query("SELECT * FROM q_none").errc() == Errc::misconfigured);
    CHECK_THAT(pool.try_query("SELECT * FROM q_none").detail(), ContainsSubstring("q_none"));
    CHECK(pool.try_query("SELEKT 1").errc() == Errc::misconfigured);
    CHECK(pool.try_query(std::string("SELECT 1\0", 9)).errc() == Errc::invalid_argument);
    CHECK(pool.query("SELECT 1").value<int>() == 1);
    // A session that the server has ended is replaced: what only reads may be sent again.
    interlock_test::postgres_server().command(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    CHECK(pool.query("SELECT 2").value<int>() == 2);
    postgres::Pool const nowhere{"postgresql://nobody@/none?host=/nonexistent"};
    auto const gone = nowhere.try_query(2s, "SELECT 1");
    CHECK(gone.errc() == Errc::unavailable);
}

boost::asio::awaitable<int> add_up(postgres::Pool const& pool)
{
    auto const first = co_await pool.async_query("SELECT $1::int", 40, boost::asio::use_awaitable);
    auto const second = co_await pool.async_query(5s, "SELECT 2", boost::asio::use_awaitable);
    co_return first.value<int>() + second[0][0].as<int>();
}

TEST_CASE("an asynchronous query gives the same", "[postgres][query][async]")
{
    make_orders();
    auto const pool = fresh_pool();
    CHECK(pool.async_query("SELECT $1::text", "a", use_future).get().value<std::string>() == "a");
    auto const refused = pool.async_try_query("DELETE FROM q_orders", use_future).get();
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK(ended([&] { pool.async_query("SELEKT", use_future).get(); }).errc() == Errc::misconfigured);
    CHECK(
        pool.async_try_query(300ms, "SELECT pg_sleep(60)", use_future).get().errc() ==
        Errc::deadline_exceeded);
    boost::asio::io_context io;
    auto sum = boost::asio::co_spawn(io, add_up(pool), use_future);
    io.run();
    CHECK(sum.get() == 42);
    // More of them than there are connections.
    std::vector<std::future<postgres::Result>> many;
    for (int i = 0; i < 40; ++i)
        many.push_back(pool.async_query("SELECT $1::int", i, use_future));
    for (int i = 0; i < 40; ++i)
        CHECK(many[static_cast<std::size_t>(i)].get().value<int>() == i);
    CHECK(pool.connection_count() <= pool.options().max_connections);
    CHECK(count() == "3");
}

}  // namespace postgres_query_test
