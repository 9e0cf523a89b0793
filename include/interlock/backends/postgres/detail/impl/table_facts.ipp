// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_FACTS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_FACTS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/table_facts.hpp>

#include <algorithm>
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

/// `$1` is the table as it is known, or else `$3`, as it was named; `$2` the names of the key's columns;
/// `$4` and `$5` the sequence of the versions, likewise. One row for each column.
///
/// `t` has for each column the type under all domains, the operator class by which `=` compares it, and
/// whether values that are equal are the same (a btree class says so by its support function 4; texts under a
/// collation that knows no case, numbers with zeros behind them are not). Enums and `varchar` (1043) have the
/// class of `anyenum` (3500) and of `text` (25).
///
/// An index sees to it that a key is unique if all that it is made of are columns of the key, and if it tells
/// apart no more than `=` does: by another collation, or operator class, or expression, it may. ON CONFLICT
/// takes an index of exactly the key's columns; it fails if one of several such indexes is deferrable, or if
/// the table has a rule for updates. (So it does if there is one for inserts; but that may put the row
/// elsewhere, and had better fail.)
///
/// The columns that an expression reads are those of the `Var` nodes in its stored tree, whose text has
/// `:varattno` before the number of each. `pg_depend` has no better answer: it has the columns of the index,
/// of its expressions and of its condition in one list, so that a column that is both in the index and in an
/// expression cannot be told from one that is in the index only, and it has no row for the columns of a whole
/// row. (That is number 0 in the tree, which is no column of a key.) Nor has `pg_get_indexdef`, whose words
/// would have to be parsed. Names and texts of the user's can add numbers, by which an index counts for less,
/// and can take none away. What an expression makes NULL is not unique, except NULLS NOT DISTINCT, of which
/// servers before 15 have no column.
///
/// `o` has a bit for each kind of change (1 insert, 2 update, 4 delete) of which the user has made a rule of
/// its own. The bits of `tgtype` are 1 for each row, 2 BEFORE, 4 INSERT, 8 DELETE, 16 UPDATE, 64 INSTEAD OF.
inline constexpr std::string_view facts_query =
    R"(WITH RECURSIVE c AS MATERIALIZED (SELECT oid, relkind, relhassubclass FROM pg_catalog.pg_class
    WHERE oid = coalesce(pg_catalog.to_regclass($1::text), pg_catalog.to_regclass($3::text))),
p AS MATERIALIZED (SELECT p.oid, quote_ident(n.nspname) || '.' || quote_ident(p.relname) AS place
    FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE p.oid IN ((SELECT oid FROM c), coalesce(pg_catalog.to_regclass($4::text),
        pg_catalog.to_regclass($5::text))) AND p.relpersistence <> 't'),
t AS MATERIALIZED (SELECT a.attnum, a.attname, a.attcollation AS collation, s.oid AS base, s.mod,
    s.given, s.filled,
    NOT coalesce(l.collisdeterministic, true) AS loose, q.amopopr AS equality,
    coalesce(l.collisdeterministic, true) AND EXISTS (SELECT FROM pg_catalog.pg_amproc m
        WHERE m.amprocfamily = e.opcfamily AND m.amproclefttype = e.opcintype AND m.amprocnum = 4) AS strict
    FROM c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
    CROSS JOIN LATERAL (WITH RECURSIVE d AS (SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod,
        a.atttypmod AS mod, t.typdefault IS NOT NULL AS given, t.typnotnull AS filled
        FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
        UNION ALL SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod, d.typtypmod,
        d.given OR t.typdefault IS NOT NULL, d.filled OR t.typnotnull FROM d
        JOIN pg_catalog.pg_type t ON d.typtype = 'd' AND t.oid = d.typbasetype)
        SELECT d.oid, d.mod, d.typtype, d.given, d.filled FROM d WHERE d.typtype <> 'd') s
    LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_opclass e ON e.opcmethod = 403 AND e.opcdefault AND e.opcintype =
        CASE WHEN s.typtype = 'e' THEN 3500 WHEN s.oid = 1043 THEN 25 ELSE s.oid END
    LEFT JOIN pg_catalog.pg_amop q ON q.amopfamily = e.opcfamily AND q.amoplefttype = e.opcintype
        AND q.amoprighttype = e.opcintype AND q.amopstrategy = 3),
k AS MATERIALIZED (SELECT array_agg(attnum) AS columns, array_agg(attnum) FILTER (WHERE strict) AS strict
    FROM t WHERE attname = ANY($2::text[])),
