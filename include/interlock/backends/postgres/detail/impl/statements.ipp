// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENTS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENTS_IPP

#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/statement_parameters.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL std::string const& race_word()
{
    static auto const& word = interlock::detail::immortal<std::string>(
        "interlock: decided by somebody else " + std::to_string(interlock::detail::random_bits()) + "-" +
        std::to_string(interlock::detail::random_bits()));
    return word;
}

INTERLOCK_DECL bool is_race(SqlError const& error)
{
    return error.state == "22P02" && error.message.find(race_word()) != std::string::npos;
}

/// The names with commas between them.
INTERLOCK_DECL std::string joined(std::vector<std::string> const& names)
{
    std::string out;
    for (auto const& name : names)
        append(out, {out.empty() ? "" : ", ", name});
    return out;
}

INTERLOCK_DECL std::string KeyFit::equals(std::string_view column, std::string_view parameter) const
{
    if (!cuts)
        return joined_text({column, " = ", parameter, own});
    // By the first condition an index finds the row.
    return joined_text(
        {column, " = ", parameter, whole, narrow, " AND ", column, whole, " = ", parameter, whole});
}

INTERLOCK_DECL std::string KeyFit::value(std::string_view parameter) const
{
    if (whole.empty())
        return joined_text({parameter, own});
    // What fails is not a constant, so that the planner cannot evaluate it early.
    return joined_text(
        {"CASE WHEN ", parameter, whole, narrow, whole, " = ", parameter, whole, " THEN ", parameter, whole,
         narrow, " ELSE (pg_catalog.bpchar((", parameter, whole, "::text || 'xx')::bpchar, 5, false))::text",
         narrow, " END"});
}

/// An expression that fails with 22001 once it is evaluated. `value` is what the planner does not know
/// before, so that it cannot evaluate it early.
[[gnu::cold]] INTERLOCK_DECL std::string failing_number(std::string_view value)
{
    return joined_text(
        {"length((pg_catalog.bpchar(((", value, ")::text || 'xx')::bpchar, 5, false))::text)"});
}

/// The condition that the column `i` of the key of the row `t` is `parameter`.
[[gnu::cold]] INTERLOCK_DECL std::string is_part(Table const& t, std::size_t i, std::string_view parameter)
{
    return t.key_fit(i).equals(joined_text({"t.", t.key[i]}), parameter);
}

/// The condition that the row `t` is the one which `key` names.
[[gnu::cold]] INTERLOCK_DECL std::string has_key(Table const& t, std::vector<std::string> const& key)
{
    std::string out;
    for (std::size_t i = 0; i < key.size(); ++i)
        append(out, {i == 0 ? "" : " AND ", is_part(t, i, key[i])});
    return out + t.where;
}

/// The i-th column that is read from the row `t`.
[[gnu::cold]] INTERLOCK_DECL std::string shown_column(Table const& t, std::size_t i)
{
    bool const special = t.shown[i] == t.version && !t.shown_version.empty();
    return special ? t.shown_version : joined_text({"t.", t.shown[i]});
}

/// The condition that the server still makes what the change leaves to it, or an error. `written`: see
/// `ChangeColumns::written`.
[[gnu::cold]] INTERLOCK_DECL std::string still_made(Table const& t, std::string_view written)
{
    std::string names;
    int count = 0;
    for (std::size_t i = 0; i < written.size(); ++i)
        if (written[i] == '2' && ++count > 0)
            append(names, {names.empty() ? "" : ", ", quoted_text(unquoted(t.columns[i]))});
    if (count == 0)
        return {};
    SqlWords words;
    words.set("table", quoted_text(t.quoted));
    words.set("names", std::move(names));
    words.set("count", std::to_string(count));
    words.set("fail", failing_number("count(*)"));
    return words.line(R"( AND (SELECT CASE WHEN count(*) = {count} THEN 1 ELSE {fail} END
        FROM pg_catalog.pg_attribute WHERE attrelid = {table}::regclass AND attname IN ({names})
        AND NOT attisdropped AND (attgenerated <> '' OR attidentity = 'a')) = 1)");
}

