// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_TABLE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_TABLE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_table.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/detail/table_facts.hpp>
#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/core/errc.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

// The sequences have no cache: a session that kept some numbers would store events before those of others
// that have been read. `append` is the id of the append whose last event it is.
//
// Of a stream whose events are all trimmed, one row stays in the table, so that its numbers go on: an end,
// with the last number, a partition below 0 and no data. Version 0.2 kept these numbers in a table of their
// own, `{streams}`, with the columns `stream` and `number`, and each append looked there. A log that it has
// made is used as it does, see `keeps_ends_apart`. In a new log that table has none of these columns, and
// never a row: so version 0.2, which would not know of ends, is refused by the server.
inline constexpr std::string_view event_schema_text =
    R"(CREATE TABLE IF NOT EXISTS {table} (
    partition integer NOT NULL,
    position bigint NOT NULL,
    stream bytea NOT NULL,
    number bigint NOT NULL,
    id text COLLATE "C" NOT NULL UNIQUE,
    type text NOT NULL,
    version integer NOT NULL,
    data bytea NOT NULL,
    correlation text NOT NULL,
    cause text NOT NULL,
    traceparent text NOT NULL,
    writer text NOT NULL,
    append bytea,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (partition, position),
    UNIQUE (stream, number)
);
CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} (stream, append) WHERE append IS NOT NULL;
CREATE TABLE IF NOT EXISTS {streams} (
    ends_are_rows_of_the_log boolean
);
CREATE TABLE IF NOT EXISTS {partitions} (
    partition integer PRIMARY KEY,
    trimmed bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS {consumers} (
    consumer text NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (consumer, partition)
);
)";

/// The name of an object of the log whose table is `table`: with `suffix` behind its last part.
INTERLOCK_DECL SqlName with_suffix(SqlName const& table, std::string_view suffix)
{
    auto name = table;
    name.quoted.insert(name.quoted.size() - 1, suffix);
    // A name that is quoted for people is quoted at its end.
    name.text.insert(name.text.size() - (name.text.ends_with('"') ? 1 : 0), suffix);
    return name;
}

INTERLOCK_DECL EventTable::EventTable(
    void const* pool, std::string_view name_space, EventRepositoryOptions options)
    : pool_(pool), options_(std::move(options))
{
    auto const events =
        table_name("table", options_.table.empty() ? std::string(name_space) + "_event" : options_.table);
    auto const dot = events.quoted.rfind("\".\"");
    auto const quoted_size = events.quoted.size() - (dot == std::string::npos ? 0 : dot + 2);
    if (quoted_size > 48 + 2)
        throw_invalid({"postgres: the name of a table of events has at most 48 bytes: ", events.text});
    if (options_.partitions < 1 || options_.partitions > 256)
        throw_invalid({"postgres: a log has 1 to 256 partitions"});
    if (!is_utf8(options_.writer))
        throw_invalid({"postgres: the writer of events must be UTF-8, without a NUL"});
    names_ = {
        events, with_suffix(events, "_position_"), with_suffix(events, "_stream"),
        with_suffix(events, "_partition"), with_suffix(events, "_consumer")};
    lock_ = Statement{joined_text({"SELECT ", lock_words(names_, "$1::bigint")})};
    // One table may have several names; others may share the hash, which costs them a look in vain.
    auto const last_part = events.text.substr(events.text.rfind('.') + 1) + " events";
    for (unsigned p = 0; p < partitions(); ++p)
        wake_hashes_.push_back(stable_hash(last_part, std::to_string(p)));
}

INTERLOCK_DECL SqlWords EventTable::words_of(Names const& names, unsigned partition)
{
    auto const sequence = quoted_text(with_suffix(names.sequences, std::to_string(partition)).quoted);
    SqlWords words;
    words.set("table", names.events.quoted);
    words.set("streams", names.streams.quoted);
    words.set("partitions", names.partitions.quoted);
    words.set("consumers", names.consumers.quoted);
    words.set("partition", std::to_string(partition));
    words.set("sequence", sequence + "::regclass");
    words.set("log", sequence + "::regclass::oid");
    return words;
}

INTERLOCK_DECL std::string EventTable::line(std::string_view text, unsigned partition) const
{
    return words(partition).line(text);
}

/// What a log says that tables of another schema are hidden by, or hide.
inline constexpr std::string_view say_schema_of_log =
    "Options::schema, or schema=... in the URL, or EventRepositoryOptions::table with the schema in front";

