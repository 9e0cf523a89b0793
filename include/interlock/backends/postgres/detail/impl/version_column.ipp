// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VERSION_COLUMN_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VERSION_COLUMN_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/type_oid.hpp>
#include <interlock/backends/postgres/detail/version_column.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The number in the first parentheses of a type's text: `timestamp(3) without time zone`.
[[gnu::cold]] INTERLOCK_DECL int first_modifier(std::string_view type, int otherwise) noexcept
{
    auto const open = type.find('(');
    if (open != std::string_view::npos)
        std::from_chars(type.data() + open + 1, type.data() + type.size(), otherwise);
    return otherwise;
}

/// How many digits before the point a `numeric` has: by the modifier of the type under all domains. 0 or
/// less: it holds no whole number, or rounds the last one. 19: as many as a version has.
[[gnu::cold]] INTERLOCK_DECL int whole_digits(ColumnFacts const& column) noexcept
{
    int const precision = first_modifier(column.limited, 19);
    auto const comma = column.limited.find(',');
    int scale = 0;
    if (comma != std::string::npos)
        std::from_chars(
            column.limited.data() + comma + 1, column.limited.data() + column.limited.size(), scale);
    return scale < 0 ? 0 : std::min(precision - scale, 19);
}

/// The greatest version that the column can hold.
[[gnu::cold]] INTERLOCK_DECL Version last_version_of(ColumnFacts const& column) noexcept
{
    switch (column.base_oid) {
    case type_oid::smallint: return std::numeric_limits<std::int16_t>::max();
    case type_oid::integer: return std::numeric_limits<std::int32_t>::max();
    case type_oid::real: return 1 << 24;
    case type_oid::double_precision: return std::int64_t{1} << 53;
    case type_oid::numeric: break;
    default: return last_version;
    }
    int const digits = whole_digits(column);
    Version last = 1;
    for (int i = 0; i < digits && digits < 19; ++i)
        last *= 10;
    return digits < 19 ? last - 1 : last_version;
}

[[gnu::cold]] INTERLOCK_DECL void fit_counted_version(Table& table, ColumnFacts const& column)
{
    auto const raw = joined_text({"t.", table.version});
    bool const whole = column.base_oid == type_oid::smallint || column.base_oid == type_oid::integer ||
                       column.base_oid == type_oid::bigint;
    table.read_version = joined_text({raw, whole ? "" : "::bigint"});
    table.seen_version = joined_text({"coalesce(", table.read_version, ", 0)"});
    table.counted_version = joined_text(
        {"coalesce(nullif(", table.read_version, ", 0), ", std::to_string(uncounted_version), ")"});
    if (!column.not_null)
        table.shown_version = joined_text({"coalesce(", raw, ", 0)"});
    if (!table.next_version.empty())  // drawn from a sequence
        return;
    table.first_version = "1";
    table.next_version = joined_text({raw, " + 1"});
    table.next_of_uncounted = joined_text({"coalesce(", raw, ", 0) + 1"});
    table.last = last_version_of(column);
}

[[gnu::cold]] INTERLOCK_DECL void fit_clock_version(Table& table, ColumnFacts const& column)
{
    SqlWords words;
    words.set("raw", joined_text({"t.", table.version}));
    // Without a time zone: UTC, as object mappers keep it. The session's own zone may move by an hour.
    bool const zoned = column.base_oid == type_oid::timestamptz;
    words.set("clock", zoned ? "clock_timestamp()" : "(clock_timestamp() AT TIME ZONE 'UTC')");
    words.set("none", std::to_string(uncounted_version));
    std::string unit = "1";
    unit.append(static_cast<std::size_t>(6 - std::clamp(first_modifier(column.limited, 6), 0, 6)), '0');
    words.set("unit", unit);
    table.seen_version = words.line(R"(CASE WHEN {raw} IS NULL THEN {none} WHEN isfinite({raw})
        THEN coalesce(nullif((extract(epoch FROM {raw}) * 1000000)::bigint + 62135596800000000, 0), {none})
        ELSE -1 END)");
    table.first_version = words.text("{clock}");
    table.next_version = words.line("greatest({clock}, {raw} + {unit} * interval '1 microsecond')");
}

[[gnu::cold]] INTERLOCK_DECL Outcome<void> fit_version_column(Table& table, ColumnFacts const& column)
{
    auto const refused = [&](std::string_view why) {
        return failed(
            Errc::misconfigured,
            {"postgres: the version ", table.name, ".", column.name, " is of type ", column.type, why});
    };
    bool const drawn = !table.next_version.empty();
    table.may_stand = column.base_oid != type_oid::smallint && column.base_oid != type_oid::integer &&
                      column.base_oid != type_oid::bigint && column.base_oid != type_oid::xid;
    switch (column.base_oid) {
    case type_oid::numeric:
        if (whole_digits(column) <= 0)
            return refused(", which does not tell whole numbers from each other");
        [[fallthrough]];
    case type_oid::smallint:
    case type_oid::integer:
    case type_oid::bigint:
    case type_oid::double_precision: fit_counted_version(table, column); return success();
    case type_oid::real:
        if (drawn)
            return refused("; a sequence leads beyond the whole numbers that it tells apart");
        fit_counted_version(table, column);
        return success();
    case type_oid::xid:
        if (drawn)
            return refused("; the server sets it, so it cannot come from version_sequence");
        if (column.name != "xmin")
            return refused("; of such columns only xmin moves with each write of the row");
        table.seen_version = joined_text({"t.", table.version, "::text::bigint"});
        // An insert into a partitioned table cannot return a system column.
        table.made_version = "pg_current_xact_id()::xid::text::bigint";
        return success();
    case type_oid::timestamp:
    case type_oid::timestamptz:
        if (drawn)
            return refused("; it cannot come from version_sequence");
        fit_clock_version(table, column);
        return success();
    default: return refused(": it must be an integer, xmin, or a timestamp");
    }
}

[[gnu::cold]] INTERLOCK_DECL Outcome<void> fit_version(Table& table, TableFacts const& facts)
{
    auto const* const version = facts.column(unquoted(table.version));
    if (version == nullptr)
        return failed(
            Errc::misconfigured,
            {"postgres: the table ", table.name, " has no column ", unquoted(table.version),
             ", in which the version stands: add it as bigint NOT NULL DEFAULT 0, or name another by "
             "RepositoryOptions::version"});
    if (facts.kind == 'f' && version->base_oid == type_oid::xid)
        return failed(
            Errc::misconfigured, {"postgres: ", table.name,
                                  " is a foreign table, whose rows show no xmin: name a column in which "
                                  "the version stands by RepositoryOptions::version"});
    if (!facts.sequence_rises)
        return failed(
            Errc::misconfigured,
            {"postgres: the sequence ", table.sequence, " of the versions of ", table.name,
             " counts down, or begins again (CYCLE); a version must never come again"});
    if (auto fits = fit_version_column(table, *version); !fits)
        return fits;
    bool const plain = facts.kind == 'r' || facts.kind == 'p';
    table.may_stand = table.may_stand || !plain || facts.on_update.before;
    return success();
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VERSION_COLUMN_IPP