/// The version of an inserted row, or an error: a column of its key has cut or rounded what was sent. `key`:
/// the parameters; an empty one is a part that the server makes.
[[gnu::cold]] INTERLOCK_DECL std::string made_version(Table const& t, std::vector<std::string> const& key)
{
    auto const& made = t.made_version.empty() ? t.seen_version : t.made_version;
    std::string same;
    std::string stored;
    for (std::size_t i = 0; i < t.key_checks.size() && i < key.size(); ++i) {
        auto const& cast = t.key_checks[i];
        if (cast.empty() || key[i].empty())
            continue;
        append(same, {same.empty() ? "" : " AND ", "t.", t.key[i], cast, " = ", key[i], cast});
        stored = joined_text({"t.", t.key[i]});
    }
    if (same.empty())
        return t.made_version.empty() ? t.with_types(made) : t.with_types_apart(made);
    return t.with_types(
        joined_text({"CASE WHEN ", same, " THEN ", made, " ELSE ", failing_number(stored), " END"}));
}

/// A statement under construction: its words and its parameters. `change_text` says the order of the parts.
class ChangeText {
public:
    ChangeText(
        Table const& t, std::string const& ns, RowAction action, Fencing fencing, bool with_operation,
        ChangeColumns columns = {})
        : table_(t), action_(action), fenced_(fencing != Fencing::none),
          released_(fencing == Fencing::guarded_and_released), with_operation_(with_operation),
          columns_(std::move(columns))
    {
        words_.set("table", t.quoted);
        words_.set("store", t.store);
        words_.set("ns", ns);
        words_.set("name", std::string(name_space_of(ns)));
        words_.set("seen", t.with_types(t.seen_version));
        words_.set("had", t.compared_version(columns_.uncounted));
        words_.set("key", joined(t.key));
        if (action != RowAction::nothing)
            key_ = key();
        words_.set("is_key", has_key(t, key_));
        // The rows of one statement are of one moment, so that it cannot change one of several.
        words_.set(
            "only", t.unique ? t.index_stands
                             : words_.line(" AND (SELECT count(*) FROM {table} t WHERE {is_key}) = 1"));
    }

    /// One parameter for each column of the key.
    std::vector<std::string> key()
    {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < table_.key.size(); ++i)
            out.push_back(parameters_.next(table_.key_type));
        return out;
    }

    /// Nothing else depends on the change but the events behind it.
    std::string plain()
    {
        plain_ = true;
        one_row_ = true;
        return row_change();
    }
    std::string bare_insert()
    {
        bare_ = true;
        return row_change();
    }

    std::string new_row(std::string const& made)
    {
        std::string names;
        std::string values;
        auto const add = [&](std::string_view name, std::string_view value) {
            append(names, {names.empty() ? "(" : ", ", name});
            append(values, {values.empty() ? "" : ", ", value});
        };
        std::vector<std::string> sent(table_.key.size());
        for (std::size_t i = 0; i < table_.key.size(); ++i)
            if (made[i] == '0') {
                sent[i] = parameters_.next(table_.key_type);
                add(table_.key[i], key_value(i, sent[i]));
            }
        if (!table_.first_version.empty())
            add(table_.version, table_.first_version);
        if (with_operation_)
            add_old_record(parameters_.next("::bytea"));
        for (std::size_t i = 0; i < table_.columns.size(); ++i)
            if (writes(i))
                add(table_.columns[i], parameters_.next(table_.value_type));
        words_.set("names", names.empty() ? "" : names + ") ");
        words_.set("values", std::move(values));
        words_.set("allowed", allowed_ + still_made(table_, columns_.written));
        words_.set("told", told("t."));
        words_.set("made", made_version(table_, sent));
        std::string recorded;
        for (std::size_t i = 0; i < table_.key.size(); ++i) {
            auto const part = joined_text({"t.", table_.key[i], "::text"});
            append(recorded, {i == 0 ? "" : " || ", "octet_length(", part, ")::text || ':' || ", part});
        }
        words_.set("recorded", std::move(recorded));
        part("il_w", R"((INSERT INTO {table} AS t {names}SELECT {values} FROM (SELECT 1) a WHERE true{allowed}
            RETURNING {made} AS version, {recorded} AS recorded{told}))");
        if (with_operation_) {
            words_.set("answer", words_.text("{answer} || convert_to(recorded, 'UTF8')"));
            add_new_record();
        }
        words_.set(
            "unrecorded",
            with_operation_ ? " OR EXISTS (SELECT FROM il_w) AND NOT EXISTS (SELECT FROM il_rec)" : "");
        words_.set("nothing", words_.text("NOT EXISTS (SELECT FROM il_w){allowed}"));
        words_.set(
            "answered",
            with_operation_ ? "(SELECT answered FROM il_old), (SELECT answer FROM il_old)" : "NULL, NULL");
        words_.set("told", told("il_w."));
        set_race(with_operation_ ? "SELECT count(*) FROM il_rec" : "SELECT count(*) FROM il_w");
        return with_ + words_.line(R"( SELECT il_w.version, true, NULL, {answered},
            CASE WHEN {nothing}{unrecorded} THEN {race} END{told}
            FROM (SELECT 1) one LEFT JOIN il_w ON true)");
    }

    std::string whole(Refusal refusal)
    {
        if (fenced_)
            add_fence();
        if (with_operation_)
            add_old_record(parameters_.home(table_));
        bool const reads = action_ == RowAction::verify || action_ == RowAction::nothing;
        one_row_ = refusal == Refusal::reply && !reads && !fenced_ && !with_operation_ && !columns_.looks &&
                   columns_.appends > 0;
        words_.set("change", row_change());
        part("il_w", reads ? "MATERIALIZED ({change})" : "({change})");
        if (fenced_)
            add_lock_record();
        if (with_operation_)
            add_new_record();
        words_.set("stream_lock", "");
        if (columns_.appends > 0)
            add_append(reads);
        else if (columns_.log != nullptr)
            words_.set("stream_lock", joined_text({", (SELECT ", next_stream_lock(), " FROM il_w)"}));
        if (refusal == Refusal::error)
            return with_ + error_if_refused();
        if (one_row_)
            return joined_text({with_, " SELECT version", told("il_w."), " FROM il_w"});
        return with_ + reasons();
    }

