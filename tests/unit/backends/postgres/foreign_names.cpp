// SPDX-License-Identifier: BSL-1.0

// Names as other people's tables have them: reserved words, capitals, blanks, dots, quotes, letters that are
// not ASCII, schemas; and names that no table can have.
//
// How it works: each table is made by plain SQL through another connection, used by every policy, and looked
// at by plain SQL again.

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
#include <string>
#include <utility>
#include <vector>

namespace postgres_foreign_names_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Row {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Row, (), (id, n))

/// As Prisma, TypeORM and Entity Framework name columns.
struct Order {
    std::int64_t orderId{0};
    std::string customerName;
    int user{0};  // a reserved word
    int rowVersion{0};
};
BOOST_DESCRIBE_STRUCT(Order, (), (orderId, customerName, user, rowVersion))

/// Members whose columns cannot be names of C++.
struct Line {
    std::int64_t order_no{0};
    int line{0};
    std::string clazz;
    int price{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (order_no, line, clazz, price))

std::string thrown(postgres::Pool const& pool, postgres::RepositoryOptions options)
{
    try {
        postgres::StateRepository<Row> const repository{pool, std::move(options)};
    } catch (Error const& e) {
        return e.errc() == Errc::invalid_argument ? e.what() : "another error";
    }
    return {};
}

/// Changes row 1 by each policy, with an operation id, under a lock, by several keys.
template <class Repository>
int changes_of_all_policies(Repository const& rows)
{
    auto const add = [](Row& r) { ++r.n; };
    TransactionService const optimistic{OptimisticVersioning{.missing = Missing::create}, rows};
    TransactionService const row_lock{PessimisticRowLock{.missing = Missing::create}, rows};
    TransactionService const lease{SetNxLock{}, rows};
    int changes = 0;
    CHECK_NOTHROW((optimistic.do_in_transaction(std::int64_t{1}, add), ++changes));
    CHECK_NOTHROW((optimistic.do_in_transaction(OperationId{"a"}, std::int64_t{1}, add), ++changes));
    CHECK_NOTHROW((row_lock.do_in_transaction(std::int64_t{1}, add), ++changes));
    CHECK_NOTHROW((row_lock.do_in_transaction(OperationId{"b"}, std::int64_t{1}, add), ++changes));
    CHECK_NOTHROW((lease.do_in_transaction(std::int64_t{1}, add), ++changes));
    CHECK_NOTHROW((lease.do_in_transaction(OperationId{"c"}, std::int64_t{1}, add), ++changes));
    auto const both = [](Row& a, Row& b) { ++a.n, ++b.n; };
    CHECK_NOTHROW((row_lock.do_in_transaction(keys(std::int64_t{1}, std::int64_t{2}), both), ++changes));
    TransactionService const free{
        PessimisticRowLock{}, postgres::FreeRows{rows, {.where = "id = 1", .order_by = "id"}}};
    CHECK_NOTHROW((free.do_in_transaction("any", add), ++changes));
    CHECK(rows.load(std::int64_t{1}).value().value.n == changes);
    return changes;
}

TEST_CASE("tables of any name are used by every policy", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    for (char const* schema : {"sales", "\"Sales Dept\"", "\"group\""})
        sql({std::string("CREATE SCHEMA IF NOT EXISTS ") + schema});
    // As the option says it, and as SQL says it.
    std::vector<std::pair<std::string, std::string>> const names{
        {"order", "\"order\""},
        {"user", "\"user\""},
        {"group", "\"group\""},
        {"table", "\"table\""},
        {"public.select", "public.\"select\""},
        {"\"Orders\"", "\"Orders\""},
        {"\"Orders2\"", "\"Orders2\""},
        {"\"Order Lines\"", "\"Order Lines\""},
        {"\"a.b\"", "\"a.b\""},
        {"\"5\"\" disks\"", "\"5\"\" disks\""},
        {"\"it's\"", "\"it's\""},
        {"\"back\\slash\"", "\"back\\slash\""},
        {"\"{table} $1 %s\"", "\"{table} $1 %s\""},
        {"\"Größe\"", "\"Größe\""},
        {"\"заказы\"", "\"заказы\""},
        {"\"注文\"", "\"注文\""},
        {"\"2024_orders\"", "\"2024_orders\""},
        {"sales.order", "sales.\"order\""},
        {"\"Sales Dept\".\"Order.Lines\"", "\"Sales Dept\".\"Order.Lines\""},
        {"group.user", "\"group\".\"user\""},
        {"\"line\nbreak\"", "\"line\nbreak\""},
        {"\"" + std::string(63, 'x') + "\"", std::string(63, 'x')},
    };
    for (auto const& [option, name] : names) {
        INFO(option);
        sql(
            {"CREATE TABLE " + name +
                 " (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)",
             "INSERT INTO " + name + " (id) VALUES (1), (2)"});
        changes_of_all_policies(postgres::StateRepository<Row>{pool, {.table = option, .key = "id"}});
    }
}

TEST_CASE("a table may have any short name, and be named by a condition", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    for (std::string const name : {"w", "g", "r", "n", "old", "rec", "a", "e", "t"}) {
        INFO(name);
        sql({"CREATE TABLE " + name + " (id bigint PRIMARY KEY, n int NOT NULL, version bigint NOT NULL)"});
        auto const where = "EXISTS (SELECT FROM " + name + " o WHERE o.id = t.id)";
        postgres::StateRepository<Row> const rows{pool, {.table = name, .key = "id"}};
        CHECK(rows.insert(Row{1, 0}));
        CHECK(rows.insert(Row{1, 0}).errc() == Errc::already_exists);
        CHECK(rows.insert(Row{2, 0}));
        changes_of_all_policies(rows);
        sql({"UPDATE " + name + " SET n = 0"});
        changes_of_all_policies(
            postgres::StateRepository<Row>{pool, {.table = name, .key = "id", .where = where}});
        for (std::int64_t i = 3; i < 6; ++i) {
            auto const make = [&](auto policy) {
                TransactionService const service{policy, rows};
                return service.try_do_in_transaction(OperationId{"make"}, Row{i, 5}, [](Row& r) { ++r.n; });
            };
            CHECK(
                (i == 3   ? make(OptimisticVersioning{.missing = Missing::create})
                 : i == 4 ? make(PessimisticRowLock{.missing = Missing::create})
                          : make(SetNxLock{.missing = Missing::create})));
            CHECK(rows.load(i).value().value.n == 6);
            CHECK(rows.erase(i, rows.load(i).value().version));
        }
        sql({"DROP TABLE " + name});
    }
}

TEST_CASE("two spellings of one name are one table", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    sql({"CREATE TABLE plain_name (id bigint PRIMARY KEY, n int, version bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Row> const plain{pool, {.table = "plain_name", .key = "id"}};
    postgres::StateRepository<Row> const quoted{pool, {.table = "\"plain_name\"", .key = "\"id\""}};
    CHECK(plain.identity() == quoted.identity());
    CHECK(plain.place() == quoted.place());
    auto const one = make_key<Row, std::int64_t>(std::int64_t{1});
    CHECK(plain.create(one, OwnerToken{{1, 1}}, std::chrono::seconds{10}));
    CHECK(quoted.create(one, OwnerToken{{2, 2}}, std::chrono::seconds{10}).errc() == Errc::lock_busy);
}

TEST_CASE("members and columns in mixed case", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE \"Order\" (\"orderId\" bigint PRIMARY KEY, \"customerName\" text NOT NULL, \"user\" "
         "int NOT NULL DEFAULT 7, \"rowVersion\" int NOT NULL DEFAULT 1)",
         "CREATE SEQUENCE \"Order Versions\"", "INSERT INTO \"Order\" VALUES (1, 'ann')"});
    postgres::StateRepository<Order> const orders{
        pool,
        {.table = "\"Order\"",
         .key = "\"orderId\"",
         .version = "\"rowVersion\"",
         .version_sequence = "\"Order Versions\""}};
    CHECK(orders.verify_fencing());
    TransactionService const service{OptimisticVersioning{}, orders};
    CHECK_NOTHROW(service.do_in_transaction(std::int64_t{1}, [](Order& o) { o.customerName = "bob"; }));
    auto const after = orders.load(std::int64_t{1}).value();
    CHECK(after.value.customerName == "bob");
    CHECK(after.value.user == 7);
    CHECK(after.value.rowVersion == after.version);
    CHECK(orders.insert(Order{2, "cid", 8}));
    CHECK(orders.load(std::int64_t{2}).value().value.user == 8);
}

TEST_CASE("a member may have a column of another name", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE lines (\"Order, No\" bigint, line int, class text NOT NULL, \"unit price\" int NOT "
         "NULL, version bigint NOT NULL DEFAULT 1, PRIMARY KEY (\"Order, No\", line))"});
    using Key = std::pair<std::int64_t, int>;
    postgres::RepositoryOptions const options{
        .table = "lines",
        .key = "\"Order, No\" , line",
        .columns = {{"order_no", "\"Order, No\""}, {"clazz", "class"}, {"price", "\"unit price\""}}};
    postgres::StateRepository<Line, Key> const lines{pool, options};
    Key const key{5, 1};
    CHECK(lines.insert(key, Line{5, 1, "A", 10}));
    TransactionService const service{PessimisticRowLock{}, lines};
    CHECK_NOTHROW(service.do_in_transaction(key, [](Line& l) { l.price = 12; }));
    CHECK(lines.load(key).value().value.price == 12);

