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

/// What row-level policies do to the statements of a repository.
struct RowPolicies {
    bool apply{false};  ///< transactions must say `row_security = on`
    /// Policies decide which rows of the repository's own table there are. False while only a trigger, say,
    /// meets a policy of another table.
    bool decide_rows{false};
    std::string role{};  ///< the role that they are applied to
};

/// Never changed once it is made. Whoever uses its statements keeps it until they are answered; a transaction
/// keeps the one that it began with.
struct KnownTable {
    KnownTable(Table t, TableFacts f, RowPolicies p, std::string const& ns, std::string const& lock)
        : facts(std::move(f)), policies(std::move(p)), table(std::move(t)), statements(table, ns, lock)
    {}

    TableFacts facts;  ///< empty for the library's own table
    RowPolicies policies;
    Table table;  ///< as the facts make it
    Statements statements;
};

/// The version of a row that nobody has counted yet: its column has 0, as Rails and Hibernate begin, or NULL,
/// as the rows have that are older than the column. A `Version` is at least 1, so this one stands at the
/// other end, where no version that is counted gets. The first change makes it 1.
inline constexpr Version uncounted_version = last_version - 1;

/// `table` as the facts make it. `misconfigured` when a column is missing, or cannot hold a version; the
/// detail names it.
///
/// What the version column is decides how versions are read, compared and made (`Table::seen_version`,
/// `next_version`, `first_version`):
/// - An integer: it is counted up, or drawn from a sequence. 0 and NULL are `uncounted_version`.
/// - `xmin`, the system column: the transaction that has written the row. The server sets it.
/// - A time stamp: microseconds since the year 1. The next version is the server's clock, or one unit of the
///   column behind the former version if the clock is not further.
Outcome<Table> fitted(Table table, TableFacts const& facts);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/known_table.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP
