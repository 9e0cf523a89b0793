// SPDX-License-Identifier: BSL-1.0

// Settings that an operation makes by statements of its own: what ends with the transaction costs no session,
// and what would outlive it never meets the next caller.

#include <interlock/backends/postgres/detail/statement_text.hpp>
#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace postgres_transaction_settings_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::Stock;
using postgres::Transaction;
using Service = TransactionService<Stock, PessimisticRowLock, postgres::StateRepository<Stock>>;

struct Bench {
    Bench() { static_cast<void>(stock.insert(Stock{"x", 0}).value()); }

    // What `ask` gives in a transaction of its own.
    std::string answer(std::string const& ask)
    {
        return service.do_in_transaction(
            "x", [&](Stock&, Transaction& tx) { return std::string(tx.exec(ask).text(0, 0)); });
    }

    postgres::Pool pool{fresh_pool()};
    postgres::StateRepository<Stock> stock{pool};
    Service service{PessimisticRowLock{}, stock};
};

TEST_CASE("a setting that an operation makes costs no session", "[postgres][settings]")
{
    Bench bench;
    for (char const* sql :
         {"SET LOCAL app.actor = 'ann'", "SELECT set_config('app.actor', 'ann', true)",
          "SELECT set_config('app.actor', 'ann', false)", "SET app.actor = 'ann'",
          "/* t local */ set session app.actor to 'ann'", "SET CONSTRAINTS ALL DEFERRED",
          "SELECT pg_advisory_lock(17)", "LISTEN orders", "CREATE TEMP TABLE stock_t (x int)",
          "SELECT 1 AS x INTO TEMP TABLE stock_u"}) {
        CAPTURE(sql);
        std::set<int> sessions;
        for (int i = 0; i < 10; ++i)
            bench.service.do_in_transaction("x", [&](Stock& s, Transaction& tx) {
                tx.exec(sql);
                sessions.insert(tx.exec("SELECT pg_backend_pid()").value<int>());
                ++s.quantity;
            });
        CHECK(sessions.size() == 1);
    }
    CHECK(bench.stock.load("x").value().value.quantity == 100);
}

TEST_CASE("what an operation leaves in its session never meets the next caller", "[postgres][settings]")
{
    Bench bench;
    struct Trace {
        char const* made_by;
        char const* ask;
        char const* clean;
    };
    for (auto const& trace :
         {Trace{"SET app.actor = 'ann'", "SELECT coalesce(current_setting('app.actor', true), '')", ""},
          Trace{
              "SELECT set_config('app.actor', 'ann', false)",
              "SELECT coalesce(current_setting('app.actor', true), '')", ""},
          Trace{"SET local.actor = 'ann'", "SELECT coalesce(current_setting('local.actor', true), '')", ""},
          Trace{
              "SET SESSION statement_timeout = 1", "SELECT current_setting('statement_timeout') = '1ms'",
              "f"},
          Trace{"SET bytea_output = escape", "SHOW bytea_output", "hex"},
          Trace{"SET ROLE interlock", "SHOW role", "none"},
          Trace{
              "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
              "SHOW default_transaction_isolation", "read committed"},
          Trace{
              "SELECT pg_advisory_lock(18)",
              "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 18", "0"},
          Trace{"LISTEN orders", "SELECT count(*) FROM pg_listening_channels()", "0"},
          Trace{"CREATE TEMP TABLE left_here (x int)", "SELECT to_regclass('left_here') IS NULL", "t"},
          Trace{"SELECT 1 AS x INTO TEMPORARY left_here", "SELECT to_regclass('left_here') IS NULL", "t"},
          Trace{
              "DECLARE left_here CURSOR WITH HOLD FOR SELECT 1",
              "SELECT count(*) FROM pg_cursors WHERE name = 'left_here'", "0"}}) {
        CAPTURE(trace.made_by);
        bench.service.do_in_transaction("x", [&](Stock& s, Transaction& tx) {
            ++s.quantity;
            tx.exec(trace.made_by);
        });
        CHECK(bench.answer(trace.ask) == trace.clean);
        // What the library needs of its sessions stands again, on the same session.
        CHECK(bench.answer("SHOW row_security") == "on");
        CHECK(bench.stock.load("x"));
    }
    CHECK(bench.pool.connection_count() == 1);
}

