// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP

#include <interlock/backends/postgres/detail/column_text.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/known_table.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/type_oid.hpp>
#include <interlock/backends/postgres/detail/version_column.hpp>
#include <interlock/core/key.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL Statement const* KnownTable::made(std::string const& form) const
{
    std::lock_guard lock(mutex_);
    auto const at = made_.find(form);
    return at == made_.end() ? nullptr : &at->second;
}

INTERLOCK_DECL void KnownTable::add_made(
    Batch& batch, std::string form, std::string text, Params params) const
{
    {
        std::lock_guard lock(mutex_);
        if (made_.size() < most) {
            auto const at = made_.try_emplace(std::move(form), Statement{text}).first;
            return batch.add(at->second, std::move(params));
        }
    }
    batch.add(std::move(text), std::move(params));
}

INTERLOCK_DECL void KnownTable::add_change(
    Batch& batch, RowAction action, Fencing fencing, bool with_operation, Refusal refusal,
    ChangeColumns const& columns, Params params) const
{
    if (columns.usual())
        return batch.add(
            refusal == Refusal::error ? statements.last_change(action, with_operation)
                                      : statements.change(action, fencing, with_operation),
            std::move(params));
    std::string form{
        static_cast<char>('a' + static_cast<int>(action)),
        static_cast<char>('a' + static_cast<int>(fencing)),
        with_operation ? 'o' : '-',
        refusal == Refusal::error ? 'e' : '-',
        columns.told ? 't' : '-',
        columns.looks ? 'l' : '-',
        columns.log != nullptr ? 's' : '-',
        columns.uncounted ? 'u' : '-'};
    if (columns.appends > 0)
        append(form, {std::to_string(columns.appends), " ", std::to_string(columns.partition), " "});
    form += columns.written;
    if (auto const* const statement = made(form))
        return batch.add(*statement, std::move(params));
    add_made(
        batch, std::move(form),
        change_text(table, name_space_, action, fencing, with_operation, refusal, columns),
        std::move(params));
}

INTERLOCK_DECL void KnownTable::add_bare_insert(
    Batch& batch, ChangeColumns const& columns, Params params) const
{
    auto form = joined_text({"bare ", columns.written});
    if (auto const* const statement = made(form))
        return batch.add(*statement, std::move(params));
    add_made(batch, std::move(form), bare_insert_text(table, name_space_, columns), std::move(params));
}

INTERLOCK_DECL void KnownTable::add_new_row(
    Batch& batch, bool with_operation, std::string const& made_parts, ChangeColumns const& columns,
    Params params) const
{
    auto form = joined_text({"new ", with_operation ? "o " : "- ", made_parts, " ", columns.written});
    if (auto const* const statement = made(form))
        return batch.add(*statement, std::move(params));
    add_made(
        batch, std::move(form), new_row_text(table, name_space_, with_operation, made_parts, columns),
        std::move(params));
}

INTERLOCK_DECL std::string KnownTable::made_key(bool by_triggers) const
{
    std::string out;
    for (auto const& name : table.key) {
        auto const* const column = facts.column(unquoted(name));
        out += column != nullptr && (column->has_default || column->generated) ? '1' : '0';
    }
    if (out.find('1') != std::string::npos)
        return out;
    return by_triggers && facts.on_insert.before ? std::string(out.size(), '1') : std::string();
}

INTERLOCK_DECL OwnRules const& KnownTable::rules(RowAction action) const noexcept
{
    static constexpr OwnRules none{};
    switch (action) {
    case RowAction::insert: return facts.on_insert;
    case RowAction::update:
    case RowAction::update_respelled: return facts.on_update;
    case RowAction::erase: return facts.on_erase;
    case RowAction::verify:
    case RowAction::nothing: break;
    }
    return none;
}

INTERLOCK_DECL Writing
writing_of_update(Table const& table, std::size_t shown, std::optional<bool> changed) noexcept
{
    auto const& use = table.uses[shown];
    if (!table.written[shown])
        return Writing::no;
    if (use.made)
        return changed.value_or(true) && !use.read_only ? Writing::made : Writing::no;
    if (use.read_only)
        return changed.value_or(false) ? Writing::read_only : Writing::no;
    if (changed == false && (table.write == Write::changed || !use.may_update))
        return Writing::no;
    return use.may_update ? Writing::yes : Writing::no_right;
}

