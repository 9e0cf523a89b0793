// SPDX-License-Identifier: BSL-1.0

// Members and columns of every type: bytes, times, days, UUIDs, decimal numbers, JSON, arrays, enumerations,
// truth values, types of the user's own. What is stored comes back as it was, or it is refused by name.

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
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postgres_foreign_types_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

/// A row with one member of interest.
template <class M>
struct Row {
    std::int64_t id{0};
    M value{};
    int n{0};
    friend bool operator==(Row const&, Row const&) = default;
};
BOOST_DESCRIBE_STRUCT(Row<std::string>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::optional<std::string>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<std::byte>>, (), (id, value, n))
using ByteVector = std::vector<unsigned char>;
BOOST_DESCRIBE_STRUCT(Row<ByteVector>, (), (id, value, n))
using SixteenBytes = std::array<std::uint8_t, 16>;
BOOST_DESCRIBE_STRUCT(Row<SixteenBytes>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<bool>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::int64_t>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<double>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<float>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::chrono::sys_seconds>, (), (id, value, n))
using Micros = std::chrono::sys_time<std::chrono::microseconds>;
BOOST_DESCRIBE_STRUCT(Row<Micros>, (), (id, value, n))
using Nanos = std::chrono::sys_time<std::chrono::nanoseconds>;
BOOST_DESCRIBE_STRUCT(Row<Nanos>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::optional<Micros>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::chrono::sys_days>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::chrono::year_month_day>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<std::string>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<int>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<bool>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<double>>, (), (id, value, n))
using MaybeTexts = std::vector<std::optional<std::string>>;
BOOST_DESCRIBE_STRUCT(Row<MaybeTexts>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<Micros>>, (), (id, value, n))

enum class Phase { in_progress, done, _2nd_try, new_, Müde };
BOOST_DESCRIBE_ENUM(Phase, in_progress, done, _2nd_try, new_, Müde)
BOOST_DESCRIBE_STRUCT(Row<Phase>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::optional<Phase>>, (), (id, value, n))
enum class Mood { good, bad };
BOOST_DESCRIBE_STRUCT(Row<Mood>, (), (id, value, n))

/// A decimal number of the user's own.
struct Decimal {
    std::int64_t cents{0};
    friend bool operator==(Decimal const&, Decimal const&) = default;
};
BOOST_DESCRIBE_STRUCT(Row<Decimal>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::optional<Decimal>>, (), (id, value, n))
BOOST_DESCRIBE_STRUCT(Row<std::vector<Decimal>>, (), (id, value, n))

}  // namespace postgres_foreign_types_test

template <>
struct interlock::postgres::ColumnTraits<postgres_foreign_types_test::Decimal> {
    static std::string to_text(postgres_foreign_types_test::Decimal const& d)
    {
        auto const cents = std::to_string(100 + d.cents % 100).substr(1);
        return std::to_string(d.cents / 100) + "." + cents;
    }
    static std::optional<postgres_foreign_types_test::Decimal> from_text(std::string_view text)
    {
        auto const dot = text.find('.');
        if (dot == std::string_view::npos || dot + 3 != text.size())
            return std::nullopt;
        return postgres_foreign_types_test::Decimal{
            std::stoll(std::string(text.substr(0, dot))) * 100 +
            std::stoll(std::string(text.substr(dot + 1)))};
    }
};

template <>
struct interlock::postgres::EnumLabels<postgres_foreign_types_test::Mood> {
    static constexpr std::pair<postgres_foreign_types_test::Mood, std::string_view> labels[] = {
        {postgres_foreign_types_test::Mood::good, ":-)"}, {postgres_foreign_types_test::Mood::bad, ":-("}};
};

