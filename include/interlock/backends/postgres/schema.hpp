// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_SCHEMA_HPP
#define INTERLOCK_BACKENDS_POSTGRES_SCHEMA_HPP

/// @file
/// The tables of the library. Nothing in this backend makes them by itself: put `schema_sql()` into a
/// migration, or make them at the start of a test.
///
///     std::cout << interlock::postgres::schema_sql("orders");  // for a migration
///     interlock::postgres::create_schema(pool).value();         // or at once
///     auto const deleted = interlock::postgres::purge(pool).value();      // every few minutes

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// The DDL of a name space as a text: to be read, put into a migration, or run by hand. Running it again
/// changes nothing. Throws `Error` (`invalid_argument`) for a name that `Options::name_space` does not allow.
///
/// **Rights.** Besides USAGE on the schema, the role that uses the tables needs SELECT, INSERT, UPDATE and
/// DELETE on them and USAGE on the sequences, and nothing more. It need not own them.
inline std::string schema_sql(std::string_view name_space = "interlock")
{
    if (!detail::valid_identifier(name_space, 31))
        throw Error(Errc::invalid_argument, "postgres: not a name space");
    std::string const ns(name_space);
    // The sequences have no cache: a number is a fence only if the numbers of different sessions come in the
    // order in which they were drawn. Sequences are as durable as the tables, and do not go back when a
    // transaction is rolled back.
    return "CREATE SEQUENCE IF NOT EXISTS " + ns +
           "_version CACHE 1 NO CYCLE;\n"
           "CREATE SEQUENCE IF NOT EXISTS " +
           ns +
           "_token CACHE 1 NO CYCLE;\n"
           "CREATE SEQUENCE IF NOT EXISTS " +
           ns +
           "_record CACHE 1 NO CYCLE;\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_state (\n"
           "    key bytea PRIMARY KEY,\n"
           "    version bigint NOT NULL,\n"
           "    data bytea NOT NULL\n"
           ") WITH (fillfactor = 70);\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_lock (\n"
           "    store text NOT NULL,\n"
           "    key bytea NOT NULL,\n"
           "    owner bytea,\n"  // null: nobody holds the lock
           "    mark bigint NOT NULL,\n"
           "    expires timestamptz NOT NULL,\n"
           "    wanted boolean NOT NULL,\n"
           "    PRIMARY KEY (store, key)\n"
           ") WITH (fillfactor = 70);\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_operation (\n"
           "    store text NOT NULL,\n"
           "    key bytea NOT NULL,\n"
           "    id bytea NOT NULL,\n"
           "    attempt bigint NOT NULL,\n"
           "    answered boolean NOT NULL,\n"
           "    answer bytea NOT NULL,\n"
           "    sequence bigint NOT NULL,\n"
           "    kept_until timestamptz NOT NULL,\n"
           "    PRIMARY KEY (store, key, id)\n"
           ");\n"
           "CREATE INDEX IF NOT EXISTS " +
           ns + "_operation_kept ON " + ns +
           "_operation (kept_until);\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_idempotency (\n"
           "    name bytea PRIMARY KEY,\n"
           // Null: nobody has the claim; what the record names may still have to be settled.
           "    owner bytea,\n"
           "    fingerprint text NOT NULL,\n"
           "    lease_end timestamptz NOT NULL,\n"
           "    completed boolean NOT NULL,\n"
           "    rejected boolean NOT NULL,\n"
           "    answer bytea NOT NULL,\n"
           "    kept_until timestamptz NOT NULL,\n"
           "    wanted boolean NOT NULL DEFAULT false,\n"
           // The record names the attempt of a former owner.
           "    inherited boolean NOT NULL DEFAULT false,\n"
           "    home bytea NOT NULL DEFAULT '',\n"
           "    attempt bigint NOT NULL DEFAULT 0\n"
           ");\n"
           "CREATE INDEX IF NOT EXISTS " +
           ns + "_idempotency_kept ON " + ns +
           "_idempotency (kept_until);\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_counter (\n"
           "    key bytea PRIMARY KEY,\n"
           "    value bigint NOT NULL\n"
           ") WITH (fillfactor = 70);\n"
           "CREATE TABLE IF NOT EXISTS " +
           ns +
           "_once (\n"
           "    key bytea NOT NULL,\n"
           "    id bytea NOT NULL,\n"
           "    request text NOT NULL,\n"
           "    value bigint NOT NULL,\n"
           "    changed boolean NOT NULL,\n"
           "    kept_until timestamptz NOT NULL,\n"
           "    PRIMARY KEY (key, id)\n"
           ");\n"
           "CREATE INDEX IF NOT EXISTS " +
           ns + "_once_kept ON " + ns + "_once (kept_until);\n";
    // clang-format on
}

