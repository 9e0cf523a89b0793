// SPDX-License-Identifier: BSL-1.0

// What each SQLSTATE means, and whether a real server says those states.
//
// How it works: the first cases compare the table in `detail/sqlstate.hpp` with a list that is written out
// here by hand from the standard's classes and PostgreSQL's appendix A, so that a wrong row and its
// expectation cannot come from one mistake. The others bring a server to report states: by deadlocks, time
// limits, constraints, a full disk, too many connections.

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>
#include <interlock/backends/postgres/pool.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/threads.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace postgres_sqlstate_test {

using namespace interlock;
using namespace interlock::postgres::detail;
using namespace std::chrono_literals;
using interlock_test::postgres_server;

struct Row {
    char const* state;
    Errc errc;
    Certain certain;
};

// From the table in the standard's classes and PostgreSQL's appendix A; written out, not computed from the
// code.
std::vector<Row> const rows{
    {"40001", Errc::serialization_failure, Certain::yes},
    {"40P01", Errc::deadlock, Certain::yes},
    {"40000", Errc::serialization_failure, Certain::yes},
    {"40002", Errc::constraint_violated, Certain::yes},
    {"40003", Errc::unavailable, Certain::no},
    {"08P01", Errc::unavailable, Certain::no},
    {"08007", Errc::unavailable, Certain::no},
    {"08006", Errc::unavailable, Certain::no},
    {"57P01", Errc::unavailable, Certain::no},
    {"57P02", Errc::unavailable, Certain::no},
    {"57P03", Errc::unavailable, Certain::yes},
    {"57P04", Errc::misconfigured, Certain::yes},
    {"57P05", Errc::unavailable, Certain::yes},
    {"57014", Errc::deadline_exceeded, Certain::yes},
    {"55P03", Errc::lock_busy, Certain::yes},
    {"55006", Errc::lock_busy, Certain::yes},
    {"55000", Errc::misconfigured, Certain::yes},
    {"25006", Errc::unavailable, Certain::yes},
    {"25P02", Errc::misconfigured, Certain::yes},
    {"25P03", Errc::deadline_exceeded, Certain::yes},
    {"25P04", Errc::deadline_exceeded, Certain::yes},
    {"53100", Errc::overloaded, Certain::yes},
    {"53200", Errc::overloaded, Certain::yes},
    {"53300", Errc::overloaded, Certain::yes},
    {"23505", Errc::constraint_violated, Certain::yes},
    {"23P01", Errc::constraint_violated, Certain::yes},
    {"23502", Errc::constraint_violated, Certain::yes},
    {"23503", Errc::constraint_violated, Certain::yes},
    {"23514", Errc::constraint_violated, Certain::yes},
    {"44000", Errc::constraint_violated, Certain::yes},
    {"2200H", Errc::version_exhausted, Certain::yes},
    {"22003", Errc::invalid_argument, Certain::yes},
    {"22021", Errc::invalid_argument, Certain::yes},
    {"54000", Errc::invalid_argument, Certain::yes},
    {"42P01", Errc::misconfigured, Certain::yes},
    {"42501", Errc::misconfigured, Certain::yes},
    {"0A000", Errc::misconfigured, Certain::yes},
    {"26000", Errc::misconfigured, Certain::yes},
    {"28000", Errc::misconfigured, Certain::yes},
    {"2D000", Errc::misconfigured, Certain::yes},
    {"28P01", Errc::misconfigured, Certain::yes},
    {"3D000", Errc::misconfigured, Certain::yes},
    {"3F000", Errc::misconfigured, Certain::yes},
    {"P0001", Errc::constraint_violated, Certain::yes},
    {"58030", Errc::unavailable, Certain::yes},
    {"XX000", Errc::misconfigured, Certain::yes},
    {"XX001", Errc::corrupt_state, Certain::yes},
    {"XX002", Errc::corrupt_state, Certain::yes},
    {"ZZZZZ", Errc::misconfigured, Certain::yes},
    {"", Errc::unavailable, Certain::no},
};

TEST_CASE("every SQLSTATE has one meaning", "[postgres][sqlstate]")
{
    for (auto const& row : rows) {
        CAPTURE(row.state);
        CHECK(rule_of(row.state).errc == row.errc);
        CHECK(rule_of(row.state).certain == row.certain);
    }
}

TEST_CASE("this test has an example of every row of the table", "[postgres][sqlstate]")
{
    std::set<SqlStateRule const*> met;
    for (auto const& row : rows)
        met.insert(&rule_of(row.state));
    for (auto const& rule : sqlstate_rules) {
        CAPTURE(rule.state);
        CHECK(met.count(&rule) == 1);
    }
}

