// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/type_shape.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The columns of these members, in their order.
[[gnu::cold]] INTERLOCK_DECL std::vector<std::string> columns_of(
    RepositoryOptions const& options, std::vector<std::string> const& members)
{
    std::vector<std::string> out;
    for (auto const& member : members) {
        auto const said = std::find_if(options.columns.begin(), options.columns.end(), [&](auto const& c) {
            return c.member == member;
        });
        if (said == options.columns.end())
            check_name("member", member);
        out.push_back(said == options.columns.end() ? member : name_of_column("columns", said->column));
        if (std::count(out.begin(), out.end(), out.back()) > 1)
            throw_invalid({"postgres: two members are the column \"", out.back(), "\""});
    }
    return out;
}

/// Throws for a member that `RepositoryOptions::columns` names, and that is none.
[[gnu::cold]] INTERLOCK_DECL void check_columns(RepositoryOptions const& options, TypeShape const& shape)
{
    for (auto const& column : options.columns)
        if (std::find(shape.columns.begin(), shape.columns.end(), column.member) == shape.columns.end())
            throw_invalid(
                {"postgres: columns names \"", column.member, "\", which is no member of the state"});
}

[[gnu::cold]] INTERLOCK_DECL void check_key_columns(
    std::vector<std::string> const& keys, std::vector<std::string> const& key_columns, TypeShape const& shape)
{
    if (shape.key_is_struct && keys != key_columns)
        throw_invalid({"postgres: key must name the members of the key's struct, in their order"});
    if (!shape.key_is_struct && keys.size() != shape.key_parts)
        throw_invalid(
            {"postgres: key names ", std::to_string(keys.size()), " columns, its type has ",
             std::to_string(shape.key_parts)});
}

/// The library's own table.
[[gnu::cold]] INTERLOCK_DECL Table own_table(std::string const& ns, TypeShape const& shape)
{
    if (!shape.storable)
        throw_invalid({"postgres: a state in the library's table needs StateTraits<T>::encode and decode"});
    Table t;
    t.name = joined_text({name_space_of(ns), "_state"});
    t.quoted = ns + "_state";
    // Records know the table by its name without a schema, whether or not one is named.
    t.store = joined_text({"'", t.name, "'"});
    t.number = joined_text({"'", t.quoted, "'::regclass::oid::bigint"});
    t.meant = t.store;
    t.key = {"key"};
    t.version = "version";
    t.seen_version = "t.version";
    t.columns = t.shown = {"data"};
    t.first_version = t.next_version = joined_text({"nextval('", ns, "_version')"});
    t.key_type = t.value_type = "::bytea";
    return t;
}

/// Marks the columns of the members that are only read.
[[gnu::cold]] INTERLOCK_DECL void set_read_only(
    Table& t, RepositoryOptions const& options, TypeShape const& shape)
{
    t.uses.resize(shape.columns.size());
    for (std::size_t i = 0; i < shape.columns.size(); ++i)
        t.uses[i].member = shape.columns[i];
    if (options.read_only.empty())
        return;
    for (auto const& member : names_of("read_only", options.read_only)) {
        auto const at = std::find(shape.columns.begin(), shape.columns.end(), member);
        if (at == shape.columns.end())
            throw_invalid({"postgres: read_only names \"", member, "\", which is no member of the state"});
        auto const i = static_cast<std::size_t>(at - shape.columns.begin());
        if (!t.written[i])
            throw_invalid({"postgres: read_only names \"", member, "\", which is the key or the version"});
        t.uses[i].read_only = true;
    }
}

/// The user's table.
[[gnu::cold]] INTERLOCK_DECL Table mapped_table(RepositoryOptions const& options, TypeShape const& shape)
{
    if (!shape.unfit.empty())
        throw_invalid(
            {"postgres: the member ", shape.unfit[0],
             " can be no column; see postgres::ColumnTraits for types of your own"});
    if (!shape.is_row)
        throw_invalid(
            {"postgres: a table needs a default-constructible BOOST_DESCRIBE_STRUCT type whose members are "
             "columns"});
    if (!shape.is_key)
        throw_invalid(
            {"postgres: the key type is neither a column nor made of columns; it needs "
             "KeyTraits<K>::decode"});
    check_columns(options, shape);
    if (options.where.find('\0') != std::string::npos)
        throw_invalid({"postgres: where has a NUL"});
    auto const name = table_name("table", options.table);
    auto const keys = names_of("key", options.key);
    auto const version = name_of_column("version", options.version);
    if (std::find(keys.begin(), keys.end(), version) != keys.end())
        throw_invalid(
            {"postgres: \"", version, "\" is the key and the version; a write would change the key"});
    check_key_columns(keys, columns_of(options, shape.key_columns), shape);
    Table t;
    t.name = name.text;
    t.quoted = name.quoted;
    // Not a constant, which a plan would keep whatever becomes of the search_path.
    t.meant = joined_text({"to_regclass(", quoted_text(t.quoted), ")::oid"});
    if (!options.where.empty())
        t.where = joined_text({" AND (", options.where, "\n)"});  // it may end with a comment
    for (auto const& key : keys)
        t.key.push_back(quoted_name(key));
    t.version = quoted_name(version);
    t.kinds = shape.kinds;
    t.forms.resize(shape.columns.size());
    for (auto const& column : columns_of(options, shape.columns)) {
        t.shown.push_back(quoted_name(column));
        t.written.push_back(column != version && std::find(keys.begin(), keys.end(), column) == keys.end());
        if (t.written.back())
            t.columns.push_back(quoted_name(column));
    }
    set_read_only(t, options, shape);
    t.write = options.write;
    t.empty = options.empty;
    t.seen_version = joined_text({"t.", t.version});
    t.settle(
        t.quoted, options.version_sequence.empty()
                      ? std::string()
                      : table_name("version_sequence", options.version_sequence).quoted);
    return t;
}

[[gnu::cold]] INTERLOCK_DECL void Table::settle(
    std::string const& place, std::string const& place_of_sequence)
{
    if (!place.empty()) {
        quoted = place;
        // A table is its oid. A partition is its root.
        auto const oid = joined_text({quoted_text(quoted), "::regclass"});
        auto const root = joined_text({"coalesce(pg_partition_root(", oid, "), ", oid, ")::oid"});
        number = root + "::bigint";
        store = root + "::text";
        // Under another condition a key names another row.
        if (!where.empty())
            append(store, {" || ", quoted_text(where)});
    }
    if (!place_of_sequence.empty()) {
        sequence = place_of_sequence;
        first_version = next_version = joined_text({"nextval(", quoted_text(sequence), ")"});
    }
}

[[gnu::cold]] INTERLOCK_DECL Table
table_of(RepositoryOptions const& options, std::string const& ns, TypeShape const& shape)
{
    if (options.table.empty() && !options.where.empty())
        throw_invalid({"postgres: where needs RepositoryOptions::table"});
    return options.table.empty() ? own_table(ns, shape) : mapped_table(options, shape);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP
