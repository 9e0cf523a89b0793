// SPDX-License-Identifier: BSL-1.0

// What a table's domains give and demand, and what functions of the database do behind a statement: a value
// is named as the reason only where it is one.

#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace postgres_domains_and_functions_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

struct Parcel {
    std::int64_t id{0};
    std::string country;
    std::optional<std::string> state;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Parcel, (), (id, country, state, n))

/// A table `parcels` whose key and whose `state` have these types.
postgres::StateRepository<Parcel> parcels(
    std::string const& id, std::string const& state, std::string const& more = {},
    postgres::Empty empty = postgres::Empty::null)
{
    sql(
        {"DROP TABLE IF EXISTS parcels CASCADE",
         "CREATE TABLE parcels (id " + id + " PRIMARY KEY, country varchar(3) NOT NULL, state " + state +
             ", n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1" + more + ")"});
    return postgres::StateRepository<Parcel>{fresh_pool(), {.table = "parcels", .key = "id", .empty = empty}};
}

/// Drops what the tests here make, and makes it.
void make_types()
{
    sql(
        {"DROP TABLE IF EXISTS parcels CASCADE", "DROP DOMAIN IF EXISTS new_id, fresh, filled, named CASCADE",
         "DROP SEQUENCE IF EXISTS parcel_ids", "CREATE SEQUENCE parcel_ids",
         "CREATE DOMAIN new_id AS bigint DEFAULT nextval('parcel_ids')",
         "CREATE DOMAIN fresh AS text NOT NULL DEFAULT 'new'", "CREATE DOMAIN filled AS text NOT NULL",
         "CREATE DOMAIN named AS fresh"});
}

TEST_CASE("a default of a domain is one of the column", "[postgres][domains]")
{
    make_types();
    SECTION("of the key")
    {
        auto const rows = parcels("new_id", "text");
        auto const made = rows.insert_new(Parcel{0, "DE", "sent", 0});
        INFO(made.message());
        CHECK(made.value().value.id == 1);
        CHECK(rows.insert(Parcel{0, "DE", "sent", 0}));
        CHECK(single_value("SELECT string_agg(id::text, ',' ORDER BY id) FROM parcels") == "1,2");
    }
    for (std::string const type : {"fresh", "named"}) {
        auto const rows = parcels("bigint", type);
        CAPTURE(type);
        auto const made = rows.insert(Parcel{1, "DE", std::nullopt, 0});
        INFO(made.message());
        CHECK(made);
        CHECK(rows.load(std::int64_t{1}).value().value.state == "new");
    }
    auto const asked = parcels("bigint", "text DEFAULT 'asked'", {}, postgres::Empty::column_default);
    CHECK(asked.insert(Parcel{1, "DE", std::nullopt, 0}));
    CHECK(asked.load(std::int64_t{1}).value().value.state == "asked");
}

TEST_CASE("a domain that is never NULL hides no member that is to blame", "[postgres][domains]")
{
    make_types();
    auto const rows = parcels("bigint", "filled", ", note filled DEFAULT 'x'");
    REQUIRE(rows.insert(Parcel{1, "DE", "sent", 0}));
    TransactionService const versions{OptimisticVersioning{}, rows};
    auto const long_country =
        versions.try_do_in_transaction(std::int64_t{1}, [](Parcel& p) { p.country = "Germany"; });
    CHECK(long_country.errc() == Errc::invalid_argument);
    CHECK_THAT(long_country.detail(), EndsWith("the value of parcels.country"));
    auto const emptied =
        versions.try_do_in_transaction(std::int64_t{1}, [](Parcel& p) { p.state = std::nullopt; });
    CHECK(emptied.effect() == Effect::not_applied);
    CHECK_THAT(emptied.detail(), EndsWith("the value of parcels.state"));
}

/// What each policy comes to when it changes row 1.
template <class Check>
void by_every_policy(postgres::StateRepository<Parcel> const& rows, Check check)
{
    auto const add = [](Parcel& p) { ++p.n; };
    check(TransactionService(OptimisticVersioning{}, rows).try_do_in_transaction(std::int64_t{1}, add));
    check(TransactionService(PessimisticRowLock{}, rows).try_do_in_transaction(std::int64_t{1}, add));
    check(TransactionService(SetNxLock{}, rows).try_do_in_transaction(std::int64_t{1}, add));
    check(TransactionService(OptimisticVersioning{}, rows)
              .try_do_in_transaction(OperationId{"id"}, std::int64_t{1}, add));
}

TEST_CASE(
    "what fails in a function of the database is told as such, and names no member", "[postgres][domains]")
{
    auto const rows = parcels("bigint", "text");
    REQUIRE(rows.insert(Parcel{1, "DE", "sent", 0}));
    struct Row {
        std::string statement;
        std::string state;
    };
    auto const row = GENERATE(
        Row{"PERFORM 1 / (NEW.n - NEW.n)", "22012"}, Row{"PERFORM 'abc'::int", "22P02"},
        Row{"INSERT INTO parcel_audit (n) VALUES (NULL)", "23502"},
        Row{"PERFORM (SELECT g FROM generate_series(1, 2) g)", "21000"},
        Row{"INSERT INTO parcel_audit (n, code) VALUES (1, 'too long')", "22001"});
    CAPTURE(row.statement);
    sql(
        {"DROP TABLE IF EXISTS parcel_audit", "CREATE TABLE parcel_audit (n int NOT NULL, code varchar(3))",
         "CREATE OR REPLACE FUNCTION audit_parcel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " +
             row.statement + "; RETURN NEW; END $$",
         "CREATE TRIGGER audit AFTER UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION audit_parcel()"});
    by_every_policy(rows, [&](auto const& outcome) {
        CAPTURE(outcome.message());
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.detail(), ContainsSubstring(row.state));
        CHECK_THAT(outcome.detail(), ContainsSubstring("in a function of the database"));
        CHECK(outcome.detail().find("the value of") == std::string::npos);
    });
    CHECK(rows.load(std::int64_t{1}).value().value.n == 0);
}

TEST_CASE("a trigger that fires on replicas only is reckoned with", "[postgres][domains]")
{
    auto const rows = parcels("bigint", "text");
    REQUIRE(rows.insert(Parcel{1, "DE", "sent", 0}));
    sql(
        {"CREATE OR REPLACE FUNCTION skip_parcel() RETURNS trigger LANGUAGE plpgsql AS "
         "$$ BEGIN RETURN NULL; END $$",
         "CREATE TRIGGER skip BEFORE UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION skip_parcel()",
         "ALTER TABLE parcels ENABLE REPLICA TRIGGER skip",
         "ALTER ROLE CURRENT_USER SET session_replication_role = replica"});
    postgres::StateRepository<Parcel> const replica{fresh_pool(), {.table = "parcels", .key = "id"}};
    by_every_policy(replica, [&](auto const& outcome) {
        CAPTURE(outcome.message());
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
    });
    sql({"ALTER ROLE CURRENT_USER RESET session_replication_role"});
}

}  // namespace postgres_domains_and_functions_test