private:
    /// The next parameter becomes a word.
    [[gnu::noinline]] void bind(std::string_view name, std::string_view cast)
    {
        words_.set(name, parameters_.next(cast));
    }
    [[gnu::noinline]] void part(std::string_view name, std::string_view text)
    {
        append(with_, {with_.empty() ? "WITH " : ", ", name, " AS ", words_.line(text)});
    }

    /// Takes the lock of a stream, the next parameter, see `ChangeColumns::log`.
    std::string next_stream_lock() { return columns_.log->lock_words(parameters_.next("::bigint")); }
    /// What a change returns for that: it does so if it is made.
    void set_returned_lock()
    {
        std::string lock;
        if (columns_.appends > 0)
            lock = joined_text({", ", append_locks(), " AS lock"});
        else if (plain_ && columns_.log != nullptr)
            lock = joined_text({", ", next_stream_lock()});
        words_.set("stream_lock", std::move(lock));
    }
    std::string append_locks()
    {
        append_at_ = parameters_.next_ones(columns_.log->change_params(columns_.appends));
        return columns_.log->locks_words(columns_.partition, append_at_);
    }
    /// Appends the events if the part `il_w` has a row. `reads`: the row is locked after its columns were
    /// made, and the locks of the append come behind that of the row.
    void add_append(bool reads)
    {
        if (reads)
            append(with_, {", il_a AS MATERIALIZED (SELECT ", append_locks(), " AS lock FROM il_w)"});
        append(
            with_, {", il_e AS (",
                    columns_.log->insert_words(
                        columns_.partition, columns_.appends, append_at_, reads ? "il_a" : "il_w"),
                    ")"});
    }

    void add_fence()
    {
        words_.set("lock_key", parameters_.record_key(table_));
        bind("owner", "::bytea");
        bind("token", "::bigint");
        if (released_)
            bind("payload", "::text");
        part("il_g", R"(MATERIALIZED (SELECT 1 FROM {ns}_lock WHERE store = {store}
            AND key = {lock_key} AND owner = {owner} AND mark <= {token} FOR UPDATE))");
        allowed_ += " AND EXISTS (SELECT FROM il_g)";
    }

    void add_old_record(std::string home)
    {
        words_.set("home", std::move(home));
        bind("id", "::bytea");
        bind("attempt", "::bigint");
        bind("answer", "::bytea");
        bind("retention", "::bigint");
        part("il_old", R"(MATERIALIZED (SELECT answered, attempt, answer FROM {ns}_operation
            WHERE store = {store} AND key = {home} AND id = {id} AND kept_until > clock_timestamp()))");
        allowed_ +=
            words_.line(" AND NOT EXISTS (SELECT FROM il_old WHERE answered OR attempt >= {attempt})");
    }

    std::string row_change()
    {
        words_.set("allowed", allowed_ + still_made(table_, columns_.written));
        words_.set("stands", "");
        if (action_ == RowAction::insert)
            return insertion();
        if (action_ == RowAction::nothing)
            return words_.line("SELECT 1::bigint AS version WHERE true{allowed}");
        bind("expected", "::bigint");  // however narrow the column is
        words_.set("told", told("t."));
        std::string own;  // key of the state
        if (action_ == RowAction::update_respelled)
            for (std::size_t i = 0; i < table_.key.size(); ++i)
                append(own, {" AND ", is_part(table_, i, parameters_.next(table_.key_type))});
        words_.set("own", std::move(own));
        words_.set("target", words_.line(one_row_ && table_.childless ? "ONLY {table}" : "{table}"));
        words_.set("here", words_.line("WHERE {is_key} AND {had} = {expected}{own}{only}{allowed}"));
        if (action_ == RowAction::erase)
            return erasure();
        if (action_ == RowAction::update || action_ == RowAction::update_respelled)
            return update();
        // Records of one key are in the order of their commits, so only one transaction at a time may write
        // one.
        return words_.line(
            with_operation_ ? "SELECT {seen} AS version FROM {table} t {here} FOR UPDATE"
                            : "SELECT {seen} AS version FROM {table} t {here} FOR SHARE");
    }

    std::string insertion()
    {
        // Whoever holds the row lock of a key without a value holds this advisory lock.
        words_.set("lock_number", parameters_.lock_number(table_));
        std::string names = joined(table_.key);
        std::string values;
        for (std::size_t i = 0; i < key_.size(); ++i)
            append(values, {i == 0 ? "" : ", ", key_value(i, key_[i])});
        if (!table_.first_version.empty()) {  // else the server sets it
            append(names, {", ", table_.version});
            append(values, {", ", table_.first_version});
        }
        for (std::size_t i = 0; i < table_.columns.size(); ++i) {
            if (!writes(i))
                continue;
            append(names, {", ", table_.columns[i]});
            append(values, {", ", parameters_.next(table_.value_type)});
        }
        words_.set("names", std::move(names));
        words_.set("values", std::move(values));
        words_.set("told", told("t."));
        // A trigger that stores the row elsewhere must not see a key that is taken. Nor may a table where no
        // index can be named; a row that comes there meanwhile is an error of its unique index.
        words_.set(
            "free", columns_.looks || (!table_.arbiter && !bare_)
                        ? words_.line(" AND NOT EXISTS (SELECT FROM {table} t WHERE {is_key})")
                        : "");
        words_.set("made", made_version(table_, key_));
        words_.set(
            "or_nothing", bare_ || !table_.arbiter ? "" : words_.line("ON CONFLICT ({key}) DO NOTHING "));
        set_returned_lock();
        return words_.line(R"(INSERT INTO {table} AS t ({names}) SELECT {values}
            FROM (SELECT pg_advisory_xact_lock({lock_number})) a WHERE true{allowed}{free}
            {or_nothing}RETURNING {made} AS version{stream_lock}{told})");
    }

    std::string erasure()
    {
        set_returned_lock();
        return words_.line("DELETE FROM {target} t {here} RETURNING {seen} AS version{stream_lock}");
    }

    std::string update()
    {
        if (table_.may_stand)
            words_.set("stands", words_.line(" OR (SELECT max(version) FROM il_w) = {expected}"));
        std::vector<std::string> set;
        if (!table_.next_version.empty())  // else the server sets it
            set.push_back(joined_text({table_.version, " = ", table_.version_behind(columns_.uncounted)}));
        for (std::size_t i = 0; i < table_.columns.size(); ++i)
            if (writes(i))
                set.push_back(joined_text({table_.columns[i], " = ", parameters_.next(table_.value_type)}));
        if (set.empty())  // some change must move the version
            set.push_back(joined_text({writable(), " = t.", writable()}));
        words_.set("set", joined(set));
        set_returned_lock();
        return words_.line(
            "UPDATE {target} t SET {set} {here} RETURNING {seen} AS version{stream_lock}{told}");
    }

    /// A column that the role may set to what it is.
    std::string const& writable() const
    {
        for (std::size_t i = 0; i < table_.shown.size(); ++i)
            if (table_.written[i] && !table_.uses[i].made && table_.uses[i].may_update)
                return table_.shown[i];
        return table_.key[0];
    }

    /// What an insert writes into the column `i` of the key.
    std::string key_value(std::size_t i, std::string_view parameter) const
    {
        return table_.key_fit(i).value(parameter);
    }

    bool writes(std::size_t column) const noexcept
    {
        return columns_.written.empty() || columns_.written[column] == '1';
    }

    /// The columns as they are stored, from `t.`, or, by the names that they then have, from `il_w.`.
    std::string told(std::string_view from) const
    {
        std::string out;
        for (std::size_t i = 0; columns_.told && i < table_.shown.size(); ++i) {
            auto const name = joined_text({"s", std::to_string(i)});
            append(out, {", ", from == "t." ? shown_column(table_, i) : joined_text({from, name})});
            if (from == "t.")
                append(out, {" AS ", name});
        }
        return out;
    }

    void add_lock_record()
    {
        if (!released_) {
            part("il_r", R"((UPDATE {ns}_lock SET mark = {token}
                WHERE store = {store} AND key = {lock_key} AND mark < {token}
                AND EXISTS (SELECT FROM il_w) RETURNING wanted))");
            return;
        }
        part("il_r", R"((UPDATE {ns}_lock SET mark = {token}, owner = NULL, expires = clock_timestamp()
            WHERE store = {store} AND key = {lock_key} AND EXISTS (SELECT FROM il_w) RETURNING wanted))");
        part("il_n", R"(MATERIALIZED (SELECT pg_notify('{name}_wake', {payload}) FROM il_r WHERE wanted))");
    }

    void add_new_record()
    {
        part("il_rec", R"((INSERT INTO {ns}_operation AS o
            (store, key, id, attempt, answered, answer, sequence, kept_until)
            SELECT {store}, {home}, {id}, {attempt}, true, {answer}, nextval('{ns}_record'),
            clock_timestamp() + {retention} * interval '1 microsecond' FROM il_w
            ON CONFLICT (store, key, id) DO UPDATE SET attempt = excluded.attempt, answered = true,
            answer = excluded.answer, sequence = excluded.sequence, kept_until = excluded.kept_until
            WHERE o.kept_until <= clock_timestamp() OR (NOT o.answered AND o.attempt < excluded.attempt)
            RETURNING 1))");
    }

    /// The word `race`, an expression that fails with `race_word`, the next parameter, once it is evaluated.
    /// `count` is a number that the planner does not know before; it is a part of the expression so that the
    /// planner cannot evaluate it early.
    void set_race(std::string_view count)
    {
        words_.set(
            "race", joined_text({"((", count, ")::text || ' ' || ", parameters_.next("::text"), ")::int"}));
    }

    std::string error_if_refused()
    {
        words_.set("unrecorded", with_operation_ ? " OR NOT EXISTS (SELECT FROM il_rec)" : "");
        words_.set("told", told("il_w."));
        set_race(columns_.told ? "SELECT count(*) FROM il_w" : "count(*)");
        if (columns_.told)
            return words_.line(R"( SELECT (SELECT version FROM il_w),
                CASE WHEN NOT EXISTS (SELECT FROM il_w){unrecorded}{stands} THEN {race} END{stream_lock}{told}
                FROM (SELECT 1) one LEFT JOIN il_w ON true)");
        return words_.line(R"( SELECT max(version),
            CASE WHEN count(*) <> 1{unrecorded}{stands} THEN {race} END{stream_lock} FROM il_w)");
    }

    /// Whether nothing came of the change although the row was as it should be.
    std::string nothing_came() const
    {
        if (action_ == RowAction::insert)
            return words_.line(
                "NOT EXISTS (SELECT FROM il_w) AND NOT EXISTS (SELECT FROM {table} t WHERE "
                "{is_key}){allowed}");
        return words_.line("NOT EXISTS (SELECT FROM il_w) AND EXISTS (SELECT FROM {table} t {here})");
    }

    /// The columns of `ChangeColumn`, and what must be evaluated besides.
    std::string reasons()
    {
        auto out = words_.line(
            fenced_ ? " SELECT (SELECT version FROM il_w), EXISTS (SELECT FROM il_g), "
                    : " SELECT (SELECT version FROM il_w), true, ");
        // Of several rows one, since a change of them is refused.
        words_.set("one", table_.unique ? "" : " LIMIT 1");
        out += words_.line(
            action_ == RowAction::nothing ? "NULL" : "(SELECT {seen} FROM {table} t WHERE {is_key}{one})");
        out +=
            with_operation_ ? ", (SELECT answered FROM il_old), (SELECT answer FROM il_old)" : ", NULL, NULL";
        if (released_)
            out += ", (SELECT count(*) FROM il_n)";
        if (with_operation_ || columns_.looks) {
            std::string fails;
            if (with_operation_)
                fails = "EXISTS (SELECT FROM il_w) AND NOT EXISTS (SELECT FROM il_rec)";
            if (columns_.looks)
                append(fails, {fails.empty() ? "" : " OR ", nothing_came(), words_.text("{stands}")});
            words_.set("fails", std::move(fails));
            set_race(with_operation_ ? "SELECT count(*) FROM il_rec" : "SELECT count(*) FROM il_w");
            out += words_.line(", CASE WHEN {fails} THEN {race} END");
        }
        out += words_.line("{stream_lock}");
        if (columns_.told)
            append(out, {told("il_w."), " FROM (SELECT 1) one LEFT JOIN il_w ON true"});
        return out;
    }

    Table const& table_;
    RowAction action_;
    bool fenced_;
    bool released_;
    bool with_operation_;
    ChangeColumns columns_;
    bool bare_{false};          // a taken key is an error
    bool plain_{false};         // the change is the whole statement
    bool one_row_{false};       // nothing else in the statement fails if two rows are changed
    std::size_t append_at_{0};  // the first parameter of an append
    SqlWords words_;
    std::vector<std::string> key_;  // the parameters of the row's key
    std::string with_;              // the parts so far
    std::string allowed_;           // what the parts before demand of the change
    Parameters parameters_;
};

