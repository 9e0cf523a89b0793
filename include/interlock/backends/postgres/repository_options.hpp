// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_REPOSITORY_OPTIONS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_REPOSITORY_OPTIONS_HPP

/// @file
/// How a repository keeps its data in a PostgreSQL server: in the user's own table, or in one of ours.
///
///     postgres::StateRepository<Stock> const stock{pool, {.table = "stock", .key = "sku"}};

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {
class EventSink;
}

/// The log behind an `EventRepository` of whatever runtime. Users pass the repository.
class EventLogHandle {
public:
    /// No log.
    EventLogHandle() noexcept = default;
    explicit EventLogHandle(std::shared_ptr<detail::EventSink const> log) noexcept : log_(std::move(log)) {}
    detail::EventSink const* get() const noexcept { return log_.get(); }

private:
    std::shared_ptr<detail::EventSink const> log_;
};

/// How a log of events is kept.
struct EventRepositoryOptions {
    /// The table of the events, perhaps with its schema in front, written as `RepositoryOptions::table` is.
    /// Empty: `interlock_event`, where `interlock` is the pool's name space. The names of the other objects
    /// of the log begin with it, so it has at most 48 bytes; see `EventRepository::schema_sql`.
    std::string table{};
    /// Into how many parts the log is divided, 1 to 256; the same for ever, and for all programs. The events
    /// of one stream are in one partition; each partition has one reader at a time.
    unsigned partitions{1};
    /// What `Event::writer` says: the service, or the instance, that writes into the log by these options.
    std::string writer{};
};

/// What a row transaction locks: see "Row-Level Locks" and "Advisory Locks" in PostgreSQL's manual. All of
/// them end with the transaction, so there is no lease to lose and no fence to check.
enum class RowLock : unsigned char {
    for_update,         ///< the row, against everybody who writes or locks it
    for_no_key_update,  ///< the same, but rows that refer to it by a foreign key may still be inserted
    /// The key by an advisory lock of its 64-bit hash (`pg_advisory_xact_lock`), and then the row, if there
    /// is one, as by `for_update`. For states that often have no row yet: those are locked in the same trip,
    /// where the others need a second one. Two keys of one hash may wait for each other without need; one key
    /// is never locked twice.
    advisory,
};

/// What a transaction sees of others that run beside it: see "Transaction Isolation" in PostgreSQL's manual.
enum class Isolation : unsigned char {
    read_committed,   ///< a locking read gives the row as it is once the lock is granted
    repeatable_read,  ///< a row changed meanwhile is `serialization_failure`: the operation runs again
    serializable,     ///< likewise; and the operation's own statements read as if no other transaction ran
};

/// Which members a change of a row writes.
enum class Write : unsigned char {
    /// Those that the operation has changed. What others write into the other columns stays, also where they
    /// do not move the version. A call that does not say what was loaded (`compare_and_set`) writes all.
    changed,
    all,  ///< all that can be written
};

/// What an empty optional is in a new row.
enum class Empty : unsigned char {
    /// NULL. Only where the column is NOT NULL and has a default, it is that default.
    null,
    column_default,  ///< the column's default, which is NULL where the column has none
};

/// The column of a member that has another name than the member: `{"date", "\"order date\""}`.
struct ColumnOf {
    std::string member{};
    std::string column{};
};

/// What a setting of a transaction is for.
enum class SettingUse : unsigned char {
    /// Row-level policies read it, so it decides which rows there are: the tenant. Where policies apply,
    /// calls with another value are another tenant's, whose stored answers are its own.
    scope,
    /// Triggers and logs read it: the user, the request. A call that is repeated with another value is the
    /// same call, and gets the same stored answer. No row-level policy may read it.
    audit,
};

/// A setting that each transaction of a repository gets, as by `SET LOCAL`: it ends with the transaction. The
/// user's policies, triggers and defaults read it by `current_setting('app.tenant')`.
struct Setting {
    /// A name, a value, and what the setting is for.
    Setting(std::string n, std::string v, SettingUse u = SettingUse::scope)
        : name(std::move(n)), value(std::move(v)), use(u)
    {}

    /// Names with a dot between them: `app.tenant`. Settings of the server itself (`search_path`, `role`,
    /// `statement_timeout`) have no dot, and are refused.
    std::string name;
    std::string value;  ///< any text without a NUL, of at most 64 KiB
    SettingUse use;
};

