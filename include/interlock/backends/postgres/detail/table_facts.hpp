// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_FACTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_FACTS_HPP

/// @file
/// What the server says of a user's table. One query of the catalog learns it, before the first statement of
/// a repository; the statements are made from it. A schema may change under a running program: an error that
/// says so makes the repository ask again (`outdates_facts`).

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/core/outcome.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What sees to it that no two rows have one key.
enum class KeyIndex : unsigned char {
    none,     ///< nothing that the catalog shows
    partial,  ///< unique indexes for some of the rows only
    loose,    ///< a unique index of an expression: it lets several rows be for which that is NULL
    other,    ///< a unique index that ON CONFLICT cannot name: deferrable, of fewer columns
    arbiter,  ///< a unique index of exactly the key's columns, which ON CONFLICT takes
};

/// One column of a table, a system column among them.
struct ColumnFacts {
    std::string name;          ///< as the catalog spells it, without quotes
    std::string type;          ///< as `format_type` says it, with its modifier: for messages
    std::uint32_t type_oid{};  ///< of the column's own type, perhaps a domain
    std::string base;          ///< the type under all domains, quoted, with its schema: for casts
    std::uint32_t base_oid{};  ///< of that type
    /// That type with the column's length, scale or precision, as a cast names it; empty: it has none.
    std::string limited;
    /// The column's own type, quoted, with its schema, where a statement of the role may name the type and
    /// read the column; else empty.
    std::string own;
    char base_kind{};             ///< `pg_type.typtype` of it
    char base_category{};         ///< `pg_type.typcategory` of it: `A` for arrays
    std::string labels;           ///< of an SQL enum, or of an array of such, in order: the text of an array
    std::uint32_t element_oid{};  ///< of an array: of its elements' type, under a domain; else 0
    char element_category{};      ///< `pg_type.typcategory` of that
    char element_delimiter{};     ///< between the elements, in the text of the array
    /// Equal values of it may have several texts even as the server writes them: arrays, ranges, rows, jsonb,
    /// and types that extensions and users have made. The server makes equal hashes of equal values.
    bool hashed{false};
    std::string collation;    ///< quoted, with its schema, if the collation is not deterministic; else empty
    bool generated{false};    ///< GENERATED ALWAYS AS (...): it cannot be written
    char identity{};          ///< `a`: GENERATED ALWAYS AS IDENTITY; `d`: BY DEFAULT; NUL: neither
    bool has_default{false};  ///< DEFAULT, or one of the two above
    bool not_null{false};
    bool may_insert{false};  ///< whether the role may name it in an INSERT
    bool may_update{false};  ///< whether the role may set it in an UPDATE

    friend bool operator==(ColumnFacts const&, ColumnFacts const&) = default;
};

/// What of the user's own takes part in changes of one kind: triggers, on partitions and on tables that
/// inherit from this one, too, and rules. Views are taken to have all of it.
struct OwnRules {
    /// Something that comes before the change, or in its place, so that nothing may come of it, or something
    /// else.
    bool before{false};
    bool after{false};      ///< something that may change the row once more
    bool at_commit{false};  ///< the same, at the end of the transaction

    friend bool operator==(OwnRules const&, OwnRules const&) = default;
};

/// One table.
struct TableFacts {
    std::string oid;   ///< the table's own
    std::string root;  ///< of the table that it is a partition of, at the top; else `oid`
    /// Its name with its schema, as it stands in statements: it means this table on every session, whatever
    /// the search path is there, and whatever comes into that. Empty: a temporary table, which has none.
    std::string place{};
    std::string place_of_sequence{};  ///< likewise, of the sequence that versions are drawn from
    bool sequence_rises{true};        ///< it does not count down, nor begin again
    char kind{};               ///< `pg_class.relkind`: `r` table, `p` partitioned, `v` view, `f` foreign
    bool row_security{false};  ///< policies apply to the role's statements
    KeyIndex key_index{KeyIndex::none};
    /// The name, with its schema, and the oid of an index that sees to it that a key is unique; empty: there
    /// is none whose name every session knows.
    std::string index{};
    std::string index_oid{};
    /// Other tables inherit from it. Their rows are its rows, and no index sees the rows of all of them.
    bool inherited{false};
    OwnRules on_insert;
    OwnRules on_update;
    OwnRules on_erase;
    std::vector<ColumnFacts> columns;

    /// Nothing when there is no such column.
    ColumnFacts const* column(std::string_view name) const noexcept;
    /// Whether a column is an array.
    bool has_lists() const noexcept;

    friend bool operator==(TableFacts const&, TableFacts const&) = default;
};

/// Adds the query to `batch`. `table`: with its names as the options have them, as they stand in statements.
/// `known`: the same table as it was known before, or `table`. What is known is looked for first: a name is
/// resolved by the search path once, and again only when that table is gone.
void add_facts_query(Batch& batch, Table const& table, Table const& known);
/// What its reply says. `misconfigured` when there is no such table.
Outcome<TableFacts> facts_of(Reply const& reply, std::string const& table);

/// Whether an error may come from a table that is no longer as it was when its facts were learnt.
bool outdates_facts(SqlError const& error) noexcept;
/// Whether what is refused with this code, by what is known of the table, may be possible by now: a right was
/// granted, a column became wider or has a default, an index was made, an enum has another label. That is
/// looked at before it is said.
bool by_former_facts(Errc code) noexcept;
/// Whether prepared plans for the one fit the other: it is the same table, with the same types of columns.
bool same_types(TableFacts const& one, TableFacts const& other) noexcept;

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_facts.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_FACTS_HPP
