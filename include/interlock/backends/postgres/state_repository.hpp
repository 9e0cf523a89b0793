// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in a PostgreSQL server; states in the user's own table, or in one of ours.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/columns.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/committing_members.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// What a row transaction locks: see "Row-Level Locks" and "Advisory Locks" in PostgreSQL's manual. All of them end with
/// the transaction, so there is no lease to lose and no fence to check.
enum class RowLock : unsigned char {
    for_update,         ///< the row, against everybody who writes or locks it
    for_no_key_update,  ///< the same, but rows that refer to it by a foreign key may still be inserted
    /// The key by an advisory lock of its 64-bit hash (`pg_advisory_xact_lock`), and then the row, if there is one, as
    /// by `for_update`. For states that often have no row yet: those are locked in the same trip, where the others need a
    /// second one. Two keys of one hash may wait for each other without need; one key is never locked twice.
    advisory,
};

/// Of the transactions of `PessimisticRowLock`, and of commits of several keys.
enum class Isolation : unsigned char {
    read_committed,   ///< a locking read gives the row as it is once the lock is granted
    repeatable_read,  ///< one that was changed meanwhile is `serialization_failure`: the operation runs again
    serializable,     ///< likewise, and also what the operation's own statements read is as if it were alone
};

/// How one repository keeps its data.
struct RepositoryOptions {
    /// The user's table, perhaps with its schema in front: lower-case letters, digits and `_`. Empty: the library's own,
    /// with states encoded by `StateTraits`. The states of a table must be described structs with one member per column, of
    /// the column's name: numbers, `bool`, strings, enumerations (by name if described, else by number) and optionals of
    /// those. A member that is a described struct stands for its own members' columns. Columns without a member are
    /// left alone, and get their default in new rows.
    std::string table{};
    /// The key column: a primary key, or another unique one. Its collation must be deterministic. Several, with commas
    /// between them: `"order_id, line"`; the key type is then a tuple or a pair of as many parts, in that order, or a
    /// described struct with these members, in that order.
    std::string key{};
    /// The column of the version: an integer, NOT NULL, from 1. It may be a member, too, which then shows the version that
    /// was loaded; what an operation writes there is ignored.
    std::string version{"version"};
    /// A sequence without cache that new versions are drawn from. Without one a change counts up from 1, and a key that is
    /// erased and inserted again has versions that it had before: then law P3 holds only while nothing is erased.
    std::string version_sequence{};
    /// Of row transactions. `PessimisticRowLock::wait` says whether somebody waits for it, the call's deadline how long.
    RowLock row_lock{RowLock::for_update};
    Isolation isolation{Isolation::read_committed};
    /// Encoded size of one value, for types that `StateTraits` can encode; beyond it `invalid_argument`.
    std::size_t max_value_bytes{std::size_t{1} << 20};
    /// How long an operation record is kept, by the server's clock. Longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// What a server says about itself that decides what can be promised.
struct ServerCheck {
    int version{0};  ///< as 150004
    /// `off`: a server that crashes forgets the last commits, and with them what it had answered: P3 and P4 are void.
    std::string synchronous_commit;
    /// False: a crash may damage everything.
    bool fsync{true};
};

namespace detail {

inline std::int64_t whole_microseconds(std::chrono::nanoseconds time) noexcept
{
    return std::chrono::ceil<std::chrono::microseconds>(time).count();
}

inline Failure damaged(char const* what)
{
    return Failure{Errc::corrupt_state, std::string("postgres: ") + what};
}

inline std::string_view as_text(std::array<char, 16> const& bytes) noexcept
{
    return {bytes.data(), bytes.size()};
}

/// What all handles of one repository share, and its transactions.
template <class T, class K>
class Store {
public:
    Store(std::shared_ptr<PoolState> p, RepositoryOptions o)
        : pool(std::move(p)), options(std::move(o)), mapped(!options.table.empty()),
          table(table_of(options, pool->options().name_space, mapped)),
          statements(
              table, pool->options().name_space,
              options.row_lock == RowLock::for_no_key_update ? "FOR NO KEY UPDATE" : "FOR UPDATE"),
          identity(intern_store(pool->endpoint() + "/" + pool->options().name_space + "/" + table.name))
    {
        begin = Statement{
            options.isolation == Isolation::serializable      ? "BEGIN ISOLATION LEVEL SERIALIZABLE"
            : options.isolation == Isolation::repeatable_read ? "BEGIN ISOLATION LEVEL REPEATABLE READ"
                                                              : "BEGIN ISOLATION LEVEL READ COMMITTED"};
        transaction_id = Statement{"SELECT pg_current_xact_id()"};
        commit = Statement{"COMMIT"};
    }

    // ---- keys and values -------------------------------------------------------------------------------------

    /// False: no row can have the key.
    bool add_key(Params& params, Key const& key) const
    {
        if (!mapped) {
            params.bytes(key.bytes());
            return true;
        }
        if constexpr (is_key_type<K>) {
            K const decoded(KeyTraits<K>::decode(key.bytes()));
            bool good = KeyTraits<K>::encode(decoded) == key.bytes();
            for_each_part(decoded, [&](auto const& part) { good = good && add_column(params, part); });
            return good;
        } else {
            return false;
        }
    }
    static Failure bad_key()
    {
        return Failure{
            Errc::invalid_argument, "postgres: no row can have the key: a text has a NUL, or it is not of the key's type"};
    }

    Outcome<void> check_value(Key const& key, T const& value) const
    {
        if constexpr (requires { StateTraits<T>::encoded_size(value); })
            if (auto const size = StateTraits<T>::encoded_size(value); size > options.max_value_bytes)
                return Failure{
                    Errc::invalid_argument, "value has " + std::to_string(size) + " bytes, the limit is " +
                                                std::to_string(options.max_value_bytes)};
        if (mapped && !interlock::detail::belongs_to<T, K>(value, key))
            return Failure{Errc::invalid_argument, "the state's key is not the key that it is stored under"};
        return success();
    }

