// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/type_shape.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A name, perhaps with a schema and a dot in front.
INTERLOCK_DECL bool valid_name(std::string_view name) noexcept
{
    auto const dot = name.find('.');
    if (dot == std::string_view::npos)
        return valid_identifier(name);
    return valid_identifier(name.substr(0, dot)) && valid_identifier(name.substr(dot + 1));
}

/// The names of a list with commas.
INTERLOCK_DECL std::vector<std::string> listed(std::string_view names)
{
    std::vector<std::string> out;
    for (;;) {
        auto const comma = names.find(',');
        auto name = names.substr(0, comma);
        name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
        name = name.substr(0, name.find_last_not_of(' ') + 1);
        out.emplace_back(name);
        if (comma == std::string_view::npos)
            return out;
        names.remove_prefix(comma + 1);
    }
}

INTERLOCK_DECL void check_key_columns(std::vector<std::string> const& keys, TypeShape const& shape)
{
    if (shape.key_is_struct && keys != shape.key_columns)
        throw_invalid({"postgres: key must name the members of the key's struct, in their order"});
    if (!shape.key_is_struct && keys.size() != shape.key_parts)
        throw_invalid(
            {"postgres: key names ", std::to_string(keys.size()), " columns, its type has ",
             std::to_string(shape.key_parts)});
}

/// The library's own table.
INTERLOCK_DECL Table own_table(std::string const& ns, TypeShape const& shape)
{
    if (!shape.storable)
        throw_invalid({"postgres: a state in the library's table needs StateTraits<T>::encode and decode"});
    Table t;
    t.name = ns + "_state";
    t.store = joined_text({"'", t.name, "'"});
    t.key = {"key"};
    t.version = "version";
    t.columns = t.shown = {"data"};
    t.first_version = t.next_version = joined_text({"nextval('", ns, "_version')"});
    t.key_type = t.value_type = "::bytea";
    return t;
}

/// The user's table.
INTERLOCK_DECL Table mapped_table(RepositoryOptions const& options, TypeShape const& shape)
{
    if (!shape.is_row)
        throw_invalid(
            {"postgres: a table needs a default-constructible BOOST_DESCRIBE_STRUCT type whose members are "
             "columns"});
    if (!shape.is_key)
        throw_invalid(
            {"postgres: the key type is neither a column nor made of columns; it needs "
             "KeyTraits<K>::decode"});
    if (!valid_name(options.table))
        throw_invalid(
            {"postgres: table must be made of lower-case letters, digits and '_', perhaps with a schema and "
             "a dot "
             "in front"});
    auto const keys = listed(options.key);
    if (!std::all_of(keys.begin(), keys.end(), [](auto const& name) { return valid_identifier(name); }) ||
        !valid_identifier(options.version))
        throw_invalid({"postgres: key and version must name columns, by lower-case letters, digits and '_'"});
    check_key_columns(keys, shape);
    if (!options.version_sequence.empty() && !valid_name(options.version_sequence))
        throw_invalid({"postgres: version_sequence must be made of lower-case letters, digits and '_'"});
    // Quoted, so that a column may be called "order"; they are valid, so quotes change nothing else.
    auto const quoted = [](std::string const& name) { return joined_text({"\"", name, "\""}); };
    Table t;
    t.name = options.table;
    for (auto const& name : keys)
        t.key.push_back(quoted(name));
    t.version = quoted(options.version);
    for (auto const& name : shape.columns) {
        if (!valid_identifier(name))
            throw_invalid(
                {"postgres: member ", name, " cannot be a column: lower-case letters, digits and '_' only"});
        t.shown.push_back(quoted(name));
        t.written.push_back(
            name != options.version && std::find(keys.begin(), keys.end(), name) == keys.end());
        if (t.written.back())
            t.columns.push_back(quoted(name));
    }
    if (options.version_sequence.empty()) {
        t.first_version = "1";
        t.next_version = joined_text({"t.", t.version, " + 1"});
    } else {
        t.first_version = t.next_version = joined_text({"nextval('", options.version_sequence, "')"});
    }
    return t;
}

INTERLOCK_DECL Table table_of(RepositoryOptions const& options, std::string const& ns, TypeShape const& shape)
{
    return options.table.empty() ? own_table(ns, shape) : mapped_table(options, shape);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TYPE_SHAPE_IPP
