// SPDX-License-Identifier: BSL-1.0

// What keeps a key from having two rows: every sort of unique index, and none. Where a key has several rows,
// none of them is chosen, and none is written.
//
// How it works: each table is made by plain SQL, used by every policy, and looked at by plain SQL again.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace postgres_foreign_uniqueness_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::sql;

struct User {
    std::string email;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(User, (), (email, n))

/// A table with the columns of `User`, and what else is said.
struct Users {
    explicit Users(std::vector<std::string> more = {})
    {
        sql(
            {"CREATE TABLE " + table +
             " (serial bigint GENERATED ALWAYS AS IDENTITY, email text NOT NULL, n int NOT NULL DEFAULT 0, "
             "deleted_at timestamptz, version bigint NOT NULL DEFAULT 1)"});
        for (auto statement : more) {
            for (auto at = statement.find("{t}"); at != std::string::npos; at = statement.find("{t}"))
                statement.replace(at, 3, table);
            sql({statement});
        }
    }
    postgres::StateRepository<User> repository(postgres::RepositoryOptions options = {}) const
    {
        options.table = table;
        options.key = "email";
        return postgres::StateRepository<User>{pool, options};
    }
    std::string ask(std::string const& columns) const
    {
        return postgres_server().command("SELECT " + columns + " FROM " + table);
    }
    postgres::Pool pool{fresh_pool()};
    std::string table{pool.options().name_space + "_users"};
};

struct SoftUser {
    std::string email;
    int n{0};
    std::optional<std::string> deleted_at;
};
BOOST_DESCRIBE_STRUCT(SoftUser, (), (email, n, deleted_at))

auto const count = [](User& user) { ++user.n; };

/// Inserts and creations by all policies, alone and at the same time.
void check_inserts(postgres::StateRepository<User> const& users)
{
    CHECK(users.insert(User{"a", 1}).value() >= 1);
    CHECK(users.insert(User{"a", 2}).errc() == Errc::already_exists);
    auto const creates = [&](auto policy, std::string const& key) {
        policy.missing = Missing::create;
        TransactionService const service{policy, users};
        CHECK(service.try_do_in_transaction(User{key, 0}, count));
        CHECK(service.try_do_in_transaction(User{key, 0}, count));
        OperationId const id{"create " + key};
        CHECK(service.try_do_in_transaction(id, User{key + " with id", 0}, count));
        CHECK(service.try_do_in_transaction(id, User{key + " with id", 0}, count).replayed());
        std::atomic<int> done{0};
        run_threads(4, [&](auto) {
            for (int i = 0; i < 5; ++i)
                done += service.try_do_in_transaction(User{key + " at once", 0}, count) ? 1 : 0;
        });
        CHECK(done == 20);
        CHECK(users.load(key).value().value.n == 2);
        CHECK(users.load(key + " with id").value().value.n == 1);
        CHECK(users.load(key + " at once").value().value.n == 20);
    };
    creates(OptimisticVersioning{.max_attempts = 200}, "optimistic");
    creates(PessimisticRowLock{.max_attempts = 200}, "row lock");
    creates(SetNxLock{}, "lease");
    TransactionService{PessimisticRowLock{.missing = Missing::create}, users}.do_in_transaction(
        keys(User{"one", 0}, User{"two", 0}), [](User& one, User& two) { one.n = two.n = 5; });
    CHECK(users.load("two").value().value.n == 5);
}

TEST_CASE("rows are inserted by whatever unique index the key has", "[postgres][foreign_uniqueness]")
{
    for (std::string const index : {
             "ALTER TABLE {t} ADD UNIQUE (email) DEFERRABLE INITIALLY IMMEDIATE",
             "ALTER TABLE {t} ADD UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
             "ALTER TABLE {t} ADD PRIMARY KEY (email) DEFERRABLE",
             "CREATE UNIQUE INDEX ON {t} (lower(email))",
             "CREATE UNIQUE INDEX ON {t} ((email || '')) INCLUDE (n)",
             "CREATE UNIQUE INDEX ON {t} (email) INCLUDE (n)",
             "CREATE UNIQUE INDEX ON {t} (email)",
             "CREATE UNIQUE INDEX ON {t} (email text_pattern_ops)",
             "CREATE UNIQUE INDEX ON {t} (email COLLATE \"C\")",
             "CREATE UNIQUE INDEX ON {t} (email COLLATE \"de-x-icu\")",
             "ALTER TABLE {t} ALTER email TYPE varchar(40), ADD UNIQUE (email)",
             "ALTER TABLE {t} ALTER email TYPE char(40), ADD UNIQUE (email)",
         }) {
        INFO(index);
        check_inserts(Users{{index}}.repository());
    }
    Users const two{
        {"CREATE UNIQUE INDEX ON {t} (email)", "ALTER TABLE {t} ADD UNIQUE (email) DEFERRABLE",
         "CREATE UNIQUE INDEX ON {t} (lower(email))"}};
    check_inserts(two.repository());
    Users const parent{{"CREATE UNIQUE INDEX ON {t} (email)", "CREATE TABLE {t}_old () INHERITS ({t})"}};
    check_inserts(parent.repository());
    Users const soft{{"CREATE UNIQUE INDEX ON {t} (email) WHERE deleted_at IS NULL"}};
    check_inserts(soft.repository({.where = "deleted_at IS NULL"}));
}

TEST_CASE("another constraint is not taken for the key's", "[postgres][foreign_uniqueness]")
{
    for (std::string const index :
         {"ALTER TABLE {t} ADD UNIQUE (email) DEFERRABLE", "CREATE UNIQUE INDEX ON {t} (email)"}) {
        Users const made{{index, "ALTER TABLE {t} ADD CONSTRAINT {t}_one_n UNIQUE (n)"}};
        auto const users = made.repository();
        REQUIRE(users.insert(User{"a", 1}));
        auto const refused = users.insert(User{"b", 1});
        CHECK(refused.errc() == Errc::constraint_violated);
        CHECK(refused.detail().find("_one_n") != std::string::npos);
        CHECK(users.insert(User{"a", 1}).errc() == Errc::already_exists);
        CHECK(users.load("b").errc() == Errc::not_found);
    }
}

TEST_CASE("a table without a unique index on the key takes no inserts", "[postgres][foreign_uniqueness]")
{
    auto const refused = [](Users const& made, std::string const& words) {
        auto const users = made.repository();
        auto const inserted = users.insert(User{"a", 1});
        CHECK(inserted.errc() == Errc::misconfigured);
        CHECK(inserted.detail().find(words) != std::string::npos);
        auto const created =
            TransactionService{PessimisticRowLock{.missing = Missing::create}, users}.try_do_in_transaction(
                User{"a", 1}, count);
        CHECK(created.errc() == Errc::misconfigured);
        CHECK(created.detail().find(words) != std::string::npos);
        CHECK(made.ask("count(*)") == "0");
        // Rows that others insert are changed as ever.
        sql({"INSERT INTO " + made.table + " (email) VALUES ('b')"});
        CHECK(TransactionService{OptimisticVersioning{}, users}.try_do_in_transaction("b", count));
        CHECK(TransactionService{SetNxLock{}, users}.try_do_in_transaction("b", count));
        CHECK(made.ask("n") == "2");
    };
    refused(Users{}, "needs a unique index on its key column (email)");
    refused(Users{{"CREATE INDEX ON {t} (email)"}}, "needs a unique index");
    refused(Users{{"CREATE UNIQUE INDEX ON {t} (email, serial)"}}, "needs a unique index");
    refused(
        Users{{"CREATE UNIQUE INDEX ON {t} (email) WHERE deleted_at IS NULL"}}, "RepositoryOptions::where");
    // To look at the table again takes no second connection.
    Users const single;
    auto options = single.pool.options();
    options.max_connections = 1;
    postgres::StateRepository<User> const by_one{
        postgres::Pool{options}, {.table = single.table, .key = "email"}};
    auto const before = std::chrono::steady_clock::now();
    auto const created =
        TransactionService{PessimisticRowLock{.missing = Missing::create}, by_one}.try_do_in_transaction(
            User{"a", 1}, count);
    CHECK(created.errc() == Errc::misconfigured);
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds{3});
    // An index that is made later is seen once something has gone wrong, or by a new repository.
    Users const late;
    CHECK(late.repository().insert(User{"a", 1}).errc() == Errc::misconfigured);
    sql({"CREATE UNIQUE INDEX ON " + late.table + " (email)"});
    CHECK(late.repository().insert(User{"a", 1}));
}

