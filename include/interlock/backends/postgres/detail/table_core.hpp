// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CORE_HPP

/// @file
/// What one repository asks of its table, without the types of its keys and states.

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/known_table.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/detail/transaction_settings.hpp>
#include <interlock/backends/postgres/detail/type_shape.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

class StreamLocks;

/// An answer of an operation id, with the names under which it is kept.
struct FoundOperation {
    std::string stored_key;
    std::optional<std::string> key;  ///< nothing: the record is not for this handle to see
    std::string id;
    OperationRecord record;
};

/// A lock that is held, with the name under which its record is kept.
struct FoundLock {
    std::string stored_key;
    std::string key;
    LockInfo info;
};

/// A stored record that does not mean anything.
Failure damaged(char const* what);

/// Whether a value is refused, and not what it is the value of.
bool of_a_value(SqlError const& error) noexcept;
/// Whether a column has refused what it may take by now: it became wider, or has got a default. The table is
/// looked at before that is believed.
bool by_former_facts(SqlError const& error) noexcept;
/// Where each of them is.
std::vector<Key const*> pointers_to(std::span<Key const> keys);

/// As the statements take it, rounded up.
std::int64_t whole_microseconds(std::chrono::nanoseconds time) noexcept;

/// One change of a commit without its type: `Change<T>`, whose value the table encodes by itself.
struct RowChange {
    Key const* key{nullptr};
    ChangeKind kind{ChangeKind::write};
    Version version{no_version};  // in: expected; out: the new version, when the commit was applied
    void const* value{nullptr};   // a `T`, for `write`
    Fence const* fence{nullptr};
    bool release{false};
    void const* before{nullptr};  // the `T` that was loaded, where it is known
    bool told{false};             // the caller wants to know what is stored
    Reply stored{};               // out, if it does: the row, whose last columns are the state's
    bool may_differ{false};       // out: the row may have become another one since
    std::span<NewEvent const> events{};
    std::string stream{};  // whose events they are, see `TableCore::prepare_events`
};

/// Where the events of a change are appended.
enum class WithEvents : unsigned char {
    none,    ///< elsewhere, or there are none
    behind,  ///< by statements behind that of the change
    within,  ///< by the same statement, see `EventSink::fit_the_change`
};

/// What the statement of the change does.
RowAction action_of(RowChange const& change) noexcept;

std::string_view as_text(std::array<char, 16> const& bytes) noexcept;

/// The changes of one commit without their type. One change, the usual case, needs no memory of its own.
template <class T>
class RowChanges {
public:
    explicit RowChanges(std::span<Change<T>> changes) : typed_(changes)
    {
        if (changes.size() > 1)
            several_.resize(changes.size());
        for (std::size_t i = 0; i < changes.size(); ++i) {
            auto const& change = changes[i];
            auto& row = rows()[i];
            row.key = change.key;
            row.kind = change.kind;
            row.version = change.version;
            row.value = change.value;
            row.fence = change.fence;
            row.release = change.release;
            row.before = change.before;
            row.told = change.stored != nullptr && change.kind == ChangeKind::write;
            row.events = change.events;
        }
    }
    std::span<RowChange> rows() noexcept
    {
        if (several_.empty())
            return {&one_, typed_.size()};
        return several_;
    }
    /// Hands the versions that the commit made, and what it stored, to the caller.
    template <class Table>
    void hand_over(Table const& table)
    {
        for (std::size_t i = 0; i < typed_.size(); ++i) {
            typed_[i].version = rows()[i].version;
            table.tell(rows()[i], typed_[i]);
        }
    }

private:
    std::span<Change<T>> typed_;
    RowChange one_;
    std::vector<RowChange> several_;
};

/// Where the replies of `TableCore::add_careful_change` are.
struct CarefulChange {
    std::optional<std::size_t> guard;  ///< of the fence
    std::optional<std::size_t> seen;   ///< the row without a lock; where policies decide which rows there are
    std::size_t before{0};             ///< the row before the change
    std::size_t change{0};
    std::size_t after{0};  ///< the row after it
};

/// A grant, and the row that was read right after it.
struct GrantAndRow {
    Grant grant;
    Reply row;  ///< of `Statements::load`; without a row, or no reply at all when it was not asked for
};

