// SPDX-License-Identifier: BSL-1.0

// A migration changes the table under a running service: no call meets a plan that is older than the schema,
// on any of the pool's connections, and nothing is dropped or refused by what the table was before.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_stale_plans_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::run_threads;
using interlock_test::single_value;
using interlock_test::sql;

struct Doc {
    std::int64_t id{0};
    std::string body;
};
BOOST_DESCRIBE_STRUCT(Doc, (), (id, body))

struct Migration {
    char const* column;  // as it is first
    std::vector<std::string> statements;
    std::string before, after, again;  // values of the column
};

std::vector<Migration> migrations()
{
    return {
        {"text",
         {"ALTER TABLE docs ALTER body TYPE jsonb USING body::jsonb"},
         "{\"a\": 0}",
         "{\"a\": 1}",
         "{\"a\": 2}"},
        {"int", {"ALTER TABLE docs ALTER body TYPE bigint"}, "1", "5000000000", "5000000001"},
        {"varchar(3)", {"ALTER TABLE docs ALTER body TYPE varchar(9)"}, "abc", "abcdef", "abcdefg"},
        {"text",
         {"ALTER TABLE docs ALTER body TYPE bytea USING convert_to(body, 'UTF8')"},
         "abc",
         "C:\\new",
         "\\x41"},
        {"real",
         {"ALTER TABLE docs ALTER body TYPE double precision"},
         "0.5",
         "0.123456789012",
         "0.123456789013"},
        {"text",
         {"ALTER TABLE docs DROP body", "ALTER TABLE docs ADD body uuid"},
         "x",
         "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
         "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"},
        {"old_state", {"ALTER TYPE old_state ADD VALUE 'new one'"}, "a", "new one", "b"},
        {"old_state",
         {"ALTER TABLE docs ALTER body TYPE text", "DROP TYPE old_state",
          "CREATE TYPE old_state AS ENUM ('c', 'd')", "UPDATE docs SET body = 'c'",
          "ALTER TABLE docs ALTER body TYPE old_state USING body::old_state"},
         "a",
         "c",
         "d"},
        {"text",
         {"ALTER TABLE docs RENAME TO old_docs",
          "CREATE TABLE docs (id bigint PRIMARY KEY, body json NOT NULL, "
          "version bigint NOT NULL DEFAULT 1)",
          "INSERT INTO docs SELECT id, '{}', 1 FROM old_docs"},
         "x",
         "[1]",
         "[2]"},
    };
}

template <class Policy>
void no_call_fails(Policy const& policy)
{
    for (auto const& migration : migrations()) {
        INFO(migration.column << ": " << migration.statements[0]);
        sql(
            {"DROP TABLE IF EXISTS docs, old_docs", "DROP TYPE IF EXISTS old_state",
             "CREATE TYPE old_state AS ENUM ('a', 'b')",
             std::string("CREATE TABLE docs (id bigint PRIMARY KEY, body ") + migration.column +
                 ", version bigint NOT NULL DEFAULT 1)"});
        auto const pool = fresh_pool();
        postgres::StateRepository<Doc> const docs{pool, {.table = "docs", .key = "id"}};
        TransactionService const service{policy, docs};
        for (int i = 0; i < 4; ++i)
            docs.insert(Doc{i, migration.before}).value();
        // Four connections with their plans, which have written, too.
        run_threads(4, [&](std::size_t n) {
            auto const i = static_cast<std::int64_t>(n);
            service.do_in_transaction(std::int64_t{i}, [&](Doc& d) {
                std::this_thread::sleep_for(50ms);
                d.body = migration.before == "1" ? "2" : migration.before;
            });
        });
        for (auto const& statement : migration.statements)
            sql({statement});
        if (single_value("SELECT count(*) FROM docs WHERE body IS NULL") != "0")
            sql({"UPDATE docs SET body = gen_random_uuid()"});
        std::atomic<int> failed{0};
        for (int round = 0; round < 3; ++round)
            run_threads(4, [&](std::size_t n) {
                auto const i = static_cast<std::int64_t>(n);
                auto const& next = round % 2 == 0 ? migration.after : migration.again;
                auto const o = service.try_do_in_transaction(std::int64_t{i}, [&](Doc& d) {
                    d.body = next;
                    std::this_thread::sleep_for(5ms);
                });
                failed += o ? 0 : 1;
                if (!o && i == 0)
                    UNSCOPED_INFO(o.detail());
            });
        CHECK(failed == 0);
        for (int i = 0; i < 4; ++i)
            CHECK(docs.load(std::int64_t{i}).value().value.body == migration.after);
    }
}

