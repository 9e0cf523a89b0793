// SPDX-License-Identifier: BSL-1.0

// Statements of an operation to which the server answers something else than rows: each ends its exchange by
// the deadline with a text that says what was wrong, nothing is applied, and the next call works.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postgres_unexpected_results_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::ended;
using interlock_test::fresh_name_space;
using interlock_test::fresh_pool;
using interlock_test::Stock;

struct Shop {
    postgres::Pool pool = fresh_pool();
    std::string table = pool.options().name_space + "_stock";
    postgres::StateRepository<Stock> stock = make();

    postgres::StateRepository<Stock> make() const
    {
        std::vector<std::string> const text{
            "CREATE TABLE " + table +
                " (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL)",
            "INSERT INTO " + table + " VALUES ('x', 1, 1)"};
        std::vector<std::string_view> const script{text.begin(), text.end()};
        postgres::run_script(pool, script).value();
        return postgres::StateRepository<Stock>{pool, {.table = table, .key = "sku"}};
    }
    auto service() const { return TransactionService{PessimisticRowLock{}, stock}; }
    int quantity() const { return stock.load("x").value().value.quantity; }
};

TEST_CASE("a COPY from or to the client ends the operation", "[postgres][unexpected]")
{
    Shop const shop;
    for (std::string const how :
         {"COPY {} TO STDOUT", "COPY {} FROM STDIN", "copy {} to stdout (format binary)",
          "/* all */ COPY (SELECT * FROM {}) TO STDOUT WITH CSV", "COPY {} (sku) FROM STDIN WITH CSV",
          "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT -- {}"}) {
        CAPTURE(how);
        auto sql = how;
        sql.replace(sql.find("{}"), 2, shop.table);
        auto const began = std::chrono::steady_clock::now();
        std::string said;
        auto const outcome = shop.service().try_do_in_transaction(
            "x",
            [&](Stock& s, postgres::Transaction& tx) {
                ++s.quantity;
                auto const done = tx.try_exec(sql);
                said = done.detail();
                // The transaction has failed; whoever goes on learns that, too.
                CHECK_FALSE(tx.try_exec("SELECT 1"));
            },
            {.deadline = 10s});
        CHECK(outcome.errc() == Errc::invalid_argument);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.detail(), ContainsSubstring("COPY"));
        CHECK_THAT(said, ContainsSubstring("COPY"));
        CHECK(std::chrono::steady_clock::now() - began < 5s);
        CHECK(shop.quantity() == 1);
    }
    shop.service().do_in_transaction("x", [](Stock& s) { ++s.quantity; });
    CHECK(shop.quantity() == 2);
}

TEST_CASE("a COPY that is to be undone alone ends the operation as well", "[postgres][unexpected]")
{
    Shop const shop;
    auto const outcome = shop.service().try_do_in_transaction("x", [&](Stock& s, postgres::Transaction& tx) {
        ++s.quantity;
        static_cast<void>(tx.try_exec("COPY " + shop.table + " FROM STDIN"));
    });
    CHECK(outcome.errc() == Errc::invalid_argument);
    CHECK(shop.quantity() == 1);
}

TEST_CASE("a COPY in an asynchronous operation ends it", "[postgres][unexpected][async]")
{
    Shop const shop;
    boost::asio::io_context io;
    auto operation = [&](Stock& s, postgres::AsyncTransaction& tx) -> boost::asio::awaitable<void> {
        ++s.quantity;
        co_await tx.async_exec("COPY " + shop.table + " TO STDOUT", boost::asio::use_awaitable);
    };
    std::exception_ptr thrown;
    shop.service().async_try_do_in_transaction(
        "x", operation,
        boost::asio::bind_executor(
            io, [&](std::exception_ptr exception, Outcome<void> const&) { thrown = std::move(exception); }));
    io.run_for(10s);
    REQUIRE(thrown);
    auto const said = ended([&] { std::rethrow_exception(thrown); });
    CHECK(said.errc() == Errc::invalid_argument);
    CHECK_THAT(said.detail(), ContainsSubstring("COPY"));
    CHECK(shop.quantity() == 1);
}

TEST_CASE("a COPY on a free row ends the operation", "[postgres][unexpected]")
{
    Shop const shop;
    postgres::FreeRows const free{shop.stock, {.where = "quantity > 0", .order_by = "sku"}};
    auto const copies = [&](Stock& s, postgres::Transaction& tx) {
        ++s.quantity;
        tx.exec("COPY " + shop.table + " TO STDOUT");
    };
    TransactionService const any{PessimisticRowLock{}, free};
    CHECK(ended([&] { any.do_in_transaction("", copies); }).errc() == Errc::invalid_argument);
    CHECK(shop.quantity() == 1);
}