INTERLOCK_DECL std::vector<std::string> EventTable::names_without_schema() const
{
    if (names_.events.quoted.find("\".\"") != std::string::npos)
        return {};
    std::vector<std::string> names;
    for (auto const* name : {&names_.events, &names_.streams, &names_.partitions, &names_.consumers})
        names.push_back(unquoted(name->quoted));
    for (unsigned p = 0; p < partitions(); ++p)
        names.push_back(unquoted(with_suffix(names_.sequences, std::to_string(p)).quoted));
    return names;
}

INTERLOCK_DECL std::string EventTable::guard() const
{
    auto const names = names_without_schema();
    return names.empty() ? std::string{} : guard_text(names, say_schema_of_log);
}

INTERLOCK_DECL std::string EventTable::schema() const
{
    auto words = words_of(names_, 0);
    // An index has no schema of its own in its name.
    auto const index = with_suffix(names_.events, "_append").quoted;
    auto const dot = index.rfind("\".\"");
    words.set("index", dot == std::string::npos ? index : index.substr(dot + 2));
    auto text = guard() + words.text(event_schema_text);
    // A log that is there keeps its number of partitions: with another, the events of a stream would be in
    // two of them.
    words.set("count", std::to_string(partitions()));
    words.set("there", quoted_text("the log " + names_.events.text + " has "));
    text += guard_statement(words, R"(DECLARE many bigint; BEGIN
    SELECT count(*) INTO many FROM {partitions}; IF many NOT IN (0, {count}) THEN
    RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = {there} || many || ' partitions, and not {count} as '
        'EventRepositoryOptions::partitions says; their number cannot be changed'; END IF; END)");
    for (unsigned p = 0; p < partitions(); ++p) {
        append(
            text, {"CREATE SEQUENCE IF NOT EXISTS ", with_suffix(names_.sequences, std::to_string(p)).quoted,
                   " CACHE 1 NO CYCLE;\n"});
        append(
            text, {"INSERT INTO ", names_.partitions.quoted, " VALUES (", std::to_string(p),
                   ", 0) ON CONFLICT DO NOTHING;\n"});
    }
    return text;
}

// ---- whether the log is as it must be -----------------------------------------------------------

/// The schema of the table `events`, if everything with these names is there. (A temporary table has none.)
INTERLOCK_DECL std::string common_schema(SqlName const& events, std::vector<std::string> const& names)
{
    std::string list;
    for (auto const& name : names)
        append(list, {list.empty() ? "" : ", ", quoted_text(name)});
    SqlWords words;
    words.set("table", quoted_text(events.quoted) + "::regclass");
    words.set("list", std::move(list));
    words.set("count", std::to_string(names.size()));
    return words.text(R"((SELECT quote_ident(n.nspname) FROM pg_namespace n
            WHERE n.oid = (SELECT relnamespace FROM pg_class WHERE oid = {table} AND relpersistence <> 't')
            AND (SELECT count(*) FROM pg_class
            WHERE relnamespace = n.oid AND relname IN ({list})) = {count}))");
}

INTERLOCK_DECL void EventTable::add_check(Batch& batch) const
{
    std::string sequences;
    for (unsigned p = 0; p < partitions(); ++p)
        append(
            sequences, {p == 0 ? "" : ", ",
                        quoted_text(with_suffix(names_.sequences, std::to_string(p)).quoted), "::regclass"});
    SqlWords words;
    auto const names = names_without_schema();
    words.set("hidden", names.empty() ? "NULL" : hidden_words(names));
    words.set("sequences", std::move(sequences));
    words.set("table", quoted_text(names_.events.quoted) + "::regclass");
    words.set("streams", quoted_text(names_.streams.quoted) + "::regclass");
    words.set("partitions", names_.partitions.quoted);
    words.set("schema", names.empty() ? "NULL" : common_schema(names_.events, names));
    batch.add(words.line(R"(SELECT
        (SELECT min(seqrelid::regclass::text) FROM pg_sequence WHERE seqrelid = ANY(ARRAY[{sequences}])
            AND (seqcache <> 1 OR seqcycle OR seqincrement <> 1)),
        (SELECT count(*) FROM {partitions}),
        (SELECT min(c.relname::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = {table} AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)) = ARRAY['number', 'stream']),
        row_security_active({table}::oid),
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = {streams} AND attname = 'number'),
        {hidden}, {schema})"));
}