TEST_CASE("a changed schema is noticed on every connection: row locks", "[postgres][foreign][stale_plans]")
{
    no_call_fails(PessimisticRowLock{});
}

TEST_CASE("a changed schema is noticed on every connection: optimistic", "[postgres][foreign][stale_plans]")
{
    no_call_fails(OptimisticVersioning{.remember = 10});
}

TEST_CASE("a changed schema is noticed on every connection: leases", "[postgres][foreign][stale_plans]")
{
    no_call_fails(SetNxLock{});
}

TEST_CASE(
    "a changed schema is noticed, and the library's own tables in that pool are used as before",
    "[postgres][foreign][stale_plans]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_docs";
    sql({"CREATE TABLE " + table + " (id bigint PRIMARY KEY, body varchar(3), version bigint NOT NULL)"});
    postgres::StateRepository<Doc> const docs{pool, {.table = table, .key = "id"}};
    postgres::StateRepository<interlock_test::Stock> const stock{pool};
    static_cast<void>(docs.insert(Doc{1, "abc"}).value());
    static_cast<void>(stock.insert({"x", 10}).value());
    TransactionService const writes{PessimisticRowLock{}, docs};
    writes.do_in_transaction(1, [](Doc& doc) { doc.body = "cba"; });
    sql({"ALTER TABLE " + table + " ALTER body TYPE text"});
    writes.do_in_transaction(1, [](Doc& doc) { doc.body = "abcdef"; });
    auto const take = [](interlock_test::Stock& s) { return --s.quantity; };
    CHECK(TransactionService{OptimisticVersioning{}, stock}.do_in_transaction("x", take) == 9);
    CHECK(TransactionService{PessimisticRowLock{}, stock}.do_in_transaction("x", take) == 8);
    CHECK(TransactionService{SetNxLock{}, stock}.do_in_transaction("x", take) == 7);
}

// ---- what is known of the table, and is so no longer --------------------------------------------

struct Line {
    std::int64_t id{0};
    int quantity{0};
    std::optional<int> total;
};
BOOST_DESCRIBE_STRUCT(Line, (), (id, quantity, total))

/// A table `<name space>_t` with rows 1 and 2, and a repository whose statements are warm.
struct Warm {
    explicit Warm(std::string const& columns, std::string const& user = {})
    {
        run("CREATE TABLE {t} (" + columns + ", version bigint NOT NULL DEFAULT 1)");
        run("INSERT INTO {t} (id, quantity) VALUES (1, 1), (2, 2)");
        auto url = interlock_test::postgres_server().tcp_url() + "?name_space=" + ns;
        if (!user.empty()) {
            run("CREATE ROLE {t}_" + user + " LOGIN");
            run("GRANT ALL ON ALL TABLES IN SCHEMA public TO {t}_" + user);
            run("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {t}_" + user);
            url.replace(url.find("interlock@"), 9, t + "_" + user);
        }
        pool.emplace(postgres::Options::parse(url).value());
        lines.emplace(*pool, postgres::RepositoryOptions{.table = t, .key = "id"});
        each(1, [](Line& l) { ++l.quantity; });
    }
    std::string run(std::string text) const
    {
        for (std::size_t at = 0; (at = text.find("{t}")) != std::string::npos;)
            text.replace(at, 3, t);
        return single_value(text);
    }
    /// `op` under each policy, with and without an id: as many calls as `each` returns are applied.
    template <class F>
    int each(std::int64_t key, F op, Errc refused = Errc::ok) const
    {
        int calls = 0;
        auto const under = [&](auto const& policy, char const* name) {
            INFO(name);
            TransactionService const service{policy, *lines};
            OperationId const id{std::string(name) + std::to_string(++calls_before)};
            CHECK(service.try_do_in_transaction(key, op).errc() == refused);
            CHECK(service.try_do_in_transaction(id, key, op).errc() == refused);
            if (refused == Errc::ok)
                CHECK(service.try_do_in_transaction(id, key, op).replayed());
            calls += 2;
        };
        under(OptimisticVersioning{}, "optimistic");
        under(OptimisticVersioning{.remember = 10}, "remembering");
        under(PessimisticRowLock{}, "row lock");
        under(SetNxLock{}, "lease");
        auto const two = [&](auto const& policy, char const* name) {
            INFO(name);
            TransactionService const service{policy, *lines};
            auto const both = [&](Line& l, Line const&) { op(l); };
            CHECK(service.try_do_in_transaction(keys(key, std::int64_t{3} - key), both).errc() == refused);
            ++calls;
        };
        two(OptimisticVersioning{}, "optimistic, two rows");
        two(PessimisticRowLock{}, "row lock, two rows");
        return calls;
    }
    int number(std::string const& what, int id) const
    {
        return std::stoi(run("SELECT " + what + " FROM {t} WHERE id = " + std::to_string(id)));
    }