namespace detail {

/// What `create_schema` runs.
inline Batch creation_of(std::string const& name_space)
{
    auto const text = schema_sql(name_space);
    Batch batch;
    // Two sessions that run CREATE ... IF NOT EXISTS at once may collide, so they take turns.
    batch.add(
        "SELECT pg_advisory_xact_lock(" +
        std::to_string(static_cast<std::int64_t>(stable_hash("schema", name_space))) + ")");
    for (std::size_t at = 0; at < text.size();) {
        auto const end = text.find(";\n", at);
        batch.add(text.substr(at, end - at));
        at = end + 2;
    }
    return batch;
}

/// What `purge` runs.
inline Batch purge_of(std::string const& ns, std::size_t limit)
{
    auto const most = std::to_string(limit);
    Batch batch;
    for (auto const* table : {"_operation", "_idempotency", "_once"})
        batch.add(
            "DELETE FROM " + ns + table + " WHERE ctid = ANY(ARRAY(SELECT ctid FROM " + ns + table +
            " WHERE kept_until < clock_timestamp() LIMIT " + most + " FOR UPDATE SKIP LOCKED))");
    // A day is longer than any statement may take that drew its token before the record was deleted.
    batch.add(
        "DELETE FROM " + ns + "_lock WHERE ctid = ANY(ARRAY(SELECT ctid FROM " + ns +
        "_lock WHERE owner IS NULL AND expires < clock_timestamp() - interval '1 day' LIMIT " + most +
        " FOR UPDATE SKIP LOCKED))");
    return batch;
}

}  // namespace detail

/// Runs `schema_sql` for the pool's name space, in one transaction. The role needs CREATE on the schema.
///
/// **Outcome.** `misconfigured` when the role has not the right; `unavailable`; `outcome_unknown` when the
/// reply was lost: then run it again.
template <class Runtime>
Outcome<void> create_schema(BasicPool<Runtime> const& pool, Deadline deadline = std::chrono::seconds{30})
{
    auto const batch = detail::creation_of(pool.options().name_space);
    auto done = PoolAccess::state(pool)->execute(batch, detail::Access::commit, deadline);
    if (!done)
        return std::move(done).failure();
    return success();
}

/// Runs `statements`, which have no parameters, in one transaction: DDL of your own, or a migration.
///
/// **Outcome.** That of the first statement that fails; then nothing was changed. `outcome_unknown` when the
/// reply was lost.
template <class Runtime>
Outcome<void> run_script(
    BasicPool<Runtime> const& pool, std::span<std::string_view const> statements,
    Deadline deadline = std::chrono::seconds{30})
{
    detail::Batch batch;
    for (auto const statement : statements)
        batch.add(std::string(statement));
    auto done = PoolAccess::state(pool)->execute(batch, detail::Access::commit, deadline);
    if (!done)
        return std::move(done).failure();
    return success();
}

/// Deletes what is no longer needed: operation records, idempotency records and answers of counters whose
/// retention is over, and free lock records that nobody has touched for a day. Deletes at most `limit` rows
/// of each, and returns how many it deleted.
///
/// Retention does not depend on `purge`: what is over is not seen any more. It bounds the space that the
/// tables take; run it from a job every few minutes. Repositories also do a part of it themselves, now and
/// then.
template <class Runtime>
Outcome<std::size_t> purge(
    BasicPool<Runtime> const& pool, std::size_t limit = 10'000, Deadline deadline = std::chrono::seconds{30})
{
    auto const batch = detail::purge_of(pool.options().name_space, limit);
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

#endif  // INTERLOCK_BACKENDS_POSTGRES_SCHEMA_HPP
