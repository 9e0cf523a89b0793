// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP

/// @file
/// The SQL of a repository. Each text is one statement, so that the server decides it in one step; each is
/// prepared once per connection. The statements are written for READ COMMITTED; what a stricter level
/// refuses, it refuses with 40001, and the operation runs again.
///
/// A statement that changes a key has the following parts. All of them are CTEs, in the order in which they
/// take effect:
/// - `il_old`: the operation's record as it is. An answer in it, or a tombstone that forbids the attempt,
///   stops everything else.
/// - `il_g`: the lock record, locked, if it names the acquisition and its mark is not above the token (law
///   P1).
/// - `il_w`: the change itself, if `il_old` and `il_g` allow it. It has one row if the change was made.
/// - `il_r`: the lock record after the change: its mark is raised, or the record is freed.
/// - `il_n`: the wake-up for those who wait for the lock.
/// - `il_rec`: the operation's record, made from `il_w`.
///
/// To the server, the name of a part stands before a table of that name. All of them begin with `il_`, so
/// that a table may be called `old` or `r`, that of the repository and those in `RepositoryOptions::where`.
///
/// If `il_w` was made and `il_rec` was not, somebody planted a tombstone or an answer after the statement's
/// snapshot. The statement must then leave no trace, so it fails: see `race_word`.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/column_text.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/versioned.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

class EventSink;

/// How many tokens one grant reserves.
inline constexpr std::uint32_t token_block = 1024;

/// The version of a row that nobody has counted yet: its column has 0, as Rails and Hibernate begin, or NULL,
/// as the rows have that are older than the column. A `Version` is at least 1, so this one stands at the
/// other end, where no version that is counted gets. The first change makes it 1.
inline constexpr Version uncounted_version = last_version - 1;

/// The word that a statement quotes when it fails because it must leave no trace. It is not a number, so that
/// a cast of it fails. It goes to the server as a parameter and is drawn once per process, so that nothing in
/// a user's schema can know it. A state alone would be no signal, since a trigger can raise any state.
std::string const& race_word();

/// Whether the statement failed because it had lost a race.
bool is_race(SqlError const& error);

/// What is to be known of a column before it is written.
struct ColumnUse {
    std::string member{};   ///< the name of its member
    bool made{false};       ///< the server makes its value: it is never written
    bool read_only{false};  ///< `RepositoryOptions::read_only` names it
    bool may_insert{true};  ///< by the role's rights
    bool may_update{true};  ///< likewise
    bool not_null{false};
    bool has_default{false};
};

/// How the server makes bytes of a column of a key, equal ones for all texts that it takes for one value.
struct KeyPart {
    std::string cast;        ///< of the parameter
    std::string expression;  ///< the bytes; `{part}` stands for the parameter
    bool is_number{false};   ///< they are those of `KeyTraits<std::int64_t>`
};

/// How a column of a key takes the text of a key. Some types cut a text that is too long for them, or round
/// a number, and say nothing: `name` has 63 bytes, `"char"` has one, numeric(10,2) has two places. The key
/// would then name a row that has another key.
struct KeyFit {
    /// The cast to a type that takes every text as it is; empty: nothing has to be looked at.
    std::string whole{};
    std::string narrow{};  ///< the cast from that type to the column's, with its length or scale
    /// The type itself cuts, so that a row must be compared in the type `whole`, too.
    bool cuts{false};
    /// The cast of the parameter where nothing has to be looked at; empty: it needs none. Columns of some
    /// types are compared as another type (`varchar` as text, `cidr` as inet, a domain as what it is made
    /// of), and the server refuses a parameter that is both compared and stored.
    std::string own{};

    /// The condition that the column has the value of `parameter`.
    std::string equals(std::string_view column, std::string_view parameter) const;
    /// What an insert writes; the statement fails with 22001 if the column cannot hold the value unchanged.
    std::string value(std::string_view parameter) const;
};

