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
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// The DDL of a name space as a text: to be read, put into a migration, or run by hand. Running it again
/// changes nothing. Throws `Error` (`invalid_argument`) for names that `Options` does not allow.
///
/// **Where.** In `schema`, as SQL writes its name; it must be there. Without one the names have no schema:
/// the tables are made in the first one of the `search_path`, and found through it. Then the statements begin
/// with one that refuses to hide tables that are there, and with them every key that was used: where another
/// schema of the path has one of these tables; and where the first one has none of them, but another schema
/// has tables that the role may use, unless the session itself has said its path (`SET search_path`, or
/// `options` in the URL).
///
/// **Rights.** Besides USAGE on the schema, the role that uses the tables needs SELECT, INSERT, UPDATE and
/// DELETE on them and USAGE on the sequences, and nothing more. It need not own them.
std::string schema_sql(std::string_view name_space = "interlock", std::string_view schema = {});

/// Runs `schema_sql` for the pool's name space and schema, in one transaction. The role needs CREATE on the
/// schema. Several programs may call it at once: they take turns.
///
/// **Outcome.** `misconfigured` when the role has not the right, and when tables that are there would be
/// hidden: the text names both schemas; `unavailable`; `outcome_unknown` when the reply was lost: then run it
/// again.
template <class Runtime>
Outcome<void> create_schema(BasicPool<Runtime> const& pool, Deadline deadline = std::chrono::seconds{30});

/// Runs `statements`, which have no parameters, in one transaction: DDL of your own, or a migration.
///
/// Programs that start at once on an empty database do not take turns here, and PostgreSQL's `CREATE ... IF
/// NOT EXISTS` fails when another session makes the same thing at that moment (`constraint_violated`). So a
/// migration makes your tables; or the first statement is a lock, `SELECT pg_advisory_xact_lock(4711)`.
///
/// **Outcome.** That of the first statement that fails; then nothing was changed. `outcome_unknown` when the
/// reply was lost.
template <class Runtime>
Outcome<void> run_script(
    BasicPool<Runtime> const& pool, std::span<std::string_view const> statements,
    Deadline deadline = std::chrono::seconds{30});

/// Deletes what is no longer needed: operation records, idempotency records and answers of counters whose
/// retention is over, and free lock records that nobody has touched for a day. Deletes at most `limit` rows
/// of each, and returns how many it deleted.
///
/// Retention does not depend on `purge`: what is over is not seen any more. It bounds the space that the
/// tables take; run it from a job every few minutes. Repositories also do a part of it themselves, now and
/// then.
template <class Runtime>
Outcome<std::size_t> purge(
    BasicPool<Runtime> const& pool, std::size_t limit = 10'000, Deadline deadline = std::chrono::seconds{30});

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/schema.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_SCHEMA_HPP
