// SPDX-License-Identifier: BSL-1.0

// Columns that write a value in another form than the member does: filled up with blanks, with a point, with
// an exponent, as a number or a label. What was stored can be loaded again, as a member, as an element of a
// list and as a key.

#include <interlock/backends/postgres/column_traits.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postgres_value_forms_test {

enum class State : std::uint8_t { waiting, in_progress, done };
BOOST_DESCRIBE_ENUM(State, waiting, in_progress, done)

enum class Size : std::uint8_t { small, large };

}  // namespace postgres_value_forms_test

template <>
struct interlock::postgres::EnumLabels<postgres_value_forms_test::Size> {
    static constexpr std::array<std::pair<postgres_value_forms_test::Size, std::string_view>, 2> labels{
        {{postgres_value_forms_test::Size::small, "s"}, {postgres_value_forms_test::Size::large, "l"}}};
};

namespace postgres_value_forms_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

template <class M>
struct Row {
    std::int64_t id{0};
    M value{};
    int n{0};
    friend bool operator==(Row const&, Row const&) = default;
};
using Texts = std::vector<std::string>;
using States = std::vector<State>;
using Numbers = std::vector<std::int64_t>;
using Uuid = std::array<unsigned char, 16>;
using Uuids = std::vector<Uuid>;
BOOST_DESCRIBE_STRUCT(Row<std::int64_t>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<bool>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<State>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<Size>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<States>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<Numbers>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<Uuids>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<Texts>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::chrono::year_month_day>, (), (id, value, n))

/// A row whose key has the form in question.
template <class K>
struct Keyed {
    K id{};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Keyed<std::int64_t>, (), (id, n))
BOOST_DESCRIBE_STRUCT(Keyed<std::string>, (), (id, n))
BOOST_DESCRIBE_STRUCT(Keyed<State>, (), (id, n))
BOOST_DESCRIBE_STRUCT(Keyed<Size>, (), (id, n))

/// A new table `forms` whose column `value`, or whose key, is of this type.
void make_table(std::string const& value, std::string const& key = "bigint")
{
    sql(
        {"DROP TABLE IF EXISTS forms", "DROP TYPE IF EXISTS form_state CASCADE",
         "CREATE TYPE form_state AS ENUM ('waiting', 'in-progress', 'done')",
         "CREATE TABLE forms (id " + key + " PRIMARY KEY, value " + value +
             ", n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)"});
}

template <class T>
postgres::StateRepository<T> forms()
{
    return postgres::StateRepository<T>{fresh_pool(), {.table = "forms", .key = "id"}};
}

/// What each policy does to row `id` finds what is there, and leaves all of it but `n` as it is.
template <class T, class K>
void check_policies(postgres::StateRepository<T> const& rows, K const& id)
{
    auto const add = [](T& row) { ++row.n; };
    CHECK(TransactionService(OptimisticVersioning{}, rows).try_do_in_transaction(id, add));
    CHECK(TransactionService(OptimisticVersioning{.remember = 3}, rows).try_do_in_transaction(id, add));
    CHECK(TransactionService(PessimisticRowLock{}, rows).try_do_in_transaction(id, add));
    CHECK(TransactionService(SetNxLock{}, rows).try_do_in_transaction(id, add));
    TransactionService const versions{OptimisticVersioning{}, rows};
    for (int twice = 0; twice < 2; ++twice)
        CHECK(versions.try_do_in_transaction(OperationId{"once"}, id, add));
    auto const now = rows.load(id);
    INFO(now.message());
    REQUIRE(now);
    CHECK(now->value.n == 5);
    CHECK(rows.compare_and_set(id, now->version, now->value));
}

