// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_READING_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_READING_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_reading.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/event_members.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL ReadingPlace::Before ReadingPlace::before() const
{
    std::lock_guard const lock(mutex_);
    return Before{settled_, seen_, last_number_, !checkpoints_.empty(), log_};
}

INTERLOCK_DECL bool ReadingPlace::is_of(Before const& before, std::int64_t log, Position last)
{
    if (before.log == log && before.seen <= last)
        return true;
    std::lock_guard const lock(mutex_);
    if (log_ == before.log) {  // nobody else has found out meanwhile
        log_ = log;
        settled_ = seen_ = 0;
        checkpoints_.clear();
    }
    return before.log == 0;  // what knows nothing is true of every log
}

INTERLOCK_DECL void ReadingPlace::saw(std::int64_t log, Position position)
{
    std::lock_guard const lock(mutex_);
    if (log_ == log)
        seen_ = std::max(seen_, position);
}

INTERLOCK_DECL Position ReadingPlace::look(Before const& before, Appenders now)
{
    std::sort(now.begin(), now.end());
    auto settled = before.settled;
    std::lock_guard const lock(mutex_);
    if (log_ != before.log)
        return settled;
    for (auto& checkpoint : checkpoints_) {
        // A checkpoint that was noted after the question left names transactions that may have begun later.
        if (checkpoint.number > before.newest)
            break;
        std::erase_if(checkpoint.appenders, [&](std::uint32_t id) {
            return !std::binary_search(now.begin(), now.end(), id);
        });
        if (checkpoint.appenders.empty())
            settled = std::max(settled, checkpoint.seen);
    }
    if (now.empty())
        settled = std::max(settled, before.seen);
    settled_ = std::max(settled_, settled);
    std::erase_if(checkpoints_, [&](Checkpoint const& checkpoint) { return checkpoint.seen <= settled_; });
    bool const is_new = checkpoints_.empty() || checkpoints_.back().seen < before.seen;
    if (before.seen > settled_ && is_new) {
        if (checkpoints_.size() == most)
            checkpoints_.pop_back();
        checkpoints_.push_back({++last_number_, before.seen, std::move(now)});
    }
    return settled;
}

/// The columns of an event, in the order of `ReadColumn`.
inline constexpr std::string_view event_columns =
    "position, number, stream, id, type, version, data, correlation, cause, traceparent, writer, "
    "(extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded";

INTERLOCK_DECL PartitionStatements::PartitionStatements(EventTable const& log, unsigned partition)
{
    auto const statement = [&](std::string_view text) { return Statement{log.line(text, partition)}; };
    auto const columns = std::string(event_columns);
    // One snapshot for the rows, the highest position, and how far is trimmed. For a plan that serves every
    // parameter, the server supposes that `LIMIT $2` lets a tenth of the rows through. In a large log it
    // would find that plan dear, and plan each read anew, which takes longer than a short read. So the rows
    // are bounded twice: by the power of ten that is not below the parameter, which stands in the text, and
    // by the parameter. A tenth of that power is not more than is read, so one plan serves all reads.
    std::string bound{"1"};
    for (auto& read : reads) {
        bound += '0';
        read = statement(
            R"(SELECT p.trimmed, greatest(p.trimmed,
        (SELECT max(position) FROM {table} WHERE partition = {partition})), {log}::bigint, e.*
        FROM {partitions} p LEFT JOIN LATERAL (SELECT * FROM (SELECT )" +
            columns +
            R"( FROM {table} WHERE partition = {partition} AND position > greatest($1::bigint, p.trimmed)
        ORDER BY position LIMIT )" +
            bound + R"() b ORDER BY position LIMIT $2::bigint) e ON true WHERE p.partition = {partition}
        ORDER BY e.position)");
    }
    appenders = statement(R"(SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = {log} AND objsubid = 2)");
    read_stream = statement(
        "SELECT " + columns +
        " FROM {table} WHERE stream = $1::bytea AND number > $2::bigint AND partition = {partition}"
        " ORDER BY number LIMIT $3::bigint");
    extent = statement(R"(SELECT
        coalesce((SELECT min(position) FROM {table}
        WHERE partition = {partition} AND position > p.trimmed), 0),
        greatest(p.trimmed, (SELECT max(position) FROM {table} WHERE partition = {partition}))
        FROM {partitions} p WHERE p.partition = {partition})");
    auto const look_text = [&](std::string_view end) {
        return "SELECT greatest(coalesce((SELECT max(number) FROM {table} WHERE stream = $1::bytea), 0), " +
               std::string(end) + R"(), d.number, d.position,
        (SELECT position FROM {table} WHERE stream = $1::bytea AND partition = {partition}
        ORDER BY number DESC LIMIT 1) FROM (SELECT 1) one LEFT JOIN
        (SELECT number, position FROM {table} WHERE stream = $1::bytea AND append = $2::bytea) d ON true)";
    };
    look = statement(look_text("0"));
    look_apart = statement(look_text("(SELECT number FROM {streams} WHERE stream = $1::bytea)"));
    note = statement(R"(WITH il_l AS (SELECT greatest(p.trimmed,
        (SELECT max(position) FROM {table} WHERE partition = {partition})) AS last
        FROM {partitions} p WHERE p.partition = {partition}),
        il_n AS (INSERT INTO {consumers} AS c (consumer, partition, position)
        SELECT $1::text, {partition}, $2::bigint FROM il_l l WHERE $2::bigint <= l.last
        ON CONFLICT (consumer, partition) DO UPDATE SET position = CASE WHEN $3::bigint = 1
        THEN excluded.position ELSE greatest(c.position, excluded.position) END
        RETURNING 1) SELECT last, (SELECT count(*) FROM il_n) FROM il_l)");
    // Each statement has a snapshot of its own: a consumer who is noted meanwhile comes later than the trim.
    trim_mark = statement(R"(UPDATE {partitions} p SET trimmed = greatest(p.trimmed, least($1::bigint,
        greatest(p.trimmed, (SELECT max(position) FROM {table} WHERE partition = {partition})),
        (SELECT min(position) FROM {consumers} WHERE partition = {partition}),
        (SELECT position FROM {table} WHERE partition = {partition} ORDER BY position
        OFFSET 99999 LIMIT 1))) WHERE p.partition = {partition} RETURNING trimmed)");
    // No event has an id as long as those of ends, which have a name space of their own so. The server
    // compresses such an id to less than a hundred bytes. An end that was made before that was so is called
    // `end 0 17`, or `end 17`, and gets a long id now.
    auto const long_id = [](std::string_view short_id) {
        constexpr std::string_view size = "2100";
        static_assert(max_event_id_bytes < 2100);
        return joined_text({"rpad(", short_id, ", ", size, ")"});
    };
    rename_ends = statement(
        "UPDATE {table} SET id = " + long_id("' ' || id") +
        " WHERE id >= 'end ' AND id < 'end!' AND partition = -1 - {partition}");
    // One statement, so that the numbers of all events that it removes are kept. What has committed below an
    // earlier trim goes as well, and with it the end that came before it.
    std::string const gone =
        R"(WITH il_gone AS (DELETE FROM {table} WHERE partition = {partition} AND
        position <= (SELECT trimmed FROM {partitions} WHERE partition = {partition})
        RETURNING stream, number, position))";
    trim = statement(
        gone + R"(, il_ends AS (SELECT stream, max(number) AS number, max(position) AS position
        FROM il_gone GROUP BY stream),
        il_former AS (DELETE FROM {table} t USING il_ends e WHERE t.stream = e.stream AND t.number < e.number
        AND t.partition < 0)
        INSERT INTO {table} (partition, position, stream, number, id, type, version, data, correlation, cause,
        traceparent, writer, append, recorded_at)
        SELECT -1 - {partition}, position, stream, number, )" +
        long_id("' end {partition} ' || position") + R"(, 'end', 1, '', '', '', '', '', NULL,
        clock_timestamp() FROM il_ends e
        WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.stream = e.stream AND t.number > e.number))");
    trim_apart = statement(gone + R"( INSERT INTO {streams} AS s (stream, number)
        SELECT stream, max(number) FROM il_gone GROUP BY stream
        ON CONFLICT (stream) DO UPDATE SET number = greatest(s.number, excluded.number))");
}