TEST_CASE("a COPY in a script ends it", "[postgres][unexpected]")
{
    Shop const shop;
    auto const insert = "INSERT INTO " + shop.table + " VALUES ('y', 1, 1)";
    auto const from = "COPY " + shop.table + " FROM STDIN";
    auto const to = "COPY " + shop.table + " TO STDOUT";
    // The server drops what came before, since the data never come.
    std::array<std::string_view, 2> const reads{insert, from};
    auto const read = postgres::run_script(shop.pool, reads, 10s);
    CHECK_FALSE(read);
    CHECK_THAT(read.detail(), ContainsSubstring("COPY"));
    CHECK(shop.stock.load("y").errc() == Errc::not_found);
    // The server may or may not come to the end of the script: the answer says that nobody knows.
    std::array<std::string_view, 2> const writes{insert, to};
    auto const written = postgres::run_script(shop.pool, writes, 10s);
    CHECK(written.errc() == Errc::outcome_unknown);
    CHECK_THAT(written.detail(), ContainsSubstring("COPY"));
    CHECK(shop.quantity() == 1);
}

TEST_CASE("no statement of an operation ends its transaction unseen", "[postgres][unexpected]")
{
    Shop const shop;
    auto const procedure = shop.table + "_commits";
    std::array<std::string, 1> const text{
        "CREATE PROCEDURE " + procedure + "() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'"};
    std::array<std::string_view, 1> const script{text[0]};
    postgres::run_script(shop.pool, script).value();
    for (std::string const& sql :
         {std::string("COMMIT"), std::string(" ;; /* /* now */ */ commit work"), std::string("END"),
          std::string("ABORT"), std::string("ROLLBACK TO SAVEPOINT interlock"),
          std::string("SAVEPOINT interlock"), std::string("RELEASE interlock"),
          std::string("PREPARE TRANSACTION 'x'"), std::string("START TRANSACTION"),
          std::string("SELECT 1; COMMIT"), std::string("DO 'BEGIN COMMIT; END'"), "CALL " + procedure + "()",
          std::string("COMMIT AND CHAIN"), std::string("COMMIT PREPARED 'x'")}) {
        CAPTURE(sql);
        auto const outcome = ended([&] {
            shop.service().do_in_transaction("x", [&](Stock& s, postgres::Transaction& tx) {
                s.quantity = 100;
                tx.exec("UPDATE " + shop.table + " SET quantity = 50 WHERE sku = 'x'");
                tx.exec(sql);
            });
        });
        CHECK((outcome.errc() == Errc::invalid_argument || outcome.errc() == Errc::misconfigured));
        CHECK_FALSE(outcome.detail().empty());
        CHECK(shop.quantity() == 1);
    }
}

TEST_CASE("statements that answer no rows are no mistake", "[postgres][unexpected]")
{
    Shop const shop;
    for (std::string const sql :
         {"", ";", "-- nothing", "/* nothing */", "LISTEN someone", "NOTIFY someone, 'x'",
          "SET LOCAL work_mem = '1MB'", "DO 'BEGIN RAISE WARNING ''careful''; END'", "DISCARD PLANS",
          "CREATE TEMPORARY TABLE seen (n int) ON COMMIT DROP"}) {
        CAPTURE(sql);
        auto const outcome = ended([&] {
            shop.service().do_in_transaction("x", [&](Stock& s, postgres::Transaction& tx) {
                ++s.quantity;
                tx.exec(sql);
            });
        });
        CAPTURE(outcome.detail());
        CHECK(outcome);
    }
    CHECK(shop.quantity() == 11);
    // Whoever listened keeps the session from the next.
    shop.service().do_in_transaction("x", [](Stock&, postgres::Transaction& tx) {
        CHECK(tx.exec("SELECT count(*) FROM pg_listening_channels()").value<int>() == 0);
    });
}

TEST_CASE("a URL for replication is refused in words", "[postgres][unexpected]")
{
    for (std::string const how : {"database", "true", "on", "1"}) {
        auto const parsed = postgres::Options::parse("postgresql://u@h/d?replication=" + how);
        CHECK(parsed.errc() == Errc::invalid_argument);
        CHECK_THAT(parsed.detail(), ContainsSubstring("replication"));
    }
    CHECK(postgres::Options::parse("postgresql://u@h/d?replication=false"));
}

}  // namespace postgres_unexpected_results_test
