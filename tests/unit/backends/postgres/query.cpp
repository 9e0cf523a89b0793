// SPDX-License-Identifier: BSL-1.0

// Queries of the user's own through the pool: what they read, what they may not do, and how they fail.

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/transaction.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <vector>

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
