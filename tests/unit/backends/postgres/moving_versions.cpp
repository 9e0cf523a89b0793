// SPDX-License-Identifier: BSL-1.0

// Columns that round what is written into them, or that another server keeps: a version must move with each
// write, or two writers by one version would both be told that they have written.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace postgres_moving_versions_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;
using interlock_test::ended;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

struct Seat {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Seat, (), (id, n))

postgres::StateRepository<Seat> seats(
    postgres::Pool const& pool, std::string version = "version", std::string sequence = {})
{
    return postgres::StateRepository<Seat>{
        pool,
        {.table = "seats",
         .key = "id",
         .version = std::move(version),
         .version_sequence = std::move(sequence)}};
}

/// A table `seats` with two rows, whose version is of this type.
void make_seats(std::string const& type)
{
    sql(
        {"DROP TABLE IF EXISTS seats CASCADE",
         "CREATE TABLE seats (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, version " + type + ")",
         "INSERT INTO seats (id) VALUES (1), (2)"});
}

/// Writes by one version again and again, by every way there is. None that was accepted is lost.
void check_no_update_is_lost(postgres::StateRepository<Seat> const& rows)
{
    auto const add = [](Seat& s) { ++s.n; };
    TransactionService const optimistic{OptimisticVersioning{}, rows};
    TransactionService const remembering{OptimisticVersioning{.remember = 10}, rows};
    TransactionService const row_lock{PessimisticRowLock{}, rows};
    TransactionService const lease{SetNxLock{}, rows};
    int writes = 0;
    for (int turn = 0; turn < 10; ++turn) {
        auto const id = std::to_string(turn);
        CHECK_NOTHROW((optimistic.do_in_transaction(std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW((optimistic.do_in_transaction(OperationId{"o" + id}, std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW((remembering.do_in_transaction(std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW((row_lock.do_in_transaction(std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW((row_lock.do_in_transaction(OperationId{"r" + id}, std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW((lease.do_in_transaction(std::int64_t{1}, add), ++writes));
        CHECK_NOTHROW(
            (optimistic.do_in_transaction(
                 keys(std::int64_t{1}, std::int64_t{2}), [](Seat& a, Seat& b) { ++a.n, ++b.n; }),
             ++writes));
    }
    auto const now = rows.load(std::int64_t{1}).value();
    CHECK(now.value.n == writes);
    CHECK(rows.compare_and_set(std::int64_t{1}, now.version, Seat{1, now.value.n + 1}));
    CHECK(rows.compare_and_set(std::int64_t{1}, now.version, Seat{1, -1}).errc() == Errc::version_conflict);
}

TEST_CASE("a version in a domain moves with each write, however coarse its type is", "[postgres][versions]")
{
    sql(
        {"DROP DOMAIN IF EXISTS ts0, t3, tz0, whole CASCADE", "CREATE DOMAIN ts0 AS timestamptz(0)",
         "CREATE DOMAIN t3 AS timestamp(3)", "CREATE DOMAIN tz0 AS ts0",
         "CREATE DOMAIN whole AS numeric(9)"});
    auto const type = GENERATE(
        as<std::string>{}, "ts0 NOT NULL DEFAULT now()", "t3 NOT NULL DEFAULT now()",
        "tz0 NOT NULL DEFAULT now()", "whole NOT NULL DEFAULT 1", "numeric(9, 2) NOT NULL DEFAULT 1");
    CAPTURE(type);
    make_seats(type);
    check_no_update_is_lost(seats(fresh_pool()));
}

TEST_CASE(
    "a version whose column becomes coarser accepts no second write by one version", "[postgres][versions]")
{
    make_seats("timestamptz NOT NULL DEFAULT now()");
    auto const rows = seats(fresh_pool());
    TransactionService const optimistic{OptimisticVersioning{.max_attempts = 3}, rows};
    optimistic.do_in_transaction(std::int64_t{1}, [](Seat& s) { ++s.n; });
    sql({"ALTER TABLE seats ALTER version TYPE timestamptz(0)"});
    // The first call may still write by what it knew of the column. What it was told is what became of it.
    int accepted = 0;
    for (int i = 0; i < 6; ++i) {
        auto const before = rows.load(std::int64_t{1}).value();
        accepted +=
            rows.compare_and_set(std::int64_t{1}, before.version, Seat{1, before.value.n + 1}) ? 1 : 0;
        accepted +=
            rows.compare_and_set(std::int64_t{1}, before.version, Seat{1, before.value.n + 1}) ? 1 : 0;
    }
    CHECK(std::to_string(accepted + 1) == single_value("SELECT n FROM seats WHERE id = 1"));
}

TEST_CASE("a version that another server rounds is refused when it does not move", "[postgres][versions]")
{
    make_seats("timestamptz(0) NOT NULL DEFAULT now()");
    auto const& server = interlock_test::postgres_server();
    sql(
        {"CREATE EXTENSION IF NOT EXISTS postgres_fdw", "DROP SERVER IF EXISTS far CASCADE",
         "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '" +
             std::to_string(server.port()) + "', dbname 'postgres')",
         "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'interlock')",
         "DROP FOREIGN TABLE IF EXISTS far_seats",
         "CREATE FOREIGN TABLE far_seats (id bigint, n int, version timestamptz) SERVER far OPTIONS "
         "(table_name 'seats')"});
    postgres::StateRepository<Seat> const rows{fresh_pool(), {.table = "far_seats", .key = "id"}};
    int accepted = 0;
    for (int i = 0; i < 10; ++i) {
        auto const before = rows.load(std::int64_t{1}).value();
        for (int twice = 0; twice < 2; ++twice) {
            auto const done =
                rows.compare_and_set(std::int64_t{1}, before.version, Seat{1, before.value.n + 1});
            accepted += done ? 1 : 0;
            if (!done && done.errc() != Errc::version_conflict) {
                CHECK(done.errc() == Errc::constraint_violated);
                CHECK_THAT(done.detail(), ContainsSubstring("moved no version"));
            }
        }
    }
    CHECK(std::to_string(accepted) == single_value("SELECT n FROM seats WHERE id = 1"));
}

TEST_CASE(
    "a trigger that keeps the version from moving is told, and nothing is written", "[postgres][versions]")
{
    make_seats("bigint NOT NULL DEFAULT 1");
    sql(
        {"CREATE OR REPLACE FUNCTION keep_version() RETURNS trigger LANGUAGE plpgsql AS "
         "$$ BEGIN NEW.version := OLD.version; RETURN NEW; END $$",
         "CREATE TRIGGER keep BEFORE UPDATE ON seats FOR EACH ROW EXECUTE FUNCTION keep_version()"});
    auto const rows = seats(fresh_pool());
    auto const add = [](Seat& s) { ++s.n; };
    auto const is_refused = [](auto const& outcome) {
        CAPTURE(outcome.message());
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.detail(), ContainsSubstring("moved no version"));
    };
    std::int64_t const id = 1;
    is_refused(TransactionService(OptimisticVersioning{}, rows).try_do_in_transaction(id, add));
    is_refused(
        TransactionService(OptimisticVersioning{}, rows).try_do_in_transaction(OperationId{"id"}, id, add));
    is_refused(TransactionService(PessimisticRowLock{}, rows).try_do_in_transaction(id, add));
    is_refused(TransactionService(SetNxLock{}, rows).try_do_in_transaction(id, add));
    is_refused(rows.compare_and_set(id, 1, Seat{1, 5}));
    CHECK(single_value("SELECT n || ',' || version FROM seats WHERE id = 1") == "0,1");
}

TEST_CASE("a column that no write moves is refused as a version", "[postgres][versions]")
{
    struct Row {
        std::string type;
        std::string column;
        std::string sequence;
        std::string says;
    };
    auto const row = GENERATE(
        Row{"numeric(5, -2)", "version", "", "does not tell whole numbers from each other"},
        Row{"numeric(5, -2)", "version", "rising", "does not tell whole numbers from each other"},
        Row{"numeric(2, 2)", "version", "", "does not tell whole numbers from each other"},
        Row{"real", "version", "rising", "a sequence leads beyond the whole numbers"},
        Row{"xid", "version", "", "only xmin moves"}, Row{"bigint", "xmax", "", "only xmin moves"},
        Row{"bigint", "version", "falling", "counts down, or begins again"},
        Row{"bigint", "version", "cycling", "counts down, or begins again"});
    CAPTURE(row.type, row.column, row.sequence);
    make_seats(row.type);
    sql(
        {"DROP SEQUENCE IF EXISTS rising, falling, cycling", "CREATE SEQUENCE rising",
         "CREATE SEQUENCE falling INCREMENT -1", "CREATE SEQUENCE cycling MAXVALUE 3 CYCLE"});
    auto const rows = seats(fresh_pool(), row.column, row.sequence);
    auto const loaded = rows.load(std::int64_t{1});
    CHECK(loaded.errc() == Errc::misconfigured);
    CHECK_THAT(loaded.detail(), ContainsSubstring(row.says));
}

TEST_CASE("the key is no version", "[postgres][versions]")
{
    auto const pool = fresh_pool();
    auto const made = ended([&] { seats(pool, "id"); });
    CHECK(made.errc() == Errc::invalid_argument);
    CHECK_THAT(made.detail(), ContainsSubstring("\"id\" is the key and the version"));
}

TEST_CASE("a version of few digits ends in words, wherever its point stands", "[postgres][versions]")
{
    sql({"DROP DOMAIN IF EXISTS three CASCADE", "CREATE DOMAIN three AS numeric(3)"});
    auto const row = GENERATE(
        std::pair<std::string, std::string>{"three NOT NULL DEFAULT 998", "999"},
        std::pair<std::string, std::string>{"numeric(3, 1) NOT NULL DEFAULT 98", "99.0"});
    CAPTURE(row.first);
    make_seats(row.first);
    auto const rows = seats(fresh_pool());
    TransactionService const optimistic{OptimisticVersioning{}, rows};
    auto const add = [](Seat& s) { ++s.n; };
    CHECK(optimistic.try_do_in_transaction(std::int64_t{1}, add));
    CHECK(optimistic.try_do_in_transaction(std::int64_t{1}, add).errc() == Errc::version_exhausted);
    CHECK(single_value("SELECT version FROM seats WHERE id = 1") == row.second);
}

}  // namespace postgres_moving_versions_test