/// A table that `statements` make, with two rows for the key "a", and one for "b".
void check_several_rows(std::vector<std::string> const& statements)
{
    INFO(statements[0] << "; " << statements[1 % statements.size()]);
    Users const made{statements};
    auto const users = made.repository();
    auto const says = [](auto const& outcome) {
        CHECK(outcome.errc() == Errc::misconfigured);
        CHECK(outcome.detail().find("several rows") != std::string::npos);
    };
    says(users.load("a"));
    says(users.load(std::array{Key{"b"}, Key{"a"}}));
    says(users.compare_and_set("a", 1, User{"a", 7}));
    says(users.erase("a", 1));
    OperationId const id{"count"};
    auto const policies = [&](auto policy) {
        TransactionService const service{policy, users};
        says(service.try_do_in_transaction("a", count));
        says(service.try_do_in_transaction(id, "a", count));
        says(service.try_do_in_transaction(keys("a", "b"), [](User& a, User&) { ++a.n; }));
    };
    policies(OptimisticVersioning{.max_attempts = 3});
    policies(PessimisticRowLock{.max_attempts = 3});
    policies(SetNxLock{});
    postgres::FreeRows const free{users, {.where = "email = $1", .order_by = "serial"}};
    says(TransactionService{PessimisticRowLock{.max_attempts = 3}, free}.try_do_in_transaction("a", count));
    std::array changes{Change<User>{}, Change<User>{}};
    Key const a{"a"};
    Key const b{"b"};
    User const of_a{"a", 9};
    User const of_b{"b", 9};
    changes[0] = {.key = &a, .version = 1, .value = &of_a};
    changes[1] = {.key = &b, .version = 1, .value = &of_b};
    says(users.commit(changes, nullptr));
    CHECK(made.ask("sum(n)") == "0");
    CHECK(made.ask("max(version)") == "1");
    CHECK(TransactionService{PessimisticRowLock{}, users}.try_do_in_transaction("b", count));
    // The lock that came to nothing is free.
    CHECK(LockStateService{users}.try_acquire("a"));
}

