// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_HIDDEN_TABLES_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_HIDDEN_TABLES_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL std::vector<std::string> names_of_tables(std::string_view name_space)
{
    std::vector<std::string> names;
    for (std::string_view end :
         {"_version", "_token", "_record", "_state", "_lock", "_operation", "_idempotency", "_counter",
          "_once"})
        names.push_back(joined_text({name_space, end}));
    return names;
}

/// An array of SQL.
INTERLOCK_DECL std::string array_of(std::vector<std::string> const& names)
{
    std::string out = "ARRAY[";
    for (auto const& name : names)
        append(out, {out.ends_with('[') ? "" : ", ", quoted_text(name)});
    return out + "]";
}

INTERLOCK_DECL std::string hidden_words(std::vector<std::string> const& names)
{
    SqlWords words;
    words.set("names", array_of(names));
    return words.line(R"((SELECT quote_ident(c.relname) || ' of schema ' || string_agg(quote_ident(n.nspname),
        ' hides the one of schema ' ORDER BY array_position(current_schemas(false), n.nspname))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = ANY({names})
        AND n.nspname = ANY(current_schemas(false)) GROUP BY c.relname HAVING count(*) > 1 LIMIT 1))");
}

INTERLOCK_DECL std::string library_schema_words(std::string_view name_space)
{
    return joined_text(
        {"(SELECT c.oid::text || ' ' || n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = "
         "c.relnamespace WHERE c.oid = to_regclass('",
         name_space, "_lock'))"});
}

INTERLOCK_DECL std::string kept_path_words(std::string_view name_space)
{
    SqlWords words;
    words.set("lock", quoted_text(joined_text({name_space, "_lock"})));
    return words.line(R"((SELECT CASE WHEN to_regclass({lock}) IS NOT NULL
        AND current_setting('search_path') !~ 'pg_temp'
        THEN set_config('interlock.path', source, false) || '|' || set_config('search_path',
        (SELECT string_agg(quote_ident(s), ', ' ORDER BY o)
        FROM unnest(current_schemas(false)) WITH ORDINALITY AS u (s, o)), false) END
        FROM pg_settings WHERE name = 'search_path'))");
}

INTERLOCK_DECL std::string keep_path_statement(std::string_view kept)
{
    auto const bar = kept.find('|');
    return joined_text(
        {"SELECT set_config('interlock.path', ", quoted_text(kept.substr(0, bar)),
         ", false), set_config('search_path', ", quoted_text(kept.substr(bar + 1)), ", false)"});
}

INTERLOCK_DECL Outcome<void> LibrarySchema::stays(std::string_view found)
{
    if (found.empty())  // there are no tables yet, or the connection cannot see any
        return success();
    auto const parts = [](std::string_view words) {
        auto const blank = words.find(' ');
        return std::pair{words.substr(0, blank), words.substr(blank + 1)};
    };
    std::lock_guard lock(mutex_);
    auto const [table, schema] = parts(known_);
    auto const [table_now, schema_now] = parts(found);
    if (!known_.empty() && table != table_now && schema != schema_now)
        return failed(
            Errc::misconfigured,
            {"postgres: the search_path has changed: the tables of the library are those of schema ",
             schema_now, " now, and this pool has begun with those of schema ", schema,
             ", which have the locks and answers of before; end the programs that use the former ones, or "
             "say which are meant: Options::schema, or schema=... in the URL"});
    known_ = std::string(found);
    return success();
}

INTERLOCK_DECL Failure hidden_tables(std::string_view seen, std::string_view what_to_say)
{
    return failed(
        Errc::misconfigured,
        {"postgres: ", seen, ", with all that it remembers; say which is meant: ", what_to_say});
}

/// The state that the guard raises. No server has it.
inline constexpr std::string_view guarded_state = "IL001";

INTERLOCK_DECL std::string guard_statement(SqlWords& words, std::string_view body)
{
    words.set("state", quoted_text(guarded_state));
    auto const text = words.text(body);
    std::string tag = "$guard$";
    while (text.find(tag) != std::string::npos)
        tag.insert(1, "_");
    return joined_text({"DO ", tag, text, tag, ";\n"});
}

INTERLOCK_DECL std::string guard_text(std::vector<std::string> const& names, std::string_view what_to_say)
{
    SqlWords words;
    words.set("names", array_of(names));
    words.set("say", quoted_text(what_to_say));
    return guard_statement(words, R"(DECLARE there text; BEGIN
    SELECT format('%I.%I', n.nspname, c.relname) INTO there
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = ANY({names}) AND n.nspname <> current_schema() AND n.nspname !~ '^pg_'
    AND (n.nspname = ANY(current_schemas(false)) OR (c.relkind IN ('r', 'p')
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT')
        AND coalesce(nullif(current_setting('interlock.path', true), ''),
            (SELECT source FROM pg_settings WHERE name = 'search_path')) NOT IN ('client', 'session')
        AND NOT EXISTS (SELECT FROM pg_class h WHERE h.relname = ANY({names})
            AND h.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()))))
    ORDER BY array_position(current_schemas(false), n.nspname), c.relname LIMIT 1; IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = format('there is %s already, and one of its name in '
        'schema %I, which is the first of the search_path, would take its place: all that it remembers would '
        'be forgotten; say which is meant: %s', there, current_schema(), {say}); END IF; END)");
}

INTERLOCK_DECL Batch creation_of(std::string const& text, std::uint64_t turns)
{
    Batch batch;
    // Two sessions that run CREATE ... IF NOT EXISTS at once may collide, so they take turns.
    batch.add(joined_text(
        {"SELECT pg_advisory_xact_lock(", std::to_string(static_cast<std::int64_t>(turns)), ")"}));
    for (std::size_t at = 0; at < text.size();) {
        auto const end = text.find(";\n", at);
        batch.add(text.substr(at, end - at));
        at = end + 2;
    }
    return batch;
}

INTERLOCK_DECL Outcome<void> tables_made(Outcome<Exchange> exchange)
{
    if (!exchange)
        return std::move(exchange).failure();
    if (!exchange->error)
        return success();
    if (exchange->error->state == guarded_state)
        return failed(Errc::misconfigured, {"postgres: ", exchange->error->message});
    return failure_of(*exchange->error, Access::commit);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_HIDDEN_TABLES_IPP