    postgres::Pool owner{fresh_pool()};
    std::string ns{owner.options().name_space};
    std::string t{ns + "_t"};
    std::optional<postgres::Pool> pool;
    std::optional<postgres::StateRepository<Line>> lines;
    mutable int calls_before{0};
};

TEST_CASE("a column that the server made, and makes no longer, is written", "[postgres][stale_plans]")
{
    auto const generated = GENERATE(true, false);
    CAPTURE(generated);
    Warm const w{
        std::string("id bigint PRIMARY KEY, quantity int NOT NULL, total int GENERATED ALWAYS AS ") +
        (generated ? "(quantity * 2) STORED" : "IDENTITY")};
    auto const more = [](Line& l) { l.total = *l.total + 1000; };
    SECTION("as long as the server makes it, what is written there is ignored")
    {
        auto const before = w.number("total", 1);
        w.each(1, more);
        CHECK(w.number("total", 1) == before);
        CHECK(w.lines->insert(Line{7, 5, 55}));
        CHECK(w.number("total", 7) != 55);
    }
    SECTION("the first call after it")
    {
        w.run(std::string("ALTER TABLE {t} ALTER total DROP ") + (generated ? "EXPRESSION" : "IDENTITY"));
        auto const first = GENERATE(0, 1, 2, 3);
        CAPTURE(first);
        if (first == 0) {
            auto const before = w.number("total", 1);
            auto const calls = w.each(1, more);
            CHECK(w.number("total", 1) == before + 1000 * calls);
        }
        if (first == 1)
            CHECK(w.lines->insert(Line{7, 5, 55}));
        if (first == 2) {
            TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, *w.lines};
            CHECK(rows.try_do_in_transaction(std::int64_t{7}, [](Line& l) { l.total = 55; }));
        }
        if (first == 3) {
            auto const now = w.lines->load(std::int64_t{2}).value();
            CHECK(w.lines->compare_and_set(std::int64_t{2}, now.version, Line{2, 2, 55}));
        }
        if (first == 1 || first == 2)
            CHECK(w.number("total", 7) == 55);
        if (first == 3)
            CHECK(w.number("total", 2) == 55);
    }
}