/// What all handles of one repository share, and its transactions, as far as it does not depend on the types
/// of keys and states: the statements, their parameters, and what their replies mean. `StateTable` adds the
/// types. `R`: the runtime.
///
/// **Thread safety.** Every member may be called from several threads at once.
template <class R>
class TableCore {
public:
    TableCore(std::shared_ptr<PoolState<R>> p, RepositoryOptions o, TypeShape const& shape);
    /// Another handle of the same repository, whose transactions get `settings`, too.
    TableCore(TableCore const& base, std::vector<Setting> settings);
    TableCore(TableCore const&) = delete;
    TableCore& operator=(TableCore const&) = delete;

    // ---- what the types do ----------------------------------------------------------------------

    /// Adds the columns of a key of a user's table. False: no row can have the key.
    virtual bool add_key_columns(KnownTable const& known, Params& params, Key const& key) const = 0;
    /// Whether the columns of a key of a user's table may take it, as far as that is known without a trip.
    virtual bool may_be_key(KnownTable const& known, Key const& key) const = 0;
    /// The values of those columns, each by itself.
    virtual std::vector<Params> parts_of_key(KnownTable const& known, Key const& key) const = 0;
    /// Checks the state of `change`, and adds the columns that are to be written, which `written` then says,
    /// see `ChangeColumns`.
    virtual Outcome<void> add_value(
        KnownTable const& known, Params& params, RowChange const& change, std::string& written) const = 0;
    /// Whether the state's own key is spelled as the key that it is stored under.
    virtual bool names_itself(RowChange const& change) const = 0;
    /// Adds the columns of the state's own key. False: no row can have it.
    virtual bool add_own_key(KnownTable const& known, Params& params, RowChange const& change) const = 0;

    /// Adds the columns of the key of `change`'s state, but for those that the server makes.
    virtual Outcome<void> add_given_key(
        KnownTable const& known, Params& params, RowChange const& change, std::string const& made) const = 0;

    /// A member that a change writes, and its value as the only parameter.
    struct WrittenMember {
        char const* member;
        std::size_t shown;  // its place in `Table::shown`
        Params value;
    };
    /// The members of the state of `change` that can be written.
    virtual std::vector<WrittenMember> members_of(KnownTable const& known, RowChange const& change) const = 0;

    // ---- what the server says of the table ------------------------------------------------------

    using Known = std::shared_ptr<KnownTable const>;
    /// The table as it is known; asks the server in a trip of its own when it is not.
    Outcome<Known> know(Deadline deadline) const;
    /// Asks the server again, after a change was refused by what was known of the table, or by a column:
    /// whether the table is another one by now.
    bool has_changed(KnownTable const& known, Deadline deadline) const;
    /// After an error: true if it may come from a table that is not as it was known. Whoever uses the table
    /// next asks again.
    bool outdated(Known const& known, SqlError const& error) const noexcept;

    /// Adds the settings that the handle's transactions get, where a transaction begins.
    void add_settings(KnownTable const& known, Batch& batch) const noexcept;
    /// Adds the key under which the operation records of `key` are kept for this handle. False: no row can
    /// have it.
    bool add_home(KnownTable const& known, Params& params, Key const& key) const;
    /// Equal for handles to which a key means the same row.
    void const* handle_identity() const noexcept;

    // ---- keys, values and their failures --------------------------------------------------------

    /// Adds the key of a row. False: no row can have it.
    bool add_key(KnownTable const& known, Params& params, Key const& key) const;
    Failure bad_key() const;
    /// The failure of a call by `keys` to which the server answered with `error`. It names the column whose
    /// type refuses a key, and not the value.
    Failure refused_by_key(
        KnownTable const& known, SqlError const& error, Access access, std::span<Key const* const> keys,
        Deadline until) const;
    /// The version of a row, see `Table::seen_version`; nothing: it is no number.
    std::optional<Version> row_version(
        Reply const& reply, std::size_t row, std::size_t column = 0) const noexcept;
    /// The version of a row, which stands first.
    Outcome<Version> version_of(Reply const& reply, std::size_t row) const;
    /// Success, or the failure of a value of this encoded size.
    Outcome<void> check_size(std::size_t size) const;
    /// Success, or the failure of an encoded value of this size.
    Outcome<void> check_encoded(std::size_t size) const;
    Failure does_not_fit(char const* column) const;
    static Failure foreign_key();
    /// A key that names more than one row is no key.
    Failure several_rows() const;
    /// Nor may two keys of a call name one row.
    Failure one_row_twice() const;
    /// The failure of a member that was changed, and must not be written.
    Failure not_to_be_written(std::size_t shown, Writing why, RowChange const& change) const;
    /// The failure of a change of which a trigger or a rule of the table made nothing, or something else.
    Failure made_nothing_of(RowChange const& change) const;
    /// Whether row-level policies decide which rows of the table there are.
    bool decided_by_policies() const noexcept;
    /// The failure of a row that policies show, and that they do not let be locked.
    Failure row_not_locked() const;
    /// The clause that locks a row.
    char const* lock_clause() const noexcept;
    /// The failure of a member whose value cannot stand in any column of its kind.
    Failure cannot_hold(char const* member, char const* why) const;
    static Failure undecodable(Version version, interlock::detail::Reading const& reading);