    Outcome<void> add_value(Params& params, T const& value) const
    {
        if (!mapped) {
            if constexpr (StorableState<T>) {
                std::string encoded;
                if (auto failure = interlock::detail::encode_state(value, encoded))
                    return *std::move(failure);
                if (encoded.size() > options.max_value_bytes)
                    return Failure{Errc::invalid_argument, "the encoded value is larger than max_value_bytes"};
                params.bytes(encoded);
            }
            return success();
        }
        if constexpr (is_row_type<T>()) {
            char const* bad = nullptr;
            std::size_t column = 0;
            for_each_column(value, [&](char const* name, auto const& member) {
                if (table.written[column++] && bad == nullptr && !add_column(params, member))
                    bad = name;
            });
            if (bad != nullptr)
                return Failure{Errc::invalid_argument, std::string("postgres: the text of ") + bad + " has a NUL"};
        }
        return success();
    }

    /// The state of a row of `load` or a locking read.
    Outcome<Versioned<T>> read(Reply const& reply, std::size_t row) const
    {
        auto const version = reply.number(row, 0);
        if (!version || *version <= no_version)
            return Failure{Errc::corrupt_state, "postgres: a version in " + table.name + " is not at least 1"};
        if (!mapped) {
            auto const bytes = reply.bytes(row, 1);
            if constexpr (StorableState<T>)
                if (bytes)
                    if (auto value = interlock::detail::decode_state<T>(*bytes))
                        return Versioned<T>{*std::move(value), *version};
            return Failure{
                Errc::corrupt_state, "postgres: a stored value cannot be decoded; version " + std::to_string(*version)};
        }
        if constexpr (is_row_type<T>()) {
            Versioned<T> out{T{}, *version};
            char const* bad = nullptr;
            std::size_t column = 1;
            for_each_column(out.value, [&](char const* name, auto& member) {
                if (!read_column(reply, row, column++, member) && bad == nullptr)
                    bad = name;
            });
            if (bad == nullptr)
                return out;
            return Failure{Errc::corrupt_state, "postgres: " + table.name + "." + bad + " does not fit its member"};
        } else {
            return damaged("not a row type");
        }
    }

    std::int64_t lock_number(Key const& key) const noexcept { return static_cast<std::int64_t>(lock_hash(key)); }
    std::uint64_t lock_hash(Key const& key) const noexcept { return stable_hash(table.name, key.bytes()); }
    std::string free_message(Key const& key) const { return "f" + hex(lock_hash(key), 16); }

    // ---- changes -------------------------------------------------------------------------------------------------

    static RowAction action_of(Change<T> const& change) noexcept
    {
        switch (change.kind) {
        case ChangeKind::write: return change.version == no_version ? RowAction::insert : RowAction::update;
        case ChangeKind::erase: return RowAction::erase;
        case ChangeKind::verify: return RowAction::verify;
        case ChangeKind::guard: break;
        }
        return RowAction::nothing;
    }

    static Outcome<void> check(Change<T> const& change)
    {
        if (!change.key->valid())
            return change.key->validate().failure();
        if (change.version < no_version)
            return damaged("a version is negative");
        return success();
    }

    /// Whether there is anything to ask the server.
    static bool has_effect(Change<T> const& change) noexcept
    {
        return change.kind != ChangeKind::guard || change.fence != nullptr;
    }

    /// Adds the statement of one change; the parameters are in the order of `change_text`.
    Outcome<void> add_change(
        Batch& batch, Change<T> const& change, OperationCommit const* operation, Refusal refusal = Refusal::reply) const
    {
        if (auto valid = check(change); !valid)
            return valid;
        auto const action = action_of(change);
        auto const fencing = change.fence == nullptr ? Fencing::none
                             : change.release        ? Fencing::guarded_and_released
                                                     : Fencing::guarded;
        Params params;
        if (action != RowAction::nothing && !add_key(params, *change.key))
            return bad_key();
        if (change.fence != nullptr) {
            params.bytes(change.key->bytes());
            params.bytes(as_text(change.fence->owner.bytes()));
            params.number(static_cast<std::int64_t>(std::min<std::uint64_t>(change.fence->token.value(), INT64_MAX)));
            if (change.release)
                params.text(free_message(*change.key));
        }
        if (operation != nullptr)
            add_operation(params, *operation);
        switch (action) {
        case RowAction::insert: params.number(lock_number(*change.key)); break;
        case RowAction::update:
        case RowAction::erase:
        case RowAction::verify: params.number(change.version); break;
        case RowAction::nothing: break;
        }
        if (change.kind == ChangeKind::write) {
            if (auto good = check_value(*change.key, *change.value); !good)
                return good;
            if (auto added = add_value(params, *change.value); !added)
                return added;
        }
        if (operation != nullptr || refusal == Refusal::error)
            params.text(race_word());
        batch.add(
            refusal == Refusal::error ? statements.last_change(action, operation != nullptr)
                                      : statements.change(action, fencing, operation != nullptr),
            std::move(params));
        return success();
    }

    void add_operation(Params& params, OperationCommit const& operation) const
    {
        params.bytes(operation.home->bytes());
        params.bytes(operation.id->value());
        params.number(operation.attempt);
        params.bytes(operation.answer);
        params.number(whole_microseconds(operation.id->kept_for(options.retention)));
    }

    /// What the reply of a change says. Nothing: the row must be looked at, see `plain_change_text`.
    static std::optional<Errc> judge(Reply const& reply, Change<T> const& change) noexcept
    {
        if (reply.rows() > 0 && !reply.null(0, new_version))
            return Errc::ok;
        if (reply.rows() == 0) {
            if (change.kind == ChangeKind::write && change.version == no_version)
                return Errc::already_exists;
            return std::nullopt;
        }
        if (!reply.boolean(0, fence_holds))
            return Errc::fenced_out;
        if (change.kind == ChangeKind::write && change.version == no_version)
            return Errc::already_exists;
        return reply.null(0, present_version) ? Errc::not_found : Errc::version_conflict;
    }