INTERLOCK_DECL Writing
writing_of_insert(Table const& table, std::size_t shown, bool empty, bool initial) noexcept
{
    auto const& use = table.uses[shown];
    if (!table.written[shown] || use.read_only)
        return Writing::no;
    if (use.made)
        return Writing::made;
    if (empty && use.has_default && (use.not_null || table.empty == Empty::column_default))
        return Writing::no;
    if (!use.may_insert)
        return initial ? Writing::no : Writing::no_right;
    return Writing::yes;
}

/// What a member is, for people.
[[gnu::cold]] INTERLOCK_DECL char const* word_for(MemberKind kind) noexcept
{
    switch (kind) {
    case MemberKind::text: return "text";
    case MemberKind::number: return "a number";
    case MemberKind::boolean: return "a bool";
    case MemberKind::enumeration: return "an enumeration";
    case MemberKind::bytes: return "bytes";
    case MemberKind::time: return "a point in time";
    case MemberKind::day: return "a day";
    case MemberKind::list: return "a list";
    case MemberKind::own: break;
    }
    return "a type of your own";
}

/// Whether a member can be a column without loss. Text can be every column but bytes in arrays, since the
/// server writes those in digits; types of the user's own know themselves; and what the server's extensions
/// are is not known here.
[[gnu::cold]] INTERLOCK_DECL bool can_be(MemberKind kind, ColumnFacts const& column) noexcept
{
    auto const type = column.base_oid;
    bool const own = type < first_user_oid;
    bool const moment = type == type_oid::timestamp || type == type_oid::timestamptz;
    switch (kind) {
    case MemberKind::bytes: return type == type_oid::bytea || type == type_oid::uuid;
    case MemberKind::time: return moment;
    case MemberKind::day: return moment || type == type_oid::date;
    case MemberKind::list:
        return column.base_category == 'A' && column.base != "pg_catalog._bytea" &&
               column.element_delimiter == ',';
    case MemberKind::number:
    case MemberKind::boolean:
        // The categories of numbers and of truth values, and of texts, which may have the digits of one.
        return type != type_oid::money &&
               (!own || std::string_view{"NBS"}.find(column.base_category) != std::string_view::npos ||
                type == type_oid::xid);
    case MemberKind::enumeration:
        return !own || std::string_view{"NBSE"}.find(column.base_category) != std::string_view::npos;
    case MemberKind::text: return column.base != "pg_catalog._bytea";
    case MemberKind::own: break;
    }
    return true;
}

/// How the values of a column cross; of an array, its elements.
[[gnu::cold]] INTERLOCK_DECL ColumnForm form_of(ColumnFacts const& column)
{
    ColumnForm form;
    bool const list = column.element_oid != 0;
    auto const oid = list ? column.element_oid : column.base_oid;
    if (oid == type_oid::bytea)
        form.type = ColumnForm::Type::bytes;
    else if (oid == type_oid::uuid)
        form.type = ColumnForm::Type::uuid;
    else if ((list ? column.element_category : column.base_category) == 'N')
        form.type = ColumnForm::Type::number;
    for (auto& label : elements_of(column.labels).value_or(std::vector<std::optional<std::string>>{}))
        form.labels.push_back(label.value_or(""));
    return form;
}

/// How the values of a column of a key cross. A uuid is its text there.
[[gnu::cold]] INTERLOCK_DECL ColumnForm form_of_key(ColumnFacts const& column)
{
    auto form = form_of(column);
    if (form.type == ColumnForm::Type::uuid)
        form.type = ColumnForm::Type::plain;
    return form;
}

/// How the columns of the members cross; `misconfigured` when a member cannot be its column.
[[gnu::cold]] INTERLOCK_DECL Outcome<void> fit_columns(Table& table, TableFacts const& facts)
{
    for (std::size_t i = 0; i < table.kinds.size(); ++i) {
        auto const& column = *facts.column(unquoted(table.shown[i]));
        if (!can_be(table.kinds[i], column))
            return failed(
                Errc::misconfigured, {"postgres: ", table.name, ".", column.name, " is of type ", column.type,
                                      ", which a member that is ", word_for(table.kinds[i]), " cannot be"});
        table.forms[i] = form_of(column);
    }
    return success();
}

