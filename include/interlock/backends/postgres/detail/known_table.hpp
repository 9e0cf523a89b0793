// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP

/// @file
/// A table as a repository knows it at some time: what its options say, what the server says, and the
/// statements that follow from both.

#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/detail/table_facts.hpp>
#include <interlock/core/outcome.hpp>

#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Never changed once it is made. Whoever uses its statements keeps it until they are answered; a transaction
/// keeps the one that it began with.
struct KnownTable {
    KnownTable(Table t, TableFacts f, std::string const& ns, std::string const& lock)
        : facts(std::move(f)), table(std::move(t)), statements(table, ns, lock)
    {}

    TableFacts facts;  ///< empty for the library's own table
    Table table;       ///< as the facts make it
    Statements statements;
};

/// `table` as the facts make it. `misconfigured` when a column is missing; the detail names it.
Outcome<Table> fitted(Table table, TableFacts const& facts);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/known_table.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP
