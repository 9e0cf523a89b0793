// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP

// The SQL of a repository. Each text is one statement, so that it is decided in one step; all are prepared once per
// connection. They are written for READ COMMITTED, and what the stricter levels refuse is refused with 40001.
//
// The parts of a statement that changes a key, all of them CTEs, in the order in which they take effect:
//   old   the operation's record as it is: an answer, or a tombstone that forbids the attempt, stops everything
//   g     the lock record, locked, if it names the acquisition and its mark is not above the token (law P1)
//   w     the change itself, if `old` and `g` allow it; one row if it was made
//   r     the lock record after it: mark raised, or record freed
//   n     the wake-up for those who wait for it
//   rec   the operation's record, from `w`
// If `w` was made and `rec` was not, somebody planted a tombstone or an answer after our snapshot: the statement must
// leave no trace and fails, see `race_of`.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Tokens that one grant reserves.
inline constexpr std::uint32_t token_block = 1024;

/// What a statement that must leave no trace quotes when it fails: a word that is no number. It goes to the
/// server as a parameter and is drawn once per process, so that nothing in a user's schema can know it; a
/// state alone (any can be raised by a trigger) is no signal.
inline std::string const& race_word()
{
    static auto const& word = interlock::detail::immortal<std::string>(
        "interlock: decided by somebody else " + std::to_string(SystemRuntime::random_bits()) + "-" +
        std::to_string(SystemRuntime::random_bits()));
    return word;
}

/// Whether the statement failed because of a race that it had lost.
inline bool is_race(SqlError const& error)
{
    return error.state == "22P02" && error.message.find(race_word()) != std::string::npos;
}

/// An expression that fails with `race_word`, the parameter `word`, once it is evaluated. `count`, a number,
/// is part of it so that the planner cannot evaluate it before.
inline std::string race_of(std::string const& count, std::string const& word)
{
    return "((" + count + ")::text || ' ' || " + word + ")::int";
}

/// Where a repository's states are. Identifiers are valid ones, so they stand in statements as they are.
struct Table {
    std::string name;                  ///< of the table, perhaps with its schema
    std::vector<std::string> key;      ///< columns
    std::string version;               ///< column
    std::vector<std::string> columns;  ///< written besides those
    std::vector<std::string> shown;    ///< read besides the version
    std::vector<bool> written;         ///< for each of `shown` whether it is in `columns`
    std::string next_version;          ///< expression for the version after `t.<version>`
    std::string first_version;         ///< expression for the version of a new row
    std::string key_type;              ///< "::bytea", or empty: the column's
    std::string value_type;            ///< likewise for the written columns
};

/// What a statement answers when it may not change the row.
enum class Refusal : unsigned char {
    reply,  ///< a row that says why
    error,  ///< it fails as a race, see `is_race`: for a statement with a COMMIT behind it, which must not commit nothing
};

enum class Fencing : unsigned char { none, guarded, guarded_and_released };

/// What a statement does to a row.
enum class RowAction : unsigned char { insert, update, erase, verify, nothing };

inline std::string joined(std::vector<std::string> const& names)
{
    std::string out;
    for (auto const& name : names)
        out += (out.empty() ? "" : ", ") + name;
    return out;
}

/// A statement under construction: parameters are numbered as they are named.
class StatementText {
public:
    std::string parameter(std::string_view cast = {})
    {
        std::string out = "$";  // step by step: g++ 12 sees an overlap in a sum that is inlined
        out += std::to_string(++count_);
        out += cast;
        return out;
    }
    /// One for each column of the key.
    std::vector<std::string> key(Table const& t)
    {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < t.key.size(); ++i)
            out.push_back(parameter(t.key_type));
        return out;
    }

private:
    int count_{0};
};

/// Columns of the reply of a change statement.
enum ChangeColumn : std::size_t {
    new_version,      ///< null: refused
    fence_holds,      ///< the lock record is ours
    present_version,  ///< of the row as it is, null: there is none
    old_answered,     ///< of the operation's record; null: there is none
    old_answer,
};