TEST_CASE("only what ends a session leaves a commit in doubt", "[postgres][sqlstate]")
{
    for (auto const& row : rows) {
        CAPTURE(row.state);
        SqlError const error{row.state, "", ""};
        CHECK(failure_of(error, Access::write).errc() == row.errc);
        auto const commit = failure_of(error, Access::commit);
        CHECK((commit.errc() == Errc::outcome_unknown) == (row.certain == Certain::no));
        if (row.certain == Certain::no)
            CHECK(commit.cause() == row.errc);
    }
}

// ---- the real server ----------------------------------------------------------------------------

Connection& connected(Connection& connection)
{
    auto const settings = parse_settings(postgres_server().url());  // first: it may start the server
    connection.open(*settings, "test", interlock::detail::add(SystemRuntime::now(), 10s)).value();
    return connection;
}
SqlError run(Connection& connection, std::string text)
{
    Batch batch;
    batch.add(std::move(text));
    auto exchange = connection.run(
        batch, interlock::detail::add(SystemRuntime::now(), 10s), Connection::Bounded::by_caller);
    return exchange.error.value_or(SqlError{exchange.progress == Progress::answered ? "00000" : "", "", ""});
}

TEST_CASE("the server reports errors with the states that the table has", "[postgres][sqlstate][server]")
{
    Connection first;
    connected(first);
    for (char const* setup :
         {"CREATE TABLE IF NOT EXISTS states_test (id int PRIMARY KEY, n int CONSTRAINT positive CHECK (n > "
          "0), "
          "parent int REFERENCES states_test, word text NOT NULL DEFAULT '', during int4range, "
          "CONSTRAINT apart EXCLUDE USING gist (during WITH &&))",
          "CREATE SEQUENCE IF NOT EXISTS states_test_short MAXVALUE 2", "TRUNCATE states_test",
          "INSERT INTO states_test VALUES (1, 1)", "SELECT setval('states_test_short', 2)",
          "CREATE OR REPLACE VIEW states_view AS SELECT * FROM states_test WHERE n > 5 WITH CHECK OPTION"})
        REQUIRE(run(first, setup).state == "00000");

    struct Provoked {
        char const* sql;
        char const* state;
        char const* constraint;
    };
    for (auto const& p : std::vector<Provoked>{
             {"INSERT INTO states_test VALUES (1, 1)", "23505", "states_test_pkey"},
             {"INSERT INTO states_test VALUES (2, -1)", "23514", "positive"},
             {"INSERT INTO states_test VALUES (2, 1, 77)", "23503", "states_test_parent_fkey"},
             {"INSERT INTO states_test VALUES (2, 1, NULL, NULL)", "23502", ""},
             {"INSERT INTO states_test VALUES (3, 1, NULL, '', '[1,3)'), (4, 1, NULL, '', '[2,4)')", "23P01",
              "apart"},
             {"INSERT INTO states_view VALUES (9, 1)", "44000", ""},
             {"SELECT nextval('states_test_short')", "2200H", ""},
             {"SELECT 2147483647::int + 1", "22003", ""},
             {"SELECT 'x'::int", "22P02", ""},
             {"SELECT 1 / 0", "22012", ""},
             {"SELECT convert_from('\\xff', 'UTF8')", "22021", ""},
             {"SELECT * FROM no_such_table", "42P01", ""},
             {"SELEKT", "42601", ""},
             {"SELECT lo_import('/x/y/z')", "42501", ""},
             {"SET search_path TO DEFAULT; SELECT 1", "42601", ""},
             {"SELECT set_config('interlock.none', repeat('x', 10), true), pg_sleep(-1), 1 = "
              "ANY('{1,2'::int[])",
              "22P02", ""},
             {"DO $$ BEGIN RAISE 'mine'; END $$", "P0001", ""},
             {"SELECT currval('states_test_short_2')", "42P01", ""},
             {"SELECT pg_xact_status('999999999'::xid8)", "22023", ""},
             {"PREPARE a AS SELECT 1; EXECUTE b", "42601", ""},
             {"EXECUTE never_prepared", "26000", ""},
             {"CREATE TABLE no_such_schema.t ()", "3F000", ""},
             {"SELECT currval('states_test_short')", "55000", ""},
             {"DROP DATABASE postgres", "55006", ""},
             {"CREATE DATABASE states_a TEMPLATE no_such_template", "3D000", ""},
             {"SELECT count(DISTINCT i) FROM generate_series(1, 99999) i", "53400", ""},
             {"DO $$ BEGIN RAISE SQLSTATE '40003'; END $$", "40003", ""},
             {"SELECT repeat('x', 1073741824)", "54000", ""}}) {
        CAPTURE(p.sql);
        Connection fresh;
        connected(fresh);
        if (std::string(p.state) == "42501") {  // the role of the tests may do everything
            run(fresh, "CREATE ROLE states_nobody");
            run(fresh, "SET ROLE states_nobody");
        }
        if (std::string(p.state) == "53400") {
            run(fresh, "SET temp_file_limit = 0");
            run(fresh, "SET work_mem = 64");
        }
        auto const error = run(fresh, p.sql);
        CHECK(error.state == p.state);
        CHECK(error.constraint == p.constraint);
    }
}