/// How the server makes the bytes of a value of a type, by the type's oid, which is the same on all servers.
/// Two values that the server takes for one have the same bytes, and no others have. The texts of times are
/// those of JSON, because they do not depend on settings of the session.
struct BytesOfType {
    std::uint32_t oid;
    std::string_view expression;
};
inline constexpr std::array bytes_of_types{
    // As `KeyTraits` does with signed integers.
    BytesOfType{20, "int8send({part}::bigint # (-9223372036854775808)::bigint)"},
    BytesOfType{21, "int8send({part}::bigint # (-9223372036854775808)::bigint)"},
    BytesOfType{23, "int8send({part}::bigint # (-9223372036854775808)::bigint)"},
    BytesOfType{17, "{part}"},
    BytesOfType{700, "convert_to(({part} + 0::real)::text, 'UTF8')"},  // there is a minus zero
    BytesOfType{701, "convert_to(({part} + 0)::text, 'UTF8')"},
    BytesOfType{1700, "convert_to(trim_scale({part})::text, 'UTF8')"},
    BytesOfType{790, "convert_to({part}::numeric::text, 'UTF8')"},
    BytesOfType{1082, "convert_to(json_build_array({part})->>0, 'UTF8')"},
    BytesOfType{1114, "convert_to(json_build_array({part})->>0, 'UTF8')"},
    BytesOfType{
        1184,
        "convert_to((json_build_array({part} AT TIME ZONE 'UTC')->>0) || "
        "CASE WHEN isfinite({part}) THEN 'Z' ELSE '' END, 'UTF8')"},
    // A month has 30 days, and a day 24 hours, where intervals are compared.
    BytesOfType{
        1186,
        "convert_to(CASE WHEN isfinite({part}) THEN trim_scale("
        "((extract(year FROM {part}) * 12 + extract(month FROM {part})) * 30 + "
        "extract(day FROM {part})) * 86400 + extract(hour FROM {part}) * 3600 + "
        "extract(minute FROM {part}) * 60 + extract(second FROM {part}))::text "
        "ELSE {part}::text END, 'UTF8')"},
};

/// Whether a type of this oid is one of texts without blanks at the end that do not count.
INTERLOCK_DECL bool is_text(std::uint32_t oid) noexcept
{
    return oid == 25 || oid == 1043 || oid == 19 || oid == 18;
}

INTERLOCK_DECL bool is_integer(ColumnFacts const& column) noexcept
{
    return column.base_oid == type_oid::bigint || column.base_oid == type_oid::smallint ||
           column.base_oid == type_oid::integer;
}

/// Whether the key's own bytes are the same however the value is spelled.
[[gnu::cold]] INTERLOCK_DECL bool spelled_one_way(ColumnFacts const& column, KeyPartKind kind) noexcept
{
    return (kind == KeyPartKind::number && is_integer(column)) ||
           (kind == KeyPartKind::text && is_text(column.base_oid) && column.collation.empty()) ||
           (kind == KeyPartKind::text && column.base_oid == type_oid::bytea);
}

/// The cast to a type in which a key is compared with what the column has stored; empty: none of the types
/// that the column may get by ALTER TABLE stores another value without a word.
[[gnu::cold]] INTERLOCK_DECL std::string key_check(ColumnFacts const& column)
{
    switch (column.base_oid) {
    case 25:    // text
    case 1043:  // varchar
        return "::text";
    case type_oid::real:
    case type_oid::double_precision:
    case type_oid::numeric:
    case type_oid::timestamp:
    case type_oid::timestamptz:
    case 869:   // inet
    case 1083:  // time
    case 1266:  // timetz
    case 1186:  // interval
    case 1009:  // text[], and other arrays of these
    case 1015:
    case 1021:
    case 1022:
    case 1231:
    case 1041:
    case 1115:
    case 1185:
    case 1183:
    case 1270:
    case 1187: return joined_text({"::", column.base});
    default: return {};
    }
}

/// Whether the server surely compares the column with a parameter of the column's own type.
[[gnu::cold]] INTERLOCK_DECL bool is_compared_as_itself(ColumnFacts const& column) noexcept
{
    return column.type_oid == column.base_oid &&
           (is_integer(column) || column.base_oid == 25 || column.base_oid == type_oid::uuid);
}