/// That the row `t` is the one that `key` names.
inline std::string has_key(Table const& t, std::vector<std::string> const& key)
{
    std::string out;
    for (std::size_t i = 0; i < key.size(); ++i)
        out += (i == 0 ? "t." : " AND t.") + t.key[i] + " = " + key[i];
    return out;
}

/// A change that nothing else depends on: the new version, or no row. Cheaper than to be told why not, which is asked for
/// only then. Parameters as of `change_text`.
inline std::string plain_change_text(Table const& t, RowAction action)
{
    StatementText p;
    auto const key = p.key(t);
    switch (action) {
    case RowAction::insert: {
        auto const hash = p.parameter("::bigint");
        std::string names = joined(t.key) + ", " + t.version;
        std::string values = joined(key) + ", " + t.first_version;
        for (auto const& column : t.columns) {
            names += ", " + column;
            values += ", " + p.parameter(t.value_type);
        }
        return "INSERT INTO " + t.name + " AS t (" + names + ") SELECT " + values + " FROM (SELECT pg_advisory_xact_lock(" + hash +
               ")) a ON CONFLICT (" + joined(t.key) + ") DO NOTHING RETURNING t." + t.version;
    }
    case RowAction::update: {
        auto const version = p.parameter();
        std::string set = t.version + " = " + t.next_version;
        for (auto const& column : t.columns)
            set += ", " + column + " = " + p.parameter(t.value_type);
        return "UPDATE " + t.name + " t SET " + set + " WHERE " + has_key(t, key) + " AND t." + t.version + " = " +
               version + " RETURNING t." + t.version;
    }
    case RowAction::erase:
        return "DELETE FROM " + t.name + " t WHERE " + has_key(t, key) + " AND t." + t.version + " = " + p.parameter() +
               " RETURNING t." + t.version;
    case RowAction::verify:
    case RowAction::nothing: break;
    }
    return {};
}