u AS MATERIALIZED (SELECT i.indexrelid, i.indpred IS NULL AS whole, i.indimmediate AS immediate,
    i.indexprs IS NULL AND k.columns OPERATOR(pg_catalog.<@) (i.indkey::int2[])[0:i.indnkeyatts - 1]
        AS exact, i.indexprs IS NULL OR coalesce((pg_catalog.to_jsonb(i)
        OPERATOR(pg_catalog.->>) 'indnullsnotdistinct')::bool, false) AS always
    FROM c CROSS JOIN k JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
    WHERE i.indisunique AND i.indisvalid
    AND array_remove((i.indkey::int2[])[0:i.indnkeyatts - 1], 0::int2) OPERATOR(pg_catalog.<@) k.columns
    AND (i.indexprs IS NULL OR ARRAY(SELECT m[1]::int2
        FROM pg_catalog.regexp_matches(i.indexprs::text, ':varattno (-?[0-9]+)', 'g') m)
        OPERATOR(pg_catalog.<@) k.strict)
    AND NOT EXISTS (SELECT FROM generate_series(0, i.indnkeyatts - 1) n
        JOIN t ON t.attnum = (i.indkey::int2[])[n]
        JOIN pg_catalog.pg_opclass e ON e.oid = (i.indclass::oid[])[n]
        LEFT JOIN pg_catalog.pg_amop q ON q.amopfamily = e.opcfamily AND q.amoplefttype = e.opcintype
            AND q.amoprighttype = e.opcintype AND q.amopstrategy = 3
        WHERE (t.loose AND (i.indcollation::oid[])[n] <> t.collation)
        OR coalesce(q.amopopr <> t.equality, NOT e.opcdefault))),
x AS MATERIALIZED (SELECT x.oid, quote_ident(n.nspname) || '.' || quote_ident(x.relname) AS place
    FROM u JOIN pg_catalog.pg_class x ON x.oid = u.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
    WHERE u.whole AND u.always AND x.relpersistence <> 't'
    ORDER BY u.exact AND u.immediate DESC, x.oid LIMIT 1),
h AS MATERIALIZED (SELECT o.opcintype AS hashed FROM pg_catalog.pg_opclass o
    JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod JOIN pg_catalog.pg_amproc s ON s.amprocfamily = o.opcfamily
    AND s.amproclefttype = o.opcintype AND s.amprocnum = 2 WHERE m.amname = 'hash' AND o.opcdefault),
f AS (SELECT oid FROM c UNION SELECT i.inhrelid FROM f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid),
o AS MATERIALIZED (SELECT coalesce(bit_or(events) FILTER (WHERE early), 0) AS early,
    coalesce(bit_or(events) FILTER (WHERE late), 0) AS late,
    coalesce(bit_or(events) FILTER (WHERE at_commit), 0) AS at_commit
    FROM (SELECT (g.tgtype >> 2 & 1) | (g.tgtype >> 3 & 2) | (g.tgtype >> 1 & 4) AS events,
        g.tgtype & 66 <> 0 AS early, g.tgtype & 2 = 0 AS late, g.tginitdeferred AS at_commit
        FROM f JOIN pg_catalog.pg_trigger g ON g.tgrelid = f.oid
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
        UNION ALL SELECT CASE w.ev_type WHEN '3' THEN 1 WHEN '2' THEN 2 ELSE 4 END, true, true, false
        FROM f JOIN pg_catalog.pg_rewrite w ON w.ev_class = f.oid
        WHERE w.ev_type IN ('2', '3', '4') AND w.ev_enabled <> 'D'
        UNION ALL SELECT 7, true, true, false FROM c WHERE c.relkind NOT IN ('r', 'p')) e)