    /// Why a plain change was refused: whether there is a row.
    Outcome<bool> exists(Change<T> const& change, Deadline deadline) const
    {
        Params params;
        static_cast<void>(add_key(params, *change.key));
        auto reply = pool->execute(statements.load, std::move(params), Access::read, deadline);
        if (!reply)
            return std::move(reply).failure();
        return reply->rows() > 0;
    }

    /// After the commit: the version that the change made.
    static void set_version(Reply const& reply, Change<T>& change) noexcept
    {
        if (auto const version = reply.number(0, new_version);
            version && (change.kind == ChangeKind::write || change.kind == ChangeKind::erase))
            change.version = *version;
    }

    // ---- operation records -----------------------------------------------------------------------------------------

    Outcome<std::optional<OperationRecord>> find_operation(Key const& key, OperationId const& id, Deadline deadline) const
    {
        Params params;
        params.bytes(key.bytes());
        params.bytes(id.value());
        auto reply = pool->execute(statements.find_operation, std::move(params), Access::read, deadline);
        if (!reply)
            return std::move(reply).failure();
        return record_of(*reply);
    }

    static Outcome<std::optional<OperationRecord>> record_of(Reply const& reply)
    {
        if (reply.rows() == 0)
            return std::optional<OperationRecord>{};
        auto const sequence = reply.number(0, 0);
        auto const attempt = reply.number(0, 1);
        auto answer = reply.bytes(0, 3);
        if (!sequence || !attempt || !answer)
            return damaged("an operation record is damaged");
        return std::optional<OperationRecord>{OperationRecord{
            static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), reply.boolean(0, 2), *std::move(answer)}};
    }

    /// What a commit that was refused, perhaps by its own twin, comes to: the twin's answer, or `refused`.
    Outcome<CommitResult> or_duplicate(Failure refused, OperationCommit const* operation, Deadline deadline) const
    {
        if (operation == nullptr)
            return refused;
        auto record = find_operation(*operation->home, *operation->id, deadline);
        if (!record)
            return refused;
        if (*record && (*record)->answered)
            return CommitResult{true, std::move((*record)->answer)};
        if (*record && (*record)->attempt >= operation->attempt)
            return Errc::superseded;
        return refused;
    }

    std::shared_ptr<PoolState> pool;
    RepositoryOptions options;
    bool mapped;
    Table table;
    Statements statements;
    Statement begin;
    Statement transaction_id;
    Statement commit;
    std::shared_ptr<std::string const> identity;
    std::atomic<std::uint32_t> recorded{0};

private:
    static Table table_of(RepositoryOptions const& options, std::string const& ns, bool mapped)
    {
        auto const wrong = [](std::string what) { throw Error(Errc::invalid_argument, "postgres: " + what); };
        Table t;
        if (!mapped) {
            if constexpr (!StorableState<T>)
                wrong("a state in the library's table needs StateTraits<T>::encode and decode");
            t.name = ns + "_state";
            t.key = {"key"};
            t.version = "version";
            t.columns = t.shown = {"data"};
            t.first_version = t.next_version = "nextval('" + ns + "_version')";
            t.key_type = t.value_type = "::bytea";
            return t;
        }
        if constexpr (!is_row_type<T>())
            wrong("a table needs a default-constructible BOOST_DESCRIBE_STRUCT type whose members are columns");
        if constexpr (!is_key_type<K>)
            wrong("the key type is neither a column nor made of columns; it needs KeyTraits<K>::decode");
        auto const dot = options.table.find('.');
        auto const schema = dot == std::string::npos ? std::string("public") : options.table.substr(0, dot);
        if (!valid_identifier(schema) || !valid_identifier(options.table.substr(dot == std::string::npos ? 0 : dot + 1)))
            wrong("table must be made of lower-case letters, digits and '_', perhaps with a schema and a dot in front");
        auto const keys = listed(options.key);
        if (!std::all_of(keys.begin(), keys.end(), [](auto const& name) { return valid_identifier(name); }) ||
            !valid_identifier(options.version))
            wrong("key and version must name columns, by lower-case letters, digits and '_'");
        if constexpr (is_key_type<K>)
            check_key_columns(keys, wrong);
        auto const dot_of_sequence = options.version_sequence.find('.');
        if (!options.version_sequence.empty() &&
            (!valid_identifier(options.version_sequence.substr(dot_of_sequence == std::string::npos ? 0 : dot_of_sequence + 1)) ||
             (dot_of_sequence != std::string::npos && !valid_identifier(options.version_sequence.substr(0, dot_of_sequence)))))
            wrong("version_sequence must be made of lower-case letters, digits and '_'");
        // Quoted, so that a column may be called "order"; they are valid, so quotes change nothing else.
        auto const quoted = [](std::string const& name) { return "\"" + name + "\""; };
        t.name = options.table;
        for (auto const& name : keys)
            t.key.push_back(quoted(name));
        t.version = quoted(options.version);
        for (auto const& name : column_names<T>()) {
            if (!valid_identifier(name))
                wrong("member " + name + " cannot be a column: lower-case letters, digits and '_' only");
            t.shown.push_back(quoted(name));
            t.written.push_back(name != options.version && std::find(keys.begin(), keys.end(), name) == keys.end());
            if (t.written.back())
                t.columns.push_back(quoted(name));
        }
        if (options.version_sequence.empty()) {
            t.first_version = "1";
            t.next_version = "t." + t.version + " + 1";
        } else {
            t.first_version = t.next_version = "nextval('" + options.version_sequence + "')";
        }
        return t;
    }

    /// The names of a list with commas.
    static std::vector<std::string> listed(std::string_view names)
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

    template <class Wrong>
    static void check_key_columns(std::vector<std::string> const& keys, Wrong wrong)
    {
        if constexpr (is_row_type<K>()) {
            if (keys != column_names<K>())
                wrong("key must name the members of the key's struct, in their order");
        } else {
            std::size_t parts = 1;
            if constexpr (!is_column_type<K>())
                parts = std::tuple_size_v<K>;
            if (keys.size() != parts)
                wrong("key names " + std::to_string(keys.size()) + " columns, its type has " + std::to_string(parts));
        }
    }
};

}  // namespace detail