[[gnu::cold]] INTERLOCK_DECL std::string change_text(
    Table const& t, std::string const& ns, RowAction action, Fencing fencing, bool with_operation,
    Refusal refusal, ChangeColumns columns)
{
    bool const writes = action != RowAction::verify && action != RowAction::nothing;
    bool const alone = writes && fencing == Fencing::none && !with_operation && refusal == Refusal::reply &&
                       !columns.looks && columns.appends == 0;
    ChangeText text{t, ns, action, fencing, with_operation, std::move(columns)};
    return alone ? text.plain() : text.whole(refusal);
}

[[gnu::cold]] INTERLOCK_DECL std::string new_row_text(
    Table const& t, std::string const& ns, bool with_operation, std::string const& made,
    ChangeColumns columns)
{
    columns.told = true;
    return ChangeText{t, ns, RowAction::nothing, Fencing::none, with_operation, std::move(columns)}.new_row(
        made);
}

INTERLOCK_DECL std::optional<std::vector<std::string>> key_of_answer(std::string_view answer)
{
    std::vector<std::string> parts;
    while (!answer.empty()) {
        std::size_t size = 0;
        auto const end = std::from_chars(answer.data(), answer.data() + answer.size(), size);
        auto const digits = static_cast<std::size_t>(end.ptr - answer.data());
        if (end.ec != std::errc{} || digits == answer.size() || answer[digits] != ':' ||
            answer.size() - digits - 1 < size)
            return std::nullopt;
        parts.emplace_back(answer.substr(digits + 1, size));
        answer.remove_prefix(digits + 1 + size);
    }
    return parts;
}