/// Where a repository's states are. All names but the first are quoted where they need it, so they stand in
/// statements as they are.
struct Table {
    std::string name;                  ///< `SqlName::text`: for records and messages
    std::string quoted;                ///< the table; with its schema, once the server has told it
    std::vector<std::string> key;      ///< the columns of the key
    std::string version;               ///< the column of the version
    std::vector<std::string> columns;  ///< the columns that are written besides those
    std::vector<std::string> shown;    ///< the columns that are read besides the version
    std::vector<bool> written;         ///< for each of `shown`: whether it is in `columns`
    std::vector<ColumnUse> uses;       ///< for each of `shown`
    Write write{Write::changed};       ///< as the options say
    Empty empty{Empty::null};          ///< likewise
    std::vector<MemberKind> kinds;     ///< for each of `shown`: what its member is
    std::vector<ColumnForm> forms;     ///< for each of `shown`: how its values cross
    std::string sequence{};            ///< that versions are drawn from, as `quoted`; empty: none
    std::string next_version;          ///< the expression for the version after `t.<version>`
    /// Likewise of a row that has `uncounted_version`; empty: the same.
    std::string next_of_uncounted{};
    std::string first_version;  ///< the expression for the version of a new row
    /// The expression for the version of the row `t` as a number. It is never NULL, and where it is counted
    /// 0 stands for `uncounted_version`, see `TableCore::row_version`: the server looks up each function that
    /// is called whenever it begins a statement, so none is.
    std::string seen_version;
    /// Likewise where the reply's row is one of the table, so that it may be NULL; empty: the same.
    std::string read_version{};
    /// The version as a number from 1, `uncounted_version` too; empty: `seen_version` is.
    std::string counted_version{};
    /// Likewise of a row that the statement inserts; empty: the same.
    std::string made_version;
    /// The expression for the version of the row `t` as a member shows it; empty: the column as it is.
    std::string shown_version;
    /// A row that has this version can no longer be changed; `no_version`: not by its version.
    Version last{no_version};
    /// What is written into the version's column may become what was there before: the column rounds, or
    /// another server keeps it. An update by which that happens is made to fail.
    bool may_stand{false};
    std::string key_type;    ///< the cast of a key's part: "::bytea"; empty: the column's type
    std::string value_type;  ///< likewise for the written columns
    /// The expression for the table's identity, by which locks and operation records are kept.
    std::string store;
    std::string number;  ///< the expression for a number of the table, for advisory locks
    /// The expression for what the table's name means by the search path of the moment.
    std::string meant;
    /// How the server makes the bytes by which locks and operation records of a key are kept; one for each
    /// column of the key. Empty: the key's own bytes, because they are the same however the key is spelled.
    std::vector<KeyPart> record_key;
    std::vector<ColumnForm> key_forms{};  ///< for each column of the key: how its values cross
    std::vector<KeyFit> key_fits;         ///< see `key_fit`; empty in the library's own table
    /// For each column of the key: the cast by which a new row is compared with the key that was sent, since
    /// the column may have become one that cuts or rounds; empty: it is not, because no such column does.
    std::vector<std::string> key_checks{};
    /// For each column of the key: the largest number that it takes; all but that of an integer take all.
    std::vector<std::int64_t> key_most{};
    /// The condition that makes a row one of the repository's, in parentheses behind AND; or empty.
    std::string where;
    bool unique{true};   ///< an index sees to it that no two rows have one key
    bool arbiter{true};  ///< an index that ON CONFLICT takes does so
    /// The condition, behind AND, that the index is there by which a key is unique; or empty. The server
    /// knows the answer when it parses and plans a statement, and does so again once an index of the table
    /// has gone. So it costs little, and a statement that was prepared for one row fails (42P01), or finds
    /// none.
    std::string index_stands{};
    /// A condition that the server parses, and never evaluates: it is none (42883) once a column of the key,
    /// or of a member, has another type than it had. Parameters of a statement that was prepared before keep
    /// the types of that time, and the server would convert what they have made of a value. Empty: no column
    /// is known, or may be named.
    std::string other_types{};
    /// No table inherits from this one. A statement that must write one row names this table alone, since one
    /// that comes to inherit has rows of its own, and no index sees those.
    bool childless{false};
    std::string no_insert;  ///< why no row can be inserted; empty: one can