TEST_CASE("what was refused by what the table was before is possible now", "[postgres][stale_plans]")
{
    auto const total = [](Line& l) { l.total = l.total.value_or(0) + 1; };
    SECTION("a right is granted")
    {
        Warm const w{"id bigint PRIMARY KEY, quantity int NOT NULL, total int", "app"};
        w.run("REVOKE UPDATE, INSERT ON {t} FROM {t}_app");
        w.run("GRANT UPDATE (quantity, version), INSERT (id, quantity, version) ON {t} TO {t}_app");
        w.each(1, total, Errc::misconfigured);
        CHECK(w.lines->insert(Line{7, 1, 5}).errc() == Errc::misconfigured);
        w.run("GRANT UPDATE (total), INSERT (total) ON {t} TO {t}_app");
        CHECK(w.lines->insert(Line{7, 1, 5}));
        auto const calls = w.each(1, total);
        CHECK(w.number("total", 1) == calls);
    }
    SECTION("a unique index is made")
    {
        Warm const w{"id bigint, quantity int NOT NULL, total int"};
        CHECK(w.lines->insert(Line{7, 1, 5}).errc() == Errc::misconfigured);
        w.run("ALTER TABLE {t} ADD PRIMARY KEY (id)");
        CHECK(w.lines->insert(Line{7, 1, 5}));
        CHECK(w.lines->insert(Line{7, 1, 5}).errc() == Errc::already_exists);
        TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, *w.lines};
        CHECK(rows.try_do_in_transaction(std::int64_t{8}, total));
    }
    SECTION("a row lock is the first to need the index")
    {
        Warm const w{"id bigint, quantity int NOT NULL, total int"};
        TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, *w.lines};
        CHECK(rows.try_do_in_transaction(std::int64_t{8}, total).errc() == Errc::misconfigured);
        w.run("ALTER TABLE {t} ADD PRIMARY KEY (id)");
        CHECK(rows.try_do_in_transaction(std::int64_t{8}, total));
    }
    SECTION("the key gets a default")
    {
        Warm const w{"id bigint PRIMARY KEY, quantity int NOT NULL, total int"};
        CHECK(w.lines->insert_new(Line{0, 1, 5}).errc() == Errc::misconfigured);
        w.run("ALTER TABLE {t} ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 100)");
        CHECK(w.lines->insert_new(Line{0, 1, 5}).value().value.id == 100);
    }
    SECTION("an insert under no key is the first to need the default, which goes again")
    {
        auto const* const made = GENERATE(
            "SET DEFAULT 100", "ADD GENERATED BY DEFAULT AS IDENTITY (START 100)",
            "ADD GENERATED ALWAYS AS IDENTITY (START 100)");
        Warm const w{"id bigint PRIMARY KEY, quantity int NOT NULL, total int"};
        CHECK(w.lines->insert(Line{7, 1, 5}));
        w.run(std::string("ALTER TABLE {t} ALTER id ") + made);
        CHECK(w.lines->insert(Line{0, 1, 5}));
        CHECK(w.number("total", 100) == 5);
        CHECK(single_value("SELECT count(*) FROM " + w.t + " WHERE id = 0") == "0");
        w.run(
            std::string_view{made}.starts_with("ADD") ? "ALTER TABLE {t} ALTER id DROP IDENTITY"
                                                      : "ALTER TABLE {t} ALTER id DROP DEFAULT");
        CHECK(w.lines->insert(Line{0, 1, 6}));
        CHECK(w.number("total", 0) == 6);
    }
    SECTION("a column becomes NOT NULL, with a default")
    {
        Warm const w{"id bigint PRIMARY KEY, quantity int NOT NULL, total int"};
        CHECK(w.lines->insert(Line{7, 1, {}}));
        w.run("UPDATE {t} SET total = 0");
        w.run("ALTER TABLE {t} ALTER total SET DEFAULT 9, ALTER total SET NOT NULL");
        CHECK(w.lines->insert(Line{8, 1, {}}));
        CHECK(w.number("total", 8) == 9);
        TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, *w.lines};
        w.run("ALTER TABLE {t} ALTER total DROP NOT NULL");
        CHECK(rows.try_do_in_transaction(std::int64_t{9}, [](Line&) {}));
    }
    SECTION("the version becomes wider")
    {
        Warm const w{"id bigint PRIMARY KEY, quantity int NOT NULL, total int"};
        w.run("ALTER TABLE {t} ALTER version TYPE smallint");
        w.each(1, total);
        w.run("UPDATE {t} SET version = 32767");
        w.each(1, total, Errc::version_exhausted);
        w.run("ALTER TABLE {t} ALTER version TYPE int");
        auto const before = w.number("total", 1);
        auto const calls = w.each(1, total);
        CHECK(w.number("total", 1) == before + calls);
    }
}