INTERLOCK_DECL Outcome<void> EventTable::judge_check(Reply const& reply) const
{
    if (!reply.null(0, 5))
        return hidden_tables(reply.text(0, 5), say_schema_of_log);
    if (!reply.null(0, 0))
        return failed(
            Errc::misconfigured, {"postgres: the sequence ", reply.text(0, 0),
                                  " must have CACHE 1, INCREMENT 1 and no CYCLE, or readers of ",
                                  names_.events.text, " would miss events"});
    if (reply.number(0, 1) != static_cast<std::int64_t>(partitions()))
        return failed(
            Errc::misconfigured,
            {"postgres: the log ", names_.events.text, " has ", reply.text(0, 1), " partitions, and not ",
             std::to_string(partitions()), " as EventRepositoryOptions::partitions says"});
    if (reply.null(0, 2))
        return failed(
            Errc::misconfigured,
            {"postgres: the table ", names_.events.text, " needs a unique index on (stream, number)"});
    if (reply.boolean(0, 3))
        return failed(
            Errc::misconfigured, {"postgres: row-level policies apply to ", names_.events.text,
                                  "; a log must be without them, or readers would miss events"});
    {
        std::lock_guard const lock(mutex_);
        if (is_known())  // by somebody else, meanwhile
            return success();
        number_constraint_ = reply.text(0, 2);
        if (!reply.null(0, 6)) {
            settled_ = names_;
            for (auto* name :
                 {&settled_->events, &settled_->sequences, &settled_->streams, &settled_->partitions,
                  &settled_->consumers})
                name->quoted = joined_text({reply.text(0, 6), ".", name->quoted});
            lock_ = Statement{joined_text({"SELECT ", lock_words(*settled_, "$1::bigint")})};
        }
        ends_apart_.store(reply.boolean(0, 4), std::memory_order_relaxed);
        known_.store(true, std::memory_order_release);
    }
    return success();
}

// ---- appending ----------------------------------------------------------------------------------

INTERLOCK_DECL Outcome<void> EventTable::validate_texts(std::span<NewEvent const> events) const
{
    for (auto const& event : events)
        for (auto const* text :
             {&event.id, &event.because.correlation, &event.because.cause, &event.because.traceparent})
            if (!is_utf8(*text))
                return failed(
                    Errc::invalid_argument, {"postgres: the id and the cause of an event '", event.type,
                                             "' must be UTF-8, without a NUL"});
    return success();
}

INTERLOCK_DECL std::int64_t EventTable::lock_number(std::string_view stream) const noexcept
{
    return static_cast<std::int64_t>(stable_hash("stream", stream));
}

INTERLOCK_DECL std::string EventTable::lock_expression(Names const& names, std::string_view number)
{
    // The table is its oid, whatever name it was found by.
    return joined_text(
        {"pg_advisory_xact_lock(hashint8extended(", number, ", ", quoted_text(names.events.quoted),
         "::regclass::oid::bigint))"});
}

INTERLOCK_DECL std::string EventTable::lock_expression(std::string_view number) const
{
    return lock_expression(names(), number);
}

INTERLOCK_DECL std::string EventTable::lock_words(Names const& names, std::string_view number)
{
    return joined_text(
        {"set_config('interlock.appends', 't' || ", lock_expression(names, number), "::text, true)"});
}

INTERLOCK_DECL std::string EventTable::lock_words(std::string_view number) const
{
    return lock_words(names(), number);
}

INTERLOCK_DECL void EventTable::add_lock(Batch& batch, std::string_view stream) const
{
    Params params;
    params.number(lock_number(stream));
    batch.add(lock_, std::move(params));
}

/// How many parameters an event has.
inline constexpr std::array event_casts{"::text", "::text", "::integer", "::bytea",
                                        "::text", "::text", "::text"};

/// An expression that takes a lock, and is true.
INTERLOCK_DECL std::string taken(std::string_view lock)
{
    return joined_text({lock, " IS NOT NULL"});
}

/// Takes the lock by which readers know who appends. Its name is made of the transaction's id, which is drawn
/// by that. (`txid_current` is `pg_current_xact_id` as a number; the latter is one only by way of a text.)
inline constexpr std::string_view appender_lock =
    "pg_advisory_xact_lock_shared({log}::integer, (txid_current() & 2147483647)::integer)";