    /// The version of the row, to be compared with the one that is expected. NULL is none that was counted.
    std::string const& compared_version(bool uncounted) const noexcept
    {
        if (counted_version.empty())
            return seen_version;
        return uncounted ? counted_version : read_version;
    }
    /// Whether a row that has this version was not counted yet.
    bool is_uncounted(Version seen) const noexcept
    {
        return seen == uncounted_version && !counted_version.empty();
    }
    /// The version behind the one that is expected.
    std::string const& version_behind(bool uncounted) const noexcept
    {
        return uncounted && !next_of_uncounted.empty() ? next_of_uncounted : next_version;
    }

    /// `expression` of the row `t`, in a statement that fails if `other_types` does.
    std::string with_types(std::string const& expression) const;
    /// Likewise, for an `expression` that names no column of the new row: what is added names the columns in
    /// a query of its own, which is never carried out. An insert whose RETURNING names a column of the new
    /// row needs a policy by which the role may see that row.
    std::string with_types_apart(std::string const& expression) const;

    /// How the column `i` of the key takes a text.
    KeyFit key_fit(std::size_t i) const { return key_fits.empty() ? KeyFit{} : key_fits[i]; }

    /// From now on statements name the table, and the sequence of the versions, as these say, see
    /// `TableFacts::place`. An empty one changes nothing.
    void settle(std::string const& place, std::string const& place_of_sequence);
};

/// What a statement does when it may not change the row.
enum class Refusal : unsigned char {
    reply,  ///< it returns a row that says why
    error,  ///< it fails as a race (`is_race`): a COMMIT stands behind it, and must not commit nothing
};

/// Whether a statement looks at a lock record first, and whether it frees the record.
enum class Fencing : unsigned char { none, guarded, guarded_and_released };

/// What a statement does to a row. `update_respelled` is an update by a state whose own key is spelled
/// otherwise than the key that the call names: the server says whether they are one.
enum class RowAction : unsigned char { insert, update, erase, verify, nothing, update_respelled };

/// The columns of what a change statement returns.
enum ChangeColumn : std::size_t {
    new_version,      ///< null: the change was refused
    fence_holds,      ///< whether the fence holds, see `il_g`
    present_version,  ///< the version of the row as it is; null: there is no row
    old_answered,     ///< whether the operation's record has an answer; null: there is no record
    old_answer,       // that answer
};

/// Which columns a change writes, and what it does besides, on a user's table.
struct ChangeColumns {
    /// For each of `Table::columns` whether it is written, '1' or '0'; empty: all are. '2': it is not, since
    /// the server makes it; if that is no longer so, the statement fails with 22001.
    std::string written{};
    /// The reply's last columns are those of `Table::shown`, as they are stored.
    bool told{false};
    /// The statement fails as a race (`is_race`), and so leaves no trace, if nothing came of the change
    /// although the row was as it should be: a trigger or a rule of the table has made nothing of it, or
    /// something else, or somebody else was faster. Whoever sends it looks at the row then.
    bool looks{false};
    /// Not null: the statement takes the lock of a stream of this log once the change is made, and says that
    /// the events behind it may be appended, see `EventSink::lock_words`.
    EventSink const* log{nullptr};
    /// If it is not 0, the statement appends so many events by itself, and says nothing of others.
    std::size_t appends{0};
    unsigned partition{0};  ///< of their stream
    /// The version that is expected is `uncounted_version`: the row's is 0 or NULL, or that number itself.
    bool uncounted{false};

    bool usual() const noexcept { return written.empty() && !told && !looks && log == nullptr && !uncounted; }
};

