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
/// - `old`: the operation's record as it is. An answer in it, or a tombstone that forbids the attempt, stops
///   everything else.
/// - `g`: the lock record, locked, if it names the acquisition and its mark is not above the token (law P1).
/// - `w`: the change itself, if `old` and `g` allow it. It has one row if the change was made.
/// - `r`: the lock record after the change: its mark is raised, or the record is freed.
/// - `n`: the wake-up for those who wait for the lock.
/// - `rec`: the operation's record, made from `w`.
///
/// If `w` was made and `rec` was not, somebody planted a tombstone or an answer after the statement's
/// snapshot. The statement must then leave no trace, so it fails: see `race_of`.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>

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

/// How many tokens one grant reserves.
inline constexpr std::uint32_t token_block = 1024;

/// The word that a statement quotes when it fails because it must leave no trace. It is not a number, so that
/// a cast of it fails. It goes to the server as a parameter and is drawn once per process, so that nothing in
/// a user's schema can know it. A state alone would be no signal, since a trigger can raise any state.
inline std::string const& race_word()
{
    static auto const& word = interlock::detail::immortal<std::string>(
        "interlock: decided by somebody else " + std::to_string(interlock::detail::random_bits()) + "-" +
        std::to_string(interlock::detail::random_bits()));
    return word;
}

/// Whether the statement failed because it had lost a race.
inline bool is_race(SqlError const& error)
{
    return error.state == "22P02" && error.message.find(race_word()) != std::string::npos;
}

/// An expression that fails with `race_word`, which is the parameter `word`, once it is evaluated. `count` is
/// a number that the planner does not know before; it is a part of the expression so that the planner cannot
/// evaluate it early.
inline std::string race_of(std::string const& count, std::string const& word)
{
    return "((" + count + ")::text || ' ' || " + word + ")::int";
}

/// Where a repository's states are. All identifiers are valid ones, so they stand in statements as they are.
struct Table {
    std::string name;                  ///< the name of the table, perhaps with its schema
    std::vector<std::string> key;      ///< the columns of the key
    std::string version;               ///< the column of the version
    std::vector<std::string> columns;  ///< the columns that are written besides those
    std::vector<std::string> shown;    ///< the columns that are read besides the version
    std::vector<bool> written;         ///< for each of `shown`: whether it is in `columns`
    std::string next_version;          ///< the expression for the version after `t.<version>`
    std::string first_version;         ///< the expression for the version of a new row
    std::string key_type;              ///< the cast of a key's part: "::bytea"; empty: the column's type
    std::string value_type;            ///< likewise for the written columns
};

/// What a statement does when it may not change the row.
enum class Refusal : unsigned char {
    reply,  ///< it returns a row that says why
    error,  ///< it fails as a race (`is_race`): a COMMIT stands behind it, and must not commit nothing
};

/// Whether a statement looks at a lock record first, and whether it frees the record.
enum class Fencing : unsigned char { none, guarded, guarded_and_released };

/// What a statement does to a row.
enum class RowAction : unsigned char { insert, update, erase, verify, nothing };

/// The names with commas between them.
inline std::string joined(std::vector<std::string> const& names)
{
    std::string out;
    for (auto const& name : names)
        out += (out.empty() ? "" : ", ") + name;
    return out;
}