/// What is done to a row that was read before, when its key has got a second row.
enum class Late : unsigned char { compare_and_set, erase, remembered, with_id, two_rows };

/// A row with the key 1, written by every policy; then a second one with this key and this version.
void no_write_hits_two_rows(bool by_child, Late late)
{
    Warm const w{"id bigint, quantity int NOT NULL, total int, CONSTRAINT {t}_one UNIQUE (id)"};
    TransactionService const remembering{OptimisticVersioning{.remember = 9}, *w.lines};
    auto const count = [](Line& l) { ++l.quantity; };
    for (int i = 0; i < 6; ++i)  // until the server has made plans for all keys
        REQUIRE(remembering.try_do_in_transaction(std::int64_t{1}, count));
    auto const before = w.lines->load(std::int64_t{1}).value();
    if (by_child) {
        w.run("CREATE TABLE {t}_old (LIKE {t})");
        w.run("INSERT INTO {t}_old SELECT * FROM {t} WHERE id = 1");
        w.run("ALTER TABLE {t}_old INHERIT {t}");
    } else {
        w.run("ALTER TABLE {t} DROP CONSTRAINT {t}_one");
        w.run("INSERT INTO {t} SELECT * FROM {t} WHERE id = 1");
    }
    auto const write = [&]() -> Errc {
        auto const key = std::int64_t{1};
        switch (late) {
        case Late::compare_and_set:
            return w.lines->compare_and_set(key, before.version, Line{1, 70, 1}).errc();
        case Late::erase: return w.lines->erase(key, before.version).errc();
        case Late::remembered: return remembering.try_do_in_transaction(key, count).errc();
        case Late::with_id: return remembering.try_do_in_transaction(OperationId{"late"}, key, count).errc();
        case Late::two_rows:
            return remembering
                .try_do_in_transaction(keys(key, std::int64_t{2}), [](Line& a, Line&) { ++a.quantity; })
                .errc();
        }
        return Errc::ok;
    };
    auto const code = write();
    auto const same = single_value(
        "SELECT count(*) FROM " + w.t + " WHERE id = 1 AND quantity = " +
        std::to_string(before.value.quantity) + " AND version = " + std::to_string(before.version));
    if (by_child && code == Errc::ok)
        CHECK(same == "1");  // the row of the table itself
    else
        CHECK((code == Errc::misconfigured && same == "2"));
    if (!by_child)
        CHECK(code == Errc::misconfigured);
}

TEST_CASE("a key that gets a second row is written in none, or in one", "[postgres][stale_plans]")
{
    auto const by_child = GENERATE(false, true);
    auto const late =
        GENERATE(Late::compare_and_set, Late::erase, Late::remembered, Late::with_id, Late::two_rows);
    CAPTURE(by_child, static_cast<int>(late));
    no_write_hits_two_rows(by_child, late);
}

TEST_CASE("an index that is made anew, or renamed, disturbs no call", "[postgres][stale_plans]")
{
    Warm const w{"id bigint, quantity int NOT NULL, total int, CONSTRAINT {t}_one UNIQUE (id)"};
    auto const count = [](Line& l) { l.total = l.total.value_or(0) + 1; };
    auto calls = w.each(1, count);
    for (auto const* statement :
         {"REINDEX INDEX CONCURRENTLY {t}_one", "ALTER INDEX {t}_one RENAME TO \"{t} Two\"",
          "CREATE UNIQUE INDEX {t}_more ON {t} (id)", "ALTER TABLE {t} DROP CONSTRAINT \"{t} Two\"",
          "ALTER TABLE {t} ADD PRIMARY KEY USING INDEX {t}_more"}) {
        INFO(statement);
        w.run(statement);
        calls += w.each(1, count);
        auto const read = w.lines->load(std::int64_t{1}).value();
        CHECK(read.value.total == calls);
    }
}

/// What writes a row first after the column has got another type, without having read it.
enum class First : unsigned char { insert, compare_and_set, with_id, remembered };