/// A change together with all that depends on it. The parameters, in this order:
/// 1. the key (not for `nothing`);
/// 2. with a fence: the key of the lock, owner, token; if the lock is released: the payload of the wake-up;
/// 3. with an operation: home, id, attempt, answer, retention in microseconds;
/// 4. for the action: the version (update, erase, verify), the state's own key (update_respelled), or the
///    number of the key (insert), and the values;
/// 5. with a log: the number of the stream's lock; or, if the statement appends, `add_change_params`;
/// 6. last, with an operation, `Refusal::error` or `ChangeColumns::looks`: `race_word`.
///
/// A change on which nothing else but events depends returns the new version, or no row. That is cheaper
/// than to be told at once why a change was refused; the reason is asked for only then. Every other change
/// returns the columns of `ChangeColumn`.
std::string change_text(
    Table const& t, std::string const& ns, RowAction action, Fencing fencing, bool with_operation,
    Refusal refusal, ChangeColumns columns = {});
/// An insert of a row whose key the server makes, or a part of it. `made`: for each column of the key whether
/// it does, '1' or '0'. The reply has the columns of `ChangeColumn` and those of `ChangeColumns::told`. The
/// parameters are the parts of the key that are given, an operation as above, the values, and `race_word`:
/// the statement fails as a race if nothing came of the insert. The operation's answer is the key, see
/// `key_of_answer`.
std::string new_row_text(
    Table const& t, std::string const& ns, bool with_operation, std::string const& made,
    ChangeColumns columns);
/// The parts of the key that `new_row_text` has recorded, as the server writes them; nothing for other bytes.
std::optional<std::vector<std::string>> key_of_answer(std::string_view answer);
/// An insert that no other row is looked for: it fails where the key is taken. The parameters are those of
/// `change_text` for an insert on which nothing else depends.
std::string bare_insert_text(Table const& t, std::string const& ns, ChangeColumns columns);

/// Reads all rows of the table, in the form that `StateTable::read` takes.
std::string rows_text(Table const& t);

/// The columns of what a statement says about a lock that is held.
enum LockColumn : std::size_t {
    lock_token,       ///< the first one of the grant
    lock_left,        ///< of the lease, in microseconds
    lock_wanted,      ///< whether somebody has asked in vain
    lock_holder,      ///< null: it does not say
    lock_granted,     ///< in microseconds since the epoch; null: the record does not say
    lock_held_for,    ///< in microseconds; null: likewise
    lock_stored_key,  ///< the bytes by which the record is kept
};

/// All statements of one repository, made once.
struct Statements {
    static constexpr std::size_t actions = 6;

    /// `lock`: the clause that locks a row.
    Statements(Table const& t, std::string const& ns, std::string const& lock);

    /// The statement for a change.
    Statement const& change(RowAction action, Fencing fencing, bool with_operation) const noexcept
    {
        return changes[static_cast<std::size_t>(action)][static_cast<std::size_t>(fencing)]
                      [with_operation ? 1 : 0];
    }

    /// The statement for the last change of a transaction; COMMIT stands behind it in the same trip.
    Statement const& last_change(RowAction action, bool with_operation) const noexcept
    {
        return last_changes[static_cast<std::size_t>(action)][with_operation ? 1 : 0];
    }

    // By action, fencing, and whether there is an operation.
    std::array<std::array<std::array<Statement, 2>, 3>, actions> changes;
    std::array<std::array<Statement, 2>, actions> last_changes;
    Statement load;
    Statement lock_row;
    Statement lock_row_now;
    Statement lock_hash;
    Statement lock_hash_now;
    Statement place;       ///< which table the name means
    Statement record_key;  ///< the bytes by which records of a key are kept, where the server makes them
    Statement find_operation;
    Statement find_new_row;  // by the bytes under which records of new rows are kept
    Statement forbid;
    Statement all_operations;
    // Where a holder says what it is called, and the table has room for that. The others do without: tables
    // that an older release made have no column for it, until the schema is made again.
    Statement create_named;
    Statement inspect_named;
    Statement all_named_locks;
    Statement create;
    Statement inspect;
    Statement all_locks;
    Statement renew;
    Statement remove;
    Statement break_lock;

private:
    void make_changes(Table const& t, std::string const& ns);
    void make_reads(Table const& t, std::string const& lock);
    void make_operation_records(Table const& t, SqlWords words);
    void make_lock_records(Table const& t, SqlWords words);
    void make_lock_reports(Table const& t, SqlWords words);
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/statements.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP
