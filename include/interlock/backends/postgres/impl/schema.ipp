// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_SCHEMA_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_SCHEMA_IPP

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/core/errc.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

// The sequences have no cache: a number is a fence only if the numbers of different sessions come in the
// order in which they were drawn. Sequences are as durable as the tables, and do not go back when a
// transaction is rolled back.
//
// Where `owner` is null, nobody holds the lock or has the claim; what the record of a claim names may still
// have to be settled. Where `inherited` is true, that is an attempt of a former owner.
//
// `card` is the owner, and behind it what that holder calls itself: a release that does not know the column
// leaves the card of an earlier owner there. Tables of version 0.1 get the two columns by the block behind
// them, which takes their lock only where they are missing.
inline constexpr std::string_view schema_text =
    R"(CREATE SEQUENCE IF NOT EXISTS {ns}_version CACHE 1 NO CYCLE;
CREATE SEQUENCE IF NOT EXISTS {ns}_token CACHE 1 NO CYCLE;
CREATE SEQUENCE IF NOT EXISTS {ns}_record CACHE 1 NO CYCLE;
CREATE TABLE IF NOT EXISTS {ns}_state (
    key bytea PRIMARY KEY,
    version bigint NOT NULL,
    data bytea NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE IF NOT EXISTS {ns}_lock (
    store text NOT NULL,
    key bytea NOT NULL,
    owner bytea,
    mark bigint NOT NULL,
    expires timestamptz NOT NULL,
    wanted boolean NOT NULL,
    card bytea,
    granted timestamptz,
    PRIMARY KEY (store, key)
) WITH (fillfactor = 70);
DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{ns}_lock'::regclass
    AND attname = 'granted' AND NOT attisdropped) THEN
    ALTER TABLE {ns}_lock ADD COLUMN card bytea, ADD COLUMN granted timestamptz; END IF; END$$;
CREATE TABLE IF NOT EXISTS {ns}_operation (
    store text NOT NULL,
    key bytea NOT NULL,
    id bytea NOT NULL,
    attempt bigint NOT NULL,
    answered boolean NOT NULL,
    answer bytea NOT NULL,
    sequence bigint NOT NULL,
    kept_until timestamptz NOT NULL,
    PRIMARY KEY (store, key, id)
);
CREATE INDEX IF NOT EXISTS {name}_operation_kept ON {ns}_operation (kept_until);
CREATE TABLE IF NOT EXISTS {ns}_idempotency (
    name bytea PRIMARY KEY,
    owner bytea,
    fingerprint text NOT NULL,
    lease_end timestamptz NOT NULL,
    completed boolean NOT NULL,
    rejected boolean NOT NULL,
    answer bytea NOT NULL,
    kept_until timestamptz NOT NULL,
    wanted boolean NOT NULL DEFAULT false,
    inherited boolean NOT NULL DEFAULT false,
    home bytea NOT NULL DEFAULT '',
    attempt bigint NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS {name}_idempotency_kept ON {ns}_idempotency (kept_until);
CREATE TABLE IF NOT EXISTS {ns}_counter (
    key bytea PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE IF NOT EXISTS {ns}_once (
    key bytea NOT NULL,
    id bytea NOT NULL,
    request text NOT NULL,
    value bigint NOT NULL,
    changed boolean NOT NULL,
    kept_until timestamptz NOT NULL,
    PRIMARY KEY (key, id)
);
CREATE INDEX IF NOT EXISTS {name}_once_kept ON {ns}_once (kept_until);
)";

/// What `purge` runs.
INTERLOCK_DECL Batch purge_of(std::string const& ns, std::size_t limit)
{
    SqlWords words;
    words.set("ns", ns);
    words.set("most", std::to_string(limit));
    Batch batch;
    for (auto const* table : {"{ns}_operation", "{ns}_idempotency", "{ns}_once"}) {
        words.set("table", words.line(table));
        batch.add(words.line(R"(DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}
            WHERE kept_until < clock_timestamp() LIMIT {most} FOR UPDATE SKIP LOCKED)))"));
    }
    // A day is longer than any statement may take that drew its token before the record was deleted.
    batch.add(words.line(R"(DELETE FROM {ns}_lock WHERE ctid = ANY(ARRAY(SELECT ctid FROM {ns}_lock
        WHERE owner IS NULL AND expires < clock_timestamp() - interval '1 day' LIMIT {most}
        FOR UPDATE SKIP LOCKED)))"));
    return batch;
}

}  // namespace detail

INTERLOCK_DECL std::string schema_sql(std::string_view name_space, std::string_view schema)
{
    if (!detail::valid_identifier(name_space, 31))
        throw Error(Errc::invalid_argument, "postgres: not a name space");
    if (auto const* const fault = detail::wrong_schema(std::string(schema)))
        detail::throw_invalid({"postgres: ", fault});
    detail::SqlWords words;
    words.set("ns", detail::tables_of(name_space, schema));
    words.set("name", std::string(name_space));
    auto const guard = !schema.empty() ? std::string{}
                                       : detail::guard_text(
                                             detail::names_of_tables(name_space),
                                             "Options::schema, or schema=... in the URL, or in a migration "
                                             "what schema_sql(name_space, schema) prints");
    return guard + words.text(detail::schema_text);
}

template <class R>
Outcome<void> create_schema(BasicPool<R> const& pool, Deadline deadline)
{
    auto const& options = pool.options();
    auto batch = detail::creation_of(
        schema_sql(options.name_space, options.schema), detail::stable_hash("schema", options.name_space));
    if (options.schema.empty())  // as the greeting does where the tables are there already
        batch.add("SELECT " + detail::kept_path_words(options.name_space));
    return detail::tables_made(PoolAccess::state(pool)->run(batch, detail::Access::commit, deadline));
}

template <class R>
Outcome<void> run_script(
    BasicPool<R> const& pool, std::span<std::string_view const> statements, Deadline deadline)
{
    detail::Batch batch;
    for (auto const statement : statements)
        batch.add(std::string(statement));
    auto done = PoolAccess::state(pool)->execute(batch, detail::Access::commit, deadline);
    if (!done)
        return std::move(done).failure();
    return success();
}

template <class R>
Outcome<std::size_t> purge(BasicPool<R> const& pool, std::size_t limit, Deadline deadline)
{
    auto const batch = detail::purge_of(PoolAccess::state(pool)->tables(), limit);
    auto done = PoolAccess::state(pool)->execute(batch, detail::Access::commit, deadline);
    if (!done)
        return std::move(done).failure();
    std::size_t deleted = 0;
    for (auto const& reply : *done)
        deleted += reply.affected();
    return deleted;
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_SCHEMA_IPP