/// The number of the stream's last event, or of its end. `{apart}`: where ends are elsewhere.
inline constexpr std::string_view last_number =
    R"(coalesce((SELECT number FROM {table} WHERE stream = {stream} ORDER BY number DESC LIMIT 1){apart},
        0))";
inline constexpr std::string_view end_apart = ", (SELECT number FROM {streams} WHERE stream = {stream})";

INTERLOCK_DECL std::string EventTable::last_number_words(SqlWords words) const
{
    words.set("apart", keeps_ends_apart() ? words.line(end_apart) : std::string{});
    return words.line(last_number);
}

INTERLOCK_DECL std::string EventTable::insertion(
    SqlWords words, std::size_t count, Numbers const& numbers, std::string_view from,
    std::string_view expected) const
{
    auto const parameter = [](std::size_t number) { return joined_text({"$", std::to_string(number)}); };
    std::string rows;
    auto at = numbers.events;
    for (std::size_t i = 0; i < count; ++i) {
        append(rows, {i == 0 ? "(" : ", (", std::to_string(i + 1)});
        for (auto const* cast : event_casts)
            append(rows, {", ", parameter(++at), cast});
        rows += ')';
    }
    words.set("rows", std::move(rows));
    words.set("stream", parameter(numbers.stream) + "::bytea");
    words.set("writer", parameter(numbers.writer) + "::text");
    words.set(
        "append", numbers.append == 0 ? "NULL"
                                      : joined_text(
                                            {"CASE WHEN v.i = ", std::to_string(count), " THEN ",
                                             parameter(numbers.append), "::bytea END"}));
    words.set("from", std::string(from));
    words.set("expected", std::string(expected));
    if (expected.empty())
        words.set("last", last_number_words(words));
    return words.line(R"(INSERT INTO {table} (partition, position, stream, number, id, type, version, data,
        correlation, cause, traceparent, writer, append, recorded_at)
        SELECT {partition}, nextval({sequence}), {stream}, {last} + v.i, v.id, v.type, v.version, v.data,
        v.correlation, v.cause, v.traceparent, {writer}, {append}, clock_timestamp()
        FROM {from} CROSS JOIN (VALUES {rows}) AS v
        (i, id, type, version, data, correlation, cause, traceparent) WHERE lock{expected})");
}

INTERLOCK_DECL std::string EventTable::append_text(
    Appending how, unsigned partition, std::size_t count, bool is_last) const
{
    // 1: the stream, 2: the writer, 3: the append's id (of its first and its last part), 4: the expected
    // number (of its first part), 5: the number of the lock (of a first part that takes it); then those of
    // each event. Of `plain`: stream, writer, the number of the lock, and the events.
    bool const by_itself = how != Appending::with_commit;
    bool const begins = how == Appending::first || how == Appending::alone;
    auto words = this->words(partition);
    words.set("stream", "$1::bytea");
    if (how == Appending::plain && count == 1) {
        // Which sequence it is, is known once the locks are taken: the cheapest way to have them first.
        words.set("locks", locks_words(partition, 1));
        words.set("last", last_number_words(words));
        return words.line(
            R"(INSERT INTO {table} (partition, position, stream, number, id, type, version, data,
            correlation, cause, traceparent, writer, append, recorded_at)
            VALUES ({partition}, nextval(CASE WHEN {locks} THEN {sequence} END), {stream},
            {last} + 1, $4::text, $5::text, $6::integer, $7::bytea, $8::text, $9::text, $10::text, $2::text,
            NULL, clock_timestamp()) RETURNING number, position)");
    }
    if (how == Appending::plain)
        return insert_words(
                   partition, count, 1, joined_text({"(SELECT ", locks_words(partition, 1), " AS lock) a"})) +
               " RETURNING number, position";
    Numbers numbers;
    numbers.append = by_itself && is_last ? 3 : 0;
    numbers.events = how == Appending::alone ? 5 : begins ? 4 : numbers.append == 0 ? 2 : 3;
    words.set("appender", taken(words.line(appender_lock)));
    words.set("stream_lock", how == Appending::alone ? " AND " + taken(lock_expression("$5::bigint")) : "");
    words.set("if", begins ? "" : " WHERE current_setting('interlock.appends', true) = 't'");
    auto text = words.line("WITH il_a AS MATERIALIZED (SELECT {appender}{stream_lock} AS lock{if})");
    if (!begins) {
        append(
            text, {by_itself ? ", il_n AS (" : " ", insertion(std::move(words), count, numbers, "il_a", "")});
        if (by_itself)
            text += " RETURNING number, position) SELECT max(number), max(position) FROM il_n";
        return text;
    }
    words.set("number", last_number_words(words));
    text += words.line(R"(, il_b AS MATERIALIZED (SELECT {number} AS last FROM il_a WHERE lock),
        il_d AS MATERIALIZED (SELECT number, position FROM {table}
        WHERE stream = {stream} AND append = $3::bytea), il_n AS ()");
    words.set("last", "(SELECT last FROM il_b)");
    text += insertion(
        std::move(words), count, numbers, "il_a",
        " AND ($4::bigint = -1 OR (SELECT last FROM il_b) = $4::bigint) AND NOT EXISTS (SELECT FROM il_d)");
    text += R"( RETURNING number, position)
        SELECT (SELECT last FROM il_b), (SELECT number FROM il_d), (SELECT position FROM il_d),
        (SELECT max(number) FROM il_n), (SELECT max(position) FROM il_n))";
    if (!is_last)  // for the parts behind it
        text +=
            ", set_config('interlock.appends', CASE WHEN EXISTS (SELECT FROM il_n) THEN 't' ELSE '' END, "
            "true)";
    return text;
}

