// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_RECORD_STATEMENTS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_RECORD_STATEMENTS_IPP

#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/record_statements.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/core/counter.hpp>

#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::cold]] INTERLOCK_DECL ClaimStatements::ClaimStatements(std::string const& ns)
{
    SqlWords words;
    words.set("ns", ns);
    words.set("name", std::string(name_space_of(ns)));
    words.set("table", ns + "_idempotency");
    words.set("over", "r.kept_until <= clock_timestamp()");
    // The fingerprint is looked at first, whatever the state; "" is none, and one of another version is not
    // compared.
    words.set("same", words.line(R"((r.fingerprint = '' OR excluded.fingerprint = ''
        OR r.fingerprint = excluded.fingerprint
        OR split_part(r.fingerprint, ':', 1) <> split_part(excluded.fingerprint, ':', 1)))"));
    // What a record names stays until its owner names something else, or the record is over. A request that
    // arrives late does not bring back an attempt that its owner has gone beyond.
    words.set("renamed", words.line(R"({over} OR (r.owner = excluded.owner AND $9::boolean
        AND (r.inherited OR r.home IS DISTINCT FROM excluded.home OR r.attempt <= excluded.attempt)))"));
    claim = Statement{words.line(R"(INSERT INTO {table} AS r
        (name, owner, fingerprint, lease_end, completed, rejected, answer, kept_until,
        inherited, home, attempt)
        VALUES ($1::bytea, $2::bytea, $3::text, clock_timestamp() + $4::bigint * interval '1 microsecond',
        false, false, '',
        clock_timestamp() + greatest($4::bigint, $5::bigint) * interval '1 microsecond',
        false, $7::bytea, $8::bigint)
        ON CONFLICT (name) DO UPDATE SET owner = excluded.owner,
        fingerprint = CASE WHEN {over} THEN excluded.fingerprint ELSE r.fingerprint END,
        home = CASE WHEN {renamed} THEN excluded.home ELSE r.home END,
        attempt = CASE WHEN {renamed} THEN excluded.attempt ELSE r.attempt END,
        inherited = NOT {over}
        AND CASE WHEN r.owner = excluded.owner THEN r.inherited AND NOT $9::boolean ELSE true END,
        rejected = false, completed = false, answer = '', wanted = false,
        lease_end = clock_timestamp() + $4::bigint * interval '1 microsecond',
        kept_until = clock_timestamp() + greatest($4::bigint, $5::bigint) * interval '1 microsecond'
        WHERE {over} OR ({same} AND NOT r.completed AND (r.owner IS NULL OR r.owner = excluded.owner
        OR ($6::boolean AND r.lease_end <= clock_timestamp())))
        RETURNING r.inherited, r.home, r.attempt)")};
    // Messages are sent only where somebody waits: a commit that sends one keeps all others that do from
    // committing beside it. Who asks in vain leaves a mark; asking again after having subscribed cannot miss
    // the answer.
    find = Statement{words.line(R"(WITH b AS (UPDATE {table} SET wanted = true
        WHERE name = $1::bytea AND owner <> $2::bytea AND NOT completed AND NOT wanted RETURNING 1)
        SELECT fingerprint, completed, rejected, answer,
        (extract(epoch FROM lease_end - clock_timestamp()) * 1000000)::bigint, (SELECT count(*) FROM b)
        FROM {table} WHERE name = $1::bytea AND kept_until > clock_timestamp())")};
    complete = Statement{words.line(R"(WITH u AS (UPDATE {table}
        SET completed = true, answer = $3::bytea, rejected = $4::boolean,
        kept_until = clock_timestamp() + $5::bigint * interval '1 microsecond'
        WHERE name = $1::bytea AND owner = $2::bytea
        AND (NOT completed OR (answer = $3::bytea AND rejected = $4::boolean)) RETURNING wanted),
        n AS MATERIALIZED (SELECT pg_notify('{name}_wake', $6::text) FROM u WHERE wanted)
        SELECT EXISTS (SELECT FROM u), (SELECT count(*) FROM n))")};
    words.set("own", "WHERE name = $1::bytea AND owner = $2::bytea AND NOT completed");
    give_back = Statement{words.line(R"(WITH d AS (DELETE FROM {table} {own}
        AND (NOT inherited OR $4::boolean) RETURNING wanted),
        k AS (UPDATE {table} SET owner = NULL, lease_end = clock_timestamp() {own}
        AND inherited AND NOT $4::boolean RETURNING wanted),
        u AS (SELECT wanted FROM d UNION ALL SELECT wanted FROM k),
        n AS MATERIALIZED (SELECT pg_notify('{name}_wake', $3::text) FROM u WHERE wanted)
        SELECT EXISTS (SELECT FROM u), (SELECT count(*) FROM n))")};
}

[[gnu::cold]] INTERLOCK_DECL std::optional<Failure> claim_refused(SqlError const& error)
{
    if (is_race(error))
        return Failure{Errc::idempotency_in_progress};
    if (rule_of(error.state).errc == Errc::lock_busy && !error.raised)
        return Failure{Errc::deadline_exceeded, "postgres: the same request is being executed"};
    return std::nullopt;
}

[[gnu::cold]] INTERLOCK_DECL RecordStatements::RecordStatements(std::string const& ns)
{
    SqlWords words;
    words.set("table", ns + "_idempotency");
    words.set("over", words.line(R"((kept_until <= clock_timestamp()
        OR (NOT completed AND lease_end <= clock_timestamp())))"));
    // Such numbers are the database's, and the table may be one of several of its name, in other schemas.
    words.set("number", words.line("hashint8extended($1::bigint, '{table}'::regclass::oid::bigint)"));
    lock = Statement{words.line("SELECT pg_advisory_xact_lock({number})")};
    // The planner does not know what a function says that it has not called.
    lock_or_fail =
        Statement{words.line(R"(SELECT CASE WHEN NOT taken THEN (taken::text || $2::text)::integer END
        FROM (SELECT pg_try_advisory_xact_lock({number}) AS taken OFFSET 0) t)")};
    look = Statement{words.line("SELECT pg_try_advisory_xact_lock_shared({number})")};
    claim = Statement{words.line(R"(SELECT fingerprint, completed, rejected, answer, {over}
        FROM {table} WHERE name = $1::bytea)")};
    forget = Statement{words.line("DELETE FROM {table} WHERE name = $1::bytea AND {over}")};
    auto const row = words.line(R"(INSERT INTO {table}
        (name, owner, fingerprint, lease_end, completed, rejected, answer, kept_until)
        VALUES ($1::bytea, NULL, $2::text, clock_timestamp(), true, $4::boolean, $3::bytea,
        clock_timestamp() + $5::bigint * interval '1 microsecond'))");
    insert = Statement{row};
    insert_if_none = Statement{row + " ON CONFLICT (name) DO NOTHING"};
}

[[gnu::cold]] INTERLOCK_DECL CounterStatements::CounterStatements(std::string const& ns)
{
    SqlWords words;
    words.set("ns", ns);
    words.set("limit", std::to_string(CounterChange::limit));
    // The counter's row is made and locked first: answers are then read as whoever held it before left them.
    make = Statement{words.line(R"(INSERT INTO {ns}_counter (key, value) VALUES ($1::bytea, 0)
        ON CONFLICT (key) DO NOTHING)")};
    lock = Statement{words.line("SELECT 1 FROM {ns}_counter WHERE key = $1::bytea FOR UPDATE")};
    change = Statement{words.line(R"(WITH old AS MATERIALIZED (SELECT request, value, changed FROM {ns}_once
        WHERE key = $1::bytea AND id = $2::bytea AND kept_until > clock_timestamp()),
        u AS (UPDATE {ns}_counter SET value = value + $3::bigint
        WHERE key = $1::bytea AND NOT EXISTS (SELECT FROM old)
        AND ($4::bigint IS NULL OR value + $3::bigint >= $4::bigint)
        AND ($5::bigint IS NULL OR value + $3::bigint <= $5::bigint)
        AND abs(value + $3::bigint) <= {limit} RETURNING value),
        now AS MATERIALIZED (SELECT value, abs(value + $3::bigint) <= {limit} AS in_range
        FROM {ns}_counter WHERE key = $1::bytea),
        r AS (INSERT INTO {ns}_once AS o (key, id, request, value, changed, kept_until)
        SELECT $1::bytea, $2::bytea, $6::text, coalesce((SELECT value FROM u), now.value),
        EXISTS (SELECT FROM u), clock_timestamp() + $7::bigint * interval '1 microsecond'
        FROM now WHERE NOT EXISTS (SELECT FROM old) AND now.in_range
        ON CONFLICT (key, id) DO UPDATE SET request = excluded.request, value = excluded.value,
        changed = excluded.changed, kept_until = excluded.kept_until RETURNING value, changed)
        SELECT (SELECT request FROM old), coalesce((SELECT value FROM old), (SELECT value FROM r)),
        coalesce((SELECT changed FROM old), (SELECT changed FROM r)))")};
    load = Statement{words.line("SELECT value FROM {ns}_counter WHERE key = $1::bytea")};
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_RECORD_STATEMENTS_IPP
