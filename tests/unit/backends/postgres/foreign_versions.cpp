// SPDX-License-Identifier: BSL-1.0

// Versions as other frameworks keep them beside us: from 0, NULL in old rows, in columns of every numeric
// type, as `xmin`, as a time stamp, set by a trigger; and what happens at their end.

#include <interlock/backends/postgres/free_rows.hpp>
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
#include <utility>

namespace postgres_foreign_versions_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

struct Post {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Post, (), (id, n))

/// The version is a member, too.
struct Shown {
    std::int64_t id{0};
    int n{0};
    int lock_version{-1};
};
BOOST_DESCRIBE_STRUCT(Shown, (), (id, n, lock_version))

postgres::StateRepository<Post> posts(
    postgres::Pool const& pool, std::string table, std::string version, std::string sequence = {})
{
    return postgres::StateRepository<Post>{
        pool,
        {.table = std::move(table),
         .key = "id",
         .version = std::move(version),
         .version_sequence = std::move(sequence)}};
}

/// Each policy changes row `id` once, and nobody's change is lost; a stale version is refused. Returns how
/// often the row was changed.
template <class Repository>
int changes_of_all_policies(Repository const& rows, std::int64_t id)
{
    auto const add = [](Post& p) { ++p.n; };
    auto const before = rows.load(id).value();
    TransactionService const optimistic{OptimisticVersioning{.remember = 10}, rows};
    TransactionService const row_lock{PessimisticRowLock{}, rows};
    TransactionService const lease{SetNxLock{}, rows};
    int changes = 0;
    CHECK_NOTHROW((optimistic.do_in_transaction(id, add), ++changes));
    CHECK_NOTHROW((optimistic.do_in_transaction(id, add), ++changes));
    CHECK_NOTHROW((optimistic.do_in_transaction(OperationId{"a"}, id, add), ++changes));
    CHECK_NOTHROW((row_lock.do_in_transaction(id, add), ++changes));
    CHECK_NOTHROW((row_lock.do_in_transaction(OperationId{"b"}, id, add), ++changes));
    CHECK_NOTHROW((lease.do_in_transaction(id, add), ++changes));
    CHECK_NOTHROW((lease.do_in_transaction(OperationId{"c"}, id, add), ++changes));
    auto const both = [](Post& a, Post& b) { ++a.n, ++b.n; };
    CHECK_NOTHROW((optimistic.do_in_transaction(keys(id, std::int64_t{99}), both), ++changes));
    TransactionService const free{
        PessimisticRowLock{}, postgres::FreeRows{rows, {.where = "id = $1::bigint", .order_by = "id"}}};
    CHECK_NOTHROW((free.do_in_transaction(std::to_string(id), add), ++changes));
    auto const after = rows.load(id).value();
    CHECK(after.value.n == before.value.n + changes);
    CHECK(after.version != before.version);
    CHECK(rows.compare_and_set(id, before.version, Post{id, -1}).errc() == Errc::version_conflict);
    auto const written = rows.compare_and_set(id, after.version, after.value);
    CHECK(written);
    CHECK(rows.load(id).value().version == written.value());
    return changes + 1;
}

TEST_CASE("versions that begin at 0, and rows that have none", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    int table = 0;
    for (std::string const type :
         {"int DEFAULT 0", "bigint", "smallint", "numeric(10)", "numeric", "int NOT NULL DEFAULT 0"}) {
        INFO(type);
        auto const name = "posts_" + std::to_string(table++);
        bool const nullable = type.find("NOT NULL") == std::string::npos;
        sql(
            {"CREATE TABLE " + name + " (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, lock_version " +
                 type + ")",
             "INSERT INTO " + name + " (id, lock_version) VALUES (1, 0), (2, " + (nullable ? "NULL" : "0") +
                 "), (3, 7), (99, 0)"});
        auto const rows = posts(pool, name, "lock_version");
        for (std::int64_t const id : {1, 2, 3}) {
            INFO(id);
            auto const changes = changes_of_all_policies(rows, id);
            auto const stored =
                single_value("SELECT lock_version FROM " + name + " WHERE id = " + std::to_string(id));
            // What Rails and Hibernate would have: one more for each change.
            CHECK(stored == std::to_string((id == 3 ? 7 : 0) + changes));
        }
        // A row that another framework has just made, and one that we make.
        sql({"INSERT INTO " + name + " (id, lock_version) VALUES (4, 0)"});
        CHECK(rows.erase(std::int64_t{4}, rows.load(std::int64_t{4}).value().version));
        CHECK(rows.insert(Post{5, 1}));
        CHECK(single_value("SELECT lock_version FROM " + name + " WHERE id = 5") == "1");
        CHECK(rows.load(std::int64_t{5}).value().version == 1);
    }
}