INTERLOCK_DECL std::string EventTable::locks_words(unsigned partition, std::size_t parameter) const
{
    auto const number = joined_text({"$", std::to_string(parameter + 2), "::bigint"});
    return joined_text(
        {taken(words(partition).line(appender_lock)), " AND ", taken(lock_expression(number))});
}

INTERLOCK_DECL std::string EventTable::insert_words(
    unsigned partition, std::size_t count, std::size_t parameter, std::string_view from) const
{
    Numbers numbers;
    numbers.stream = parameter;
    numbers.writer = parameter + 1;
    numbers.events = parameter + 2;
    return insertion(words(partition), count, numbers, from, "");
}

INTERLOCK_DECL Statement const& EventTable::statement(
    Appending how, unsigned partition, std::size_t count, bool is_last) const
{
    auto const name = (std::uint64_t{partition} << 32) | (std::uint64_t{count} << 8) |
                      (static_cast<std::uint64_t>(how) << 1) | (is_last ? 1U : 0U);
    std::lock_guard const lock(mutex_);
    auto at = statements_.find(name);
    if (at == statements_.end())
        at = statements_.emplace(name, Statement{append_text(how, partition, count, is_last)}).first;
    return at->second;
}

INTERLOCK_DECL void EventTable::add_event_params(Params& params, std::span<NewEvent const> events)
{
    for (auto const& event : events) {
        params.text(event.id);
        params.text(event.type);
        params.number(event.version);
        params.bytes(event.data);
        params.text(event.because.correlation);
        params.text(event.because.cause);
        params.text(event.because.traceparent);
    }
}

INTERLOCK_DECL std::size_t EventTable::change_params(std::size_t count) const noexcept
{
    return 3 + count * event_casts.size();
}

INTERLOCK_DECL void EventTable::add_change_params(
    Params& params, std::string_view stream, std::span<NewEvent const> events) const
{
    params.bytes(stream);
    params.text(options_.writer);
    params.number(lock_number(stream));
    add_event_params(params, events);
}

INTERLOCK_DECL void EventTable::add_part(
    Batch& batch, Appending how, std::string_view stream, std::span<NewEvent const> events,
    verb::AppendEvents const* append) const
{
    Params params;
    params.bytes(stream);
    params.text(options_.writer);
    bool const is_last = append != nullptr && &events.back() == &append->events.back();
    bool const begins = how == Appending::first || how == Appending::alone;
    if (how == Appending::plain) {
        params.number(lock_number(stream));
    } else if (is_last || begins) {
        if (append->id != nullptr)
            params.bytes(append->id->value());
        else
            params.null();
    }
    if (begins)
        params.number(append->expected.number());
    if (how == Appending::alone)
        params.number(lock_number(stream));
    add_event_params(params, events);
    batch.add(statement(how, partition(stream), events.size(), is_last), std::move(params));
}

/// How many of `left` events the next statement appends: a power of two, so that there are few statements.
INTERLOCK_DECL std::size_t next_part(std::size_t left) noexcept
{
    std::size_t part = 64;
    while (part > left)
        part /= 2;
    return part;
}

