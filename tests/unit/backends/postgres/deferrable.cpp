// SPDX-License-Identifier: BSL-1.0

// Constraints that are checked at the end of a statement or of the transaction: positions that change
// places, a constraint that becomes deferrable while connections are warm, keys that are there twice for a
// moment. And frictions of jobs and audits. The cases are those of public reports, see `tests/REPORTS.md`.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace postgres_deferrable_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Slide {
    int id{0};
    int position{0};
};
BOOST_DESCRIBE_STRUCT(Slide, (), (id, position))

std::string said(std::string const& ask)
{
    return interlock_test::postgres_server().command(ask);
}

/// Two slides, and positions that are unique as `how` says.
postgres::StateRepository<Slide> slides(std::string const& how)
{
    sql(
        {"DROP TABLE IF EXISTS df_slides",
         "CREATE TABLE df_slides (id int PRIMARY KEY, position int CONSTRAINT df_positions UNIQUE " + how +
             ", version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO df_slides VALUES (1, 1), (2, 2), (3, 3)"});
    return postgres::StateRepository<Slide>{fresh_pool(), {.table = "df_slides", .key = "id"}};
}

TEST_CASE("states exchange what is unique, where the constraint is deferred", "[postgres][deferrable]")
{
    auto const exchange = [](Slide& a, Slide& b) { std::swap(a.position, b.position); };
    auto const turn = [](std::span<Slide> all) {
        std::swap(all[0].position, all[1].position);
        std::swap(all[1].position, all[2].position);
    };
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    auto const by = [&](auto policy, std::string const& name) {
        TransactionService const service{policy, table};
        OperationId const id{name};
        CHECK(service.try_do_in_transaction(keys(1, 2), exchange));
        CHECK(service.try_do_in_transaction(id, std::vector{1, 2, 3}, turn));
        CHECK(service.try_do_in_transaction(id, std::vector{1, 2, 3}, turn).replayed());
    };
    by(OptimisticVersioning{}, "by version");
    CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "1,3,2");
    by(PessimisticRowLock{}, "by lock");
    by(SetNxLock{}, "by lease");
}

TEST_CASE("what a constraint refuses at once is refused by its name", "[postgres][deferrable]")
{
    auto const exchange = [](Slide& a, Slide& b) { std::swap(a.position, b.position); };
    for (std::string const how : {"", "DEFERRABLE INITIALLY IMMEDIATE"}) {
        INFO(how);
        auto const table = slides(how);
        auto const refused = [&](auto policy) {
            auto const outcome =
                TransactionService{policy, table}.try_do_in_transaction(keys(1, 2), exchange);
            INFO(outcome.message());
            CHECK(outcome.errc() == Errc::constraint_violated);
            CHECK(outcome.detail().find("df_positions") != std::string::npos);
        };
        refused(OptimisticVersioning{});
        refused(PessimisticRowLock{});
        refused(SetNxLock{});
        CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "1,2,3");
    }
    // In a transaction of the operation's own the check can be deferred.
    auto const table = slides("DEFERRABLE INITIALLY IMMEDIATE");
    TransactionService const service{PessimisticRowLock{}, table};
    CHECK(service.try_do_in_transaction(keys(1, 2), [&](Slide& a, Slide& b, postgres::Transaction& tx) {
        tx.exec("SET CONSTRAINTS df_positions DEFERRED");
        exchange(a, b);
    }));
    CHECK(said("SELECT string_agg(position::text, ',' ORDER BY id) FROM df_slides") == "2,1,3");
}

TEST_CASE("two rows of one position until the commit are refused there, by name", "[postgres][deferrable]")
{
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    auto const refused = [&](auto policy) {
        TransactionService const service{policy, table};
        auto const clash = [](Slide& a) { a.position = 2; };
        auto const outcome = service.try_do_in_transaction(OperationId{"clash"}, 1, clash);
        INFO(outcome.message());
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK(outcome.detail().find("df_positions") != std::string::npos);
    };
    refused(OptimisticVersioning{});
    refused(PessimisticRowLock{});
    refused(SetNxLock{});
    CHECK(table.insert(Slide{4, 3}).errc() == Errc::constraint_violated);
    CHECK(said("SELECT count(*) FROM df_slides") == "3");
}