/// How one repository keeps its data.
///
/// **Names.** The name of a table, a column or a sequence is quoted when it is sent, so that it may be a
/// reserved word. A name of lower-case letters, digits and `_` is written as it is: `order`. Any other name
/// is written as SQL writes it, in double quotes (`"orderId"`, `"Order Lines"`), with `""` for a quote
/// within, since SQL folds capitals to small letters where there are no quotes. A dot outside of quotes
/// stands between a schema and the name: `sales.order`. A name has at most 63 bytes.
struct RepositoryOptions {
    /// The user's table, perhaps with its schema in front. Empty: the library's own, with states encoded by
    /// `StateTraits`. The states of a table must be described structs with one member per column, of exactly
    /// the column's name (a member `orderId` is the column `"orderId"`), or see `columns`: numbers, `bool`,
    /// strings, enumerations (by name if described, else by number) and optionals of those. A
    /// member that is a described struct stands for its own members' columns. Columns without a member are
    /// left alone, and get their default in new rows.
    std::string table{};
    /// The key column: a primary key, or another one of which the rows that `where` means have each value
    /// once. However a key is spelled, the server decides which row it is. Several columns, with commas
    /// between them: `"order_id, line"`; the key type is then a tuple or a pair of as many parts, in that
    /// order, or a described struct with these members, in that order.
    std::string key{};
    /// The column of the version. It may be a member, too, which then shows the version that was loaded; what
    /// an operation writes there is ignored. What it can be, and promise (law P3):
    /// - **An integer** (`smallint` to `bigint`, `numeric`). Each change counts it up by 1, as Rails
    ///   (`lock_version`) and Hibernate (`@Version`) do, which may write the same rows. 0 and NULL are the
    ///   version of a row that was never changed; it reads `last_version - 1`, and the first change makes it
    ///   1. A type's last version is `version_exhausted`.
    /// - **`xmin`**, the transaction that wrote the row, as Entity Framework uses it. Nothing is added to
    ///   the table, and no write of anybody goes unnoticed, erased and inserted rows among them. It has 32
    ///   bits: a version that is kept while 4 billion transactions pass may come again.
    /// - **A time stamp** (`timestamptz`, or `timestamp` in UTC). A change takes the server's clock, and at
    ///   least one unit of the column more than before. Others that write must move it, too, and two of them
    ///   in one unit are taken for one: then P3 is void. `infinity` is `corrupt_state`.
    ///
    /// A trigger may set it, as long as each change gives the row another value.
    std::string version{"version"};
    /// A sequence without cache that new versions are drawn from. Without one a change counts up from 1, and
    /// a key that is erased and inserted again has versions that it had before: then law P3 holds only while
    /// nothing is erased.
    std::string version_sequence{};
    /// The columns of members that have other names than their columns. A member that is not named here is
    /// the column of its own name. `key` and `version` name columns.
    std::vector<ColumnOf> columns{};
    /// A condition in SQL over the table's columns that a row must meet to be one of the repository's:
    /// `"deleted_at IS NULL"`. Every statement of the repository adds it, so that other rows of the same key
    /// are neither read nor changed. It is a part of the program: never make it of what a user sent.
    /// Repositories with different conditions are different stores: each has locks and operation records of
    /// its own.
    std::string where{};
    /// Members that are only read, with commas between them: `"total, created_at"`. An operation that changes
    /// one is refused with `invalid_argument`, which names the member; new rows get the column's default. Not
    /// to be named here are the columns that the server makes itself (GENERATED ALWAYS, also as identity) and
    /// the version: what an operation writes there is ignored.
    std::string read_only{};
    /// Which members a change writes. A column that the role may not write is left alone while its member is
    /// not changed; after that `misconfigured` names it.
    Write write{Write::changed};
    /// What an empty optional is in a new row.
    Empty empty{Empty::null};
    /// What row transactions lock. `PessimisticRowLock::wait` says whether a call waits for a lock that
    /// somebody else has, and the call's deadline says how long.
    RowLock row_lock{RowLock::for_update};
    /// Of row transactions, and of commits of several keys.
    Isolation isolation{Isolation::read_committed};
    /// Encoded size of one value, for types that `StateTraits` can encode; beyond it `invalid_argument`.
    std::size_t max_value_bytes{std::size_t{1} << 20};
    /// How long an operation record is kept, by the server's clock. It must be longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
    /// What each transaction of the repository is told, sent with its first statement at no extra trip; at
    /// most 32. For settings that differ from call to call, see `StateRepository::with_settings`.
    std::vector<Setting> settings{};
    /// Where the events go that operations record, in the same transactions: a `postgres::EventRepository` of
    /// the same pool. Without one a call whose operation records is `misconfigured`.
    EventLogHandle events{};
};

/// What a server says about itself that decides what can be promised.
struct ServerCheck {
    int version{0};  ///< as 150004
    /// `off`: a server that crashes forgets the last commits, and with them what it had answered: P3 and P4
    /// are void.
    std::string synchronous_commit;
    /// False: a crash may damage everything.
    bool fsync{true};
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_REPOSITORY_OPTIONS_HPP