TEST_CASE("several rows of one key are an error, and none is written", "[postgres][foreign_uniqueness]")
{
    for (std::vector<std::string> const& statements : std::vector<std::vector<std::string>>{
             {"INSERT INTO {t} (email) VALUES ('a'), ('a'), ('b')"},
             {"CREATE UNIQUE INDEX ON {t} (email) WHERE deleted_at IS NULL",
              "INSERT INTO {t} (email, deleted_at) VALUES ('a', now()), ('a', NULL), ('b', NULL)"},
             {"CREATE UNIQUE INDEX ON {t} (email)", "CREATE TABLE {t}_old () INHERITS ({t})",
              "INSERT INTO {t}_old (serial, email) VALUES (0, 'a')",
              "INSERT INTO {t} (email) VALUES ('a'), ('b')"}})
        check_several_rows(statements);
}

TEST_CASE(
    "a unique index that tells apart what the column takes for equal makes no key unique",
    "[postgres][foreign_uniqueness]")
{
    sql(
        {"CREATE EXTENSION citext",
         "CREATE EXTENSION intarray",  // whose operators are called as the server's

         "CREATE COLLATION no_case (provider = icu, locale = 'de-u-ks-level1', deterministic = false)",
         "CREATE COLLATION no_accent (provider = icu, locale = 'de-u-ks-level1-kc-true', "
         "deterministic = false)"});
    for (std::vector<std::string> const& statements : std::vector<std::vector<std::string>>{
             {"ALTER TABLE {t} ALTER email TYPE text COLLATE no_case",
              "CREATE UNIQUE INDEX ON {t} (email COLLATE \"C\")",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"},
             {"ALTER TABLE {t} ALTER email TYPE varchar(9) COLLATE no_case",
              "CREATE UNIQUE INDEX ON {t} (email COLLATE no_accent)",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"},
             {"ALTER TABLE {t} ALTER email TYPE text COLLATE no_case",
              "CREATE UNIQUE INDEX ON {t} (md5(email))",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"},
             {"ALTER TABLE {t} ALTER email TYPE citext", "CREATE UNIQUE INDEX ON {t} (email text_ops)",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"},
             {"ALTER TABLE {t} ALTER email TYPE citext",
              "CREATE UNIQUE INDEX ON {t} (email text_pattern_ops)",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"},
             {"CREATE DOMAIN {t}_email AS citext", "ALTER TABLE {t} ALTER email TYPE {t}_email",
              "CREATE UNIQUE INDEX ON {t} ((email::text))",
              "INSERT INTO {t} (email) VALUES ('a'), ('A'), ('b')"}})
        check_several_rows(statements);
}

TEST_CASE(
    "a lock that comes to nothing, and cannot be given back, is in doubt", "[postgres][foreign_uniqueness]")
{
    Users const made{{"INSERT INTO {t} (email) VALUES ('a'), ('a')"}};
    auto const users = made.repository();
    auto const locks = made.pool.options().name_space + "_lock";
    sql(
        {"CREATE FUNCTION " + made.table +
             "_no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no release'; END$$",
         "CREATE TRIGGER no BEFORE UPDATE ON " + locks +
             " FOR EACH ROW WHEN (NEW.owner IS NULL) EXECUTE FUNCTION " + made.table + "_no()"});
    Key const a{"a"};
    OwnerToken const owner{{1, 1}};
    auto const kept = users.create_and_load(a, owner, 30s);
    CHECK(kept.errc() == Errc::outcome_unknown);
    CHECK(kept.cause() == Errc::misconfigured);
    CHECK(kept.detail().find("several rows") != std::string::npos);
    CHECK(users.inspect(a).value());
    sql({"DROP TRIGGER no ON " + locks});
    CHECK(users.create_and_load(a, owner, 30s).errc() == Errc::misconfigured);
    CHECK_FALSE(users.inspect(a).value());
}

TEST_CASE("a condition says which row of a key is meant", "[postgres][foreign_uniqueness]")
{
    Users const made{
        {"CREATE UNIQUE INDEX ON {t} (email) WHERE deleted_at IS NULL",
         "INSERT INTO {t} (email, n, deleted_at) VALUES ('a', 100, now()), ('a', 200, now()), ('c', 5, "
         "now())",
         "INSERT INTO {t} (email) VALUES ('a')"}};
    auto const users = made.repository({.where = "deleted_at IS NULL"});
    CHECK(users.load("a").value().value.n == 0);
    CHECK(users.load("c").errc() == Errc::not_found);
    CHECK(TransactionService{OptimisticVersioning{}, users}.try_do_in_transaction("a", count));
    CHECK(TransactionService{PessimisticRowLock{}, users}.try_do_in_transaction("a", count));
    CHECK(TransactionService{SetNxLock{}, users}.try_do_in_transaction("a", count));
    CHECK(TransactionService{SetNxLock{}, users}.try_do_in_transaction(OperationId{"x"}, "a", count));
    postgres::FreeRows const free{users, {.where = "true OR email = $1", .order_by = "serial"}};
    CHECK(TransactionService{PessimisticRowLock{}, free}.try_do_in_transaction("any", count));
    CHECK(users.load("a").value().value.n == 5);
    CHECK(made.ask("sum(n)") == "310");
    // One may be inserted beside the dead.
    CHECK(users.insert(User{"c", 1}));
    CHECK(users.insert(User{"c", 1}).errc() == Errc::already_exists);
    // An operation deletes softly; then the key is free.
    postgres::StateRepository<SoftUser> const soft{
        made.pool, {.table = made.table, .key = "email", .where = "deleted_at IS NULL"}};
    for (int i = 0; i < 2; ++i) {
        auto const leave = [](SoftUser& user) { user.deleted_at = "2024-01-05"; };
        CHECK(TransactionService{PessimisticRowLock{}, soft}.try_do_in_transaction("c", leave));
        CHECK(users.insert(User{"c", 1}));
        CHECK(TransactionService{SetNxLock{}, soft}.try_do_in_transaction("c", leave));
        CHECK(users.insert(User{"c", 1}));
        CHECK(TransactionService{OptimisticVersioning{}, soft}.try_do_in_transaction("c", leave));
        CHECK(users.load("c").errc() == Errc::not_found);
        if (i == 0)
            CHECK(users.insert(User{"c", 1}));
    }
    CHECK(users.load("c").errc() == Errc::not_found);
    CHECK(users.insert(User{"c", 2}));
    CHECK(users.erase("c", users.load("c").value().version));
    CHECK(made.ask("count(*)") == "10");
}

TEST_CASE("a condition does not hide that its key is not unique", "[postgres][foreign_uniqueness]")
{
    Users const made{
        {"CREATE UNIQUE INDEX ON {t} (email)",
         "INSERT INTO {t} (email, deleted_at) VALUES ('dead', now()), ('alive', NULL)"}};
    auto const users = made.repository({.where = "deleted_at IS NULL"});
    // The dead row keeps the key, by an index that knows no condition.
    auto const refused = users.insert(User{"dead", 1});
    CHECK(refused.errc() == Errc::constraint_violated);
    CHECK(users.insert(User{"alive", 1}).errc() == Errc::already_exists);
    CHECK(users.load("dead").errc() == Errc::not_found);
}

TEST_CASE(
    "repositories of different conditions give no answers to each other", "[postgres][foreign_uniqueness]")
{
    Users const made{
        {"ALTER TABLE {t} ADD tenant int NOT NULL DEFAULT 1",
         "CREATE UNIQUE INDEX ON {t} (email) WHERE tenant = 1",
         "CREATE UNIQUE INDEX ON {t} (email) WHERE tenant = 2",
         "INSERT INTO {t} (email, tenant) VALUES ('a', 1), ('a', 2)"}};
    OperationId const id{"count"};
    for (std::string const where : {"tenant = 1", "tenant = 2", "tenant = 2 AND email <> ')'"}) {
        TransactionService const service{SetNxLock{}, made.repository({.where = where})};
        auto const done = service.try_do_in_transaction(id, "a", count);
        CHECK((done && !done.replayed()));
        CHECK(service.try_do_in_transaction(id, "a", count).replayed());
    }
    CHECK(made.ask("string_agg(n::text, ' ' ORDER BY tenant)") == "1 2");
}

TEST_CASE("a view has one row for a key, or none is written", "[postgres][foreign_uniqueness]")
{
    Users const made{
        {"CREATE UNIQUE INDEX ON {t} (email) WHERE deleted_at IS NULL",
         "CREATE VIEW {t}_living AS SELECT email, n, version FROM {t} WHERE deleted_at IS NULL",
         "CREATE VIEW {t}_all AS SELECT email, n, version FROM {t}"}};
    postgres::StateRepository<User> const living{
        made.pool, {.table = made.table + "_living", .key = "email"}};
    check_inserts(living);
    CHECK(living.erase("a", living.load("a").value().version));
    CHECK(living.load("a").errc() == Errc::not_found);
    sql({"INSERT INTO " + made.table + " (email, deleted_at) VALUES ('two', now())"});
    CHECK(TransactionService{SetNxLock{}, living}.try_do_in_transaction("two", count));
    postgres::StateRepository<User> const all{made.pool, {.table = made.table + "_all", .key = "email"}};
    CHECK(all.load("two").errc() == Errc::misconfigured);
    CHECK(all.compare_and_set("two", 1, User{"two", 9}).errc() == Errc::misconfigured);
    CHECK(made.ask("max(n)") == "20");
}

TEST_CASE("a condition that cannot be is refused", "[postgres][foreign_uniqueness]")
{
    Users const made;
    CHECK_THROWS_AS(made.repository({.where = std::string("a\0b", 3)}), Error);
    CHECK_THROWS_AS((postgres::StateRepository<User>{made.pool, {.where = "true"}}), Error);
    auto const bad = made.repository({.where = "no_column IS NULL"}).load("a");
    CHECK(bad.errc() == Errc::misconfigured);
    CHECK(bad.detail().find("no_column") != std::string::npos);
}

}  // namespace postgres_foreign_uniqueness_test

// Constraints that are checked at the end of a statement or of the transaction: positions that change
// places, a constraint that becomes deferrable while connections are warm, keys that are there twice for a
// moment. And frictions of jobs and audits. The cases are those of public reports, see `tests/REPORTS.md`.

namespace postgres_deferrable_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Slide {
    int id{0};
    int position{0};
};
BOOST_DESCRIBE_STRUCT(Slide, (), (id, position))

std::string said(std::string const& ask)
{
    return interlock_test::postgres_server().command(ask);
}

/// Two slides, and positions that are unique as `how` says.
postgres::StateRepository<Slide> slides(std::string const& how)
{
    sql(
        {"DROP TABLE IF EXISTS df_slides",
         "CREATE TABLE df_slides (id int PRIMARY KEY, position int CONSTRAINT df_positions UNIQUE " + how +
             ", version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO df_slides VALUES (1, 1), (2, 2), (3, 3)"});
    return postgres::StateRepository<Slide>{fresh_pool(), {.table = "df_slides", .key = "id"}};
}

TEST_CASE("states exchange what is unique, where the constraint is deferred", "[postgres][deferrable]")
{
    auto const exchange = [](Slide& a, Slide& b) { std::swap(a.position, b.position); };
    auto const turn = [](std::span<Slide> all) {
        std::swap(all[0].position, all[1].position);
        std::swap(all[1].position, all[2].position);
    };
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    auto const by = [&](auto policy, std::string const& name) {
        TransactionService const service{policy, table};
        OperationId const id{name};
        CHECK(service.try_do_in_transaction(keys(1, 2), exchange));
        CHECK(service.try_do_in_transaction(id, std::vector{1, 2, 3}, turn));
        CHECK(service.try_do_in_transaction(id, std::vector{1, 2, 3}, turn).replayed());
    };
    by(OptimisticVersioning{}, "by version");
    CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "1,3,2");
    by(PessimisticRowLock{}, "by lock");
    by(SetNxLock{}, "by lease");
}

TEST_CASE("what a constraint refuses at once is refused by its name", "[postgres][deferrable]")
{
    auto const exchange = [](Slide& a, Slide& b) { std::swap(a.position, b.position); };
    for (std::string const how : {"", "DEFERRABLE INITIALLY IMMEDIATE"}) {
        INFO(how);
        auto const table = slides(how);
        auto const refused = [&](auto policy) {
            auto const outcome =
                TransactionService{policy, table}.try_do_in_transaction(keys(1, 2), exchange);
            INFO(outcome.message());
            CHECK(outcome.errc() == Errc::constraint_violated);
            CHECK(outcome.detail().find("df_positions") != std::string::npos);
        };
        refused(OptimisticVersioning{});
        refused(PessimisticRowLock{});
        refused(SetNxLock{});
        CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "1,2,3");
    }
    // In a transaction of the operation's own the check can be deferred.
    auto const table = slides("DEFERRABLE INITIALLY IMMEDIATE");
    TransactionService const service{PessimisticRowLock{}, table};
    CHECK(service.try_do_in_transaction(keys(1, 2), [&](Slide& a, Slide& b, postgres::Transaction& tx) {
        tx.exec("SET CONSTRAINTS df_positions DEFERRED");
        exchange(a, b);
    }));
    CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "2,1,3");
}

TEST_CASE("two rows of one position until the commit are refused there, by name", "[postgres][deferrable]")
{
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    auto const refused = [&](auto policy) {
        TransactionService const service{policy, table};
        auto const clash = [](Slide& a) { a.position = 2; };
        auto const outcome = service.try_do_in_transaction(OperationId{"clash"}, 1, clash);
        INFO(outcome.message());
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK(outcome.detail().find("df_positions") != std::string::npos);
    };
    refused(OptimisticVersioning{});
    refused(PessimisticRowLock{});
    refused(SetNxLock{});
    CHECK(table.insert(Slide{4, 3}).errc() == Errc::constraint_violated);
    CHECK(said("SELECT count(*) FROM df_slides") == "3");
}

TEST_CASE("a key that becomes deferrable under warm connections is still a key", "[postgres][deferrable]")
{
    auto const table = slides("");
    TransactionService const service{OptimisticVersioning{.missing = Missing::create}, table};
    auto const place = [](Slide& slide) { slide.position = slide.id; };
    CHECK(table.insert(Slide{10, 10}));
    CHECK(service.try_do_in_transaction(OperationId{"a"}, 11, place));
    sql(
        {"ALTER TABLE df_slides DROP CONSTRAINT df_slides_pkey",
         "ALTER TABLE df_slides ADD PRIMARY KEY (id) DEFERRABLE"});
    auto const made = table.insert(Slide{20, 20});
    INFO(made.message());
    CHECK(made);
    CHECK(table.insert(Slide{20, 21}).errc() == Errc::already_exists);
    CHECK(service.try_do_in_transaction(OperationId{"b"}, 22, place));
    CHECK(service.try_do_in_transaction(OperationId{"b"}, 22, place).replayed());
    // And back.
    sql(
        {"ALTER TABLE df_slides DROP CONSTRAINT df_slides_pkey",
         "ALTER TABLE df_slides ADD PRIMARY KEY (id)"});
    CHECK(table.insert(Slide{30, 30}));
    CHECK(table.insert(Slide{30, 31}).errc() == Errc::already_exists);
    CHECK(said("SELECT count(*) FROM df_slides") == "8");
}

TEST_CASE("a state may be erased and its key used again in one transaction", "[postgres][deferrable]")
{
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    TransactionService const service{PessimisticRowLock{}, table};
    // Its position is taken by a row that the same transaction deletes later.
    CHECK(service.try_do_in_transaction(1, [](Slide& slide, postgres::Transaction& tx) {
        slide.position = 2;
        tx.exec("DELETE FROM df_slides WHERE id = 2");
    }));
    CHECK(table.load(1).value().value.position == 2);
}

TEST_CASE(
    "a job whose row somebody holds is not taken, and is there afterwards", "[postgres][deferrable][queue]")
{
    auto const table = slides("");
    TransactionService const holder{PessimisticRowLock{}, table};
    postgres::FreeRows<Slide> const free{table, {.where = "id = 1", .order_by = "id"}};
    TransactionService const queue{PessimisticRowLock{}, free};
    auto const work = [](Slide& slide) { slide.position = 100; };
    CHECK(holder.try_do_in_transaction(1, [&](Slide&) {
        auto const skipped = queue.try_do_in_transaction("q", work);
        CHECK(skipped.errc() == Errc::not_found);
        CHECK(skipped.detail().find("is free") != std::string::npos);
    }));
    CHECK(queue.try_do_in_transaction("q", work));
}

TEST_CASE(
    "an audit trigger sees who it is in each transaction, and nobody of the one before",
    "[postgres][deferrable][settings]")
{
    auto const table = slides("");
    sql(
        {"DROP TABLE IF EXISTS df_audit", "CREATE TABLE df_audit (actor text, session int)",
         "CREATE OR REPLACE FUNCTION df_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
         "INSERT INTO df_audit VALUES (coalesce(current_setting('app.actor', true), ''), pg_backend_pid()); "
         "RETURN NEW; END $$",
         "CREATE TRIGGER df_note AFTER UPDATE ON df_slides FOR EACH ROW EXECUTE FUNCTION df_note()"});
    auto const hers = table.with_settings({{"app.actor", "ann", postgres::SettingUse::audit}});
    auto const his = table.with_settings({{"app.actor", "bob", postgres::SettingUse::audit}});
    int position = 10;
    auto const change = [&](Slide& slide) { slide.position = ++position; };
    for (int i = 0; i < 5; ++i) {
        CHECK(TransactionService{OptimisticVersioning{}, hers}.try_do_in_transaction(1, change));
        CHECK(TransactionService{PessimisticRowLock{}, his}.try_do_in_transaction(1, change));
        CHECK(TransactionService{SetNxLock{}, table}.try_do_in_transaction(1, change));
    }
    CHECK(
        said("SELECT string_agg(actor, ',' ORDER BY actor) FROM df_audit") ==
        ",,,,,ann,ann,ann,ann,ann,bob,bob,bob,bob,bob");
    CHECK(said("SELECT count(DISTINCT session) <= 2 FROM df_audit") == "t");
}

}  // namespace postgres_deferrable_test