TEST_CASE("versions that come to be 0 or NULL under a running program", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE emptied (id bigint PRIMARY KEY, n int NOT NULL, revision int NOT NULL)",
         "INSERT INTO emptied VALUES (1, 0, 1), (2, 0, 1), (4, 0, 1), (99, 0, 1)"});
    auto const rows = posts(pool, "emptied", "revision");
    CHECK(changes_of_all_policies(rows, 4) > 0);
    sql(
        {"ALTER TABLE emptied ALTER revision DROP NOT NULL", "UPDATE emptied SET revision = NULL",
         "INSERT INTO emptied VALUES (3, 0, 0)"});
    for (std::int64_t const id : {1, 2, 3}) {
        INFO(id);
        auto const changes = changes_of_all_policies(rows, id);
        auto const stored = single_value("SELECT revision FROM emptied WHERE id = " + std::to_string(id));
        CHECK(stored == std::to_string(changes));
    }
    // A version that no row of this column can have is another one's.
    CHECK(rows.compare_and_set(1, 5'000'000'000, Post{1, 7}).errc() == Errc::version_conflict);
}

TEST_CASE("a member shows the version as it is stored", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE shown_posts (id bigint PRIMARY KEY, n int NOT NULL, lock_version int)",
         "INSERT INTO shown_posts VALUES (1, 0, NULL), (2, 0, 0), (3, 0, 5)"});
    postgres::StateRepository<Shown> const rows{
        pool, {.table = "shown_posts", .key = "id", .version = "lock_version"}};
    CHECK(rows.load(std::int64_t{1}).value().value.lock_version == 0);
    CHECK(rows.load(std::int64_t{2}).value().value.lock_version == 0);
    CHECK(rows.load(std::int64_t{3}).value().value.lock_version == 5);
    TransactionService const service{OptimisticVersioning{}, rows};
    CHECK_NOTHROW(service.do_in_transaction(std::int64_t{1}, [](Shown& p) { ++p.n; }));
    CHECK(rows.load(std::int64_t{1}).value().value.lock_version == 1);
}

TEST_CASE("a negative version is no version", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE negative_posts (id bigint PRIMARY KEY, n int, version int, at timestamptz)",
         "INSERT INTO negative_posts VALUES (1, 0, -1, 'infinity'), (2, 0, 1, '-infinity')"});
    CHECK(posts(pool, "negative_posts", "version").load(std::int64_t{1}).errc() == Errc::corrupt_state);
    CHECK(posts(pool, "negative_posts", "at").load(std::int64_t{1}).errc() == Errc::corrupt_state);
    CHECK(posts(pool, "negative_posts", "at").load(std::int64_t{2}).errc() == Errc::corrupt_state);
}

TEST_CASE("xmin is a version, as Entity Framework uses it", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE xmin_posts (id bigint PRIMARY KEY, n int NOT NULL)",
         "INSERT INTO xmin_posts VALUES (1, 0), (99, 0)"});
    auto const rows = posts(pool, "xmin_posts", "xmin");
    changes_of_all_policies(rows, 1);
    // A write of somebody else is noticed, although no column counts it.
    auto const seen = rows.load(std::int64_t{1}).value();
    sql({"UPDATE xmin_posts SET n = n WHERE id = 1"});
    CHECK(rows.compare_and_set(std::int64_t{1}, seen.version, seen.value).errc() == Errc::version_conflict);
    auto const made = rows.insert(Post{2, 5});
    CHECK(made);
    CHECK(rows.load(std::int64_t{2}).value().version == made.value());
    CHECK(rows.erase(std::int64_t{2}, made.value()));
    auto const again = rows.insert(Post{2, 5});
    CHECK(again);
    CHECK(again.value() != made.value());
}