TEST_CASE(
    "the first write behind a change of a column's type stores what the new type makes of the value",
    "[postgres][stale_plans]")
{
    struct Case {
        char const* from;
        char const* to;
        char const* before;
        char const* written;
        char const* stored;  // which the former type would have made something else of
    };
    static constexpr char const* long_text =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    auto const c = GENERATE(
        Case{
            "timestamp", "timestamptz", "2026-01-01 10:00", "2026-01-01 10:00+00",
            "2026-01-01 15:30:00+05:30"},
        Case{"date", "timestamp", "2026-01-01", "2026-01-01 10:00", "2026-01-01 10:00:00"},
        Case{"real", "double precision", "0.5", "0.1", "0.1"},
        Case{"double precision", "numeric", "0.5", "0.12345678901234567890", "0.12345678901234567890"},
        Case{"char(3)", "text", "abc", "a  ", "a  "}, Case{"name", "text", "a", long_text, long_text},
        Case{"inet", "text", "10.0.0.1", "10.0.0.1", "10.0.0.1"},
        Case{"jsonb", "json", "[1]", "[1,  2]", "[1,  2]"},
        Case{"jsonb", "text", "[1]", "[1,  2]", "[1,  2]"},
        Case{"{t}_rounded", "numeric", "1.5", "1.25", "1.25"},
        Case{"real[]", "double precision[]", "{0.5}", "{0.1}", "{0.1}"},
        Case{"{t}_cut[]", "text[]", "{a}", "{\"b  \"}", "{\"b  \"}"});
    auto const first = GENERATE(First::insert, First::compare_and_set, First::with_id, First::remembered);
    CAPTURE(c.from, c.to, static_cast<int>(first));
    auto const owner = fresh_pool();
    auto const t = owner.options().name_space + "_docs";
    auto const of = [&](std::string text) {
        if (auto const at = text.find("{t}"); at != std::string::npos)
            text.replace(at, 3, t);
        return text;
    };
    sql(
        {of("CREATE DOMAIN {t}_rounded AS numeric(8, 1)"), of("CREATE DOMAIN {t}_cut AS char(3)"),
         "CREATE TABLE " + t + " (id bigint PRIMARY KEY, body " + of(c.from) +
             " NOT NULL, version bigint NOT NULL DEFAULT 1)"});
    auto const url = interlock_test::postgres_server().tcp_url() +
                     "?options=-c%20TimeZone%3DAsia/Kolkata&name_space=" + owner.options().name_space;
    postgres::Pool const pool{postgres::Options::parse(url).value()};
    postgres::StateRepository<Doc> const docs{pool, {.table = t, .key = "id", .write = postgres::Write::all}};
    TransactionService const writes{OptimisticVersioning{.missing = Missing::create}, docs};
    TransactionService const remembering{OptimisticVersioning{.remember = 9}, docs};
    auto const set = [&](std::string const& body) { return [&](Doc& d) { d.body = body; }; };
    int count = 0;
    for (int i = 0; i < 7; ++i) {  // until the server has made plans for all values
        REQUIRE(docs.insert(Doc{++count, c.before}));
        auto const row = docs.load(std::int64_t{1}).value();
        REQUIRE(docs.compare_and_set(std::int64_t{1}, row.version, Doc{1, c.before}));
        REQUIRE(writes.try_do_in_transaction(OperationId{"w" + std::to_string(i)}, ++count, set(c.before)));
        REQUIRE(remembering.try_do_in_transaction(std::int64_t{1}, set(c.before)));
    }
    auto const row = docs.load(std::int64_t{1}).value();
    REQUIRE(remembering.try_do_in_transaction(std::int64_t{2}, set(c.before)));
    sql({"ALTER TABLE " + t + " ALTER body TYPE " + c.to + " USING body::text::" + c.to});
    std::int64_t id = 1;
    if (first == First::insert)
        CHECK(docs.insert(Doc{id = ++count, c.written}));
    if (first == First::compare_and_set)
        CHECK(docs.compare_and_set(std::int64_t{id}, row.version, Doc{1, c.written}));
    if (first == First::with_id)
        CHECK(writes.try_do_in_transaction(OperationId{"new"}, std::int64_t{id = ++count}, set(c.written)));
    if (first == First::remembered)
        CHECK(remembering.try_do_in_transaction(std::int64_t{id = 2}, set(c.written)));
    CHECK(docs.load(std::int64_t{id}).value().value.body == c.stored);
}