    /// Adds the key by which locks are kept. False: no row can have it.
    bool add_record_key(KnownTable const& known, Params& params, Key const& key) const;
    /// Adds what the number of the key's advisory lock is made of; likewise.
    bool add_lock_number(KnownTable const& known, Params& params, Key const& key) const;
    /// Under what wake-ups of the key's lock are sent: equal for the usual spellings of one key and for the
    /// names of one table. Others may share it, which costs them a look in vain.
    std::uint64_t wake_hash(Key const& key) const noexcept;
    std::string free_message(Key const& key) const;

    // ---- single statements ----------------------------------------------------------------------

    /// One row, or none.
    Outcome<Reply> load(Key const& key, Deadline deadline) const;
    /// The same for several keys, in one trip.
    Outcome<std::vector<Reply>> load_all(std::span<Key const> keys, Deadline deadline) const;
    Outcome<verb::FindSameKeys::answer> find_same_keys(std::span<Key const> keys, Deadline deadline) const;
    /// `state`: the row is read, too, after the lock was granted.
    Outcome<GrantAndRow> create(verb::Create const& create, bool state, Deadline deadline) const;
    Outcome<std::chrono::nanoseconds> renew(verb::Renew const& renew, Deadline deadline) const;
    /// No `owner`: whoever it is.
    Outcome<Removal> remove(Key const& key, OwnerToken const* owner, Deadline deadline) const;
    Outcome<std::optional<LockInfo>> inspect(Key const& key, Deadline deadline) const;
    Outcome<Removal> break_lock(verb::BreakLock const& broken, Deadline deadline) const;
    /// The next locks behind the record of `key`, in the order of that; none: the end.
    Outcome<std::vector<FoundLock>> locks_behind(std::string_view key, Deadline deadline) const;
    Outcome<void> verify_fencing(Deadline deadline) const;
    Outcome<ServerCheck> server_check(Deadline deadline) const;
    /// A little of what `purge` does, by those who make it necessary.
    Outcome<void> forget_expired(Deadline deadline) const;
    /// What stands behind `rows_text` in the statement of `FreeRows`. Throws `Error`
    /// (`invalid_argument`) where it cannot be.
    std::string free_rows(std::string const& where, std::string const& order_by) const;

    // ---- changes --------------------------------------------------------------------------------

    static Outcome<void> check(RowChange const& change);
    /// Whether there is anything to ask the server.
    static bool has_effect(RowChange const& change) noexcept;
    /// Adds the statement of one change; the parameters are in the order of `change_text`. Its events are
    /// appended if the change was made.
    Outcome<void> add_change(
        KnownTable const& known, Batch& batch, RowChange const& change, OperationCommit const* operation,
        Refusal refusal = Refusal::reply, WithEvents with_events = WithEvents::none) const;
    bool add_operation(KnownTable const& known, Params& params, OperationCommit const& operation) const;

    // ---- events of the changes ------------------------------------------------------------------

    /// Looks whether the events of the changes can be stored, and finds the stream of each change; nothing is
    /// written. `ask(batch)` runs statements that only read, and gives their replies: once for a log that is
    /// not known yet, and for keys that the server takes in several spellings.
    template <class Ask>
    Outcome<void> prepare_events(KnownTable const& known, std::span<RowChange> changes, Ask ask) const;
    /// Adds the statements that append the events of a change, behind the change itself.
    void add_events(Batch& batch, RowChange const& change) const;
    /// Adds the streams that several changes append to.
    void add_streams(StreamLocks& locks, std::span<RowChange const> changes) const;
    /// Tells those who read the log, once the commit was made.
    void announce(std::span<RowChange const> changes) const noexcept;

