// SPDX-License-Identifier: BSL-1.0

// Rows of the user's own table whose key is several columns.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

namespace postgres_composite_keys_test {

/// The key as a struct: its members are columns.
struct LineId {
    std::int64_t order_id{0};
    std::string line;
    friend bool operator==(LineId const&, LineId const&) = default;
};
BOOST_DESCRIBE_STRUCT(LineId, (), (order_id, line))

struct Line {
    LineId id;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (id, quantity))

/// The same row, flat; its traits name the key.
struct FlatLine {
    int quantity{0};
    std::string line;
    std::int64_t order_id{0};
};
BOOST_DESCRIBE_STRUCT(FlatLine, (), (quantity, line, order_id))

/// Its repository is told what the key is; one of the two columns is no member.
struct Cell {
    int n{0};
    std::string a;
};
BOOST_DESCRIBE_STRUCT(Cell, (), (n, a))

}  // namespace postgres_composite_keys_test

template <>
struct interlock::StateTraits<postgres_composite_keys_test::FlatLine>
    : interlock::DefaultStateTraits<postgres_composite_keys_test::FlatLine> {
    using key_type = std::tuple<std::int64_t, std::string>;
    static key_type key(postgres_composite_keys_test::FlatLine const& line)
    {
        return {line.order_id, line.line};
    }
};

namespace postgres_composite_keys_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;

struct Orders {
    Orders()
    {
        postgres_server().command(
            "CREATE TABLE " + table +
            " (order_id bigint, line text, quantity int NOT NULL CHECK (quantity >= 0), "
            "version bigint NOT NULL DEFAULT 1, PRIMARY KEY (order_id, line))");
    }
    std::string ask(std::string const& columns, std::string const& where = "true") const
    {
        return postgres_server().command("SELECT " + columns + " FROM " + table + " WHERE " + where);
    }
    postgres::Pool pool{fresh_pool()};
    std::string table{pool.options().name_space + "_lines"};
    postgres::StateRepository<Line> lines{pool, {.table = table, .key = "order_id, line"}};
    postgres::StateRepository<FlatLine> flat{pool, {.table = table, .key = "order_id,line"}};
};

TEST_CASE("a key of several columns names one row", "[postgres][composite_keys]")
{
    Orders const orders;
    REQUIRE(orders.lines.insert(Line{{1, "a"}, 10}).value() == 1);
    REQUIRE(orders.lines.insert(Line{{1, "b"}, 20}).value() == 1);
    REQUIRE(orders.flat.insert(FlatLine{30, "a", 2}).value() == 1);
    CHECK(orders.lines.insert(Line{{1, "a"}, 11}).errc() == Errc::already_exists);
    CHECK(orders.lines.load(LineId{1, "a"}).value().value.quantity == 10);
    CHECK(orders.lines.load(LineId{2, "a"}).value().value.id == LineId{2, "a"});
    CHECK(orders.flat.load(std::tuple{std::int64_t{1}, std::string("b")}).value().value.quantity == 20);
    CHECK(orders.lines.load(LineId{2, "b"}).errc() == Errc::not_found);
    CHECK(orders.lines.compare_and_set(LineId{1, "a"}, 1, Line{{1, "a"}, 12}).value() == 2);
    CHECK(
        orders.lines.compare_and_set(LineId{1, "a"}, 1, Line{{1, "a"}, 12}).errc() == Errc::version_conflict);
    CHECK(
        orders.lines.compare_and_set(LineId{1, "a"}, 2, Line{{1, "b"}, 12}).errc() == Errc::invalid_argument);
    CHECK(orders.lines.erase(LineId{1, "b"}, 1).value() == 1);
    CHECK(orders.ask("string_agg(order_id || line || quantity, ' ' ORDER BY order_id, line)") == "1a12 2a30");
}

TEST_CASE("parts of a key do not run into each other", "[postgres][composite_keys]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_pairs";
    postgres_server().command(
        "CREATE TABLE " + table + " (a text, b text, n int, version bigint NOT NULL, UNIQUE (a, b))");
    using Pair = std::pair<std::string, std::string>;
    postgres::StateRepository<Cell, Pair> const cells{pool, {.table = table, .key = "a, b"}};
    REQUIRE(cells.insert(Pair{"a", "bc"}, Cell{1, "a"}));
    REQUIRE(cells.insert(Pair{"ab", "c"}, Cell{2, "ab"}));
    CHECK(cells.insert(Pair{"ab", "c"}, Cell{3, "ab"}).errc() == Errc::already_exists);
    CHECK(cells.load(Pair{"a", "bc"}).value().value.n == 1);
    CHECK(cells.load(Pair{"ab", "c"}).value().value.n == 2);
    CHECK(cells.load(Pair{"ab", ""}).errc() == Errc::not_found);
    Orders const orders;
    REQUIRE(orders.lines.insert(Line{{1, "1a"}, 1}));
    REQUIRE(orders.lines.insert(Line{{11, "a"}, 2}));
    CHECK(orders.lines.load(LineId{1, "1a"}).value().value.quantity == 1);
    CHECK(orders.lines.load(LineId{11, "a"}).value().value.quantity == 2);
    CHECK(orders.lines.load(LineId{-1, ""}).errc() == Errc::not_found);
    REQUIRE(orders.lines.insert(Line{{-1, ""}, 3}));
    CHECK(orders.lines.load(LineId{-1, ""}).value().value.quantity == 3);
}

