// SPDX-License-Identifier: BSL-1.0

// Unique indexes of expressions, beside plain columns of the key or alone: which of them keep a key from
// having two rows, and which do not. The key's column `tenant` is one where `=` takes for equal what is not
// the same, the other one is a text.
//
// How it works: each table is made by plain SQL, used by every policy, and looked at by plain SQL again.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <string>
#include <vector>

namespace postgres_expression_indexes_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::sql;

struct Place {
    std::string tenant;
    std::string email;
};
BOOST_DESCRIBE_STRUCT(Place, (), (tenant, email))

struct Member {
    Place id;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Member, (), (id, n))

/// A table of members, and what else is said. A tenant is the same in small and in large letters.
struct Members {
    explicit Members(std::vector<std::string> const& more)
    {
        sql(
            {"CREATE EXTENSION IF NOT EXISTS citext",
             "CREATE TABLE " + table +
                 " (tenant citext NOT NULL, email text NOT NULL, n int NOT NULL DEFAULT 0, deleted_at "
                 "timestamptz, version bigint NOT NULL DEFAULT 1)"});
        for (auto statement : more) {
            for (auto at = statement.find("{t}"); at != std::string::npos; at = statement.find("{t}"))
                statement.replace(at, 3, table);
            sql({statement});
        }
    }
    postgres::StateRepository<Member> members(postgres::RepositoryOptions options = {}) const
    {
        options.table = table;
        options.key = "tenant, email";
        return postgres::StateRepository<Member>{pool, options};
    }
    std::string ask(std::string const& columns) const
    {
        return postgres_server().command("SELECT " + columns + " FROM " + table);
    }
    postgres::Pool pool{fresh_pool()};
    std::string table{pool.options().name_space + "_members"};
};

auto const count = [](Member& member) { ++member.n; };

/// Inserts by the index that `statements` make, where `one` and `same` are two texts of one tenant.
void check_members(
    std::vector<std::string> const& statements, std::string const& one = "a", std::string const& same = "A",
    postgres::RepositoryOptions const& options = {})
{
    INFO(statements.back());
    Members const made{statements};
    auto const members = made.members(options);
    auto const inserted = members.insert(Member{{one, "x"}, 1});
    INFO(inserted.detail());
    CHECK(inserted);
    CHECK(members.insert(Member{{one, "x"}, 2}).errc() == Errc::already_exists);
    CHECK(members.insert(Member{{same, "x"}, 2}).errc() == Errc::already_exists);
    auto const creates = [&](auto policy) {
        policy.missing = Missing::create;
        TransactionService const service{policy, members};
        CHECK(service.try_do_in_transaction(Member{{same, "x"}, 0}, count));
        CHECK(service.try_do_in_transaction(Member{{one, "y"}, 0}, count));
    };
    creates(OptimisticVersioning{});
    creates(PessimisticRowLock{});
    creates(SetNxLock{});
    CHECK(made.ask("string_agg(email || n, ' ' ORDER BY email)") == "x4 y3");
}

TEST_CASE(
    "an index of plain columns and of expressions goes by what the expressions read",
    "[postgres][expression_indexes]")
{
    for (std::string const index : {
             "CREATE UNIQUE INDEX ON {t} (tenant, lower(email))",
             "CREATE UNIQUE INDEX ON {t} (lower(email), tenant) INCLUDE (n, deleted_at)",
             "CREATE UNIQUE INDEX ON {t} ((email || '/'), tenant, upper(email))",
             "CREATE UNIQUE INDEX ON {t} (tenant, (email || '{VAR :varattno 3 '))",
         })
        check_members({index});
    check_members(
        {"ALTER TABLE {t} ALTER tenant TYPE numeric USING 0",
         "CREATE UNIQUE INDEX ON {t} (tenant, lower(email))"},
        "1", "1.0");
    check_members(
        {"CREATE UNIQUE INDEX ON {t} (tenant, lower(email)) WHERE deleted_at IS NULL"}, "a", "A",
        {.where = "deleted_at IS NULL"});
    check_members(
        {"ALTER TABLE {t} RENAME TO {t}_like",
         "CREATE TABLE {t} (LIKE {t}_like INCLUDING ALL) PARTITION BY HASH (tenant)",
         "CREATE TABLE {t}_0 PARTITION OF {t} FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
         "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
         "CREATE UNIQUE INDEX ON {t} (tenant, lower(email))"});
}

/// Two rows of one key, which the index that `statements` make lets be. `takes_inserts`: of other keys.
void check_two_members(std::vector<std::string> const& statements, bool takes_inserts)
{
    INFO(statements.back());
    Members const made{statements};
    auto const members = made.members();
    auto const says = [](auto const& outcome, std::string const& words) {
        INFO(outcome.detail());
        CHECK(outcome.errc() == Errc::misconfigured);
        CHECK(outcome.detail().find(words) != std::string::npos);
    };
    Place const id{"a", "x"};
    says(members.load(id), "several rows");
    says(members.compare_and_set(id, 1, Member{id, 7}), "several rows");
    says(members.erase(id, 1), "several rows");
    says(TransactionService{PessimisticRowLock{}, members}.try_do_in_transaction(id, count), "several");
    says(TransactionService{SetNxLock{}, members}.try_do_in_transaction(id, count), "several");
    CHECK(made.ask("count(*) || ' ' || max(version)") == "2 1");
    if (!takes_inserts)
        return says(members.insert(Member{{"b", "y"}, 5}), "needs a unique index");
    CHECK(members.insert(Member{{"b", "y"}, 5}));
    CHECK(members.insert(Member{{"B", "y"}, 6}).errc() == Errc::already_exists);
    CHECK(members.insert(Member{id, 7}).errc() == Errc::already_exists);
    CHECK(made.ask("max(n)") == "5");
}

TEST_CASE(
    "an expression that tells apart more than the key does, or nothing, makes no key unique",
    "[postgres][expression_indexes]")
{
    std::string const by_letters = "INSERT INTO {t} (tenant, email) VALUES ('a', 'x'), ('A', 'x')";
    std::string const by_number = "INSERT INTO {t} (tenant, email, n) VALUES ('a', 'x', 1), ('a', 'x', 2)";
    check_two_members(
        {by_letters, "CREATE UNIQUE INDEX ON {t} (tenant, email, (tenant::text || email))"}, false);
    check_two_members({by_letters, "CREATE UNIQUE INDEX ON {t} (email, (tenant::text || email))"}, false);
    check_two_members({by_letters, "CREATE UNIQUE INDEX ON {t} (md5(tenant::text), email)"}, false);
    check_two_members({by_number, "CREATE UNIQUE INDEX ON {t} (tenant, (email || n::text))"}, false);
    check_two_members({by_number, "CREATE UNIQUE INDEX ON {t} ((email || n::text)) INCLUDE (n)"}, false);
    // What a function makes of the whole row.
    check_two_members(
        {"CREATE FUNCTION {t}_all({t}) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1.email || $1.n'",
         by_number, "CREATE UNIQUE INDEX ON {t} (tenant, {t}_all({t}))"},
        false);
    // NULL is as good as no index.
    check_two_members(
        {"INSERT INTO {t} (tenant, email) VALUES ('a', 'x'), ('a', 'x')",
         "CREATE UNIQUE INDEX ON {t} (tenant, nullif(email, 'x'))"},
        true);
}

}  // namespace postgres_expression_indexes_test