    /// Adds the statement that finds an operation's record.
    Outcome<void> add_find(
        KnownTable const& known, Batch& batch, Key const& key, OperationId const& id) const;
    /// The same where nothing may be taken for granted: the user's own triggers or rules take part. What came
    /// of the change is found by looking at the row before and after it, in one transaction, under the row's
    /// lock. `CarefulChange` says where the replies are.
    Outcome<void> add_careful_change(
        KnownTable const& known, Batch& batch, RowChange const& change, CarefulChange& at) const;
    /// What those replies say.
    Outcome<void> judge_carefully(
        KnownTable const& known, std::span<Reply const> replies, CarefulChange const& at,
        RowChange const& change) const;
    /// Success, unless the table takes no rows by its key, or the state's own key is surely another one.
    Outcome<void> fits_key(KnownTable const& known, RowChange const& change) const;
    /// Whether triggers or rules may make something else of the change than it says.
    static bool needs_care(KnownTable const& known, RowChange const& change) noexcept;
    /// Whether a row may be there although the change says that it was erased: a rule or a view has made
    /// something else of that. Such a change is made with care from the start.
    static bool may_stay(KnownTable const& known, RowChange const& change) noexcept;
    /// Whether the row is read again behind the change, since a trigger may have changed it once more. Its
    /// reply is the next one.
    static bool reads_again(KnownTable const& known, RowChange const& change) noexcept;
    Outcome<void> add_load(KnownTable const& known, Batch& batch, Key const& key) const;
    /// The failure of changes that the server has refused. Where a value does not fit its column, the server
    /// does not name the column; it is then asked, in one more trip, which of the values it refuses.
    Failure refused(
        KnownTable const& known, SqlError const& error, std::span<RowChange const> changes, Access access,
        Deadline until) const;
    /// What the reply of a change says. Nothing: the row must be looked at, see `change_text`.
    std::optional<Errc> judge(Reply const& reply, RowChange const& change) const noexcept;
    /// Why a change was refused, which left no trace, as the row says now. Nothing: it does not say, so that
    /// the change must be made with care; the table is asked for anew by whoever comes next. `misconfigured`:
    /// the key has several rows; `invalid_argument`: the state's own key is another one.
    Outcome<std::optional<Errc>> why_refused(RowChange const& change, Deadline deadline) const;
    /// Whether a refused change is one whose reason must be looked for, whatever its reply has said.
    bool must_look(KnownTable const& known, RowChange const& change, Errc code) const;
    /// After an error: whether it may say that the row which was to be inserted is there already. ON CONFLICT
    /// would have said so without an error, but not every table has an index for it.
    static bool may_be_taken(
        KnownTable const& known, RowChange const& change, SqlError const& error) noexcept;
    /// Whether a state is written whose own key is spelled otherwise than the key that it is stored under.
    bool respelled(RowChange const& change) const;
    /// After the commit: the version that the change made, and the row, by the reply of the change and, where
    /// it was read again, by that.
    void set_stored(KnownTable const& known, Reply& reply, Reply* again, RowChange& change) const noexcept;
    /// A commit of at most one change: one statement, one trip. `unclear`: the change left no trace and must
    /// be made once more, with care; what is returned then is void.
    Outcome<CommitResult> commit_one(
        std::span<RowChange> changes, OperationCommit const* operation, Deadline until, bool& unclear) const;

    /// Inserts a row whose key the server makes. The reply's first column is the version, its last ones are
    /// the state's.
    Outcome<Reply> insert_new(RowChange const& change, OperationId const* id, Deadline until) const;