TEST_CASE("every policy works on a key of several columns", "[postgres][composite_keys]")
{
    Orders const orders;
    REQUIRE(orders.lines.insert(Line{{1, "a"}, 100}));
    REQUIRE(orders.lines.insert(Line{{1, "b"}, 0}));
    TransactionService const optimistic{OptimisticVersioning{.max_attempts = 1000}, orders.lines};
    TransactionService const row_lock{PessimisticRowLock{}, orders.lines};
    TransactionService const lease{SetNxLock{}, orders.lines};
    LineId const a{1, "a"};
    LineId const b{1, "b"};
    std::atomic<int> failed{0};
    auto const move_one = [](Line& one, Line& other) {
        --(one.id.line == "a" ? one : other).quantity;
        ++(one.id.line == "a" ? other : one).quantity;
    };
    auto const move_ten = [&](auto const& service) {
        for (int n = 0; n < 10; ++n) {
            auto const pair = n % 2 == 0 ? keys(a, b) : keys(b, a);
            failed += service.try_do_in_transaction(pair, move_one, {.deadline = 30s}) ? 0 : 1;
        }
    };
    run_threads(3, [&](std::size_t i) {
        i == 0 ? move_ten(optimistic) : i == 1 ? move_ten(row_lock) : move_ten(lease);
    });
    CHECK(failed == 0);
    CHECK(orders.lines.load(a).value().value.quantity == 70);
    CHECK(orders.lines.load(b).value().value.quantity == 30);
    // An id, a state in place of the key, a row that is not there yet, and one that is taken as it comes.
    auto const take = [](Line& line) { return --line.quantity; };
    CHECK(optimistic.do_in_transaction(OperationId{"once"}, a, take) == 69);
    CHECK(optimistic.do_in_transaction(OperationId{"once"}, a, take) == 69);
    CHECK(row_lock.do_in_transaction(OperationId{"twice"}, Line{a, 0}, take) == 68);
    TransactionService const creating{PessimisticRowLock{.missing = Missing::create}, orders.lines};
    CHECK(creating.do_in_transaction(LineId{3, "new"}, [](Line& line) { return ++line.quantity; }) == 1);
    CHECK(orders.ask("order_id || line || quantity || version", "order_id = 3") == "3new11");
    postgres::FreeRows const free{orders.lines, {.where = "order_id = $1 AND quantity > 0"}};
    CHECK(TransactionService{PessimisticRowLock{}, free}.do_in_transaction("3", take) == 0);
    CHECK(orders.ask("quantity", "order_id = 3") == "0");
    // No operation moves a state to another key.
    auto const moved = row_lock.try_do_in_transaction(a, [](Line& line) { line.id.line = "c"; });
    CHECK(moved.errc() == Errc::invalid_argument);
}

TEST_CASE("a key that does not fit its columns is refused by name", "[postgres][composite_keys]")
{
    Orders const orders;
    auto const says = [&](char const* key) -> std::string {
        try {
            postgres::StateRepository<Line> const repository{
                orders.pool, {.table = orders.table, .key = key}};
        } catch (Error const& error) {
            return error.errc() == Errc::invalid_argument ? error.what() : "another error";
        }
        return "";
    };
    using Catch::Matchers::ContainsSubstring;
    CHECK_THAT(says("order_id"), ContainsSubstring("members of the key's struct"));
    // Would be swapped silently.
    CHECK_THAT(says("line, order_id"), ContainsSubstring("members of the key's struct"));
    CHECK_THAT(says("order_id,, line"), ContainsSubstring("key \"order_id,, line\" has ','"));
    CHECK_THAT(says("order_id, line; --"), ContainsSubstring("key \"order_id, line; --\" has ';'"));
    CHECK(says(" order_id ,line ").empty());
    std::string flat;
    try {
        postgres::StateRepository<FlatLine> const one{
            orders.pool, {.table = orders.table, .key = "order_id"}};
    } catch (Error const& error) {
        flat = error.what();
    }
    CHECK_THAT(flat, ContainsSubstring("key names 1 columns, its type has 2"));
    // Bytes that are no such key name no row, rather than another one.
    CHECK(orders.lines.load(Key{"abc"}).errc() == Errc::invalid_argument);
    CHECK(orders.lines.load(LineId{1, std::string("a\0b", 3)}).errc() == Errc::invalid_argument);
}

}  // namespace postgres_composite_keys_test