struct Coded {
    std::string id;
    int amount{0};
};
BOOST_DESCRIBE_STRUCT(Coded, (), (id, amount))

TEST_CASE("a key column that becomes narrower cuts and rounds no new key", "[postgres][stale_plans]")
{
    struct Case {
        char const* from;
        char const* to;
        char const* key;   // that the narrower column cannot hold
        char const* good;  // that it can
    };
    static constexpr char const* long_name =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    auto const c = GENERATE(
        Case{"varchar(40)", "varchar(10)", "0123456789ab", "01"},
        Case{"varchar(40)", "varchar(3)", "abc   ", "abc"}, Case{"text", "name", long_name, "01"},
        Case{"text", "\"char\"", "xyz", "x"}, Case{"numeric(8, 2)", "numeric(8, 1)", "1.25", "1.5"},
        Case{"numeric", "numeric(8, 1)", "1.25", "1.5"}, Case{"numeric", "int", "1.25", "1"},
        Case{"timestamptz", "timestamptz(0)", "2024-01-01 00:00:00.7+00", "2024-01-01 00:00:00+00"},
        Case{"interval", "interval(0)", "00:00:01.7", "00:00:01"},
        Case{"time", "time(1)", "00:00:01.77", "00:00:01"},
        Case{"numeric[]", "numeric(8, 1)[]", "{1.25}", "{1.5}"},
        Case{"inet", "cidr", "10.0.0.1/24", "10.0.0.0/24"});
    CAPTURE(c.from, c.to);
    auto const pool = fresh_pool();
    auto const t = pool.options().name_space + "_keys";
    sql(
        {"CREATE TABLE " + t + " (id " + c.from + " PRIMARY KEY, amount int NOT NULL DEFAULT 0, version " +
         "bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Coded> const repository{pool, {.table = t, .key = "id"}};
    for (int i = 0; i < 7; ++i) {  // until the server has made a plan for all keys
        CHECK(repository.insert(Coded{c.key, 1}));
        sql({"DELETE FROM " + t});
    }
    sql({"ALTER TABLE " + t + " ALTER id TYPE " + c.to + " USING id::" + c.to});
    auto const cut = repository.insert(Coded{c.key, 1});
    INFO(cut.detail());
    CHECK(cut.errc() == Errc::invalid_argument);
    CHECK(single_value("SELECT count(*) FROM " + t) == "0");
    CHECK(repository.insert(Coded{c.good, 1}));
}

TEST_CASE("a key column that gets another type names the row of the new type", "[postgres][stale_plans]")
{
    struct Case {
        char const* from;
        char const* to;
        char const* near;  // what the former type makes of `key`
        char const* key;
    };
    auto const c = GENERATE(
        Case{"date", "timestamp", "2026-01-01", "2026-01-01 10:00:00"},
        Case{"real", "double precision", "0.10000000149011612", "0.1"},
        Case{"numeric(8, 1)", "numeric", "1.3", "1.25"},
        Case{"timestamp(0)", "timestamp", "2026-01-01 10:00:01", "2026-01-01 10:00:00.7"},
        Case{"inet", "text", "10.0.0.1/32", "10.0.0.1"});
    enum class Use : unsigned char { insert, compare_and_set, erase, load, with_id };
    auto const use = GENERATE(Use::insert, Use::compare_and_set, Use::erase, Use::load, Use::with_id);
    CAPTURE(c.from, c.to, static_cast<int>(use));
    auto const pool = fresh_pool();
    auto const t = pool.options().name_space + "_keys";
    sql(
        {"CREATE TABLE " + t + " (id " + c.from + " PRIMARY KEY, amount int NOT NULL DEFAULT 0, version " +
         "bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Coded> const repository{pool, {.table = t, .key = "id"}};
    TransactionService const writes{OptimisticVersioning{.missing = Missing::create}, repository};
    auto const add = [](Coded& state) { ++state.amount; };
    for (int i = 0; i < 7; ++i) {  // until the server has made a plan for all keys
        REQUIRE(repository.insert(Coded{c.near, 1}));
        REQUIRE(repository.compare_and_set(std::string(c.near), 1, Coded{c.near, 2}));
        REQUIRE(writes.try_do_in_transaction(OperationId{std::to_string(i)}, c.near, add));
        REQUIRE(repository.erase(std::string(c.near), 3));
    }
    sql({"ALTER TABLE " + t + " ALTER id TYPE " + c.to + " USING id::" + c.to});
    auto const row = "INSERT INTO " + t + " (amount, id) VALUES (5, '";
    sql({row + c.near + "')"});
    if (use != Use::insert && use != Use::with_id)
        sql({row + c.key + "')"});
    std::string const key = c.key;
    if (use == Use::insert)
        CHECK(repository.insert(Coded{key, 9}));
    if (use == Use::compare_and_set)
        CHECK(repository.compare_and_set(key, 1, Coded{key, 9}));
    if (use == Use::erase)
        CHECK(repository.erase(key, 1));
    if (use == Use::load)
        CHECK(repository.load(key).value().value.id == key);
    if (use == Use::with_id)
        CHECK(writes.try_do_in_transaction(OperationId{"late"}, key, [](Coded& s) { s.amount = 9; }));
    auto const amount = [&](std::string const& id) {
        return single_value("SELECT coalesce(max(amount), -1) FROM " + t + " WHERE id = '" + id + "'");
    };
    CHECK(amount(c.near) == "5");
    CHECK(amount(key) == (use == Use::erase ? "-1" : use == Use::load ? "5" : "9"));
}

TEST_CASE("a column gets another type between load and write", "[postgres][stale_plans]")
{
    auto const pool = fresh_pool();
    auto const t = pool.options().name_space + "_docs";
    sql(
        {"CREATE TABLE " + t + " (id bigint PRIMARY KEY, body real, version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO " + t + " VALUES (1, 0.5), (2, 0.5)"});
    postgres::StateRepository<Doc> const docs{pool, {.table = t, .key = "id"}};
    auto const under = [&](auto const& policy, auto call) {
        TransactionService const service{policy, docs};
        for (int i = 0; i < 7; ++i)  // until the server has made plans for all values
            REQUIRE(call(service, [&](Doc& d) { d.body = d.body == "0.5" ? "0.25" : "0.5"; }));
        bool first = true;
        auto const o = call(service, [&](Doc& d) {
            if (std::exchange(first, false))
                sql({"ALTER TABLE " + t + " ALTER body TYPE double precision"});
            d.body = "0.1";
        });
        INFO(o.detail());
        CHECK(o);
        CHECK(docs.load(std::int64_t{1}).value().value.body == "0.1");
    };
    auto const once = [](auto const& service, auto op) {
        return service.try_do_in_transaction(std::int64_t{1}, op);
    };
    auto const with_id = [n = 0](auto const& service, auto op) mutable {
        return service.try_do_in_transaction(OperationId{std::to_string(++n)}, std::int64_t{1}, op);
    };
    auto const both = [](auto const& service, auto op) {
        return service.try_do_in_transaction(
            keys(std::int64_t{1}, std::int64_t{2}), [&](Doc& d, Doc const&) { op(d); });
    };
    SECTION("optimistic")
    {
        under(OptimisticVersioning{}, once);
    }
    SECTION("optimistic, with an id")
    {
        under(OptimisticVersioning{}, with_id);
    }
    SECTION("optimistic, two rows")
    {
        under(OptimisticVersioning{}, both);
    }
    SECTION("optimistic, remembered")
    {
        under(OptimisticVersioning{.remember = 9}, once);
    }
    SECTION("lease")
    {
        under(SetNxLock{}, once);
    }
    SECTION("lease, with an id")
    {
        under(SetNxLock{}, with_id);
    }
    SECTION("leases of two rows")
    {
        under(SetNxLock{}, both);
    }
}

}  // namespace postgres_stale_plans_test