SELECT c.oid, coalesce(pg_partition_root(c.oid), c.oid)::oid, c.relkind, row_security_active(c.oid),
    CASE WHEN EXISTS (SELECT FROM u WHERE whole AND exact AND immediate)
        AND NOT EXISTS (SELECT FROM u WHERE whole AND exact AND NOT immediate)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid
            AND w.ev_type = '2') THEN 4
        WHEN EXISTS (SELECT FROM u WHERE whole AND always) THEN 3
        WHEN EXISTS (SELECT FROM u WHERE whole) THEN 2
        WHEN EXISTS (SELECT FROM u) THEN 1 ELSE 0 END,
    c.relkind = 'r' AND c.relhassubclass,
    (SELECT place FROM p WHERE p.oid = c.oid), (SELECT place FROM p WHERE p.oid <> c.oid),
    (SELECT place FROM x), (SELECT oid FROM x), (SELECT q.seqincrement > 0 AND NOT q.seqcycle
        FROM p JOIN pg_catalog.pg_sequence q ON q.seqrelid = p.oid WHERE p.oid <> c.oid),
    a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid,
    quote_ident(n.nspname) || '.' || quote_ident(b.typname), b.oid, b.typtype,
    (b.typcategory = 'A' OR b.typtype IN ('r', 'm', 'c') OR b.oid = 'jsonb'::regtype
        OR (b.oid >= 16384 AND b.typtype <> 'e' AND EXISTS (SELECT FROM h WHERE h.hashed = b.oid)))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_type w WHERE w.typtype = 'b' AND w.typcategory <> 'A'
        AND NOT EXISTS (SELECT FROM h WHERE h.hashed = CASE WHEN w.oid = 1043 THEN 25 ELSE w.oid END)
        AND w.oid IN (SELECT coalesce(e.oid, b.oid) UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r
        WHERE r.rngtypid = b.oid
        UNION ALL SELECT CASE WHEN v.typtype = 'd' THEN v.typbasetype WHEN v.typcategory = 'A' THEN v.typelem
            ELSE v.oid END FROM pg_catalog.pg_attribute g JOIN pg_catalog.pg_type v ON v.oid = g.atttypid
            WHERE g.attrelid = b.typrelid AND g.attnum > 0 AND NOT g.attisdropped)),
    CASE WHEN NOT l.collisdeterministic THEN quote_ident(ln.nspname) || '.' || quote_ident(l.collname) END,
    a.attgenerated <> '', a.attidentity, a.atthasdef OR a.attidentity <> '' OR s.given,
    a.attnotnull OR s.filled, has_column_privilege(c.oid, a.attnum, 'INSERT'),
    has_column_privilege(c.oid, a.attnum, 'UPDATE'), b.typcategory,
    CASE WHEN coalesce(e.typtype, b.typtype) = 'e' THEN ARRAY(SELECT m.enumlabel FROM pg_catalog.pg_enum m
        WHERE m.enumtypid = coalesce(e.oid, b.oid) ORDER BY m.enumsortorder) END,
    CASE WHEN s.mod <> -1 THEN format_type(b.oid, s.mod) END,
    CASE WHEN (y.typarray <> 0 OR y.typelem <> 0) AND has_column_privilege(c.oid, a.attnum, 'SELECT')
        AND has_schema_privilege(yn.oid, 'USAGE')
        THEN quote_ident(yn.nspname) || '.' || quote_ident(y.typname) END,
    e.oid, e.typcategory, e.typdelim,
    o.early, o.late, o.at_commit
FROM c CROSS JOIN o JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
JOIN t AS s ON s.attnum = a.attnum
JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
JOIN pg_catalog.pg_namespace yn ON yn.oid = y.typnamespace
JOIN pg_catalog.pg_type b ON b.oid = s.base
JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace
LEFT JOIN pg_catalog.pg_type d ON b.typcategory = 'A' AND d.oid = b.typelem
LEFT JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace)";

INTERLOCK_DECL ColumnFacts const* TableFacts::column(std::string_view name) const noexcept
{
    for (auto const& column : columns)
        if (column.name == name)
            return &column;
    return nullptr;
}

INTERLOCK_DECL bool TableFacts::has_lists() const noexcept
{
    for (auto const& column : columns)
        if (column.base_category == 'A')
            return true;
    return false;
}

[[gnu::cold]] INTERLOCK_DECL void add_facts_query(Batch& batch, Table const& table, Table const& known)
{
    std::string names = "{";
    for (auto const& quoted : table.key) {
        names += names.size() > 1 ? ",\"" : "\"";
        for (char c : unquoted(quoted)) {
            if (c == '"' || c == '\\')
                names += '\\';
            names += c;
        }
        names += '"';
    }
    auto const add_sequence = [](Params& params, std::string const& name) {
        if (name.empty())
            params.null();
        else
            params.text(name);
    };
    Params params;
    params.text(known.quoted);
    params.text(names + "}");
    params.text(table.quoted);
    add_sequence(params, known.sequence);
    add_sequence(params, table.sequence);
    batch.add(std::string(facts_query), std::move(params));
}

INTERLOCK_DECL char first_char(std::string_view text) noexcept
{
    return text.empty() ? '\0' : text[0];
}