INTERLOCK_DECL void EventTable::add_events(
    Batch& batch, std::string_view stream, std::span<NewEvent const> events) const
{
    while (!events.empty()) {
        auto const part = events.first(next_part(events.size()));
        add_part(batch, Appending::with_commit, stream, part, nullptr);
        events = events.subspan(part.size());
    }
}

INTERLOCK_DECL Appending EventTable::way_of(verb::AppendEvents const& append, bool locks_first) noexcept
{
    if (locks_first)
        return Appending::first;
    bool const is_plain = append.id == nullptr && append.expected.number() == -1 &&
                          next_part(append.events.size()) == append.events.size();
    return is_plain ? Appending::plain : Appending::alone;
}

INTERLOCK_DECL void EventTable::add_append(
    Batch& batch, verb::AppendEvents const& append, bool locks_first) const
{
    if (locks_first)
        add_lock(batch, append.stream.bytes());
    auto events = append.events;
    for (auto how = way_of(append, locks_first); !events.empty(); how = Appending::further) {
        auto const part = events.first(next_part(events.size()));
        add_part(batch, how, append.stream.bytes(), part, &append);
        events = events.subspan(part.size());
    }
}

INTERLOCK_DECL Outcome<Appended> EventTable::judge_append(
    verb::AppendEvents const& append, bool locks_first, std::span<Reply const> replies) const
{
    auto const& end = replies.back();
    std::size_t column = 0;
    if (way_of(append, locks_first) != Appending::plain) {
        auto const& first = replies[locks_first ? 1 : 0];
        if (auto const number = first.number(0, known_number))
            return Appended{true, *number, first.number(0, known_position).value_or(0)};
        auto const last = first.number(0, stream_number).value_or(0);
        if (!append.expected.allows(last))
            return failed(Errc::version_conflict, {"the stream is at number ", std::to_string(last)});
        column = &end == &first ? std::size_t{append_number} : 0;
    }
    auto const rows = end.rows();
    auto const number = rows == 0 ? std::nullopt : end.number(rows - 1, column);
    auto const position = rows == 0 ? std::nullopt : end.number(rows - 1, column + 1);
    if (!number || !position)
        return failed(
            Errc::constraint_violated,
            {"postgres: a trigger or a rule of ", names_.events.text, " made nothing of the events"});
    return Appended{false, *number, *position};
}

// ---- races for a stream's next number -----------------------------------------------------------

INTERLOCK_DECL bool EventTable::contended(std::string_view stream) const noexcept
{
    auto const number = lock_number(stream);
    return place_of(number).load(std::memory_order_relaxed) == number;
}

INTERLOCK_DECL bool EventTable::fit_the_change(
    std::string_view stream, std::span<NewEvent const> events) const noexcept
{
    return !events.empty() && next_part(events.size()) == events.size() && !contended(stream);
}

INTERLOCK_DECL bool EventTable::lost_race(SqlError const& error, std::string_view stream) const
{
    if (error.state != "23505" || error.raised)
        return false;
    {
        std::lock_guard const lock(mutex_);
        if (error.constraint != number_constraint_)
            return false;
    }
    auto const number = lock_number(stream);
    place_of(number).store(number, std::memory_order_relaxed);
    return true;
}

INTERLOCK_DECL Failure EventTable::explained(Failure failure) const
{
    auto const& name = names_.events.text;
    auto const last = unquoted(std::string_view{name}.substr(name.rfind('.') + 1));
    if (failure.store_code() != "42P01" || !is_known() || failure.detail().find(last) == std::string::npos)
        return failure;
    return failed(
               failure.errc(), {failure.detail(), "; this process has found the log ", name,
                                " there, and keeps to it: where it was moved or renamed, name it so in "
                                "EventRepositoryOptions::table, and start the process again"})
        .with_store_code(failure.store_code());
}

INTERLOCK_DECL Failure EventTable::append_failed(SqlError const& error, Access access) const
{
    auto failure = failure_of(error, access);
    if (error.state != "23505" || error.raised)
        return error.raised ? failure : explained(std::move(failure));
    std::lock_guard const lock(mutex_);
    if (error.constraint != number_constraint_)
        return failure;
    return failed(
        Errc::serialization_failure,
        {"postgres: somebody else has appended to the stream in ", names_.events.text, " meanwhile"});
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_TABLE_IPP