/// An open row transaction of a `postgres::StateRepository`. Models `interlock::RowTransaction`.
template <class T, class K>
class RowTransaction : public Transaction {
    using Store = detail::Store<T, K>;

public:
    /// What operations get of it: nothing that ends it.
    using operation_type = Transaction;
    using async_operation_type = AsyncTransaction;

    RowTransaction(RowTransaction&&) noexcept = default;
    RowTransaction& operator=(RowTransaction&&) noexcept = default;
    ~RowTransaction() = default;

    /// The i-th locked row as the locking read returned it; nothing when the key has no value.
    std::optional<Versioned<T>>& state(std::size_t i) { return rows_[i].state; }

    Outcome<CommitResult> commit(std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
    {
        if (async_ && !async_->idle())
            return AsyncTransaction::not_awaited();
        if (own_key_)
            for (auto& change : changes)
                change.key = &*own_key_;
        auto result = do_commit(changes, operation, deadline);
        end();
        return result;
    }
    void rollback() noexcept
    {
        async_.reset();
        end();
    }

    /// For one run of an asynchronous operation.
    explicit operator AsyncTransaction&()
    {
        async_.reset(new AsyncTransaction(*this));
        return *async_;
    }
    /// Whether a commit writes something although no state has changed.
    bool writes_more() const noexcept { return before_commit_.size() > 0; }

    /// What a statement of the operation came to that must not be committed. `serialization_failure` and `deadlock`: run again.
    std::optional<Failure> const& failure() const noexcept { return failure_; }

private:
    template <class, class>
    friend class StateRepository;
    template <class, class>
    friend class FreeRows;

    RowTransaction(std::shared_ptr<Store> store, detail::PoolState::Session session, TimePoint until)
        : Transaction(store->pool, std::move(session), until), store_(std::move(store))
    {}

    /// BEGIN and the locking reads, in one trip when all rows are there. Keys are locked in their order, each
    /// by its advisory lock before its row, as commits do; two that follow one order cannot deadlock. Whether
    /// a key needs the advisory lock, because it has no row, is known only once it was looked for. Rows
    /// behind it that were locked meanwhile are then let go, and all are locked again.
    Outcome<void> open(std::span<Key const* const> keys, Wait wait)
    {
        bool const advisory = store_->options.row_lock == RowLock::advisory;
        rows_.resize(keys.size());
        for (auto& row : rows_)
            row.hashed = advisory;
        bool begins = true;
        for (std::size_t from = 0;;) {
            detail::Batch batch;
            if (begins && begun_)
                batch.add("ROLLBACK");
            if (begins)
                batch.add(store_->begin);
            auto at = batch.size();
            for (auto i = from; i < keys.size(); ++i) {
                if (rows_[i].hashed)
                    add_hash_lock(batch, *keys[i], wait);
                if (!add_row_lock(batch, *keys[i], wait))
                    return Store::bad_key();
            }
            using Bounded = detail::Connection::Bounded;
            auto exchange = step(batch, until_, begun_ ? Bounded::by_caller : Bounded::by_transaction);
            if (!exchange)
                return std::move(exchange).failure();
            if (exchange->error) {
                healed_ = pool_->heal(*session_, *exchange->error);
                return refused(*exchange->error, wait);
            }
            begun_ = true;
            auto unlocked = keys.size();  // the first key of which nothing is locked
            bool behind = false;          // something behind it is
            for (auto i = from; i < keys.size(); ++i) {
                rows_[i].state.reset();
                bool const has_hash = rows_[i].hashed;
                if (has_hash) {
                    auto const& lock = exchange->replies[at++];
                    if (wait == Wait::no && !lock.boolean(0, 0))
                        return Errc::lock_busy;
                    learn_identity(lock);
                }
                auto const& row = exchange->replies[at++];
                if (row.rows() > 0) {
                    if (auto done = read(row, i); !done)
                        return done;
                }
                if (row.rows() > 0 || has_hash) {
                    behind = behind || unlocked < i;
                } else {
                    unlocked = std::min(unlocked, i);
                    rows_[i].hashed = true;
                }
            }
            if (unlocked == keys.size())
                return success();
            begins = behind;
            from = behind ? 0 : unlocked;
        }
    }

    /// Some row that nobody has locked; `statement` names none and waits for none. No row: `not_found`.
    Outcome<void> open_free(detail::Statement const& statement, detail::Params params)
    {
        detail::Batch batch;
        batch.add(store_->begin);
        batch.add(statement, std::move(params));
        auto exchange = step(batch, until_, detail::Connection::Bounded::by_transaction);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            healed_ = pool_->heal(*session_, *exchange->error);
            return refused(*exchange->error, Wait::no);
        }
        begun_ = true;
        if (exchange->replies[1].rows() == 0)
            return Failure{Errc::not_found, "postgres: no row of " + store_->table.name + " is free"};
        rows_.resize(1);
        if (auto done = read(exchange->replies[1], 0); !done)
            return done;
        own_key_.emplace(KeyTraits<K>::encode(StateTraits<T>::key(rows_[0].state->value)));
        return success();
    }

    /// What the transaction can be asked for later; `reply` has its id in the last column.
    void learn_identity(detail::Reply const& reply)
    {
        xid_ = reply.text(0, reply.columns() - 1);
        life_ = session_->life();
    }

    void add_hash_lock(detail::Batch& batch, Key const& key, Wait wait) const
    {
        auto const& statements = store_->statements;
        detail::Params number;
        number.number(store_->lock_number(key));
        batch.add(wait == Wait::no ? statements.lock_hash_now : statements.lock_hash, std::move(number));
    }

    bool add_row_lock(detail::Batch& batch, Key const& key, Wait wait) const
    {
        auto const& statements = store_->statements;
        detail::Params params;
        if (!store_->add_key(params, key))
            return false;
        batch.add(wait == Wait::no ? statements.lock_row_now : statements.lock_row, std::move(params));
        return true;
    }

    Outcome<void> read(detail::Reply const& row, std::size_t i)
    {
        auto state = store_->read(row, 0);
        if (!state)
            return std::move(state).failure();
        rows_[i].state.emplace(*std::move(state));
        learn_identity(row);
        return success();
    }