template <class M>
void check_member(std::string const& type, M const& value, M const& other, std::string const& stored)
{
    CAPTURE(type);
    make_table(type);
    auto const rows = forms<Row<M>>();
    auto const inserted = rows.insert(Row<M>{1, value, 0});
    INFO(inserted.message());
    REQUIRE(inserted);
    CHECK(single_value("SELECT value::text FROM forms") == stored);
    CHECK(rows.load(std::int64_t{1}).value().value == Row<M>{1, value, 0});
    check_policies(rows, std::int64_t{1});
    CHECK(rows.load(std::int64_t{1}).value().value.value == value);
    TransactionService const versions{OptimisticVersioning{}, rows};
    CHECK(versions.try_do_in_transaction(std::int64_t{1}, [&](Row<M>& row) { row.value = other; }));
    CHECK(rows.load(std::int64_t{1}).value().value.value == other);
}

TEST_CASE("whole numbers are read from every form in which a column has them", "[postgres][forms]")
{
    check_member<std::int64_t>("char(10)", 7, -12, "7");
    check_member<std::int64_t>("real", 1'000'000, -2'000'000, "1e+06");
    check_member<std::int64_t>("double precision", 1'000'000'000'000'000, 20, "1e+15");
    check_member<std::int64_t>("numeric(12, 2)", 12, -100, "12.00");
    check_member<bool>("numeric(3, 1)", true, false, "1.0");
    check_member<bool>("char(5)", true, false, "t");
    check_member<Numbers>("numeric(6, 1)[]", {1, -20}, {}, "{1.0,-20.0}");
    check_member<Numbers>("char(4)[]", {1, 20}, {3}, "{\"1   \",\"20  \"}");
}

TEST_CASE("a number that is not whole, or too large, is no whole number", "[postgres][forms]")
{
    make_table("numeric");
    auto const rows = forms<Row<std::int64_t>>();
    for (char const* const number :
         {"0.5", "1e30", "9223372036854775808", "-9223372036854775809.0", "'NaN'"}) {
        CAPTURE(number);
        sql({"DELETE FROM forms", std::string("INSERT INTO forms (id, value) VALUES (1, ") + number + ")"});
        auto const loaded = rows.load(std::int64_t{1});
        CHECK(loaded.errc() == Errc::corrupt_state);
        CHECK_THAT(loaded.detail(), ContainsSubstring("forms.value"));
    }
    sql({"UPDATE forms SET value = -9223372036854775808.00"});
    CHECK(rows.load(std::int64_t{1}).value().value.value == INT64_MIN);
}

TEST_CASE("enumerators cross as labels, as texts and as numbers", "[postgres][forms]")
{
    check_member("char(12)", State::done, State::in_progress, "done");
    check_member("text", State::in_progress, State::done, "in_progress");
    check_member("smallint", State::in_progress, State::done, "1");
    check_member("numeric(4, 1)", State::in_progress, State::done, "1.0");
    check_member("form_state", State::in_progress, State::done, "in-progress");
    check_member("char(3)", Size::large, Size::small, "l");
    States const states{State::in_progress, State::done};
    check_member<States>("form_state[]", states, {}, "{in-progress,done}");
    check_member<States>("int[]", states, {State::done}, "{1,2}");
    check_member<States>("text[]", states, {State::done}, "{in_progress,done}");
    check_member<States>("char(12)[]", states, {State::done}, "{\"in_progress \",\"done        \"}");
}

TEST_CASE("sixteen bytes are a uuid in a list, too", "[postgres][forms]")
{
    Uuid const one{0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8,
                   0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11};
    check_member<Uuids>(
        "uuid[]", {one, Uuid{}}, {one},
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,00000000-0000-0000-0000-000000000000}");
}

template <class K>
void check_key(std::string const& type, K const& key)
{
    CAPTURE(type);
    make_table("int", type);
    auto const rows = forms<Keyed<K>>();
    auto const inserted = rows.insert(Keyed<K>{key, 0});
    INFO(inserted.message());
    REQUIRE(inserted);
    CHECK(rows.load(key).value().value.id == key);
    check_policies(rows, key);
    CHECK(rows.erase(key, rows.load(key).value().version));
}

TEST_CASE("a key is found again in every form in which a column has it", "[postgres][forms]")
{
    check_key<std::int64_t>("char(6)", 12);
    check_key<std::int64_t>("double precision", 1'000'000'000'000'000);
    check_key<std::int64_t>("numeric(10, 2)", 12);
    check_key("char(12)", State::in_progress);
    check_key("form_state", State::in_progress);
    check_key("int", State::in_progress);
    check_key("char(3)", Size::large);
}

// The records of a key are kept by a hash that the server makes, where equal values have several texts.
TEST_CASE("a key of a type that the server cannot hash is kept by its text", "[postgres][forms]")
{
    sql(
        {"CREATE EXTENSION IF NOT EXISTS isn", "CREATE EXTENSION IF NOT EXISTS ltree",
         "DROP TABLE IF EXISTS forms", "DROP TYPE IF EXISTS price CASCADE",
         "CREATE TYPE price AS (amount money, code bit(4))"});
    check_key<std::string>("isbn13", "978-0-393-04002-9");
    check_key<std::string>("money[]", "{$1.00,$2.50}");
    check_key<std::string>("bit(4)[]", "{0101,1111}");
    check_key<std::string>("varbit[]", "{0101,1}");
    check_key<std::string>("ltree[]", "{a.b,c}");
    check_key<std::string>("price", "($1.00,0101)");
    check_key<std::string>("numeric[]", "{1.0,2}");
    check_key<std::string>("numrange", "[1.0,2)");
}

TEST_CASE(
    "a label that is added under a running program is found by the call that needs it", "[postgres][forms]")
{
    make_table("form_state");
    sql(
        {"ALTER TYPE form_state RENAME VALUE 'in-progress' TO 'former'",
         "INSERT INTO forms (id, value) VALUES (1, 'waiting')"});
    auto const rows = forms<Row<State>>();
    TransactionService const versions{OptimisticVersioning{}, rows};
    TransactionService const locks{PessimisticRowLock{}, rows};
    auto const begin = [](Row<State>& row) { row.value = State::in_progress; };
    auto const missing = versions.try_do_in_transaction(std::int64_t{1}, begin);
    CHECK(missing.errc() == Errc::invalid_argument);
    CHECK_THAT(missing.detail(), ContainsSubstring("no label of the column"));
    sql({"ALTER TYPE form_state ADD VALUE 'in-progress'"});
    SECTION("optimistic")
    {
        CHECK(versions.try_do_in_transaction(std::int64_t{1}, begin));
    }
    SECTION("row lock")
    {
        CHECK(locks.try_do_in_transaction(std::int64_t{1}, begin));
    }
    SECTION("insert")
    {
        CHECK(rows.insert(Row<State>{2, State::in_progress, 0}));
    }
}

TEST_CASE("what a type of C++ cannot be is refused, and not read as something else", "[postgres][forms]")
{
    make_table("date");
    sql({"INSERT INTO forms (id, value) VALUES (1, '40000-01-02'), (2, '32767-12-31')"});
    auto const days = forms<Row<std::chrono::year_month_day>>();
    CHECK(days.load(std::int64_t{1}).errc() == Errc::corrupt_state);
    CHECK(days.load(std::int64_t{2}).value().value.value.year() == std::chrono::year::max());

    make_table("box[]");
    auto const boxes = forms<Row<Texts>>().load(std::int64_t{1});
    CHECK(boxes.errc() == Errc::misconfigured);
    CHECK_THAT(boxes.detail(), ContainsSubstring("a list cannot be"));

    make_table("text");
    sql({"INSERT INTO forms (id, value) VALUES (1, 't')"});
    CHECK(forms<Row<std::int64_t>>().load(std::int64_t{1}).errc() == Errc::corrupt_state);
}

}  // namespace postgres_value_forms_test