struct Made {
    std::int64_t id{0};
    int doubled{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Made, (), (id, doubled, n))

TEST_CASE(
    "a change of a member that the server makes moves the version, whatever the version is",
    "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    auto const t = pool.options().name_space + "_made";
    auto const* const column = GENERATE("xmin", "version");
    auto const* const rights = GENERATE("INSERT, UPDATE", "UPDATE (n, version)", "UPDATE (id, version)");
    CAPTURE(column, rights);
    sql(
        {"CREATE TABLE " + t +
             " (id bigint PRIMARY KEY, doubled int GENERATED ALWAYS AS (n * 2) STORED, n int NOT NULL, "
             "version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO " + t + " (id, n) VALUES (1, 5)", "CREATE ROLE " + t + " LOGIN",
         "GRANT ALL ON ALL TABLES IN SCHEMA public TO " + t,
         "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO " + t, "REVOKE ALL ON " + t + " FROM " + t,
         "GRANT SELECT, " + std::string(rights) + " ON " + t + " TO " + t});
    auto url = interlock_test::postgres_server().tcp_url() + "?name_space=" + pool.options().name_space;
    url.replace(url.find("interlock@"), 9, t);
    postgres::StateRepository<Made> const rows{
        postgres::Pool{postgres::Options::parse(url).value()}, {.table = t, .key = "id", .version = column}};
    auto const change = [&](auto const& policy) {
        auto const before = rows.load(std::int64_t{1}).value();
        auto const changed = TransactionService{policy, rows}.try_do_in_transaction(
            std::int64_t{1}, [](Made& m) { ++m.doubled; });
        INFO(changed.detail());
        CHECK(changed);
        auto const after = rows.load(std::int64_t{1}).value();
        CHECK(after.value.doubled == 10);
        CHECK(after.version != before.version);
    };
    change(OptimisticVersioning{});
    change(PessimisticRowLock{});
    change(SetNxLock{});
}

TEST_CASE("xmin of a partitioned table", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE xmin_parts (id bigint PRIMARY KEY, n int NOT NULL) PARTITION BY RANGE (id)",
         "CREATE TABLE xmin_part_1 PARTITION OF xmin_parts FOR VALUES FROM (0) TO (50)",
         "CREATE TABLE xmin_part_2 PARTITION OF xmin_parts FOR VALUES FROM (50) TO (100)",
         "INSERT INTO xmin_parts VALUES (1, 0), (99, 0)"});
    auto const rows = posts(pool, "xmin_parts", "xmin");
    changes_of_all_policies(rows, 1);
    auto const made = rows.insert(Post{2, 5});
    INFO(made.detail());
    CHECK(made);
}

TEST_CASE("a time stamp is a version", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    int table = 0;
    for (std::string const type :
         {"timestamptz", "timestamp", "timestamptz(0)", "timestamp(3)",
          "timestamptz NOT NULL DEFAULT now()"}) {
        INFO(type);
        auto const name = "stamped_" + std::to_string(table++);
        sql(
            {"CREATE TABLE " + name + " (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, updated_at " +
                 type + ")",
             "INSERT INTO " + name +
                 " (id, updated_at) VALUES (1, '2020-01-01'), (2, '2999-12-31'), (3, '0001-01-01'), (99, "
                 "now())"});
        auto const rows = posts(pool, name, "updated_at");
        for (std::int64_t const id : {1, 2, 3}) {
            INFO(id);
            changes_of_all_policies(rows, id);
        }
        if (type.find("NOT NULL") == std::string::npos) {
            sql({"INSERT INTO " + name + " (id, updated_at) VALUES (4, NULL)"});
            changes_of_all_policies(rows, 4);
        }
        // The clock is not further than the version, and the version moves all the same.
        CHECK(
            single_value(
                "SELECT updated_at > '2999-12-31' AND updated_at < '3000-01-02' FROM " + name +
                " WHERE id = 2") == "t");
        CHECK(
            single_value(
                "SELECT abs(extract(epoch FROM updated_at - clock_timestamp()" +
                std::string(
                    type.starts_with("timestamp(") || type == "timestamp" ? " AT TIME ZONE 'UTC'" : "") +
                ")) < 60 FROM " + name + " WHERE id = 1") == "t");
        CHECK(rows.insert(Post{5, 1}));
    }
}