TEST_CASE("a session that was given back is restored before anything else runs on it", "[postgres][settings]")
{
    Bench bench;
    for (int i = 0; i < 20; ++i) {
        bench.service.do_in_transaction(
            "x", [&](Stock&, Transaction& tx) { tx.exec("SET search_path = public, pg_catalog"); });
        CHECK(bench.stock.load("x"));  // the next exchange of the session
    }
    CHECK(bench.pool.connection_count() == 1);
    // One that ends meanwhile is replaced, and nobody hears of it.
    bench.service.do_in_transaction("x", [&](Stock&, Transaction& tx) { tx.exec("SET app.a = 'b'"); });
    postgres_server().command(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'interlock'");
    CHECK(bench.service.do_in_transaction("x", [](Stock& s) { return ++s.quantity; }) > 0);
    // A transaction that is rolled back takes its settings along.
    CHECK_THROWS_AS(
        bench.service.do_in_transaction(
            "x",
            [&](Stock&, Transaction& tx) {
                tx.exec("SET app.a = 'c'");
                tx.exec("SELECT 1 / 0");
            }),
        Error);
    CHECK(bench.answer("SELECT coalesce(current_setting('app.a', true), '')").empty());
}

// A table of which a trigger writes down who has changed it.
struct Audited {
    Audited()
    {
        postgres_server().command(
            "CREATE TABLE " + table +
            " (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL DEFAULT 1)");
        postgres_server().command("CREATE TABLE " + table + "_log (n serial, actor text, quantity int)");
        postgres_server().command(
            "CREATE FUNCTION " + table + "_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO " +
            table +
            "_log (actor, quantity) VALUES (current_setting('app.actor', true), NEW.quantity); RETURN NEW; "
            "END $$");
        postgres_server().command(
            "CREATE TRIGGER audit AFTER INSERT OR UPDATE ON " + table + " FOR EACH ROW EXECUTE FUNCTION " +
            table + "_f()");
    }
    // Who changed something since the last question, in order.
    std::string actors() const
    {
        return postgres_server().command(
            "WITH d AS (DELETE FROM " + table +
            "_log RETURNING n, actor) SELECT coalesce(string_agg(actor, ',' ORDER BY n), '') FROM d");
    }
    postgres::StateRepository<Stock> by(std::string actor) const
    {
        return stock.with_settings({{"app.actor", std::move(actor), postgres::SettingUse::audit}});
    }

    postgres::Pool pool{fresh_pool()};
    std::string table{pool.options().name_space + "_audited"};
    postgres::StateRepository<Stock> stock{pool, {.table = table, .key = "sku"}};
};

TEST_CASE("a handle's settings reach every transaction of it, and no other", "[postgres][settings]")
{
    Audited const audited;
    auto const more = [](Stock& s) { return ++s.quantity; };
    auto const check = [&](auto const& policy) {
        TransactionService const ann{policy, audited.by("ann")};
        TransactionService const bob{policy, audited.by("bob")};
        TransactionService const nobody{policy, audited.stock};
        CHECK(ann.try_do_in_transaction("x", more));
        CHECK(bob.try_do_in_transaction(OperationId{"once"}, "x", more));
        CHECK(bob.try_do_in_transaction(OperationId{"once"}, "x", more).replayed());
        CHECK(ann.try_do_in_transaction("x", more));
        CHECK(nobody.try_do_in_transaction("x", more));
        CHECK(audited.actors() == "ann,bob,ann,");
        CHECK(ann.try_do_in_transaction(
            keys("x", "y"), [](Stock& a, Stock& b) { a.quantity = b.quantity = 7; }));
        CHECK(audited.actors() == "ann,ann");
    };
    static_cast<void>(audited.by("first").insert(Stock{"x", 0}).value());
    static_cast<void>(audited.by("second").insert(Stock{"y", 0}).value());
    CHECK(audited.actors() == "first,second");
    SECTION("row lock")
    {
        check(PessimisticRowLock{});
    }
    SECTION("row lock by an advisory lock")
    {
        postgres::StateRepository<Stock> const other{
            audited.pool,
            {.table = audited.table,
             .key = "sku",
             .row_lock = postgres::RowLock::advisory,
             .isolation = postgres::Isolation::serializable,
             .settings = {{"app.actor", "carol"}}}};
        CHECK(TransactionService{PessimisticRowLock{}, other}.try_do_in_transaction("x", more));
        CHECK(TransactionService{PessimisticRowLock{.missing = Missing::create}, other}.try_do_in_transaction(
            "new", more));
        CHECK(audited.actors() == "carol,carol");
        check(PessimisticRowLock{});
    }
    SECTION("optimistic")
    {
        check(OptimisticVersioning{.remember = 10});
    }
    SECTION("lease")
    {
        check(SetNxLock{});
    }
    SECTION("free rows")
    {
        postgres::FreeRows const free{audited.by("worker"), {.where = "sku = $1"}};
        CHECK(TransactionService{PessimisticRowLock{}, free}.try_do_in_transaction("x", more));
        CHECK(audited.actors() == "worker");
    }
    SECTION("asynchronous")
    {
        TransactionService const service{PessimisticRowLock{}, audited.by("later")};
        CHECK(service.async_do_in_transaction("x", more, boost::asio::use_future).get() == 1);
        TransactionService const optimistic{OptimisticVersioning{}, audited.by("later still")};
        CHECK(optimistic.async_do_in_transaction("x", more, boost::asio::use_future).get() == 2);
        CHECK(audited.actors() == "later,later still");
    }
    CHECK(audited.pool.connection_count() <= 2);
}

TEST_CASE("a setting has any text as its value", "[postgres][settings]")
{
    Audited const audited;
    static_cast<void>(audited.stock.insert(Stock{"x", 0}).value());
    CHECK(audited.actors().empty());
    for (std::string const value :
         {"", "'; DROP TABLE x; --", "a\\b", "\n\t\r", "Zoë 東京", "$1", "{\"sub\": \"u1\"}"}) {
        CAPTURE(value);
        CHECK(TransactionService{PessimisticRowLock{}, audited.by(value)}.try_do_in_transaction(
            "x", [](Stock& s) { ++s.quantity; }));
        CHECK(audited.actors() == value);
    }
    std::string const longest(std::size_t{1} << 16, 'x');
    CHECK(TransactionService{OptimisticVersioning{}, audited.by(longest)}.try_do_in_transaction(
        "x", [](Stock& s) { ++s.quantity; }));
    CHECK(audited.actors() == longest);
}

TEST_CASE("a setting that cannot be made is refused by its name", "[postgres][settings]")
{
    Audited const audited;
    using Catch::Matchers::ContainsSubstring;
    for (std::string const name :
         {"search_path", "role", "statement_timeout", "lock_timeout", "transaction_isolation", "row_security",
          "session_authorization", "", "app.", ".app", "app..x", "app.'x'", "1app.x", "app.1x"}) {
        CAPTURE(name);
        CHECK_THROWS_WITH(audited.stock.with_settings({{name, "x"}}), ContainsSubstring('"' + name + '"'));
        CHECK_THROWS_WITH(
            (postgres::StateRepository<Stock>{audited.pool, {.settings = {{name, "x"}}}}),
            ContainsSubstring("invalid_argument"));
    }
    CHECK_THROWS_WITH(
        audited.stock.with_settings({{"app.x", "1"}, {"App.X", "2"}}),
        ContainsSubstring("\"app.x\" is given twice"));
    CHECK_THROWS_WITH(
        audited.stock.with_settings({{"app.x", std::string("a\0b", 3)}}),
        ContainsSubstring("\"app.x\" has a NUL"));
    CHECK_THROWS_WITH(
        audited.stock.with_settings({{"app.x", std::string(std::size_t{1} << 17, 'x')}}),
        ContainsSubstring("\"app.x\" is longer"));
    // What only the server knows to be wrong is its refusal, which names the setting and not its value.
    auto const bytes = TransactionService{PessimisticRowLock{}, audited.by("\xff")}.try_do_in_transaction(
        "x", [](Stock&) {});
    CHECK(bytes.errc() == Errc::invalid_argument);
    CHECK_THAT(bytes.detail(), ContainsSubstring("app.actor"));
    // One of the same name takes the place of the former one.
    static_cast<void>(audited.by("ann").with_settings({{"APP.ACTOR", "bob"}}).insert(Stock{"x", 0}).value());
    CHECK(audited.actors() == "bob");
}

TEST_CASE("an operation that changes the encoding of texts stores none in it", "[postgres][settings]")
{
    Bench const bench;
    auto const table = bench.pool.options().name_space + "_labels";
    postgres_server().command(
        "CREATE TABLE " + table + " (sku text PRIMARY KEY, quantity int, version bigint NOT NULL)");
    postgres::StateRepository<Stock> const labels{bench.pool, {.table = table, .key = "sku"}};
    std::string const key = "\xC3\xBC";
    REQUIRE(labels.insert(Stock{key, 0}));
    Service const service{PessimisticRowLock{}, labels};
    for (char const* statement :
         {"SET LOCAL client_encoding = 'LATIN1'", "SET NAMES 'SQL_ASCII'",
          "SELECT set_config('client_encoding', 'WIN1252', true)"}) {
        CAPTURE(statement);
        int runs = 0;
        auto const set = [&](Stock& s, Transaction& tx) {
            ++runs;
            tx.exec(statement);
            s.quantity = 7;
        };
        auto const refused = service.try_do_in_transaction(OperationId{statement}, key, set);
        CHECK(refused.errc() == Errc::invalid_argument);
        CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("client_encoding"));
        CHECK(runs == 1);
        CHECK(labels.load(key).value().value.quantity == 0);
        auto const and_back = [&](Stock& s, Transaction& tx) {
            tx.exec(statement);
            tx.exec("SET LOCAL client_encoding = 'UTF8'");
            ++s.quantity;
            s.quantity = 0;
        };
        CHECK(service.try_do_in_transaction(OperationId{statement}, key, and_back));
    }
    CHECK(bench.pool.connection_count() <= 2);
}