    static Failure refused(detail::SqlError const& error, Wait wait)
    {
        auto failure = failure_of(error, detail::Access::write);
        if (failure.code() == Errc::lock_busy && wait == Wait::until_deadline)
            return Failure{Errc::deadline_exceeded, "postgres: a row is locked by somebody else"};
        return failure;
    }

    Outcome<CommitResult> do_commit(std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline)
    {
        if (failure_)
            return *failure_;
        auto const until = std::min(deadline.at(SystemRuntime::now()), until_);
        if (SystemRuntime::now() >= until)
            return Failure{Errc::deadline_exceeded, "the deadline came before the commit was sent"};
        if (!session_ || !session_->is_open())
            return Failure{Errc::unavailable, "postgres: the connection is lost; nothing was committed"};
        if (changes.size() == 1 && !used_ && changes[0].fence == nullptr && (changes[0].kind != ChangeKind::guard || operation != nullptr))
            return commit_one(changes[0], operation, until);
        return commit_all(changes, operation, until);
    }

    /// The change and COMMIT in one trip. Where anything else is committed with it, or it is not the change of a row
    /// that is locked, the statement fails when it may not change the row, so that nothing is committed.
    Outcome<CommitResult> commit_one(Change<T>& change, OperationCommit const* operation, TimePoint until)
    {
        auto batch = std::move(before_commit_);
        auto const at = batch.size();
        bool const plain = at == 0 && operation == nullptr && change.version != no_version;
        if (auto added = store_->add_change(
                batch, change, operation, plain ? detail::Refusal::reply : detail::Refusal::error);
            !added)
            return std::move(added).failure();
        batch.add(store_->commit);
        auto done = Transaction::commit(batch, until);
        if (!done)
            return std::move(done).failure();
        if (done->error) {
            end();
            if (detail::is_race(*done->error))
                return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
            return failure_of(*done->error, detail::Access::write);
        }
        if (done->replies.empty())  // its reply was lost, but it was committed
            return Outcome<CommitResult>{std::in_place};
        if (plain)
            if (auto const code = Store::judge(done->replies[at], change); code != Errc::ok)
                return code.value_or(Errc::version_conflict);
        Store::set_version(done->replies[at], change);
        return Outcome<CommitResult>{std::in_place};
    }

    Outcome<CommitResult> commit_all(std::span<Change<T>> changes, OperationCommit const* operation, TimePoint until)
    {
        std::vector<std::size_t> order(changes.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](auto a, auto b) { return *changes[a].key < *changes[b].key; });
        auto batch = std::move(before_commit_);
        if (!begun_) {
            batch.add(store_->begin);
            batch.add(store_->transaction_id);
        }
        auto const found = batch.size();
        if (operation != nullptr) {
            detail::Params params;
            params.bytes(operation->home->bytes());
            params.bytes(operation->id->value());
            batch.add(store_->statements.find_operation, std::move(params));
        }
        auto const first = batch.size();
        std::vector<std::size_t> asked;
        for (auto const i : order)
            if (Store::has_effect(changes[i])) {
                if (auto added = store_->add_change(batch, changes[i], nullptr); !added)
                    return std::move(added).failure();
                asked.push_back(i);
            } else if (auto valid = Store::check(changes[i]); !valid) {
                return std::move(valid).failure();
            }
        if (operation != nullptr) {  // last, so that its number is drawn while the rows are locked
            detail::Params params;
            store_->add_operation(params, *operation);
            params.text(detail::race_word());
            batch.add(store_->statements.change(detail::RowAction::nothing, detail::Fencing::none, true), std::move(params));
        }
        std::vector<detail::Reply> replies;
        if (batch.size() > 0) {
            using Bounded = detail::Connection::Bounded;
            auto stepped = step(batch, until, begun_ ? Bounded::by_caller : Bounded::by_transaction);
            if (!stepped)
                return std::move(stepped).failure();
            if (!begun_ && !stepped->error)
                learn_identity(stepped->replies[1]);
            if (stepped->error) {
                end();
                if (detail::is_race(*stepped->error))
                    return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
                return failure_of(*stepped->error, detail::Access::write);
            }
            if (operation != nullptr) {
                auto record = Store::record_of(stepped->replies[found]);
                if (!record)
                    return std::move(record).failure();
                if (*record && (*record)->answered)
                    return CommitResult{true, std::move((*record)->answer)};
                if (*record && (*record)->attempt >= operation->attempt)
                    return Errc::superseded;
            }
            std::vector<Errc> codes(changes.size(), Errc::ok);
            bool refused = false;
            bool unclear = false;
            for (std::size_t n = 0; n < asked.size(); ++n) {
                auto const code = Store::judge(stepped->replies[first + n], changes[asked[n]]);
                unclear = unclear || !code;
                codes[asked[n]] = code.value_or(Errc::version_conflict);
                refused = refused || codes[asked[n]] != Errc::ok;
            }
            if (refused) {
                end();
                if (unclear)
                    for (std::size_t n = 0; n < asked.size(); ++n)
                        if (!Store::judge(stepped->replies[first + n], changes[asked[n]])) {
                            auto const there = store_->exists(changes[asked[n]], Deadline{until});
                            if (there && !*there)
                                codes[asked[n]] = Errc::not_found;
                        }
                return store_->or_duplicate(failing(changes, codes), operation, Deadline{until});
            }
            if (operation != nullptr && !stepped->replies.back().number(0, detail::new_version)) {
                end();
                return store_->or_duplicate(Failure{Errc::superseded}, operation, Deadline{until});
            }
            replies = std::move(stepped->replies);
        }
        detail::Batch last;
        last.add(store_->commit);
        auto done = Transaction::commit(last, until);
        if (!done)
            return std::move(done).failure();
        if (done->error)
            return failure_of(*done->error, detail::Access::write);
        for (std::size_t n = 0; n < asked.size(); ++n)
            Store::set_version(replies[first + n], changes[asked[n]]);
        return Outcome<CommitResult>{std::in_place};
    }

    static Failure failing(std::span<Change<T>> changes, std::vector<Errc> const& codes)
    {
        CommitRefusal refusal{changes.size()};
        for (std::size_t i = 0; i < changes.size(); ++i)
            refusal.add(changes[i].key->bytes(), codes[i]);
        return std::move(refusal).failure();
    }

    std::shared_ptr<Store> store_;
    struct Locked {
        std::optional<Versioned<T>> state;
        bool hashed{false};  // it has its advisory lock, too
    };
    std::vector<Locked> rows_;
    std::optional<Key> own_key_;  // of the one row, where the call's key named it by something else
    bool begun_{false};
    bool healed_{false};  // opening it again may help
    std::unique_ptr<AsyncTransaction> async_;  // goes first: it waits for what was not awaited
};