    // ---- operation records ----------------------------------------------------------------------

    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline) const;
    Outcome<OperationRecord> forbid_operation(verb::ForbidOperation const& forbid, Deadline deadline) const;
    /// The next answers behind the record of `key` and `id`, in the order of those two; none: the end.
    Outcome<std::vector<FoundOperation>> operations_behind(
        std::string_view key, std::string_view id, Deadline deadline) const;
    static Outcome<std::optional<OperationRecord>> record_of(Reply const& reply);
    /// What a commit that was refused, perhaps by its own twin, comes to: the twin's answer, or `refused`.
    Outcome<CommitResult> or_duplicate(
        Failure refused, OperationCommit const* operation, Deadline deadline) const;
    /// Counts commits with an operation record; every so many of them forget what is over.
    void count_record(Deadline until) const;

    std::shared_ptr<PoolState<R>> pool;
    RepositoryOptions options;
    bool mapped;  // onto a user's table
    Table table;  // as the options say
    Statement begin;
    Statement transaction_id;
    Statement commit;
    std::shared_ptr<std::string const> identity;  // of the store and the table, see `intern_store`

protected:
    ~TableCore() = default;

private:
    // The bytes under which operation records of new rows are kept for this handle: no key is known before.
    std::string home_of_new_rows(KnownTable const& known) const;
    // What is recorded of an operation id that inserts a row.
    Outcome<std::optional<OperationRecord>> find_new_row(OperationId const& id, Deadline until) const;
    // Asks the server, and keeps its answer for all.
    Outcome<Known> learn(Deadline deadline) const;
    // The column of the key that refuses its part of `key`; empty: none.
    std::string refused_part(
        KnownTable const& known, SqlError const& error, Key const& key, Deadline until) const;
    // The member of `change` whose value the column refuses; empty: none.
    std::string refused_member(
        KnownTable const& known, SqlError const& error, RowChange const& change, Deadline until) const;
    // The row that was inserted under an operation id, by the id's answer.
    Outcome<Reply> row_of_answer(std::string_view answer, Deadline until) const;
    // The row as it is, by the columns of its key as the server writes them.
    Outcome<Reply> load_by(std::span<std::string const> key, Deadline until) const;
    // Before a commit of one change that has events.
    Outcome<void> prepare_one(RowChange& change, Deadline until) const;
    // An error of a commit of one change.
    Outcome<CommitResult> error_of_one(
        KnownTable const& known, SqlError const& error, RowChange const& change,
        OperationCommit const* operation, Deadline until, bool& unclear) const;
    Outcome<CommitResult> judge_one(
        KnownTable const& known, Reply const& reply, RowChange const& change,
        OperationCommit const* operation, Deadline until, bool& unclear) const;
    Known make_known(Table fitting, TableFacts facts, RowPolicies policies) const;
    // What the policies do, from the facts and the second reply of `know`.
    Outcome<RowPolicies> policies_of(TableFacts const& facts, Reply const& reply) const;
    // Runs what `fill(known, batch)` adds; once more, on a table that was asked for anew, where an error may
    // come from a table that had changed. `used`: the table, as it was known to what was answered.
    template <class F>
    Outcome<Exchange> run(Access access, Deadline deadline, F fill, Known* used = nullptr) const;
    // The same, with every error of the server as a failure. `keys`: by which the call is.
    template <class F>
    Outcome<std::vector<Reply>> ask(
        Access access, Deadline deadline, F fill, std::span<Key const* const> keys = {}) const;

    // As `ask`. `fill(known, batch, named)` adds the statement for tables that keep the names of holders, or
    // the other one: it is asked again without, once the server has said that there is no such column.
    template <class F>
    Outcome<std::vector<Reply>> ask_of_locks(
        Access access, Deadline deadline, F fill, std::span<Key const* const> keys = {}) const;

    // What all handles of the repository have learnt and counted together.
    struct Shared {
        std::atomic<std::uint32_t> recorded{0};  // see `count_record`
        std::atomic<bool> cards{true};  // the table of the locks has columns for the names of holders
        std::atomic<bool> meets_policies{false};  // a statement has failed because a policy would apply to it
        std::atomic<bool> policies_decide{false};  // `RowPolicies::decide_rows` was true once
        std::mutex mutex;                          // guards what follows
        Known known;                               // null: the server must be asked
        Known last;                                // what it has answered last
        std::uint64_t schema{0};                   // `PoolState::schema` when it was asked
        std::string role;                          // `RowPolicies::role`, when policies decided
    };

    std::vector<KeyPartKind> key_kinds_;
    std::shared_ptr<Shared> shared_{std::make_shared<Shared>()};
    TransactionSettings settings_;
    mutable std::once_flag scoped_;                               // guards the next one
    mutable std::shared_ptr<std::string const> scoped_identity_;  // see `handle_identity`
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/table_core.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TABLE_CORE_HPP