/// A statement under construction. Parameters get their numbers in the order in which they are named.
class StatementText {
public:
    /// The next parameter.
    std::string parameter(std::string_view cast = {})
    {
        std::string out = "$";  // in steps: g++ 12 warns of an overlap in a sum that is inlined
        out += std::to_string(++count_);
        out += cast;
        return out;
    }
    /// One parameter for each column of the key.
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

/// The columns of what a change statement returns.
enum ChangeColumn : std::size_t {
    new_version,      ///< null: the change was refused
    fence_holds,      ///< whether the fence holds, see `g`
    present_version,  ///< the version of the row as it is; null: there is no row
    old_answered,     ///< whether the operation's record has an answer; null: there is no record
    old_answer,       // that answer
};

/// The condition that the row `t` is the one which `key` names.
inline std::string has_key(Table const& t, std::vector<std::string> const& key)
{
    std::string out;
    for (std::size_t i = 0; i < key.size(); ++i)
        out += (i == 0 ? "t." : " AND t.") + t.key[i] + " = " + key[i];
    return out;
}

/// A change on which nothing else depends: it returns the new version, or no row. That is cheaper than to be
/// told at once why a change was refused; the reason is asked for only then. The parameters are those of
/// `change_text`.
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
        return "INSERT INTO " + t.name + " AS t (" + names + ") SELECT " + values +
               " FROM (SELECT pg_advisory_xact_lock(" + hash + ")) a ON CONFLICT (" + joined(t.key) +
               ") DO NOTHING RETURNING t." + t.version;
    }
    case RowAction::update: {
        auto const version = p.parameter();
        std::string set = t.version + " = " + t.next_version;
        for (auto const& column : t.columns)
            set += ", " + column + " = " + p.parameter(t.value_type);
        return "UPDATE " + t.name + " t SET " + set + " WHERE " + has_key(t, key) + " AND t." + t.version +
               " = " + version + " RETURNING t." + t.version;
    }
    case RowAction::erase:
        return "DELETE FROM " + t.name + " t WHERE " + has_key(t, key) + " AND t." + t.version + " = " +
               p.parameter() + " RETURNING t." + t.version;
    case RowAction::verify:
    case RowAction::nothing: break;
    }
    return {};
}

/// A change together with all that depends on it. The parameters, in this order:
/// 1. the key (not for `nothing`);
/// 2. with a fence: the key of the lock, owner, token; if the lock is released: the payload of the wake-up;
/// 3. with an operation: home, id, attempt, answer, retention in microseconds;
/// 4. for the action: the version (update, erase, verify) or the hash of the key (insert), and the values;
/// 5. last, with an operation or `Refusal::error`: `race_word`.
inline std::string change_text(
    Table const& t, std::string const& ns, RowAction action, Fencing fencing, bool with_operation,
    Refusal refusal)
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
        part(
            "g", "MATERIALIZED (SELECT 1 FROM " + ns + "_lock WHERE store = " + store + " AND key = " +
                     lock_key + " AND owner = " + owner + " AND mark <= " + token + " FOR UPDATE)");
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
        part(
            "old", "MATERIALIZED (SELECT answered, attempt, answer FROM " + ns +
                       "_operation WHERE store = " + store + " AND key = " + home + " AND id = " + id +
                       " AND kept_until > clock_timestamp())");
        allowed += " AND NOT EXISTS (SELECT FROM old WHERE answered OR attempt >= " + attempt + ")";
    }
    auto const here = [&](std::string const& version) {
        return " WHERE " + has_key(t, key) + " AND t." + t.version + " = " + version + allowed;
    };
    switch (action) {
    case RowAction::insert: {
        // Whoever holds the row lock of a key without a value holds this advisory lock.
        auto const hash = p.parameter("::bigint");
        std::string names = joined(t.key) + ", " + t.version;
        std::string values = joined(key) + ", " + t.first_version;
        for (auto const& column : t.columns) {
            names += ", " + column;
            values += ", " + p.parameter(t.value_type);
        }
        part(
            "w", "(INSERT INTO " + t.name + " AS t (" + names + ") SELECT " + values +
                     " FROM (SELECT pg_advisory_xact_lock(" + hash + ")) a WHERE true" + allowed +
                     " ON CONFLICT (" + joined(t.key) + ") DO NOTHING RETURNING t." + t.version +
                     " AS version)");
        break;
    }
    case RowAction::update: {
        auto const version = p.parameter();
        std::string set = t.version + " = " + t.next_version;
        for (auto const& column : t.columns)
            set += ", " + column + " = " + p.parameter(t.value_type);
        part(
            "w", "(UPDATE " + t.name + " t SET " + set + here(version) + " RETURNING t." + t.version +
                     " AS version)");
        break;
    }
    case RowAction::erase:
        part(
            "w", "(DELETE FROM " + t.name + " t" + here(p.parameter()) + " RETURNING t." + t.version +
                     " AS version)");
        break;
    case RowAction::verify:
        // Records of one key are in the order of their commits, so only one transaction at a time may write
        // one.
        part(
            "w", "MATERIALIZED (SELECT t." + t.version + " AS version FROM " + t.name + " t" +
                     here(p.parameter()) + (with_operation ? " FOR UPDATE)" : " FOR SHARE)"));
        break;
    case RowAction::nothing:
        part("w", "MATERIALIZED (SELECT 1::bigint AS version WHERE true" + allowed + ")");
        break;
    }
    if (fenced) {
        part(
            "r", "(UPDATE " + ns + "_lock SET mark = " + token +
                     (released ? ", owner = NULL, expires = clock_timestamp()" : "") + " WHERE store = " +
                     store + " AND key = " + lock_key + (released ? "" : " AND mark < " + token) +
                     " AND EXISTS (SELECT FROM w) RETURNING wanted)");
        if (released)
            part(
                "n",
                "MATERIALIZED (SELECT pg_notify('" + ns + "_wake', " + payload + ") FROM r WHERE wanted)");
    }
    if (with_operation)
        part(
            "rec",
            "(INSERT INTO " + ns +
                "_operation AS o (store, key, id, attempt, answered, answer, sequence, kept_until) "
                "SELECT " +
                store + ", " + home + ", " + id + ", " + attempt + ", true, " + answer + ", nextval('" + ns +
                "_record'), clock_timestamp() + " + retention +
                " * interval '1 microsecond' FROM w "
                "ON CONFLICT (store, key, id) DO UPDATE SET attempt = excluded.attempt, answered = true, "
                "answer = excluded.answer, sequence = excluded.sequence, kept_until = excluded.kept_until "
                "WHERE o.kept_until <= clock_timestamp() OR (NOT o.answered AND o.attempt < "
                "excluded.attempt) RETURNING 1)");
    if (refusal == Refusal::error)
        return with + " SELECT max(version), CASE WHEN count(*) = 0" +
               (with_operation ? " OR NOT EXISTS (SELECT FROM rec)" : "") + " THEN " +
               race_of("count(*)", p.parameter("::text")) + " END FROM w";
    std::string out =
        with + " SELECT (SELECT version FROM w), " + (fenced ? "EXISTS (SELECT FROM g)" : "true") + ", " +
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

