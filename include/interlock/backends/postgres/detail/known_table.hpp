// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP

/// @file
/// A table as a repository knows it at some time: what its options say, what the server says, and the
/// statements that follow from both.

#include <interlock/backends/postgres/detail/lock_statements.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/detail/table_facts.hpp>
#include <interlock/backends/postgres/detail/type_shape.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

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
        : facts(std::move(f)), policies(std::move(p)), table(std::move(t)), statements(table, ns, lock),
          name_space_(ns)
    {}

    /// Adds the statement of a change to `batch`, which must not outlive the object.
    void add_change(
        Batch& batch, RowAction action, Fencing fencing, bool with_operation, Refusal refusal,
        ChangeColumns const& columns, Params params) const;
    /// Adds an insert that fails where the key is taken, see `bare_insert_text`.
    void add_bare_insert(Batch& batch, ChangeColumns const& columns, Params params) const;

    /// Adds an insert of a row whose key the server makes, see `new_row_text`.
    void add_new_row(
        Batch& batch, bool with_operation, std::string const& made, ChangeColumns const& columns,
        Params params) const;
    /// For each column of the key whether the server can make it, '1' or '0'; empty: it makes none.
    /// `by_triggers`: where no column has a default, a trigger may make all of them.
    std::string made_key(bool by_triggers) const;

    /// What of the user's own takes part in the action.
    OwnRules const& rules(RowAction action) const noexcept;

    TableFacts facts;  ///< empty for the library's own table
    RowPolicies policies;
    Table table;  ///< as the facts make it
    Statements statements;

private:
    // How many statements of changes are prepared, besides those of `Statements`. An operation that writes
    // some other set of columns is sent unprepared.
    static constexpr std::size_t most = 128;

    Statement const* made(std::string const& form) const;
    void add_made(Batch& batch, std::string form, std::string text, Params params) const;

    std::string name_space_;
    mutable std::mutex mutex_;                                 // guards `made_`
    mutable std::unordered_map<std::string, Statement> made_;  // by what they do and the columns they write
};

/// Whether a column is written.
enum class Writing : unsigned char {
    no,
    yes,
    /// The server makes it. What the member says is dropped, so the statement looks whether that is still so.
    made,
    no_right,   ///< it would have to be, and the role must not
    read_only,  ///< it would have to be, and `RepositoryOptions::read_only` names it
};

/// Of a row that is changed. `changed`: whether the member has changed; nothing: not known.
Writing writing_of_update(Table const& table, std::size_t shown, std::optional<bool> changed) noexcept;
/// Of a new row. `empty`: the member is an optional without a value. `initial`: it is what a member is that
/// nobody has set.
Writing writing_of_insert(Table const& table, std::size_t shown, bool empty, bool initial) noexcept;

/// The key of a record as a key of the repository: `bytes` are what the server has made of it.
std::string spelled_key(Table const& table, std::vector<KeyPartKind> const& kinds, std::string_view bytes);

/// `table` as the facts make it. `kinds`: of the parts of its key. `misconfigured` when a column is missing,
/// or cannot hold a version; the detail names it.
Outcome<Table> fitted(Table table, TableFacts const& facts, std::vector<KeyPartKind> const& kinds);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/known_table.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_KNOWN_TABLE_HPP
