// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/known_table.hpp>
#include <interlock/backends/postgres/detail/names.hpp>

#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL Outcome<Table> fitted(Table table, TableFacts const& facts)
{
    auto const missing = [&](std::string const& quoted) {
        return failed(
            Errc::misconfigured, {"postgres: the table ", table.name, " has no column ", unquoted(quoted)});
    };
    for (auto const* names : {&table.key, &table.shown})
        for (auto const& name : *names)
            if (facts.column(unquoted(name)) == nullptr)
                return missing(name);
    if (facts.column(unquoted(table.version)) == nullptr)
        return missing(table.version);
    // Text, folded into the plan; it is resolved anew when the session's search_path changes.
    auto const oid = joined_text({quoted_text(table.quoted), "::regclass"});
    table.store = joined_text({"coalesce(pg_partition_root(", oid, "), ", oid, ")::oid::text"});
    return table;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_KNOWN_TABLE_IPP