/// Parameters: key (except for `nothing`); fence: key of the lock, owner, token; released: wake-up payload; operation: home, id, attempt, answer, retention in
/// microseconds; then as the action needs: version (update, erase, verify), hash of the key (insert), values;
/// last, with an operation or `Refusal::error`: `race_word`.
inline std::string change_text(
    Table const& t, std::string const& ns, RowAction action, Fencing fencing, bool with_operation, Refusal refusal)
{
    StatementText p;
    auto const store = "'" + t.name + "'";
    if (fencing == Fencing::none && !with_operation && refusal == Refusal::reply)
        if (auto plain = plain_change_text(t, action); !plain.empty())
            return plain;
    auto const key = action == RowAction::nothing ? std::vector<std::string>{} : p.key(t);
    bool const fenced = fencing != Fencing::none;
    bool const released = fencing == Fencing::guarded_and_released;
    std::string with;
    std::string allowed;
    auto const part = [&](std::string const& name, std::string const& text) {
        with += (with.empty() ? "WITH " : ", ") + name + " AS " + text;
    };
    std::string token;
    std::string lock_key;
    std::string payload;
    if (fenced) {
        lock_key = p.parameter("::bytea");
        auto const owner = p.parameter("::bytea");
        token = p.parameter("::bigint");
        if (released)
            payload = p.parameter("::text");
        part("g", "MATERIALIZED (SELECT 1 FROM " + ns + "_lock WHERE store = " + store + " AND key = " + lock_key +
                      " AND owner = " + owner + " AND mark <= " + token + " FOR UPDATE)");
        allowed += " AND EXISTS (SELECT FROM g)";
    }
    std::string home;
    std::string id;
    std::string attempt;
    std::string answer;
    std::string retention;
    if (with_operation) {
        home = p.parameter("::bytea");
        id = p.parameter("::bytea");
        attempt = p.parameter("::bigint");
        answer = p.parameter("::bytea");
        retention = p.parameter("::bigint");
        part("old", "MATERIALIZED (SELECT answered, attempt, answer FROM " + ns + "_operation WHERE store = " + store +
                        " AND key = " + home + " AND id = " + id + " AND kept_until > clock_timestamp())");
        allowed += " AND NOT EXISTS (SELECT FROM old WHERE answered OR attempt >= " + attempt + ")";
    }
    auto const here = [&](std::string const& version) {
        return " WHERE " + has_key(t, key) + " AND t." + t.version + " = " + version + allowed;
    };
    switch (action) {
    case RowAction::insert: {
        // Whoever holds the row lock of a key without a value holds this one.
        auto const hash = p.parameter("::bigint");
        std::string names = joined(t.key) + ", " + t.version;
        std::string values = joined(key) + ", " + t.first_version;
        for (auto const& column : t.columns) {
            names += ", " + column;
            values += ", " + p.parameter(t.value_type);
        }
        part("w", "(INSERT INTO " + t.name + " AS t (" + names + ") SELECT " + values + " FROM (SELECT pg_advisory_xact_lock(" +
                      hash + ")) a WHERE true" + allowed + " ON CONFLICT (" + joined(t.key) +
                      ") DO NOTHING RETURNING t." + t.version + " AS version)");
        break;
    }
    case RowAction::update: {
        auto const version = p.parameter();
        std::string set = t.version + " = " + t.next_version;
        for (auto const& column : t.columns)
            set += ", " + column + " = " + p.parameter(t.value_type);
        part("w", "(UPDATE " + t.name + " t SET " + set + here(version) + " RETURNING t." + t.version + " AS version)");
        break;
    }
    case RowAction::erase:
        part("w", "(DELETE FROM " + t.name + " t" + here(p.parameter()) + " RETURNING t." + t.version + " AS version)");
        break;
    case RowAction::verify:
        // Records of one key are in the order of their commits, so who writes one is alone.
        part("w", "MATERIALIZED (SELECT t." + t.version + " AS version FROM " + t.name + " t" + here(p.parameter()) +
                      (with_operation ? " FOR UPDATE)" : " FOR SHARE)"));
        break;
    case RowAction::nothing: part("w", "MATERIALIZED (SELECT 1::bigint AS version WHERE true" + allowed + ")"); break;
    }
    if (fenced) {
        part("r", "(UPDATE " + ns + "_lock SET mark = " + token +
                      (released ? ", owner = NULL, expires = clock_timestamp()" : "") + " WHERE store = " + store +
                      " AND key = " + lock_key + (released ? "" : " AND mark < " + token) +
                      " AND EXISTS (SELECT FROM w) RETURNING wanted)");
        if (released)
            part("n", "MATERIALIZED (SELECT pg_notify('" + ns + "_wake', " + payload + ") FROM r WHERE wanted)");
    }
    if (with_operation)
        part("rec", "(INSERT INTO " + ns + "_operation AS o (store, key, id, attempt, answered, answer, sequence, kept_until) "
                    "SELECT " + store + ", " + home + ", " + id + ", " + attempt + ", true, " + answer + ", nextval('" + ns +
                    "_record'), clock_timestamp() + " + retention + " * interval '1 microsecond' FROM w "
                    "ON CONFLICT (store, key, id) DO UPDATE SET attempt = excluded.attempt, answered = true, "
                    "answer = excluded.answer, sequence = excluded.sequence, kept_until = excluded.kept_until "
                    "WHERE o.kept_until <= clock_timestamp() OR (NOT o.answered AND o.attempt < excluded.attempt) RETURNING 1)");
    if (refusal == Refusal::error)
        return with + " SELECT max(version), CASE WHEN count(*) = 0" +
               (with_operation ? " OR NOT EXISTS (SELECT FROM rec)" : "") + " THEN " +
               race_of("count(*)", p.parameter("::text")) + " END FROM w";
    std::string out = with + " SELECT (SELECT version FROM w), " + (fenced ? "EXISTS (SELECT FROM g)" : "true") + ", " +
                      (action == RowAction::nothing
                           ? std::string("NULL")
                           : "(SELECT t." + t.version + " FROM " + t.name + " t WHERE " + has_key(t, key) + ")") +
                      ", " + (with_operation ? "(SELECT answered FROM old), (SELECT answer FROM old)" : "NULL, NULL");
    if (released)
        out += ", (SELECT count(*) FROM n)";
    if (with_operation)
        out += ", CASE WHEN EXISTS (SELECT FROM w) AND NOT EXISTS (SELECT FROM rec) THEN " +
               race_of("SELECT count(*) FROM rec", p.parameter("::text")) + " END";
    return out;
}

