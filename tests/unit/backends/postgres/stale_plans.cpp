// SPDX-License-Identifier: BSL-1.0

// A migration changes the table under a running service: no call meets a plan that is older than the schema,
// on any of the pool's connections.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
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

}  // namespace postgres_stale_plans_test