/// How the column takes the text of a key.
[[gnu::cold]] INTERLOCK_DECL KeyFit key_fit(ColumnFacts const& column)
{
    switch (column.base_oid) {
    case 18:  // "char"
    case 19:  // name
    case 28:  // xid: a number without its upper bits, before PostgreSQL 16
        return {"::text", joined_text({"::", column.base}), true};
    case 1002:  // "char"[]
    case 1003:  // name[]
        return {"::text[]", joined_text({"::", column.base}), true};
    default: break;
    }
    if (column.limited.empty())
        return {};
    auto const narrow = joined_text({"::", column.limited});
    switch (column.base_oid) {
    case 1043: return {"::text", narrow};  // blanks at the end are cut
    case 1015:                             // varchar[]
    case type_oid::numeric:
    case type_oid::timestamp:
    case type_oid::timestamptz:
    case 1083:  // time
    case 1266:  // timetz
    case 1186:  // interval
    case 1231:  // and arrays of these
    case 1115:
    case 1185:
    case 1183:
    case 1270:
    case 1187: return {joined_text({"::", column.base}), narrow};
    default: return {};  // the server refuses what does not fit
    }
}

[[gnu::cold]] INTERLOCK_DECL KeyPart key_part(ColumnFacts const& column)
{
    auto const fit = key_fit(column);
    KeyPart part{fit.cuts ? fit.whole : joined_text({"::", column.base}), {}, is_integer(column)};
    auto const known = std::find_if(bytes_of_types.begin(), bytes_of_types.end(), [&](auto const& type) {
        return type.oid == column.base_oid;
    });
    bool const is_citext = column.base.ends_with(".citext");
    if (known != bytes_of_types.end())
        part.expression = known->expression;
    else if (!column.collation.empty())
        // No function gives what such a collation compares. 128 bits of hash must do.
        part.expression = joined_text(
            {"int8send(hashtextextended({part}::text COLLATE ", column.collation,
             ", 0)) || int8send(hashtextextended({part}::text COLLATE ", column.collation, ", 1))"});
    else if (is_citext)
        part.expression = "convert_to(lower({part}::text), 'UTF8')";
    else if (column.hashed)
        part.expression =
            "int8send(hash_record_extended(ROW({part}), 0)) || "
            "int8send(hash_record_extended(ROW({part}), 1))";
    else
        part.expression = "convert_to({part}::text, 'UTF8')";
    return part;
}

/// What is said of an insert into a table where nothing keeps a key from having two rows; or nothing.
[[gnu::cold]] INTERLOCK_DECL std::string why_no_insert(Table const& table, TableFacts const& facts)
{
    bool const is_table = facts.kind == 'r' || facts.kind == 'p';
    std::string key;
    for (auto const& column : table.key)
        append(key, {key.empty() ? "" : ", ", unquoted(column)});
    if (is_table && facts.key_index == KeyIndex::none)
        return joined_text(
            {"postgres: an insert into ", table.name, " needs a unique index on its key column (", key, ")"});
    if (is_table && facts.key_index == KeyIndex::partial && table.where.empty())
        return joined_text(
            {"postgres: ", table.name, " has a unique index on (", key,
             ") for some of its rows only; RepositoryOptions::where must say which rows are meant"});
    return {};
}

/// A part of a record's key, as the key's type spells it; nothing where that cannot be told.
INTERLOCK_DECL std::optional<std::string> respelled_part(
    std::string_view bytes, bool is_number, KeyPartKind kind)
{
    std::int64_t number = is_number ? KeyTraits<std::int64_t>::decode(bytes) : 0;
    if (kind == KeyPartKind::text)
        return is_number ? std::to_string(number) : std::string(bytes);
    if (kind == KeyPartKind::other)
        return std::nullopt;
    if (!is_number) {
        auto const end = std::from_chars(bytes.data(), bytes.data() + bytes.size(), number);
        if (end.ec != std::errc{} || end.ptr != bytes.data() + bytes.size())
            return std::nullopt;
    }
    return kind == KeyPartKind::number ? KeyTraits<std::int64_t>::encode(number)
                                       : KeyTraits<std::uint64_t>::encode(static_cast<std::uint64_t>(number));
}

INTERLOCK_DECL std::string spelled_key(
    Table const& table, std::vector<KeyPartKind> const& kinds, std::string_view bytes)
{
    std::string out;
    auto left = bytes;
    for (std::size_t i = 0; i < table.record_key.size(); ++i) {
        auto part = left;
        if (table.record_key.size() > 1) {
            std::size_t size = 0;
            for (char c : left.substr(0, 4))
                size = size << 8 | static_cast<unsigned char>(c);
            left.remove_prefix(std::min<std::size_t>(left.size(), 4));
            part = left.substr(0, size);
            left.remove_prefix(part.size());
        }
        auto const spelled = respelled_part(part, table.record_key[i].is_number, kinds[i]);
        if (!spelled)
            return std::string(bytes);
        if (table.record_key.size() > 1)
            out += KeyTraits<std::uint64_t>::encode(spelled->size()).substr(4);
        out += *spelled;
    }
    return table.record_key.empty() ? std::string(bytes) : out;
}