/// All statements of one repository.
struct Statements {
    static constexpr std::size_t actions = 5;

    Statements(Table const& t, std::string const& ns, std::string lock) : row_lock(std::move(lock))
    {
        auto const store = "'" + t.name + "'";
        for (std::size_t a = 0; a < actions; ++a)
            for (std::size_t f = 0; f < 3; ++f)
                for (std::size_t o = 0; o < 2; ++o)
                    if (a != static_cast<std::size_t>(RowAction::nothing) || f != 0 || o != 0)
                        changes[a][f][o] = Statement{
                            change_text(t, ns, static_cast<RowAction>(a), static_cast<Fencing>(f), o != 0, Refusal::reply)};
        for (std::size_t a = 0; a < actions; ++a)
            for (std::size_t o = 0; o < 2; ++o)
                if (a != static_cast<std::size_t>(RowAction::nothing) || o != 0)
                    last_changes[a][o] =
                        Statement{change_text(t, ns, static_cast<RowAction>(a), Fencing::none, o != 0, Refusal::error)};
        auto shown = "t." + t.version;
        for (auto const& column : t.shown)
            shown += ", t." + column;
        auto const from = " FROM " + t.name + " t";
        auto const where = " WHERE " + has_key(t, StatementText{}.key(t));
        load = Statement{"SELECT " + shown + from + where};
        // The transaction's id comes last in what any transaction asks first.
        rows = "SELECT " + shown + ", pg_current_xact_id()" + from;
        lock_row = Statement{rows + where + " " + row_lock};
        lock_row_now = Statement{rows + where + " " + row_lock + " NOWAIT"};
        lock_hash = Statement{"SELECT pg_advisory_xact_lock($1::bigint), pg_current_xact_id()"};
        lock_hash_now = Statement{"SELECT pg_try_advisory_xact_lock($1::bigint), pg_current_xact_id()"};

        auto const record = " FROM " + ns + "_operation WHERE store = " + store + " AND key = $1::bytea AND id = $2::bytea";
        find_operation =
            Statement{"SELECT sequence, attempt, answered, answer" + record + " AND kept_until > clock_timestamp()"};
        forbid = Statement{
            "INSERT INTO " + ns + "_operation AS o (store, key, id, attempt, answered, answer, sequence, kept_until) VALUES (" +
            store + ", $1::bytea, $2::bytea, $3::bigint, false, '', 0, clock_timestamp() + $4::bigint * interval '1 microsecond') "
            "ON CONFLICT (store, key, id) DO UPDATE SET attempt = greatest(o.attempt, excluded.attempt), answered = false, "
            "answer = '', sequence = 0, kept_until = excluded.kept_until "
            "WHERE o.kept_until <= clock_timestamp() OR NOT o.answered"};
        all_operations = Statement{
            "SELECT key, id, sequence, attempt, answer FROM " + ns + "_operation WHERE store = " + store +
            " AND answered AND kept_until > clock_timestamp() AND (key, id) > ($1::bytea, $2::bytea) ORDER BY key, id LIMIT 1000"};

        // Mark and time are read anew under the lock of the record: what stands in VALUES was read before the wait.
        create = Statement{
            "WITH l AS (INSERT INTO " + ns + "_lock AS l (store, key, owner, mark, expires, wanted) VALUES (" + store +
            ", $1::bytea, $2::bytea, nextval('" + ns + "_token') * 1024, "
            "clock_timestamp() + $3::bigint * interval '1 microsecond', false) "
            "ON CONFLICT (store, key) DO UPDATE SET owner = excluded.owner, "
            "mark = CASE WHEN l.owner = excluded.owner THEN l.mark ELSE nextval('" + ns + "_token') * 1024 END, "
            "expires = clock_timestamp() + $3::bigint * interval '1 microsecond', wanted = false "
            "WHERE l.owner IS NULL OR l.owner = excluded.owner OR l.expires <= clock_timestamp() RETURNING mark - mark % 1024 AS first), "
            "b AS (UPDATE " + ns + "_lock SET wanted = true WHERE store = " + store +
            " AND key = $1::bytea AND NOT wanted AND NOT EXISTS (SELECT FROM l) RETURNING 1), "
            "n AS MATERIALIZED (SELECT pg_notify('" + ns + "_wake', 'w' || encode(substr(h.owner, 1, 4), 'hex') || $4::text) FROM " +
            ns + "_lock h WHERE h.store = " + store + " AND h.key = $1::bytea AND h.owner IS NOT NULL "
            "AND NOT EXISTS (SELECT FROM l)) "
            "SELECT (SELECT first FROM l), (SELECT (extract(epoch FROM expires - clock_timestamp()) * 1000000)::bigint FROM " + ns +
            "_lock WHERE store = " + store + " AND key = $1::bytea), (SELECT count(*) FROM n), (SELECT count(*) FROM b)"};
        renew = Statement{
            "WITH u AS (UPDATE " + ns + "_lock SET expires = clock_timestamp() + $3::bigint * interval '1 microsecond' WHERE store = " +
            store + " AND key = $1::bytea AND owner = $2::bytea RETURNING 1) "
            "SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM " + ns + "_lock WHERE store = " + store +
            " AND key = $1::bytea AND owner IS NOT NULL)"};
        remove = Statement{
            "WITH u AS (UPDATE " + ns + "_lock SET owner = NULL, expires = clock_timestamp() WHERE store = " + store +
            " AND key = $1::bytea AND owner IS NOT NULL AND ($2::bytea IS NULL OR owner = $2::bytea) RETURNING wanted), "
            "n AS MATERIALIZED (SELECT pg_notify('" + ns + "_wake', $3::text) FROM u WHERE wanted) "
            "SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM " + ns + "_lock WHERE store = " + store +
            " AND key = $1::bytea AND owner IS NOT NULL), (SELECT count(*) FROM n)"};
    }

    Statement const& change(RowAction action, Fencing fencing, bool with_operation) const noexcept
    {
        return changes[static_cast<std::size_t>(action)][static_cast<std::size_t>(fencing)][with_operation ? 1 : 0];
    }

    /// Behind it comes COMMIT, in the same trip.
    Statement const& last_change(RowAction action, bool with_operation) const noexcept
    {
        return last_changes[static_cast<std::size_t>(action)][with_operation ? 1 : 0];
    }

    std::string rows;      ///< all rows of the table, as `Store::read` takes them
    std::string row_lock;  ///< the clause that locks them
    std::array<std::array<std::array<Statement, 2>, 3>, actions> changes;
    std::array<std::array<Statement, 2>, actions> last_changes;
    Statement load;
    Statement lock_row;
    Statement lock_row_now;
    Statement lock_hash;
    Statement lock_hash_now;
    Statement find_operation;
    Statement forbid;
    Statement all_operations;
    Statement create;
    Statement renew;
    Statement remove;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENTS_HPP
