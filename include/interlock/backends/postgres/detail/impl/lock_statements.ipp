// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_LOCK_STATEMENTS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_LOCK_STATEMENTS_IPP

#include <interlock/backends/postgres/detail/lock_statements.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/statement_parameters.hpp>
#include <interlock/separate_compilation.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::cold]] INTERLOCK_DECL void Statements::make_lock_records(Table const& t, SqlWords words)
{
    Parameters named;
    words.set("key", named.record_key(t));
    words.set("owner", named.next("::bytea"));
    // Of another type in each statement.
    auto const third = named.next({});
    words.set("ttl", third + "::bigint");
    words.set("payload", third + "::text");
    words.set("wanted", named.next("::text"));
    words.set("card", named.next("::bytea"));
    // The mark and the time are read anew under the lock of the record, because what stands in VALUES was
    // read before the statement waited for that lock.
    constexpr std::string_view create_text = R"(WITH l AS (INSERT INTO {ns}_lock AS l
        (store, key, owner, mark, expires, wanted{columns})
        VALUES ({store}, {key}, {owner}, nextval('{ns}_token') * 1024,
        clock_timestamp() + {ttl} * interval '1 microsecond', false{values})
        ON CONFLICT (store, key) DO UPDATE SET owner = excluded.owner,
        mark = CASE WHEN l.owner = excluded.owner THEN l.mark ELSE nextval('{ns}_token') * 1024 END,
        expires = clock_timestamp() + {ttl} * interval '1 microsecond', wanted = false{changes}
        WHERE l.owner IS NULL OR l.owner = excluded.owner OR l.expires <= clock_timestamp()
        RETURNING mark - mark % 1024 AS first),
        b AS (UPDATE {ns}_lock SET wanted = true WHERE store = {store} AND key = {key}
        AND NOT wanted AND NOT EXISTS (SELECT FROM l) RETURNING 1),
        n AS MATERIALIZED (SELECT pg_notify('{name}_wake',
        'w' || encode(substr(h.owner, 1, 4), 'hex') || {wanted}) FROM {ns}_lock h
        WHERE h.store = {store} AND h.key = {key} AND h.owner IS NOT NULL
        AND NOT EXISTS (SELECT FROM l))
        SELECT (SELECT first FROM l),
        (SELECT (extract(epoch FROM expires - clock_timestamp()) * 1000000)::bigint FROM {ns}_lock
        WHERE store = {store} AND key = {key}),
        (SELECT count(*) FROM n), (SELECT count(*) FROM b))";
    for (auto const* word : {"columns", "values", "changes"})
        words.set(word, {});
    create = Statement{words.line(create_text)};
    words.set("columns", ", card, granted");
    words.set("values", words.line(", {card}, clock_timestamp()"));
    words.set("changes", words.line(R"(, card = excluded.card, granted = CASE
        WHEN l.owner = excluded.owner AND l.card IS NOT NULL THEN l.granted ELSE clock_timestamp() END)"));
    create_named = Statement{words.line(create_text)};
    renew = Statement{words.line(R"(WITH u AS (UPDATE {ns}_lock
        SET expires = clock_timestamp() + {ttl} * interval '1 microsecond'
        WHERE store = {store} AND key = {key} AND owner = {owner} RETURNING 1)
        SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM {ns}_lock
        WHERE store = {store} AND key = {key} AND owner IS NOT NULL))")};
    remove = Statement{words.line(R"(WITH u AS (UPDATE {ns}_lock SET owner = NULL, expires = clock_timestamp()
        WHERE store = {store} AND key = {key} AND owner IS NOT NULL
        AND ({owner} IS NULL OR owner = {owner}) RETURNING wanted),
        n AS MATERIALIZED (SELECT pg_notify('{name}_wake', {payload}) FROM u WHERE wanted)
        SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM {ns}_lock
        WHERE store = {store} AND key = {key} AND owner IS NOT NULL), (SELECT count(*) FROM n))")};
}

[[gnu::cold]] INTERLOCK_DECL void Statements::make_lock_reports(Table const& t, SqlWords words)
{
    Parameters named;
    words.set("key", named.record_key(t));
    words.set("seen", named.next("::bigint"));
    words.set("payload", named.next("::text"));
    break_lock = Statement{words.line(R"(WITH u AS (UPDATE {ns}_lock SET owner = NULL,
        expires = clock_timestamp() WHERE store = {store} AND key = {key} AND owner IS NOT NULL
        AND mark - mark % 1024 = {seen} RETURNING wanted),
        n AS MATERIALIZED (SELECT pg_notify('{name}_wake', {payload}) FROM u WHERE wanted)
        SELECT EXISTS (SELECT FROM u), EXISTS (SELECT FROM {ns}_lock
        WHERE store = {store} AND key = {key} AND owner IS NOT NULL), (SELECT count(*) FROM n))")};
    // `LockColumn`, and the key.
    constexpr std::string_view text = R"(SELECT mark - mark % 1024,
        (extract(epoch FROM expires - clock_timestamp()) * 1000000)::bigint, wanted, {card}, key
        FROM {ns}_lock WHERE store = {store} AND owner IS NOT NULL
        AND expires > clock_timestamp() AND {which})";
    constexpr std::string_view one = "key = {key}";
    constexpr std::string_view page = "key > $1::bytea ORDER BY key LIMIT 1000";
    words.set("card", "NULL, NULL, NULL");
    words.set("which", words.line(one));
    inspect = Statement{words.line(text)};
    words.set("which", words.line(page));
    all_locks = Statement{words.line(text)};
    // What another acquisition has left there, of a release that knows no cards, is not this one's.
    words.set("card", R"(CASE WHEN substr(card, 1, 16) = owner THEN substr(card, 17) END,
        CASE WHEN substr(card, 1, 16) = owner THEN (extract(epoch FROM granted) * 1000000)::bigint END,
        CASE WHEN substr(card, 1, 16) = owner
        THEN (extract(epoch FROM clock_timestamp() - granted) * 1000000)::bigint END)");
    all_named_locks = Statement{words.line(text)};
    words.set("which", words.line(one));
    inspect_named = Statement{words.line(text)};
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_LOCK_STATEMENTS_IPP