[[gnu::cold]] INTERLOCK_DECL std::string bare_insert_text(
    Table const& t, std::string const& ns, ChangeColumns columns)
{
    return ChangeText{t, ns, RowAction::insert, Fencing::none, false, std::move(columns)}.bare_insert();
}

/// The columns that a read gives, the version first.
[[gnu::cold]] INTERLOCK_DECL std::string shown_text(Table const& t)
{
    auto shown = t.with_types(t.read_version.empty() ? t.seen_version : t.read_version);
    for (std::size_t i = 0; i < t.shown.size(); ++i)
        append(shown, {", ", shown_column(t, i)});
    return shown;
}

[[gnu::cold]] INTERLOCK_DECL std::string rows_text(Table const& t)
{
    // What any transaction asks first ends with the table that its name means, and the transaction's id.
    return joined_text(
        {"SELECT ", shown_text(t), ", ", t.meant, ", pg_current_xact_id() FROM ", t.quoted, " t"});
}

[[gnu::cold]] INTERLOCK_DECL Statements::Statements(
    Table const& t, std::string const& ns, std::string const& lock)
{
    SqlWords words;
    words.set("ns", ns);
    words.set("name", std::string(name_space_of(ns)));
    words.set("store", t.store);
    make_changes(t, ns);
    make_reads(t, lock);
    make_operation_records(t, words);
    make_lock_records(t, words);
    make_lock_reports(t, words);
}

