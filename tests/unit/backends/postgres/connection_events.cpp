// SPDX-License-Identifier: BSL-1.0

// What an observer is told of the connections of a pool.

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/connection_notes.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace connection_events_test {

using namespace interlock;
using interlock_test::postgres_server;
using interlock_test::Stock;

TEST_CASE("sessions that are opened and lost are told", "[postgres][connection_events]")
{
    auto const& server = postgres_server();
    interlock_test::ConnectionNotes notes;
    auto options =
        postgres::Options::parse(
            server.url() + "&name_space=" + interlock_test::fresh_name_space() + "&application_name=watched")
            .value();
    options.observer = &notes;
    postgres::Pool const pool{options};
    postgres::create_schema(pool).value();
    postgres::StateRepository<Stock> const stock{pool};

    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("postgresql opened") == 1);
    auto const before = notes.waits().size();
    CHECK(before >= 1);
    CHECK(notes.waits().back().result == Errc::ok);
    server.command(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'watched'");
    CHECK(stock.load("sku-1").errc() == Errc::not_found);
    CHECK(notes.count("postgresql lost") == 1);
    CHECK(notes.count("postgresql opened") == 2);
    CHECK(notes.waits().size() > before);
}

TEST_CASE(
    "the calls of a row transaction are told, with the SQLSTATE of a failure",
    "[postgres][connection_events]")
{
    auto const& server = postgres_server();
    auto const place = interlock_test::fresh_name_space();
    postgres::Pool const pool{postgres::Options::parse(server.url() + "&name_space=" + place).value()};
    postgres::create_schema(pool).value();
    interlock_test::ConnectionNotes notes;
    ObservedRepository const stock{postgres::StateRepository<Stock>{pool}, notes};
    stock.insert(Stock{"sku-1", 10}).value();
    TransactionService const service{PessimisticRowLock{.wait = Wait::no}, stock, {.observer = &notes}};
    using Words = std::vector<std::string>;

    service.do_in_transaction("sku-1", [](Stock& s, postgres::Transaction& tx) {
        tx.exec("select 1");
        --s.quantity;
    });
    CHECK(notes.calls() == Words{"load_for_update ok", "commit ok"});

    Key const key{"sku-1"};
    std::array const keys{&key};
    auto rows = std::optional(stock.load_for_update(keys, Wait::no).value());
    auto const before = notes.calls().size();
    CHECK(service.try_do_in_transaction("sku-1", [](Stock&) {}).errc() == Errc::lock_busy);
    REQUIRE(notes.calls().size() == before + 1);
    CHECK(notes.calls().back() == "load_for_update lock_busy 55P03");
    rows.reset();

    server.command("alter table " + place + "_state rename to " + place + "_moved");
    CHECK(service.try_do_in_transaction("sku-1", [](Stock&) {}).errc() == Errc::misconfigured);
    CHECK(notes.calls().back() == "load_for_update misconfigured 42P01");
    auto const copy = stock.load("sku-1").failure();
    CHECK(copy.store_code() == "42P01");
    CHECK(Failure{copy}.with_detail("other words").in_doubt().store_code() == "42P01");
}

}  // namespace connection_events_test
