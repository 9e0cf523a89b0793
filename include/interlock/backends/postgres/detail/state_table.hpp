// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP

/// @file
/// The table of one repository, mapped or our own: how keys and values become parameters, and replies become
/// states.

#include <interlock/backends/postgres/detail/columns.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

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

/// What all handles of one repository share, and its transactions. `R`: the runtime.
template <class T, class K, class R>
class StateTable {
public:
    StateTable(std::shared_ptr<PoolState<R>> p, RepositoryOptions o)
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

    // ---- keys and values
    // -------------------------------------------------------------------------------------

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
            Errc::invalid_argument,
            "postgres: no row can have the key: a text has a NUL, or it is not of the key's type"};
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
                    return Failure{
                        Errc::invalid_argument, "the encoded value is larger than max_value_bytes"};
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
                return Failure{
                    Errc::invalid_argument, std::string("postgres: the text of ") + bad + " has a NUL"};
        }
        return success();
    }

    /// The state of a row of `load` or a locking read.
    Outcome<Versioned<T>> read(Reply const& reply, std::size_t row) const
    {
        auto const version = reply.number(row, 0);
        if (!version || *version <= no_version)
            return Failure{
                Errc::corrupt_state, "postgres: a version in " + table.name + " is not at least 1"};
        if (!mapped) {
            auto const bytes = reply.bytes(row, 1);
            if constexpr (StorableState<T>)
                if (bytes)
                    if (auto value = interlock::detail::decode_state<T>(*bytes))
                        return Versioned<T>{*std::move(value), *version};
            return Failure{
                Errc::corrupt_state,
                "postgres: a stored value cannot be decoded; version " + std::to_string(*version)};
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
            return Failure{
                Errc::corrupt_state, "postgres: " + table.name + "." + bad + " does not fit its member"};
        } else {
            return damaged("not a row type");
        }
    }

    std::int64_t lock_number(Key const& key) const noexcept
    {
        return static_cast<std::int64_t>(lock_hash(key));
    }
    std::uint64_t lock_hash(Key const& key) const noexcept { return stable_hash(table.name, key.bytes()); }
    std::string free_message(Key const& key) const { return "f" + hex(lock_hash(key), 16); }

    // ---- changes
    // -------------------------------------------------------------------------------------------------

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
        Batch& batch, Change<T> const& change, OperationCommit const* operation,
        Refusal refusal = Refusal::reply) const
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
            params.number(
                static_cast<std::int64_t>(std::min<std::uint64_t>(change.fence->token.value(), INT64_MAX)));
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

    // ---- operation records
    // -----------------------------------------------------------------------------------------

    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline) const
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
            static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), reply.boolean(0, 2),
            *std::move(answer)}};
    }

    /// What a commit that was refused, perhaps by its own twin, comes to: the twin's answer, or `refused`.
    Outcome<CommitResult> or_duplicate(
        Failure refused, OperationCommit const* operation, Deadline deadline) const
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

    std::shared_ptr<PoolState<R>> pool;
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
            wrong(
                "a table needs a default-constructible BOOST_DESCRIBE_STRUCT type whose members are columns");
        if constexpr (!is_key_type<K>)
            wrong("the key type is neither a column nor made of columns; it needs KeyTraits<K>::decode");
        auto const dot = options.table.find('.');
        auto const schema = dot == std::string::npos ? std::string("public") : options.table.substr(0, dot);
        if (!valid_identifier(schema) ||
            !valid_identifier(options.table.substr(dot == std::string::npos ? 0 : dot + 1)))
            wrong(
                "table must be made of lower-case letters, digits and '_', perhaps with a schema and a dot "
                "in front");
        auto const keys = listed(options.key);
        if (!std::all_of(keys.begin(), keys.end(), [](auto const& name) { return valid_identifier(name); }) ||
            !valid_identifier(options.version))
            wrong("key and version must name columns, by lower-case letters, digits and '_'");
        if constexpr (is_key_type<K>)
            check_key_columns(keys, wrong);
        auto const dot_of_sequence = options.version_sequence.find('.');
        if (!options.version_sequence.empty() &&
            (!valid_identifier(options.version_sequence.substr(
                 dot_of_sequence == std::string::npos ? 0 : dot_of_sequence + 1)) ||
             (dot_of_sequence != std::string::npos &&
              !valid_identifier(options.version_sequence.substr(0, dot_of_sequence)))))
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
            t.written.push_back(
                name != options.version && std::find(keys.begin(), keys.end(), name) == keys.end());
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
                wrong(
                    "key names " + std::to_string(keys.size()) + " columns, its type has " +
                    std::to_string(parts));
        }
    }
};

}  // namespace detail

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