TEST_CASE("what a text may leave in its session", "[postgres][settings]")
{
    using postgres::detail::Leaves;
    auto const leaves = [](std::string_view sql) {
        return postgres::detail::leaves_in_session(sql, postgres::detail::first_word(sql));
    };
    for (char const* sql :
         {"SELECT 1", "SET LOCAL a.b = 1", "set /* x */ local \"a\".b = 1", "SET CONSTRAINTS ALL DEFERRED",
          "SET TRANSACTION READ ONLY", "SELECT set_config('a.b', '1', true)",
          "select pg_catalog.SET_CONFIG( $1 ,'it is', TRUE ), set_config('c.d',$2,true)",
          "UPDATE jobs SET attempts = attempts + 1", "SELECT pg_advisory_xact_lock(1)"}) {
        CAPTURE(sql);
        CHECK(leaves(sql) == Leaves::nothing);
    }
    for (char const* sql :
         {"SELECT SET_CONFIG('a.b', '1', false)",
          "SELECT set_config('a.b', '1', $1)",
          "SELECT set_config($1, 'true)', false)",
          "SELECT set_config('a', ',true', b, true)",
          "SELECT set_config('a.b', '1', true), set_config('a.c', '2', 't' <> 't')",
          "SELECT set_config('a.b', e'\\', true), ', false)",
          "SELECT set_config /* */ ('a.b', '1', true)",
          "SELECT set_config(is_local => false, setting_name => 'a.b', new_value => 'true')",
          "SELECT \"set_config\"('a.b', '1', true)",
          "SELECT set_config('a.b', '1', true",
          "SET a.b = 1",
          "-- t local\nSET a.b = 1",
          "SET local.b = 1",
          "SET local . b = 1",
          "SET transaction.b TO 1",
          "SELECT pg_catalog.pg_try_advisory_lock(1)",
          "SELECT 1 INTO TEMP x",
          "CREATE TABLE x (y int)",
          "LISTEN x",
          "RESET ALL"}) {
        CAPTURE(sql);
        CHECK(leaves(sql) == Leaves::undoable);
    }
    for (char const* sql :
         {"DO $$ BEGIN END $$", "CALL p()", "LOAD 'x'", "DEALLOCATE ALL", "EXECUTE x", "DISCARD ALL",
          "COPY x TO STDOUT", ""}) {
        CAPTURE(sql);
        CHECK(leaves(sql) == Leaves::unknown);
    }
}

}  // namespace postgres_transaction_settings_test