TEST_CASE("a key that becomes deferrable under warm connections is still a key", "[postgres][deferrable]")
{
    auto const table = slides("");
    TransactionService const service{OptimisticVersioning{.missing = Missing::create}, table};
    auto const place = [](Slide& slide) { slide.position = slide.id; };
    CHECK(table.insert(Slide{10, 10}));
    CHECK(service.try_do_in_transaction(OperationId{"a"}, 11, place));
    sql(
        {"ALTER TABLE df_slides DROP CONSTRAINT df_slides_pkey",
         "ALTER TABLE df_slides ADD PRIMARY KEY (id) DEFERRABLE"});
    auto const made = table.insert(Slide{20, 20});
    INFO(made.message());
    CHECK(made);
    CHECK(table.insert(Slide{20, 21}).errc() == Errc::already_exists);
    CHECK(service.try_do_in_transaction(OperationId{"b"}, 22, place));
    CHECK(service.try_do_in_transaction(OperationId{"b"}, 22, place).replayed());
    // And back.
    sql(
        {"ALTER TABLE df_slides DROP CONSTRAINT df_slides_pkey",
         "ALTER TABLE df_slides ADD PRIMARY KEY (id)"});
    CHECK(table.insert(Slide{30, 30}));
    CHECK(table.insert(Slide{30, 31}).errc() == Errc::already_exists);
    CHECK(said("SELECT count(*) FROM df_slides") == "8");
}

TEST_CASE("a state may be erased and its key used again in one transaction", "[postgres][deferrable]")
{
    auto const table = slides("DEFERRABLE INITIALLY DEFERRED");
    TransactionService const service{PessimisticRowLock{}, table};
    // Its position is taken by a row that the same transaction deletes later.
    CHECK(service.try_do_in_transaction(1, [](Slide& slide, postgres::Transaction& tx) {
        slide.position = 2;
        tx.exec("DELETE FROM df_slides WHERE id = 2");
    }));
    CHECK(table.load(1).value().value.position == 2);
}

TEST_CASE(
    "a job whose row somebody holds is not taken, and is there afterwards", "[postgres][deferrable][queue]")
{
    auto const table = slides("");
    TransactionService const holder{PessimisticRowLock{}, table};
    postgres::FreeRows<Slide> const free{table, {.where = "id = 1", .order_by = "id"}};
    TransactionService const queue{PessimisticRowLock{}, free};
    auto const work = [](Slide& slide) { slide.position = 100; };
    CHECK(holder.try_do_in_transaction(1, [&](Slide&) {
        auto const skipped = queue.try_do_in_transaction("q", work);
        CHECK(skipped.errc() == Errc::not_found);
        CHECK(skipped.detail().find("is free") != std::string::npos);
    }));
    CHECK(queue.try_do_in_transaction("q", work));
}

TEST_CASE(
    "an audit trigger sees who it is in each transaction, and nobody of the one before",
    "[postgres][deferrable][settings]")
{
    auto const table = slides("");
    sql(
        {"DROP TABLE IF EXISTS df_audit", "CREATE TABLE df_audit (actor text, session int)",
         "CREATE OR REPLACE FUNCTION df_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
         "INSERT INTO df_audit VALUES (coalesce(current_setting('app.actor', true), ''), pg_backend_pid()); "
         "RETURN NEW; END $$",
         "CREATE TRIGGER df_note AFTER UPDATE ON df_slides FOR EACH ROW EXECUTE FUNCTION df_note()"});
    auto const hers = table.with_settings({{"app.actor", "ann", postgres::SettingUse::audit}});
    auto const his = table.with_settings({{"app.actor", "bob", postgres::SettingUse::audit}});
    int position = 10;
    auto const change = [&](Slide& slide) { slide.position = ++position; };
    for (int i = 0; i < 5; ++i) {
        CHECK(TransactionService{OptimisticVersioning{}, hers}.try_do_in_transaction(1, change));
        CHECK(TransactionService{PessimisticRowLock{}, his}.try_do_in_transaction(1, change));
        CHECK(TransactionService{SetNxLock{}, table}.try_do_in_transaction(1, change));
    }
    CHECK(
        said("SELECT string_agg(actor, ',' ORDER BY actor) FROM df_audit") ==
        ",,,,,ann,ann,ann,ann,ann,bob,bob,bob,bob,bob");
    CHECK(said("SELECT count(DISTINCT session) <= 2 FROM df_audit") == "t");
}

}  // namespace postgres_deferrable_test
