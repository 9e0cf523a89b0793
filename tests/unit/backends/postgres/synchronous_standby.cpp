// SPDX-License-Identifier: BSL-1.0

// A primary whose synchronous standby is gone: a COMMIT waits for it, and when the wait is cancelled, by our
// deadline or by an operator, the server answers as if the standby had it.

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <thread>

namespace postgres_synchronous_standby_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::PostgresServer;
using interlock_test::Stock;
using interlock_test::time_of;

/// True: a commit at `server` ends soon.
bool commits(PostgresServer const& server)
{
    using namespace postgres::detail;
    Connection connection;
    connection.open(*parse_settings(server.url()), "test", interlock::detail::add(SystemRuntime::now(), 20s))
        .value();
    Batch batch;
    batch.add("SELECT pg_logical_emit_message(true, 'test', '')");
    auto const soon = interlock::detail::add(SystemRuntime::now(), 300ms);
    return connection.run(batch, soon, Connection::Bounded::by_caller).progress == Progress::answered;
}

/// "": commits wait for nobody.
void set_standby(PostgresServer& server, std::string const& name)
{
    server.command("ALTER SYSTEM SET synchronous_standby_names = '" + name + "'");
    server.command("SELECT pg_reload_conf()");
    CHECK(eventually([&] { return commits(server) == name.empty(); }));
}

PostgresServer& primary()
{
    static PostgresServer server;
    static bool const without_its_standby = [] {
        set_standby(server, "nobody");
        return true;
    }();
    static_cast<void>(without_its_standby);
    return server;
}

/// Commits of `local` do not wait for the standby, those of `pool` do.
struct Primary {
    Primary()
    {
        postgres::create_schema(local).value();
        postgres::StateRepository<Stock>{local}.insert(Stock{"x", 10}).value();
    }
    int left() const { return postgres::StateRepository<Stock>{local}.load("x").value().value.quantity; }
    /// Does `what` to the session that waits for the standby, as soon as there is one.
    static void to_the_waiting(std::string const& what)
    {
        CHECK(eventually([&] {
            return primary().command(
                       "SELECT coalesce(bool_or(" + what +
                       "(pid)), false) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "t";
        }));
    }

    std::string name_space{interlock_test::fresh_name_space()};
    postgres::Pool local{primary().url() + "&options=-csynchronous_commit%3Dlocal&name_space=" + name_space};
    postgres::Pool pool{primary().url() + "&name_space=" + name_space};
    postgres::StateRepository<Stock> stock{pool};
};

TEST_CASE(
    "a commit that no standby has confirmed by the deadline is unknown", "[postgres][synchronous_standby]")
{
    Primary const p;
    auto const said = primary().log().size();
    auto const is_unknown = [&](auto call) {
        std::optional<decltype(call())> outcome;
        auto const took = time_of([&] { outcome.emplace(call()); });
        CHECK(outcome->errc() == Errc::outcome_unknown);
        CHECK(took < 5s);
        CHECK(p.pool.connection_count() == 0);  // a late cancel request may hit what comes next
    };
    is_unknown([&] { return p.stock.insert(Key{"new"}, Stock{"new", 1}, 700ms); });
    is_unknown([&] { return p.stock.erase(Key{"new"}, p.stock.load("new").value().version, 700ms); });
    is_unknown([&] {
        return TransactionService{OptimisticVersioning{}, p.stock}.try_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 700ms});
    });
    is_unknown([&] {
        return TransactionService{PessimisticRowLock{}, p.stock}.try_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 700ms});
    });
    is_unknown([&] {
        return TransactionService{PessimisticRowLock{}, p.stock}.try_do_in_transaction(
            "x",
            [](Stock& s, postgres::Transaction& tx) {
                return s.quantity -= tx.exec("SELECT 1").value<int>();
            },
            {.deadline = 700ms});
    });
    is_unknown([&] {
        return postgres::Counters{p.pool}.atomic_once(OperationId{"c"}, Key{"c"}, {.amount = 1}, 700ms);
    });
    is_unknown([&] {
        IdempotentRequest const request{"r", Scope("tenant"), fingerprint("r")};
        return postgres::IdempotencyStore{p.pool}.claim(
            request, OwnerToken{{1, 1}}, 10s, AfterLease::take_over, 700ms);
    });
    is_unknown([&] { return p.stock.create(Key{"lock"}, OwnerToken{{1, 1}}, 10s, 700ms); });
    // All of them were made at the primary: nothing of it was not applied.
    CHECK(p.left() == 7);
    CHECK(p.stock.load("new").errc() == Errc::not_found);
    CHECK(primary().log().find("canceling wait for synchronous replication", said) != std::string::npos);
}

TEST_CASE(
    "an operation id tells whether the primary has a commit that no standby confirmed",
    "[postgres][synchronous_standby]")
{
    Primary const p;
    auto const ask = [&](auto policy, char const* id) {
        int runs = 0;
        TransactionService const service{policy, p.stock};
        auto const again = [&](std::chrono::nanoseconds deadline) {
            return service.try_do_in_transaction(
                OperationId{id}, "x",
                [&](Stock& s) {
                    ++runs;
                    return --s.quantity;
                },
                {.deadline = deadline});
        };
        auto const before = p.left();
        CHECK(again(700ms).errc() == Errc::outcome_unknown);
        CHECK(eventually([&] { return p.left() == before - 1; }));  // once the server has ended the wait
        auto const resolved = again(20s);
        REQUIRE(resolved);
        CHECK(*resolved == before - 1);
        CHECK(runs == 1);
        CHECK(p.left() == before - 1);
    };
    ask(PessimisticRowLock{}, "row");
    ask(OptimisticVersioning{}, "version");
}

TEST_CASE(
    "an operator who ends the wait for a standby does not make the commit known",
    "[postgres][synchronous_standby]")
{
    Primary const p;
    auto const spend = [&](auto policy, std::string const& what) {
        std::thread operating([&] { Primary::to_the_waiting(what); });
        auto const outcome = TransactionService{policy, p.stock}.try_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 3s});
        operating.join();
        CHECK(outcome.errc() == Errc::outcome_unknown);
    };
    spend(OptimisticVersioning{}, "pg_cancel_backend");
    spend(PessimisticRowLock{}, "pg_cancel_backend");
    spend(OptimisticVersioning{}, "pg_terminate_backend");
    spend(PessimisticRowLock{}, "pg_terminate_backend");
    CHECK(p.left() == 6);
}

TEST_CASE(
    "a row transaction whose wait was ended is applied once commits are confirmed again",
    "[postgres][synchronous_standby]")
{
    Primary const p;
    std::optional<Outcome<int>> outcome;
    std::thread committing([&] {
        outcome.emplace(TransactionService{PessimisticRowLock{}, p.stock}.try_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 40s}));
    });
    Primary::to_the_waiting("pg_cancel_backend");
    CHECK(eventually([&] {  // it asks the server what became of the transaction, and waits again
        return primary().command(
                   "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE "
                   "'%emit%'") == "1";
    }));
    set_standby(primary(), "");
    committing.join();
    set_standby(primary(), "nobody");
    REQUIRE(outcome->has_value());
    CHECK(**outcome == 9);
    CHECK(p.left() == 9);
}

TEST_CASE("a warning of the user's own is no doubt, whatever it says", "[postgres][synchronous_standby]")
{
    auto const pool = interlock_test::fresh_pool();
    auto& server = interlock_test::postgres_server();
    auto const table = pool.options().name_space + "_state";
    server.command(
        "CREATE OR REPLACE FUNCTION warn_of_nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
        "WARNING "
        "'canceling wait for synchronous replication due to user request' USING ERRCODE = '01000'; RETURN "
        "NEW; END $$");
    server.command(
        "CREATE TRIGGER warn BEFORE INSERT OR UPDATE ON " + table +
        " FOR EACH ROW EXECUTE FUNCTION warn_of_nothing()");
    postgres::StateRepository<Stock> const stock{pool};
    CHECK(stock.insert(Stock{"x", 1}));
    CHECK(TransactionService{PessimisticRowLock{}, stock}.try_do_in_transaction(
        "x", [](Stock& s) { return ++s.quantity; }));
    CHECK(stock.load("x").value().value.quantity == 2);
}

}  // namespace postgres_synchronous_standby_test