TEST_CASE("a trigger sets the version", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE SEQUENCE triggered_versions",
         "CREATE TABLE triggered (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL)",
         "CREATE FUNCTION set_version() RETURNS trigger LANGUAGE plpgsql AS "
         "$$BEGIN NEW.version := nextval('triggered_versions') * 10; RETURN NEW; END$$",
         "CREATE TRIGGER set_version BEFORE INSERT OR UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION "
         "set_version()",
         "INSERT INTO triggered VALUES (1, 0, 0), (99, 0, 0)"});
    auto const rows = posts(pool, "triggered", "version");
    changes_of_all_policies(rows, 1);
    auto const made = rows.insert(Post{2, 1});
    CHECK(made);
    CHECK(made.value() % 10 == 0);
}

TEST_CASE("a version at its end is said, with its column", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    int table = 0;
    for (auto const& [type, last] :
         {std::pair{"smallint", "32767"}, std::pair{"int", "2147483647"},
          std::pair{"bigint", "9223372036854775807"}, std::pair{"numeric(3)", "999"}}) {
        INFO(type);
        auto const name = "ended_" + std::to_string(table++);
        sql(
            {"CREATE TABLE " + name + " (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, revision " + type +
                 " NOT NULL)",
             "INSERT INTO " + name + " (id, revision) VALUES (1, " + last + "), (2, " + last + " - 1)"});
        auto const rows = posts(pool, name, "revision");
        auto const add = [](Post& p) { ++p.n; };
        auto const ended = [&](auto const& outcome) {
            INFO(outcome.detail());
            CHECK(outcome.errc() == Errc::version_exhausted);
            CHECK(outcome.detail().find(name + ".revision") != std::string::npos);
        };
        ended(TransactionService{OptimisticVersioning{}, rows}.try_do_in_transaction(std::int64_t{1}, add));
        ended(TransactionService{PessimisticRowLock{}, rows}.try_do_in_transaction(std::int64_t{1}, add));
        ended(TransactionService{SetNxLock{}, rows}.try_do_in_transaction(std::int64_t{1}, add));
        ended(TransactionService{OptimisticVersioning{}, rows}.try_do_in_transaction(
            OperationId{"x"}, std::int64_t{1}, add));
        // Whoever only says that version, as the client of a page may, has lost to whoever wrote another one.
        auto const last_one = rows.load(std::int64_t{1}).value().version;
        auto const said = rows.compare_and_set(std::int64_t{2}, last_one, Post{2, 7});
        CHECK(said.errc() == Errc::version_conflict);
        CHECK(rows.compare_and_set(std::int64_t{3}, last_one, Post{3, 7}).errc() == Errc::not_found);
        CHECK(rows.load(std::int64_t{2}).value().value.n == 0);
        CHECK(TransactionService{OptimisticVersioning{}, rows}.try_do_in_transaction(std::int64_t{2}, add));
        CHECK(rows.erase(std::int64_t{1}, rows.load(std::int64_t{1}).value().version));
    }
    sql(
        {"CREATE SEQUENCE short_sequence MAXVALUE 2",
         "CREATE TABLE ended_sequence (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL)"});
    auto const rows = posts(pool, "ended_sequence", "version", "short_sequence");
    CHECK(rows.insert(Post{1, 0}));
    CHECK(rows.insert(Post{2, 0}));
    auto const refused = rows.insert(Post{3, 0});
    CHECK(refused.errc() == Errc::version_exhausted);
    CHECK(refused.detail().find("short_sequence") != std::string::npos);
}

TEST_CASE("a column that cannot hold a version is refused by name", "[postgres][foreign][versions]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE unversioned (id bigint PRIMARY KEY, n int, etag uuid, day date, rev text)",
         "CREATE SEQUENCE of_unversioned"});
    for (char const* version : {"etag", "day", "rev"}) {
        auto const loaded = posts(pool, "unversioned", version).load(std::int64_t{1});
        CHECK(loaded.errc() == Errc::misconfigured);
        INFO(loaded.detail());
        CHECK(loaded.detail().find(std::string("unversioned.") + version) != std::string::npos);
    }
    auto const drawn = posts(pool, "unversioned", "xmin", "of_unversioned").load(std::int64_t{1});
    CHECK(drawn.errc() == Errc::misconfigured);
}

}  // namespace postgres_foreign_versions_test