/// All statements of one repository, made once.
struct Statements {
    static constexpr std::size_t actions = 5;

    Statements(Table const& t, std::string const& ns, std::string lock) : row_lock(std::move(lock))
    {
        auto const store = "'" + t.name + "'";
        for (std::size_t a = 0; a < actions; ++a)
            for (std::size_t f = 0; f < 3; ++f)
                for (std::size_t o = 0; o < 2; ++o)
                    if (a != static_cast<std::size_t>(RowAction::nothing) || f != 0 || o != 0)
                        changes[a][f][o] = Statement{change_text(
                            t, ns, static_cast<RowAction>(a), static_cast<Fencing>(f), o != 0,
                            Refusal::reply)};
        for (std::size_t a = 0; a < actions; ++a)
            for (std::size_t o = 0; o < 2; ++o)
                if (a != static_cast<std::size_t>(RowAction::nothing) || o != 0)
                    last_changes[a][o] = Statement{
                        change_text(t, ns, static_cast<RowAction>(a), Fencing::none, o != 0, Refusal::error)};
        auto shown = "t." + t.version;
        for (auto const& column : t.shown)
            shown += ", t." + column;
        auto const from = " FROM " + t.name + " t";
        auto const where = " WHERE " + has_key(t, StatementText{}.key(t));
        load = Statement{"SELECT " + shown + from + where};
        // What any transaction asks first has the transaction's id as its last column.
        rows = "SELECT " + shown + ", pg_current_xact_id()" + from;
        lock_row = Statement{rows + where + " " + row_lock};
        lock_row_now = Statement{rows + where + " " + row_lock + " NOWAIT"};
        lock_hash = Statement{"SELECT pg_advisory_xact_lock($1::bigint), pg_current_xact_id()"};
        lock_hash_now = Statement{"SELECT pg_try_advisory_xact_lock($1::bigint), pg_current_xact_id()"};

        auto const record =
            " FROM " + ns + "_operation WHERE store = " + store + " AND key = $1::bytea AND id = $2::bytea";
        find_operation = Statement{
            "SELECT sequence, attempt, answered, answer" + record + " AND kept_until > clock_timestamp()"};
        forbid = Statement{
            "INSERT INTO " + ns +
            "_operation AS o (store, key, id, attempt, answered, answer, sequence, kept_until) VALUES (" +
            store +
            ", $1::bytea, $2::bytea, $3::bigint, false, '', 0, clock_timestamp() + $4::bigint * interval '1 "
            "microsecond') "
            "ON CONFLICT (store, key, id) DO UPDATE SET attempt = greatest(o.attempt, excluded.attempt), "
            "answered = false, "
            "answer = '', sequence = 0, kept_until = excluded.kept_until "
            "WHERE o.kept_until <= clock_timestamp() OR NOT o.answered"};
        all_operations = Statement{
            "SELECT key, id, sequence, attempt, answer FROM " + ns + "_operation WHERE store = " + store +
            " AND answered AND kept_until > clock_timestamp() AND (key, id) > ($1::bytea, $2::bytea) ORDER "
            "BY key, id LIMIT 1000"};

        // The mark and the time are read anew under the lock of the record, because what stands in VALUES was
        // read before the statement waited for that lock.
        create = Statement{
            "WITH l AS (INSERT INTO " + ns +
            "_lock AS l (store, key, owner, mark, expires, wanted) VALUES (" + store +
            ", $1::bytea, $2::bytea, nextval('" + ns +
            "_token') * 1024, "
            "clock_timestamp() + $3::bigint * interval '1 microsecond', false) "
            "ON CONFLICT (store, key) DO UPDATE SET owner = excluded.owner, "
            "mark = CASE WHEN l.owner = excluded.owner THEN l.mark ELSE nextval('" +
            ns +
            "_token') * 1024 END, "
            "expires = clock_timestamp() + $3::bigint * interval '1 microsecond', wanted = false "
            "WHERE l.owner IS NULL OR l.owner = excluded.owner OR l.expires <= clock_timestamp() RETURNING "
            "mark - mark % 1024 AS first), "
            "b AS (UPDATE " +
            ns + "_lock SET wanted = true WHERE store = " + store +
            " AND key = $1::bytea AND NOT wanted AND NOT EXISTS (SELECT FROM l) RETURNING 1), "
            "n AS MATERIALIZED (SELECT pg_notify('" +
            ns + "_wake', 'w' || encode(substr(h.owner, 1, 4), 'hex') || $4::text) FROM " + ns +
            "_lock h WHERE h.store = " + store +
            " AND h.key = $1::bytea AND h.owner IS NOT NULL "
            "AND NOT EXISTS (SELECT FROM l)) "
            "SELECT (SELECT first FROM l), (SELECT (extract(epoch FROM expires - clock_timestamp()) * "
            "1000000)::bigint FROM " +
            ns + "_lock WHERE store = " + store +
            " AND key = $1::bytea), (SELECT count(*) FROM n), (SELECT count(*) FROM b)"};
        renew = Statement{
            "WITH u AS (UPDATE " + ns +
            "_lock SET expires = clock_timestamp() + $3::bigint * interval '1 microsecond' WHERE store = " +
            store +
            " AND key = $1::bytea AND owner = $2::bytea RETURNING 1) "
            "SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM " +
            ns + "_lock WHERE store = " + store + " AND key = $1::bytea AND owner IS NOT NULL)"};
        remove = Statement{
            "WITH u AS (UPDATE " + ns +
            "_lock SET owner = NULL, expires = clock_timestamp() WHERE store = " + store +
            " AND key = $1::bytea AND owner IS NOT NULL AND ($2::bytea IS NULL OR owner = $2::bytea) "
            "RETURNING wanted), "
            "n AS MATERIALIZED (SELECT pg_notify('" +
            ns +
            "_wake', $3::text) FROM u WHERE wanted) "
            "SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM " +
            ns + "_lock WHERE store = " + store +
            " AND key = $1::bytea AND owner IS NOT NULL), (SELECT count(*) FROM n)"};
    }

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

    std::string rows;      ///< reads all rows of the table, in the form that `Store::read` takes
    std::string row_lock;  ///< the clause that locks them
    // By action, fencing, and whether there is an operation.
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