    auto bad = options;
    bad.columns.push_back({"prize", "x"});
    CHECK_THROWS_WITH(
        (postgres::StateRepository<Line, Key>{pool, bad}), Catch::Matchers::ContainsSubstring("prize"));
    bad = options;
    bad.columns[1].column = "line";
    CHECK_THROWS_WITH(
        (postgres::StateRepository<Line, Key>{pool, bad}), Catch::Matchers::ContainsSubstring("line"));
}

TEST_CASE("a name that cannot be says which one and why", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    auto const says = [&](std::string const& table, char const* why) {
        INFO(table);
        auto const said = thrown(pool, {.table = table, .key = "id"});
        INFO(said);
        CHECK(said.find("table") != std::string::npos);
        CHECK(said.find(why) != std::string::npos);
    };
    says("order lines", "a blank");
    says("Orders", "'O'");
    says("größe", "'ö'");
    says("orders;", "';'");
    says("orders--", "'-'");
    says("a.b.c", "'.'");
    says("\"orders", "not closed");
    says("\"\"", "empty");
    says(".orders", "'.'");
    says("sales.", "empty");
    says("1orders", "'1'");
    says("orders\t", "0x09");
    says("o\"rders\"", "'\"'");
    says("\"" + std::string(64, 'x') + "\"", "64 bytes");
    says(
        "\"b\xFF"
        "d\"",
        "UTF-8");
    says(std::string("\"n\0l\"", 5), "NUL");
    CHECK(thrown(pool, {.table = "t", .key = "i-d"}).find("key \"i-d\" has '-'") != std::string::npos);
    CHECK(
        thrown(pool, {.table = "t", .key = "id", .version = "no good"}).find("version") != std::string::npos);
    CHECK(
        thrown(pool, {.table = "t", .key = "id", .version_sequence = "a b"}).find("version_sequence") !=
        std::string::npos);
}

TEST_CASE("a table that is not there is misconfigured, by its name", "[postgres][foreign][names]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Row> const rows{pool, {.table = "\"No Such\"", .key = "id"}};
    auto const loaded = rows.load(std::int64_t{1});
    CHECK(loaded.errc() == Errc::misconfigured);
    CHECK(loaded.detail().find("No Such") != std::string::npos);
}

}  // namespace postgres_foreign_names_test