[[gnu::cold]] INTERLOCK_DECL std::string Table::with_types(std::string const& expression) const
{
    if (other_types.empty())
        return expression;
    return joined_text({"CASE WHEN false AND (", other_types, ") THEN NULL ELSE ", expression, " END"});
}

[[gnu::cold]] INTERLOCK_DECL std::string Table::with_types_apart(std::string const& expression) const
{
    if (other_types.empty())
        return expression;
    return joined_text(
        {"CASE WHEN false AND EXISTS (SELECT FROM ", quoted, " t WHERE ", other_types, ") THEN NULL ELSE ",
         expression, " END"});
}

/// See `Table::other_types`. Arrays are compared with those of their own type only; single values are
/// converted.
[[gnu::cold]] INTERLOCK_DECL std::string other_types(Table const& table, TableFacts const& facts)
{
    std::string out;
    auto const add = [&](std::string const& name) {
        auto const& own = facts.column(unquoted(name))->own;
        if (!own.empty())
            append(
                out, {out.empty() ? "" : " OR ", "ARRAY[t.", name,
                      "] OPERATOR(pg_catalog.&&) ARRAY[NULL::", own, "]"});
    };
    for (auto const& name : table.key)
        add(name);
    for (auto const& name : table.shown)
        if (std::find(table.key.begin(), table.key.end(), name) == table.key.end())
            add(name);
    return out;
}

[[gnu::cold]] INTERLOCK_DECL Outcome<Table> fitted(
    Table table, TableFacts const& facts, std::vector<KeyPartKind> const& kinds)
{
    auto const missing = [&](std::string const& quoted) {
        return failed(
            Errc::misconfigured, {"postgres: the table ", table.name, " has no column ", unquoted(quoted)});
    };
    for (auto const* names : {&table.key, &table.shown})
        for (auto const& name : *names)
            if (facts.column(unquoted(name)) == nullptr)
                return missing(name);
    table.settle(facts.place, facts.place_of_sequence);
    if (auto fit = fit_columns(table, facts); !fit)
        return std::move(fit).failure();
    if (auto fits = fit_version(table, facts); !fits)
        return std::move(fits).failure();
    for (std::size_t i = 0; i < table.shown.size(); ++i) {
        auto const& column = *facts.column(unquoted(table.shown[i]));
        auto& use = table.uses[i];
        use.made = column.generated || column.identity == 'a';
        use.may_insert = column.may_insert;
        use.may_update = column.may_update;
        use.not_null = column.not_null;
        use.has_default = column.has_default;
    }
    for (auto const& name : table.key) {
        auto const& column = *facts.column(unquoted(name));
        table.key_forms.push_back(form_of_key(column));
        table.key_fits.push_back(key_fit(column));
        auto& fit = table.key_fits.back();
        if (fit.whole.empty() && !is_compared_as_itself(column))
            fit.own = joined_text({"::", column.base});
        // A trigger may give the row another key.
        table.key_checks.push_back(facts.on_insert.before ? std::string() : key_check(column));
        table.key_most.push_back(
            column.base_oid == type_oid::smallint  ? std::numeric_limits<std::int16_t>::max()
            : column.base_oid == type_oid::integer ? std::numeric_limits<std::int32_t>::max()
                                                   : std::numeric_limits<std::int64_t>::max());
    }
    table.other_types = other_types(table, facts);
    bool one_way = true;
    for (std::size_t i = 0; i < table.key.size(); ++i)
        one_way = one_way && spelled_one_way(*facts.column(unquoted(table.key[i])), kinds[i]);
    if (!one_way)
        for (auto const& name : table.key)
            table.record_key.push_back(key_part(*facts.column(unquoted(name))));
    bool const covered = facts.kind != 'v' && facts.kind != 'f' && !facts.inherited;
    table.unique = covered && facts.key_index >= KeyIndex::other;
    table.arbiter = covered && facts.key_index == KeyIndex::arbiter && table.where.empty();
    if (table.unique && !facts.index.empty())
        table.index_stands =
            joined_text({" AND ", quoted_text(facts.index), "::regclass::oid = ", facts.index_oid, "::oid"});
    table.childless = table.unique && facts.kind == 'r';
    table.no_insert = why_no_insert(table, facts);
    return table;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP
