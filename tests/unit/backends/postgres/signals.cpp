// SPDX-License-Identifier: BSL-1.0

// What a trigger of the user's schema raises is the user's: no state that it can have means something else
// here.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>
#include <string>

namespace postgres_signals_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::Stock;

/// Stocks in a table of the library's whose trigger raises what it is told to.
struct Refusing {
    Refusing()
    {
        auto const& ns = pool.options().name_space;
        stock.insert(Stock{"x", 10}).value();
        postgres_server().command("CREATE TABLE " + ns + "_raise (state text, words text)");
        postgres_server().command(
            "CREATE FUNCTION " + ns +
            "_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN "
            "FOR r IN SELECT * FROM " +
            ns +
            "_raise LOOP RAISE EXCEPTION '%', r.words USING ERRCODE = r.state; END LOOP; "
            "RETURN NEW; END $$");
        postgres_server().command(
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON " + ns +
            "_state FOR EACH ROW EXECUTE FUNCTION " + ns + "_refuse()");
    }
    void raise(std::string const& state, std::string const& words) const
    {
        postgres_server().command("TRUNCATE " + pool.options().name_space + "_raise");
        if (!state.empty())
            postgres_server().command(
                "INSERT INTO " + pool.options().name_space + "_raise VALUES ('" + state + "', '" + words +
                "')");
    }

    postgres::Pool pool{fresh_pool()};
    postgres::StateRepository<Stock> stock{pool};
};

TEST_CASE(
    "an error that the user's trigger raises reaches the caller at once, with its state and its text",
    "[postgres][signals]")
{
    Refusing const r;
    for (std::string const state :
         {"22012", "22P02", "P0001", "23514", "40003", "08006", "57P01", "57014", "0A000", "26000", "25006",
          "55P03", "53300", "25P03", "XX000", "42P01", "AB123"}) {
        CAPTURE(state);
        r.raise(state, "not on a Sunday");
        auto const is_the_users = [&](auto const& outcome) {
            CHECK(outcome.errc() == Errc::constraint_violated);
            CHECK(outcome.effect() == Effect::not_applied);
            CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("not on a Sunday"));
            CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring(state));
        };
        is_the_users(r.stock.insert(Stock{"new", 1}));
        int runs = 0;
        auto const change = [&](Stock& s) {
            ++runs;
            return --s.quantity;
        };
        std::array const ids{OperationId{"row" + state}, OperationId{"version" + state}};
        is_the_users(TransactionService{PessimisticRowLock{}, r.stock}.try_do_in_transaction("x", change));
        is_the_users(
            TransactionService{PessimisticRowLock{}, r.stock}.try_do_in_transaction(ids[0], "x", change));
        is_the_users(
            TransactionService{OptimisticVersioning{}, r.stock}.try_do_in_transaction(ids[1], "x", change));
        CHECK(runs == 3);
        CHECK(r.stock.load("x").value().value.quantity == 10);
        r.raise("", "");
        CHECK(r.stock.find_operation(Key{"x"}, ids[0]).value() == std::nullopt);
    }
}

TEST_CASE("a trigger that raises the library's own words is not taken for a lost race", "[postgres][signals]")
{
    Refusing const r;
    int runs = 0;
    auto const run = [&] {
        return TransactionService{PessimisticRowLock{}, r.stock}.try_do_in_transaction(
            OperationId{"op"}, "x", [&](Stock& s) {
                ++runs;
                return --s.quantity;
            });
    };
    // Even what can be read of our statements, by `current_query()`, does not have the word that they fail
    // with.
    postgres_server().command(
        "CREATE OR REPLACE FUNCTION " + r.pool.options().name_space +
        "_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM current_query()::int; RETURN NEW; END $$");
    auto const cast = run();
    CHECK(cast.errc() == Errc::invalid_argument);
    CHECK_THAT(cast.detail(), Catch::Matchers::ContainsSubstring("22P02"));
    CHECK(runs == 1);
    postgres_server().command(
        "CREATE OR REPLACE FUNCTION " + r.pool.options().name_space +
        "_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM 1 / 0; RETURN NEW; END $$");
    auto const divided = run();
    CHECK(divided.errc() == Errc::invalid_argument);
    CHECK_THAT(divided.detail(), Catch::Matchers::ContainsSubstring("22012"));
    CHECK(runs == 2);
}

TEST_CASE("an error that a trigger raises costs no connection but its own", "[postgres][signals]")
{
    Refusing const r;
    {
        auto const x = Key{"x"};
        std::array const keys{&x};
        auto first = r.stock.load_for_update(keys, Wait::no).value();  // so that there are two
        CHECK(r.stock.load("x"));
    }
    CHECK(r.pool.idle_count() == 2);
    r.raise("25006", "a replica, says the user");
    CHECK_FALSE(r.stock.insert(Stock{"new", 1}));
    r.raise("0A000", "cached plan must not change result type");
    CHECK_FALSE(r.stock.insert(Stock{"new", 1}));
    CHECK(r.pool.idle_count() == 2);
}

}  // namespace postgres_signals_test