/// States, locks and operation records in a PostgreSQL server.
///
/// **Guarantee.** Models every concept: `VersionedRepository`, `AtomicRepository`, `OperationRepository`,
/// `RowLockingRepository`, `LeaseRepository`, `FencedRepository` and `FusedRepository`. A guarded write is applied only while
/// the lock record names its acquisition (law P1), decided in one statement with the write. Of the library's own table
/// versions are drawn from a sequence and never used again. An insert draws its version first: one that was
/// begun before the former row of its key was changed and erased may get a version below that row's last.
/// **Does not guarantee.** That at most one holder believes in its lease (P2) when the server's wall clock jumps, or when a
/// replica without the latest commits is promoted; the fence refuses writes of the former holder. What a failover to an
/// asynchronous replica, or a crash with `synchronous_commit = off`, forgets is forgotten together. On a user's table P3
/// needs a `version_sequence`, and that nobody writes the rows without moving the version.
/// **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. A commit without a reply:
/// `outcome_unknown`, unless the server can still be asked what became of the transaction. Ask again with the same owner
/// token (`create`, `renew`, `remove`) or operation id (`commit`). What a constraint refuses is `constraint_violated`, with
/// the constraint's name; tables or rights that are not as they should be: `misconfigured`. What the user's
/// own triggers raise has the meaning of its SQLSTATE, and its text in the detail; it is never taken for a
/// signal of this library. A commit that was made while its synchronous standby did not confirm it
/// (`synchronous_standby_names`, the wait ended by the deadline or an operator) is `outcome_unknown`:
/// everybody sees it here, and a failover may forget it. Its operation id then says what this server has:
/// applied. A failover that forgets the effect forgets the record with it, so that the same id makes it
/// again.
/// **Deadlines.** What the server has not answered by the call's deadline costs the connection, not the
/// caller's time, a ROLLBACK included; the answer to a commit is waited for a tenth of a second more, because
/// cancelling makes it definite.
/// **Lifetimes.** A shared handle; it keeps its pool alive. **Thread safety.** Everything: safe.
/// **Cost.** One round trip per member, also for a guarded commit of one key with its operation record; a commit of several
/// keys two; one more to tell a conflict from a missing row. A row transaction two: one to begin and lock, one to change and commit; it occupies a connection while it is
/// open, and so does waiting for a row.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`).
template <class T, class K>
class StateRepository : public CommittingMembers<StateRepository<T, K>, T, interlock::detail::repository_key_t<T, K>> {
    using Members = CommittingMembers<StateRepository<T, K>, T, interlock::detail::repository_key_t<T, K>>;
    using Store = detail::Store<T, interlock::detail::repository_key_t<T, K>>;

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = SystemRuntime;
    using transaction_type = RowTransaction<T, key_type>;
    static constexpr std::string_view name = "postgres";

    /// Throws `Error` (`invalid_argument`) for options out of range, and for a type that does not fit a table. Does not
    /// connect.
    explicit StateRepository(Pool pool, RepositoryOptions options = {})
        : store_(std::make_shared<Store>(pool.state_, detail::check_retention(std::move(options))))
    {}