/// Two sessions, and a table `locks_test` of two rows.
struct TwoSessions {
    TwoSessions()
    {
        connected(a);
        connected(b);
        for (char const* setup :
             {"CREATE TABLE IF NOT EXISTS locks_test (id int PRIMARY KEY, n int)", "TRUNCATE locks_test",
              "INSERT INTO locks_test VALUES (1, 0), (2, 0)"})
            REQUIRE(run(a, setup).state == "00000");
    }
    Connection a;
    Connection b;
};

TEST_CASE(
    "locks, timeouts, deadlocks and conflicts have the states of the table", "[postgres][sqlstate][server]")
{
    TwoSessions sessions;
    Connection& a = sessions.a;
    Connection& b = sessions.b;
    CHECK(run(a, "BEGIN").state == "00000");
    CHECK(run(a, "SELECT * FROM locks_test WHERE id = 1 FOR UPDATE").state == "00000");
    CHECK(run(b, "SELECT * FROM locks_test WHERE id = 1 FOR UPDATE NOWAIT").state == "55P03");
    CHECK(run(b, "SET lock_timeout = 20").state == "00000");
    CHECK(run(b, "SELECT * FROM locks_test WHERE id = 1 FOR UPDATE").state == "55P03");
    CHECK(run(b, "SET lock_timeout = 0").state == "00000");
    CHECK(run(b, "SET statement_timeout = 20").state == "00000");
    CHECK(run(b, "SELECT pg_sleep(5)").state == "57014");
    CHECK(run(b, "SET statement_timeout = 0").state == "00000");

    // A deadlock: one of the two is refused.
    CHECK(run(b, "SET deadlock_timeout = 10").state == "00000");
    CHECK(run(b, "BEGIN").state == "00000");
    CHECK(run(b, "SELECT * FROM locks_test WHERE id = 2 FOR UPDATE").state == "00000");
    std::string waited;
    std::thread other([&] { waited = run(a, "UPDATE locks_test SET n = 1 WHERE id = 2").state; });
    std::this_thread::sleep_for(50ms);
    auto const here = run(b, "UPDATE locks_test SET n = 1 WHERE id = 1").state;
    if (here == "40P01")
        run(b, "ROLLBACK");
    other.join();
    CHECK((here == "40P01" || waited == "40P01"));
    run(a, "ROLLBACK");
    run(b, "ROLLBACK");

    // Write skew: serializable refuses one of them, here at its COMMIT.
    for (auto* c : {&a, &b}) {
        CHECK(run(*c, "BEGIN ISOLATION LEVEL SERIALIZABLE").state == "00000");
        CHECK(run(*c, "SELECT sum(n) FROM locks_test").state == "00000");
    }
    CHECK(run(a, "UPDATE locks_test SET n = n + 1 WHERE id = 1").state == "00000");
    CHECK(run(b, "UPDATE locks_test SET n = n + 1 WHERE id = 2").state == "00000");
    CHECK(run(a, "COMMIT").state == "00000");
    CHECK(run(b, "COMMIT").state == "40001");
}

TEST_CASE(
    "refused statements and sessions that are ended have the states of the table",
    "[postgres][sqlstate][server]")
{
    TwoSessions sessions;
    Connection& a = sessions.a;
    Connection& b = sessions.b;
    CHECK(run(a, "BEGIN READ ONLY").state == "00000");
    CHECK(run(a, "UPDATE locks_test SET n = 0").state == "25006");
    CHECK(run(a, "SELECT 1").state == "25P02");
    run(a, "ROLLBACK");

    CHECK(run(a, "SET idle_in_transaction_session_timeout = 20").state == "00000");
    CHECK(run(a, "BEGIN").state == "00000");
    std::this_thread::sleep_for(100ms);
    CHECK(run(a, "COMMIT").state == "25P03");
    CHECK_FALSE(a.is_open());
    auto const pid = std::to_string(b.pid());
    std::thread canceling([&] {
        CHECK(interlock_test::eventually([&] {
            return postgres_server().command("SELECT wait_event FROM pg_stat_activity WHERE pid = " + pid) ==
                   "PgSleep";
        }));
        postgres_server().command("SELECT pg_cancel_backend(" + pid + ")");
    });
    CHECK(run(b, "SELECT pg_sleep(9)").state == "57014");
    canceling.join();
    CHECK(b.is_open());
    postgres_server().command("SELECT pg_terminate_backend(" + pid + ")");
    CHECK(run(b, "SELECT 1").state == "57P01");
    CHECK_FALSE(b.is_open());
}