[[gnu::cold]] INTERLOCK_DECL void Statements::make_changes(Table const& t, std::string const& ns)
{
    for (std::size_t a = 0; a < actions; ++a)
        for (std::size_t o = 0; o < 2; ++o) {
            auto const action = static_cast<RowAction>(a);
            bool const alone = action == RowAction::nothing && o == 0;
            for (std::size_t f = 0; f < 3; ++f)
                if (!alone || f != 0)
                    changes[a][f][o] = Statement{
                        change_text(t, ns, action, static_cast<Fencing>(f), o != 0, Refusal::reply)};
            if (!alone)
                last_changes[a][o] =
                    Statement{change_text(t, ns, action, Fencing::none, o != 0, Refusal::error)};
        }
}

[[gnu::cold]] INTERLOCK_DECL void Statements::make_reads(Table const& t, std::string const& lock)
{
    SqlWords words;
    words.set("shown", shown_text(t));
    words.set("table", t.quoted);
    ChangeText parameters{t, {}, RowAction::nothing, Fencing::none, false};
    words.set("is_key", has_key(t, parameters.key()));
    load = Statement{words.line("SELECT {shown} FROM {table} t WHERE {is_key}")};
    auto const row = joined_text({rows_text(t), words.line(" WHERE {is_key} "), lock});
    lock_row = Statement{row};
    lock_row_now = Statement{joined_text({row, " NOWAIT"})};
    words.set("number", Parameters{}.lock_number(t));
    words.set("meant", t.meant);
    lock_hash =
        Statement{words.line("SELECT pg_advisory_xact_lock({number}), {meant}, pg_current_xact_id()")};
    lock_hash_now =
        Statement{words.line("SELECT pg_try_advisory_xact_lock({number}), {meant}, pg_current_xact_id()")};
    place = Statement{words.line("SELECT {meant}")};
    if (!t.record_key.empty())
        record_key = Statement{joined_text({"SELECT ", Parameters{}.record_key(t)})};
}