INTERLOCK_DECL Statement const& PartitionStatements::read(std::size_t rows) const noexcept
{
    std::size_t at = 0;
    for (std::size_t bound = 10; bound < rows && at + 1 < reads.size(); bound *= 10)
        ++at;
    return reads[at];
}

INTERLOCK_DECL Outcome<Event> event_of(
    Reply const& reply, std::size_t row, unsigned partition, std::size_t columns)
{
    auto const at = [&](ReadColumn column) { return column - event_position + columns; };
    auto const text = [&](ReadColumn column) { return std::string(reply.text(row, at(column))); };
    auto const position = reply.number(row, at(event_position));
    auto const number = reply.number(row, at(event_number));
    auto const version = reply.number(row, at(event_version));
    auto const recorded = reply.number(row, at(event_recorded));
    auto stream = reply.bytes(row, at(event_stream));
    auto data = reply.bytes(row, at(event_data));
    if (!position || !number || !version || !recorded || !stream || !data)
        return failed(Errc::corrupt_state, "postgres: a stored event is damaged");
    return Event{
        text(event_id),
        Key{*std::move(stream)},
        *number,
        partition,
        *position,
        text(event_type),
        static_cast<int>(*version),
        *std::move(data),
        Cause{text(event_correlation), text(event_cause), text(event_traceparent)},
        text(event_writer),
        std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{*recorded}}};
}

INTERLOCK_DECL Outcome<JudgedPage> judge_page(
    Reply const& reply, unsigned partition, Position after, std::size_t limit, Position settled)
{
    JudgedPage out;
    auto const trimmed = reply.number(0, log_trimmed).value_or(0);
    out.last = reply.number(0, log_last).value_or(0);
    if (after > out.last)
        return interlock::detail::position_beyond_log(after, out.last);
    out.page.trimmed = after < trimmed;
    out.page.next = std::max(after, trimmed);
    for (std::size_t row = 0; row < reply.rows() && !reply.null(row, event_position); ++row) {
        auto const position = reply.number(row, event_position).value_or(0);
        if (position <= out.page.next)
            return failed(Errc::corrupt_state, "postgres: events are not in the order of their positions");
        out.hole = position > out.page.next + 1 && position - 1 > settled;
        if (out.hole) {
            out.page.next = std::max(out.page.next, settled);
            break;
        }
        if (out.page.events.size() == limit) {
            out.page.more = true;
            break;
        }
        auto event = event_of(reply, row, partition);
        if (!event)
            return std::move(event).failure();
        out.page.events.push_back(*std::move(event));
        out.page.next = position;
    }
    return out;
}

INTERLOCK_DECL Appenders appenders_of(Reply const& reply)
{
    Appenders out;
    for (std::size_t row = 0; row < reply.rows(); ++row)
        out.push_back(static_cast<std::uint32_t>(reply.number(row, 0).value_or(0)));
    return out;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_EVENT_READING_IPP