TEST_CASE(
    "a deferred constraint fails at the commit, and the commit is definitely not applied",
    "[postgres][sqlstate][server]")
{
    Connection c;
    connected(c);
    for (char const* setup :
         {"CREATE TABLE IF NOT EXISTS deferred_test (id int CONSTRAINT once UNIQUE DEFERRABLE INITIALLY "
          "DEFERRED)",
          "TRUNCATE deferred_test"})
        REQUIRE(run(c, setup).state == "00000");
    auto const alone = run(c, "INSERT INTO deferred_test VALUES (1), (1)");
    CHECK(alone.state == "23505");
    CHECK(alone.constraint == "once");
    CHECK(run(c, "BEGIN").state == "00000");
    CHECK(run(c, "INSERT INTO deferred_test VALUES (1), (1)").state == "00000");
    CHECK(run(c, "COMMIT").state == "23505");
    CHECK(c.is_open());
    CHECK(c.fit());
}

TEST_CASE("the COMMIT of a failed transaction is recognised by its tag", "[postgres][sqlstate][server]")
{
    Connection c;
    connected(c);
    CHECK(run(c, "BEGIN").state == "00000");
    CHECK(run(c, "SELECT 1 / 0").state == "22012");
    Batch batch;
    batch.add("COMMIT");
    auto const exchange =
        c.run(batch, interlock::detail::add(SystemRuntime::now(), 10s), Connection::Bounded::by_caller);
    REQUIRE(exchange.progress == Progress::answered);
    CHECK_FALSE(exchange.error);
    CHECK(exchange.replies[0].tag() == "ROLLBACK");
}

/// A file system of two megabytes.
struct SmallDisk {
    explicit SmallDisk(std::string where)
        : at(std::move(where)), mounted(
                                    ::geteuid() == 0 && ::mkdir(at.c_str(), 0777) == 0 &&
                                    ::mount("none", at.c_str(), "tmpfs", 0, "size=2m,mode=777") == 0)
    {}
    SmallDisk(SmallDisk const&) = delete;
    SmallDisk& operator=(SmallDisk const&) = delete;
    ~SmallDisk()
    {
        if (mounted)
            ::umount2(at.c_str(), MNT_DETACH);
    }
    std::string at;
    bool mounted;
};

TEST_CASE("a full disk is overloaded", "[postgres][sqlstate][server]")
{
    interlock_test::PostgresServer const server;
    SmallDisk const disk{server.directory() + "/full"};
    if (!disk.mounted) {
        WARN("not tested: no right to mount a small file system");
        SUCCEED();
        return;
    }
    auto const& full = disk.at;
    struct stat owner{};
    CHECK(::stat((server.directory() + "/data").c_str(), &owner) == 0);
    CHECK(::chown(full.c_str(), owner.st_uid, owner.st_gid) == 0);
    server.command("CREATE TABLESPACE small LOCATION '" + full + "'");
    server.command("CREATE TABLE filling (word text) TABLESPACE small");
    Connection c;
    c.open(*parse_settings(server.url()), "test", interlock::detail::add(SystemRuntime::now(), 10s)).value();
    auto const error =
        run(c, "INSERT INTO filling SELECT repeat(md5(i::text), 20) FROM generate_series(1, 99999) i");
    CHECK(error.state == "53100");
    CHECK(failure_of(error, Access::commit).errc() == Errc::overloaded);
    CHECK(c.fit());
}

TEST_CASE("too many connections are overloaded", "[postgres][sqlstate][server]")
{
    interlock_test::PostgresServer const small{
        {"max_connections=5", "superuser_reserved_connections=0", "max_wal_senders=0"}};
    std::vector<std::unique_ptr<Connection>> connections;
    Errc refused = Errc::ok;
    for (int i = 0; i < 10 && refused == Errc::ok; ++i) {
        connections.push_back(std::make_unique<Connection>());
        refused =
            connections.back()
                ->open(
                    *parse_settings(small.url()), "test", interlock::detail::add(SystemRuntime::now(), 10s))
                .errc();
    }
    CHECK(refused == Errc::overloaded);
}

}  // namespace postgres_sqlstate_test