[[gnu::cold]] INTERLOCK_DECL void Statements::make_operation_records(Table const& t, SqlWords words)
{
    Parameters found;
    words.set("key", found.home(t));
    words.set("id", found.next("::bytea"));
    find_operation = Statement{words.line(R"(SELECT sequence, attempt, answered, answer FROM {ns}_operation
        WHERE store = {store} AND key = {key} AND id = {id} AND kept_until > clock_timestamp())")};
    find_new_row = Statement{words.line(R"(SELECT sequence, attempt, answered, answer FROM {ns}_operation
        WHERE store = {store} AND key = $1::bytea AND id = $2::bytea AND kept_until > clock_timestamp())")};
    words.set("attempt", found.next("::bigint"));
    words.set("retention", found.next("::bigint"));
    forbid = Statement{words.line(R"(INSERT INTO {ns}_operation AS o
        (store, key, id, attempt, answered, answer, sequence, kept_until)
        VALUES ({store}, {key}, {id}, {attempt}, false, '', 0,
        clock_timestamp() + {retention} * interval '1 microsecond')
        ON CONFLICT (store, key, id) DO UPDATE SET attempt = greatest(o.attempt, excluded.attempt),
        answered = false, answer = '', sequence = 0, kept_until = excluded.kept_until
        WHERE o.kept_until <= clock_timestamp() OR NOT o.answered)")};
    all_operations = Statement{words.line(R"(SELECT key, id, sequence, attempt, answer FROM {ns}_operation
        WHERE store = {store} AND answered AND kept_until > clock_timestamp()
        AND (key, id) > ($1::bytea, $2::bytea) ORDER BY key, id LIMIT 1000)")};
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENTS_IPP