namespace postgres_foreign_types_test {

std::string table_with(std::string const& type)
{
    static int count = 0;
    auto const name = "typed_" + std::to_string(count++);
    sql(
        {"CREATE TABLE " + name + " (id bigint PRIMARY KEY, value " + type +
         ", n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)"});
    return name;
}

template <class M>
postgres::StateRepository<Row<M>> rows(postgres::Pool const& pool, std::string const& table)
{
    return postgres::StateRepository<Row<M>>{pool, {.table = table, .key = "id"}};
}

/// Each value goes in by an insert and by a change, and comes back as it was.
template <class M>
void there_and_back(postgres::Pool const& pool, std::string const& type, std::vector<M> const& values)
{
    INFO(type);
    auto const repository = rows<M>(pool, table_with(type));
    std::int64_t id = 1;
    for (auto const& value : values) {
        INFO(id);
        auto const inserted = repository.insert(Row<M>{id, value});
        INFO(inserted.detail());
        CHECK(inserted);
        auto const back = repository.load(id);
        INFO(back.detail());
        CHECK((back && back->value.value == value));
        ++id;
    }
    for (auto const& value : values) {
        auto const seen = repository.load(std::int64_t{1}).value();
        auto const changed = repository.compare_and_set(std::int64_t{1}, seen.version, Row<M>{1, value, 1});
        INFO(changed.detail());
        CHECK(changed);
        CHECK(repository.load(std::int64_t{1}).value().value.value == value);
    }
}

/// The same by each policy.
template <class M>
void by_each_policy(postgres::Pool const& pool, std::string const& type, std::vector<M> const& values)
{
    INFO(type);
    auto const repository = rows<M>(pool, table_with(type));
    repository.insert(Row<M>{1, values[0]}).value();
    TransactionService const optimistic{OptimisticVersioning{.remember = 10}, repository};
    TransactionService const row_lock{PessimisticRowLock{}, repository};
    TransactionService const lease{SetNxLock{}, repository};
    int id = 0;
    for (auto const& value : values) {
        auto const set = [&](Row<M>& row) { row.value = value, ++row.n; };
        CHECK_NOTHROW(optimistic.do_in_transaction(std::int64_t{1}, set));
        CHECK(repository.load(std::int64_t{1}).value().value.value == value);
        CHECK_NOTHROW(row_lock.do_in_transaction(std::int64_t{1}, set));
        CHECK(repository.load(std::int64_t{1}).value().value.value == value);
        CHECK_NOTHROW(lease.do_in_transaction(OperationId{"x" + std::to_string(id++)}, std::int64_t{1}, set));
        CHECK(repository.load(std::int64_t{1}).value().value.value == value);
    }
}

/// The value is refused in words that name the member.
template <class M>
void refused(postgres::Pool const& pool, std::string const& type, M const& value, char const* why)
{
    INFO(type);
    auto const inserted = rows<M>(pool, table_with(type)).insert(Row<M>{1, value});
    INFO(inserted.detail());
    CHECK(inserted.errc() == Errc::invalid_argument);
    CHECK(inserted.detail().find("value") != std::string::npos);
    CHECK(inserted.detail().find(why) != std::string::npos);
}

/// The column has what the member cannot be.
template <class M>
void unreadable(postgres::Pool const& pool, std::string const& type, std::string const& value)
{
    INFO(type << " " << value);
    auto const table = table_with(type);
    sql({"INSERT INTO " + table + " (id, value) VALUES (1, " + value + ")"});
    auto const loaded = rows<M>(pool, table).load(std::int64_t{1});
    CHECK(loaded.errc() == Errc::corrupt_state);
    CHECK(loaded.detail().find("value") != std::string::npos);
}

/// The column's type is not for the member.
template <class M>
void misfit(postgres::Pool const& pool, std::string const& type)
{
    INFO(type);
    auto const loaded = rows<M>(pool, table_with(type)).load(std::int64_t{1});
    INFO(loaded.detail());
    CHECK(loaded.errc() == Errc::misconfigured);
    CHECK(loaded.detail().find(".value is of type ") != std::string::npos);
}

TEST_CASE("bytes are bytes", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    there_and_back<std::string>(
        pool, "bytea",
        {"hunter2", "C:\\new", std::string("a\0b", 3), "", "\xff\xfe", "\\x41", "'; DROP TABLE x"});
    by_each_policy<std::string>(pool, "bytea", {"C:\\new", std::string("a\0b", 3), "\xff"});
    there_and_back<std::optional<std::string>>(pool, "bytea", {std::nullopt, "\\"});
    there_and_back<std::vector<std::byte>>(pool, "bytea", {{}, {std::byte{0}, std::byte{255}}});
    there_and_back<ByteVector>(pool, "bytea", {{}, {0, 1, 255}});
    there_and_back<SixteenBytes>(pool, "bytea", {SixteenBytes{}, SixteenBytes{1, 2, 255}});
    sql({"CREATE DOMAIN token AS bytea CHECK (length(VALUE) < 20)"});
    there_and_back<std::string>(pool, "token", {"a\\b", std::string("\0", 1)});
    unreadable<SixteenBytes>(pool, "bytea", "'\\x00'");
    misfit<ByteVector>(pool, "text");
    misfit<ByteVector>(pool, "int[]");
    misfit<std::vector<std::string>>(pool, "bytea[]");
    misfit<std::int64_t>(pool, "bytea");
}

TEST_CASE("points in time", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    using namespace std::chrono;
    Micros const fine{microseconds{1'709'251'199'123'456}};
    std::vector<Micros> const moments{
        Micros{},
        fine,
        Micros{microseconds{-1}},
        sys_days{year{-4000} / 1 / 1} + 1us,
        sys_days{year{0} / 2 / 29} + 0us,
        sys_days{year{1} / 1 / 1} - 1us,
        sys_days{year{12345} / 12 / 31} + 1us,
        sys_days{year{1900} / 2 / 28} + 0us};
    for (char const* zone : {"UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin"}) {
        auto options = pool.options();
        options.url += std::string("&options=-ctimezone%3D") + zone;
        postgres::Pool const there{options};
        there_and_back<Micros>(there, "timestamptz", moments);
        there_and_back<Micros>(there, "timestamp", moments);
        there_and_back<sys_seconds>(there, "timestamptz(0)", {sys_seconds{}, sys_seconds{1'709'251'199s}});
        there_and_back<sys_days>(there, "date", {sys_days{}, sys_days{year{2024} / 2 / 29}});
        there_and_back<sys_days>(there, "timestamptz", {sys_days{}, sys_days{year{2024} / 2 / 29}});
        there_and_back<year_month_day>(there, "date", {year{2024} / 2 / 29, year{-43} / 3 / 15});
    }
    there_and_back<std::optional<Micros>>(pool, "timestamptz", {std::nullopt, fine});
    there_and_back<Nanos>(pool, "timestamptz", {Nanos{}, Nanos{-1us}, Nanos{1'709'251'199'123'456us}});
    // What the server has made by itself.
    auto const table = table_with("timestamptz DEFAULT clock_timestamp()");
    sql({"INSERT INTO " + table + " (id) VALUES (1)"});
    auto const now = rows<Micros>(pool, table).load(std::int64_t{1}).value().value.value;
    CHECK(abs(now - system_clock::now()) < 60s);

    refused<Nanos>(pool, "timestamptz", Nanos{1ns}, "finer than a microsecond");
    refused<sys_days>(pool, "date", sys_days::max(), "beyond");
    refused<year_month_day>(pool, "date", year{2023} / 2 / 29, "no day");
    unreadable<Micros>(pool, "timestamptz", "'infinity'");
    unreadable<Micros>(pool, "timestamp", "'-infinity'");
    unreadable<sys_seconds>(pool, "timestamptz", "'2024-01-01 00:00:00.5+00'");
    unreadable<sys_days>(pool, "timestamp", "'2024-01-01 00:00:01'");
    unreadable<Nanos>(pool, "timestamptz", "'2500-01-01'");
    unreadable<sys_days>(pool, "date", "'infinity'");
    misfit<Micros>(pool, "date");
    misfit<Micros>(pool, "bigint");
    misfit<sys_days>(pool, "text");
    misfit<std::int64_t>(pool, "timestamptz");
}

TEST_CASE("numbers and texts without loss", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    there_and_back<std::string>(
        pool, "numeric", {"0.1000000000000000055511151231257827", "-12345678901234567890.123", "NaN"});
    there_and_back<std::string>(pool, "uuid", {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"});
    there_and_back<SixteenBytes>(pool, "uuid", {SixteenBytes{}, SixteenBytes{0xa0, 0xee, 0xbc, 1}});
    there_and_back<std::string>(pool, "jsonb", {R"({"a": 1})", "null", "[]"});
    there_and_back<std::string>(pool, "json", {R"({"b":1,   "a":2})"});
    there_and_back<std::string>(pool, "inet", {"10.0.0.1", "::1"});
    there_and_back<std::string>(pool, "int4range", {"[1,5)"});
    there_and_back<std::int64_t>(
        pool, "bigint",
        {0, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()});
    there_and_back<std::int64_t>(pool, "numeric", {0, -1, std::numeric_limits<std::int64_t>::max()});
    there_and_back<double>(
        pool, "double precision",
        {0.1, 1e308, 5e-324, -0.0, 1.0 / 3, std::numeric_limits<double>::infinity()});
    there_and_back<float>(pool, "real", {0.1F, 3.4e38F, 1e-45F});
    there_and_back<double>(pool, "numeric", {0.1, 1.0 / 3, 1e20});
    there_and_back<Decimal>(pool, "numeric(12, 2)", {Decimal{0}, Decimal{1250}, Decimal{99999999}});
    there_and_back<std::optional<Decimal>>(pool, "numeric(12, 2)", {std::nullopt, Decimal{1}});
    there_and_back<std::vector<Decimal>>(pool, "numeric(12, 2)[]", {{}, {Decimal{1}, Decimal{250}}});
    unreadable<Decimal>(pool, "numeric", "1");
    unreadable<std::int64_t>(pool, "numeric", "1.5");
    misfit<double>(pool, "money");
    misfit<std::int64_t>(pool, "uuid");
    misfit<double>(pool, "jsonb");
}

TEST_CASE("truth values as numbers, and numbers as truth values", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    for (char const* type : {"boolean", "smallint", "int", "bigint", "numeric(1)", "text"})
        there_and_back<bool>(pool, type, {true, false});
    there_and_back<std::int64_t>(pool, "boolean", {0, 1});
    unreadable<bool>(pool, "smallint", "2");
}

TEST_CASE("arrays are lists", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    there_and_back<std::vector<std::string>>(
        pool, "text[]", {{}, {""}, {"NULL", "null"}, {"a,b", "{c}", "d\"e", "f\\g", " h "}, {"ä", "\n\t"}});
    there_and_back<std::vector<std::string>>(pool, "uuid[]", {{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}});
    there_and_back<std::vector<int>>(pool, "int[]", {{}, {1}, {-1, 0, 2147483647}});
    there_and_back<std::vector<bool>>(pool, "boolean[]", {{}, {true, false, true}});
    there_and_back<std::vector<double>>(pool, "double precision[]", {{0.1, 1e300}});
    there_and_back<MaybeTexts>(pool, "text[]", {{std::nullopt, "NULL", "", std::nullopt}});
    there_and_back<std::vector<Micros>>(pool, "timestamptz[]", {{Micros{}, Micros{1us}}});
    auto const table = table_with("int[]");
    sql({"INSERT INTO " + table + " (id, value) VALUES (1, '[5:6]={7,8}')"});
    CHECK(rows<std::vector<int>>(pool, table).load(std::int64_t{1}).value().value.value == std::vector{7, 8});
    unreadable<std::vector<int>>(pool, "int[]", "'{{1,2},{3,4}}'");
    unreadable<std::vector<int>>(pool, "int[]", "'{1,NULL}'");
    unreadable<std::vector<int>>(pool, "int[]", "NULL");
    refused<std::vector<std::string>>(pool, "text[]", {std::string("a\0", 2)}, "NUL");
    misfit<std::vector<int>>(pool, "int");
    misfit<std::vector<std::string>>(pool, "jsonb");
}

TEST_CASE("labels that are no names of C++", "[postgres][foreign][types]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TYPE phase AS ENUM ('in-progress', 'done', '2nd try', 'new', 'Müde')",
         "CREATE TYPE \"Odd Phase\" AS ENUM ('in progress', 'in-progress', 'done')",
         "CREATE TYPE plain_phase AS ENUM ('in_progress', 'done')", "CREATE DOMAIN a_phase AS phase"});
    there_and_back<Phase>(
        pool, "phase", {Phase::in_progress, Phase::done, Phase::_2nd_try, Phase::new_, Phase::Müde});
    by_each_policy<Phase>(pool, "phase", {Phase::in_progress, Phase::_2nd_try});
    there_and_back<Phase>(pool, "a_phase", {Phase::in_progress, Phase::done});
    there_and_back<std::optional<Phase>>(pool, "phase", {std::nullopt, Phase::in_progress});
    there_and_back<Phase>(pool, "plain_phase", {Phase::in_progress, Phase::done});
    there_and_back<Phase>(pool, "text", {Phase::in_progress, Phase::done});
    sql({"CREATE TYPE mood AS ENUM (':-)', ':-(')"});
    there_and_back<Mood>(pool, "mood", {Mood::good, Mood::bad});
    there_and_back<Mood>(pool, "text", {Mood::good, Mood::bad});
    refused<Phase>(pool, "\"Odd Phase\"", Phase::in_progress, "label");
    refused<Phase>(pool, "plain_phase", Phase::new_, "label");
    refused<Mood>(pool, "text", static_cast<Mood>(7), "label");
}

}  // namespace postgres_foreign_types_test