    SystemRuntime const& runtime() const noexcept
    {
        static constexpr SystemRuntime system{};
        return system;
    }
    /// Equal for all repositories of this process with the same server address, database, name space and table. One server
    /// reached by two addresses is two stores here.
    void const* identity() const noexcept { return store_->identity.get(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return "postgres table \"" + store_->table.name + "\""; }
    std::size_t blocking_calls() const noexcept { return store_->pool->options().max_connections; }

    // ---- values: VersionedRepository, AtomicRepository --------------------------------------------------------
    using Members::load;

    Outcome<Versioned<T>> load(Key const& key, Deadline deadline = {}) const
    {
        if (!key.valid())
            return key.validate().failure();
        detail::Params params;
        if (!store_->add_key(params, key))
            return Store::bad_key();
        auto reply = store_->pool->execute(store_->statements.load, std::move(params), detail::Access::read, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->rows() == 0)
            return Errc::not_found;
        return store_->read(*reply, 0);
    }

    /// Of one key: one statement, one trip. Of several: one transaction, keys in the order of their bytes, two trips.
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {}) const
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        Deadline const until{deadline.at(SystemRuntime::now())};
        auto result = changes.size() > 1 ? commit_several(changes, operation, until) : commit_one(changes, operation, until);
        if (operation != nullptr && result && store_->recorded.fetch_add(1, std::memory_order_relaxed) % 4096 == 4095)
            static_cast<void>(forget_expired(until));
        return result;
    }

    // ---- operation records: OperationRepository -----------------------------------------------------------------
    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline = {}) const
    {
        return store_->find_operation(key, id, deadline);
    }

    Outcome<OperationRecord> forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline = {}) const
    {
        detail::Batch batch;
        detail::Params params;
        params.bytes(key.bytes());
        params.bytes(id.value());
        params.number(attempt);
        params.number(detail::whole_microseconds(id.kept_for(store_->options.retention)));
        batch.add(store_->statements.forbid, std::move(params));  // waits for a commit of this id that is in flight
        detail::Params again;
        again.bytes(key.bytes());
        again.bytes(id.value());
        batch.add(store_->statements.find_operation, std::move(again));
        auto replies = store_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto record = Store::record_of((*replies)[1]);
        if (!record)
            return std::move(record).failure();
        if (!*record)
            return detail::damaged("a tombstone is gone");
        return **std::move(record);
    }

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed before the call, in
    /// no particular order; sort by `sequence` for the order of the commits of one key.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        Deadline const until{deadline.at(SystemRuntime::now())};
        std::string key;
        std::string id;
        for (;;) {
            detail::Params params;
            params.bytes(key);
            params.bytes(id);
            auto page = store_->pool->execute(store_->statements.all_operations, std::move(params), detail::Access::read, until);
            if (!page)
                return std::move(page).failure();
            for (std::size_t row = 0; row < page->rows(); ++row) {
                auto const sequence = page->number(row, 2);
                auto const attempt = page->number(row, 3);
                auto const bytes = page->bytes(row, 0);
                auto const identifier = page->bytes(row, 1);
                auto answer = page->bytes(row, 4);
                if (!sequence || !attempt || !bytes || !identifier || !answer)
                    return detail::damaged("an operation record is damaged");
                key = *bytes;
                id = *identifier;
                visit(
                    Key{*bytes}, OperationId{*identifier},
                    OperationRecord{
                        static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), true, *std::move(answer)});
            }
            if (page->rows() == 0)
                return success();
        }
    }

    // ---- row locks: RowLockingRepository --------------------------------------------------------------------------
    /// BEGIN and the locking reads in one trip. The deadline ends the wait for a lock. Should this process no longer be
    /// there to do so, the server does, by `lock_timeout`, `statement_timeout` and `idle_in_transaction_session_timeout`:
    /// not before the deadline, and at the latest when twice the time has passed. They are settings of the session, and
    /// stay as they are while they fit. A key without a value is locked by an advisory lock of its 64-bit hash: two such
    /// keys may exclude each other without need, never the other way round. That costs a second trip, except for
    /// `RowLock::advisory`, which locks every key so.
    Outcome<transaction_type> load_for_update(std::span<Key const* const> keys, Wait wait, Deadline deadline = {}) const
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        for (auto const* key : keys)
            if (!key->valid())
                return key->validate().failure();
        return open(deadline, [&](transaction_type& tx) { return tx.open(keys, wait); });
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -------------------------------------
    /// Busy: the holder's remaining lease as `retry_after`.
    Outcome<Grant> create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return acquire(key, owner, ttl, deadline, nullptr);
    }
    /// Two statements in one trip and one transaction: the state is read after the lock was granted.
    Outcome<GrantAndState<T>> create_and_load(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        GrantAndState<T> both;
        auto grant = acquire(key, owner, ttl, deadline, &both.state);
        if (!grant)
            return std::move(grant).failure();
        both.grant = *grant;
        return both;
    }
    Outcome<std::chrono::nanoseconds> renew(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        if (auto valid = check(key, ttl); !valid)
            return std::move(valid).failure();
        auto const granted = std::chrono::ceil<std::chrono::microseconds>(ttl.value());
        detail::Params params;
        params.bytes(key.bytes());
        params.bytes(detail::as_text(owner.bytes()));
        params.number(granted.count());
        auto reply = store_->pool->execute(store_->statements.renew, std::move(params), detail::Access::commit, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->boolean(0, 0))
            return std::chrono::nanoseconds{granted};
        return Failure::because(Errc::lock_lost, reply->boolean(0, 1) ? Errc::lock_busy : Errc::not_found);
    }
    Outcome<Removal> remove(Key const& key, OwnerToken owner, Deadline deadline = {}) const
    {
        return take_away(key, &owner, deadline);
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and its next
    /// renewal finds the lock lost. For operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return take_away(make_key<T, key_type>(key), nullptr, deadline);
    }

    /// The fence counter is as durable as the data it guards: both are in one server, and commit together. `misconfigured`
    /// when the sequence of the tokens, or of the versions, has a cache or a cycle.
    Outcome<void> verify_fencing(Deadline deadline = {}) const
    {
        auto const& ns = store_->pool->options().name_space;
        std::vector<std::string> names{ns + "_token", ns + "_record"};
        if (!store_->mapped)
            names.push_back(ns + "_version");
        else if (!store_->options.version_sequence.empty())
            names.push_back(store_->options.version_sequence);
        detail::Batch batch;
        for (auto const& sequence : names)
            batch.add("SELECT seqcache = 1 AND NOT seqcycle AND seqincrement > 0 FROM pg_sequence WHERE seqrelid = '" + sequence +
                      "'::regclass");
        auto replies = store_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        for (std::size_t i = 0; i < names.size(); ++i)
            if ((*replies)[i].rows() != 1 || !(*replies)[i].boolean(0, 0))
                return Failure{
                    Errc::misconfigured, "postgres: the sequence " + names[i] + " must have CACHE 1, a positive increment and no CYCLE"};
        return success();
    }

    /// `waiter` is woken when the lock of `key` is removed, here or elsewhere, after some `create` of it was in vain; not
    /// when it expires. So: subscribe, then ask, then wait.
    void subscribe(Key const& key, OwnerToken, Waiter& waiter) const
    {
        store_->pool->subscriber().subscribe(store_->lock_hash(key), waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
    {
        store_->pool->subscriber().unsubscribe(store_->lock_hash(key), waiter);
    }
    /// Whether somebody asked for the lock of `owner` in vain within the last second. Costs no trip: it is heard by the
    /// connection for wake-ups, from the first question on.
    bool wanted(Key const& key, OwnerToken owner) const
    {
        return store_->pool->subscriber().wanted(store_->lock_hash(key), owner);
    }

    /// What the server says about itself. One round trip.
    Outcome<ServerCheck> server_check(Deadline deadline = {}) const
    {
        detail::Batch batch;
        batch.add(
            "SELECT current_setting('server_version_num'), current_setting('synchronous_commit'), current_setting('fsync') = 'on'");
        auto replies = store_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto const& reply = (*replies)[0];
        return ServerCheck{
            static_cast<int>(reply.number(0, 0).value_or(0)), std::string(reply.text(0, 1)), reply.boolean(0, 2)};
    }

private:
    template <class, class>
    friend class FreeRows;

    /// A new transaction that `begin` has begun.
    template <class F>
    Outcome<transaction_type> open(Deadline deadline, F begin) const
    {
        auto const until = deadline.at(SystemRuntime::now());
        for (bool again = true;; again = false) {
            bool fresh = false;
            auto session = store_->pool->take(until, fresh);
            if (!session)
                return std::move(session).failure();
            transaction_type tx{store_, *std::move(session), until};
            auto opened = begin(tx);
            if (opened)
                return tx;
            // It had died in the pool, or its plans were too old; nothing was changed by reading.
            if (again && (tx.healed_ || (opened.error() == Errc::unavailable && !fresh)))
                continue;
            return std::move(opened).failure();
        }
    }

    static Outcome<void> check(Key const& key, Ttl ttl)
    {
        if (!ttl.valid())
            return Failure{Errc::invalid_argument, "ttl must be from 50 ms to 24 h"};
        return key.validate();
    }

    Outcome<CommitResult> commit_one(std::span<Change<T>> changes, OperationCommit const* operation, Deadline until) const
    {
        Key const none{"-"};
        Change<T> nothing{.key = &none, .kind = ChangeKind::guard};
        auto& change = changes.empty() ? nothing : changes[0];
        if (operation != nullptr && !operation->home->valid())
            return operation->home->validate().failure();
        if (operation == nullptr && !Store::has_effect(change)) {
            if (auto valid = Store::check(change); !valid)
                return std::move(valid).failure();
            return Outcome<CommitResult>{std::in_place};
        }
        detail::Batch batch;
        if (auto added = store_->add_change(batch, change, operation); !added)
            return std::move(added).failure();
        auto exchange = store_->pool->run(batch, detail::Access::commit, until);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            if (detail::is_race(*exchange->error))
                return store_->or_duplicate(Failure{Errc::superseded}, operation, until);
            return failure_of(*exchange->error, detail::Access::commit);
        }
        auto const& reply = exchange->replies[0];
        if (operation != nullptr && !reply.null(0, detail::old_answered)) {
            if (reply.boolean(0, detail::old_answered)) {
                if (auto answer = reply.bytes(0, detail::old_answer))
                    return CommitResult{true, *std::move(answer)};
                return detail::damaged("an operation record is damaged");
            }
            if (reply.null(0, detail::new_version))
                return store_->or_duplicate(Failure{*Store::judge(reply, change)}, operation, until);
        }
        auto code = Store::judge(reply, change);
        if (!code) {
            auto const there = store_->exists(change, until);
            if (!there)
                return there.failure();
            code = *there ? Errc::version_conflict : Errc::not_found;
        }
        if (code == Errc::ok) {
            Store::set_version(reply, change);
            return Outcome<CommitResult>{std::in_place};
        }
        return store_->or_duplicate(Failure{*code}, operation, until);
    }

    Outcome<CommitResult> commit_several(std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) const
    {
        auto const until = deadline.at(SystemRuntime::now());
        auto session = store_->pool->take(until);
        if (!session)
            return std::move(session).failure();
        transaction_type tx{store_, *std::move(session), until};  // begins with its changes
        return tx.commit(changes, operation, Deadline{until});
    }

    Outcome<Grant> acquire(
        Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline, std::optional<Versioned<T>>* state) const
    {
        if (auto valid = check(key, ttl); !valid)
            return std::move(valid).failure();
        auto const granted = std::chrono::ceil<std::chrono::microseconds>(ttl.value());
        detail::Batch batch;
        detail::Params params;
        params.bytes(key.bytes());
        params.bytes(detail::as_text(owner.bytes()));
        params.number(granted.count());
        params.text(detail::hex(store_->lock_hash(key), 16));
        batch.add(store_->statements.create, std::move(params));
        if (state != nullptr) {
            detail::Params loaded;
            if (!store_->add_key(loaded, key))
                return Store::bad_key();
            batch.add(store_->statements.load, std::move(loaded));
        }
        auto replies = store_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto const& reply = (*replies)[0];
        auto const first = reply.number(0, 0);
        if (!first) {
            std::chrono::microseconds const left{std::max<std::int64_t>(reply.number(0, 1).value_or(0), 0)};
            return Failure::busy(Errc::lock_busy, left);
        }
        if (state != nullptr && (*replies)[1].rows() > 0) {
            auto read = store_->read((*replies)[1], 0);
            if (!read) {
                static_cast<void>(remove(key, owner, deadline));  // ours by now, and of no use
                return std::move(read).failure();
            }
            state->emplace(*std::move(read));
        }
        return Grant{FencingToken{static_cast<std::uint64_t>(*first)}, detail::token_block, granted};
    }

    Outcome<Removal> take_away(Key const& key, OwnerToken const* owner, Deadline deadline) const
    {
        if (!key.valid())
            return key.validate().failure();
        detail::Params params;
        params.bytes(key.bytes());
        if (owner != nullptr)
            params.bytes(detail::as_text(owner->bytes()));
        else
            params.null();
        params.text(store_->free_message(key));
        auto reply = store_->pool->execute(store_->statements.remove, std::move(params), detail::Access::commit, deadline);
        if (!reply)
            return std::move(reply).failure();
        if (reply->boolean(0, 0))
            return Removal::removed;
        return reply->boolean(0, 1) ? Removal::taken : Removal::gone;
    }

    /// A little of what `purge` does, by those who make it necessary.
    Outcome<void> forget_expired(Deadline deadline) const
    {
        auto const table = store_->pool->options().name_space + "_operation";
        detail::Batch batch;
        batch.add(
            "DELETE FROM " + table + " WHERE ctid = ANY(ARRAY(SELECT ctid FROM " + table +
            " WHERE kept_until < clock_timestamp() LIMIT 8192 FOR UPDATE SKIP LOCKED))");
        auto done = store_->pool->execute(batch, detail::Access::commit, deadline);
        return done ? success() : Outcome<void>{std::move(done).failure()};
    }

    std::shared_ptr<Store> store_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_STATE_REPOSITORY_HPP