[[gnu::cold]] INTERLOCK_DECL ColumnFacts column_facts(Reply const& reply, std::size_t row, std::size_t at)
{
    ColumnFacts column;
    column.name = reply.text(row, at);
    column.type = reply.text(row, at + 1);
    column.type_oid = static_cast<std::uint32_t>(reply.number(row, at + 2).value_or(0));
    column.base = reply.text(row, at + 3);
    column.base_oid = static_cast<std::uint32_t>(reply.number(row, at + 4).value_or(0));
    column.base_kind = first_char(reply.text(row, at + 5));
    column.hashed = reply.boolean(row, at + 6);
    column.collation = reply.null(row, at + 7) ? std::string() : std::string(reply.text(row, at + 7));
    column.generated = reply.boolean(row, at + 8);
    column.identity = first_char(reply.text(row, at + 9));
    column.has_default = reply.boolean(row, at + 10);
    column.not_null = reply.boolean(row, at + 11);
    column.may_insert = reply.boolean(row, at + 12);
    column.may_update = reply.boolean(row, at + 13);
    column.base_category = first_char(reply.text(row, at + 14));
    column.labels = reply.text(row, at + 15);
    column.limited = reply.null(row, at + 16) ? std::string() : std::string(reply.text(row, at + 16));
    column.own = reply.null(row, at + 17) ? std::string() : std::string(reply.text(row, at + 17));
    if (!reply.null(row, at + 18)) {
        column.element_oid = static_cast<std::uint32_t>(reply.number(row, at + 18).value_or(0));
        column.element_category = first_char(reply.text(row, at + 19));
        column.element_delimiter = first_char(reply.text(row, at + 20));
    }
    return column;
}

[[gnu::cold]] INTERLOCK_DECL OwnRules own_rules(Reply const& reply, std::size_t at, std::int64_t event)
{
    auto const has = [&](std::size_t column) { return (reply.number(0, column).value_or(0) & event) != 0; };
    return {has(at), has(at + 1), has(at + 2)};
}

[[gnu::cold]] INTERLOCK_DECL Outcome<TableFacts> facts_of(Reply const& reply, std::string const& table)
{
    if (reply.rows() == 0)
        return failed(
            Errc::misconfigured, {"postgres: there is no table ", table, " on the search_path of the role"});
    TableFacts facts;
    facts.oid = reply.text(0, 0);
    facts.root = reply.text(0, 1);
    facts.kind = first_char(reply.text(0, 2));
    facts.row_security = reply.boolean(0, 3);
    facts.key_index = static_cast<KeyIndex>(reply.number(0, 4).value_or(0));
    facts.inherited = reply.boolean(0, 5);
    facts.place = reply.text(0, 6);
    facts.place_of_sequence = reply.text(0, 7);
    facts.index = reply.text(0, 8);
    facts.index_oid = reply.text(0, 9);
    facts.sequence_rises = reply.null(0, 10) || reply.boolean(0, 10);
    auto const rules = reply.columns() - 3;
    facts.on_insert = own_rules(reply, rules, 1);
    facts.on_update = own_rules(reply, rules, 2);
    facts.on_erase = own_rules(reply, rules, 4);
    for (std::size_t row = 0; row < reply.rows(); ++row)
        facts.columns.push_back(column_facts(reply, row, 11));
    return facts;
}

INTERLOCK_DECL bool outdates_facts(SqlError const& error) noexcept
{
    if (error.raised)  // the words of a user's RAISE
        return false;
    // A constraint has become deferrable, so that ON CONFLICT does not take it any more.
    bool const is_no_arbiter = error.state == "55000" && !error.constraint.empty();
    // A key that named one row names several.
    bool const is_many = error.state == "21000";
    return is_no_arbiter || is_many || error.state.starts_with("42") || error.state.starts_with("0A");
}

INTERLOCK_DECL bool by_former_facts(Errc code) noexcept
{
    return code == Errc::misconfigured || code == Errc::version_exhausted || code == Errc::invalid_argument;
}

INTERLOCK_DECL bool same_types(TableFacts const& one, TableFacts const& other) noexcept
{
    auto const same = [](ColumnFacts const& a, ColumnFacts const& b) {
        return a.name == b.name && a.type == b.type && a.type_oid == b.type_oid && a.base_oid == b.base_oid &&
               a.labels == b.labels;
    };
    return one.oid == other.oid &&
           std::equal(
               one.columns.begin(), one.columns.end(), other.columns.begin(), other.columns.end(), same);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_FACTS_IPP
