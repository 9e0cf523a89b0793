// SPDX-License-Identifier: BSL-1.0

// A log that is opened by its URL, and states that record into it.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/postgres/backend.hpp>
#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/core/any_event_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <string>

namespace postgres_open_events_test {

using namespace interlock;
using interlock_test::Stock;

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

TEST_CASE("states that are opened with a log record into it", "[postgres][open_events]")
{
    auto const pool = interlock_test::fresh_pool();
    auto const url = interlock_test::postgres_server().url() + "&name_space=" + pool.options().name_space;
    REQUIRE(postgres::EventRepository{pool}.create_schema());
    auto const events = open_events(url, postgres::backend);
    CHECK(events.store_name() == "postgres");
    auto const stock = open<Stock>(url, events, postgres::backend);
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    TransactionService<Stock> const service{OptimisticVersioning{}, stock};
    service.do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, --s.quantity}); });
    // Whoever opens the same URL reads the same log.
    auto const read = open_events(url, postgres::backend).read_stream(Key{"x"}).value();
    REQUIRE(read.size() == 1);
    CHECK(read[0].as<Sold>().value().quantity == 9);
    // Without the log the states keep none.
    TransactionService<Stock> const plain{OptimisticVersioning{}, open<Stock>(url, postgres::backend)};
    auto const refused =
        plain.try_do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, 0}); });
    CHECK(refused.errc() == Errc::misconfigured);
}

TEST_CASE("a log of another place is refused when the states are opened", "[postgres][open_events]")
{
    auto const pool = interlock_test::fresh_pool();
    auto const url = interlock_test::postgres_server().url() + "&name_space=" + pool.options().name_space;
    REQUIRE(postgres::EventRepository{pool}.create_schema());
    auto const refused = [&](auto const& log) {
        try {
            static_cast<void>(open<Stock>(url, log, postgres::backend));
            return false;
        } catch (Error const& e) {
            return e.code() == Errc::misconfigured;
        }
    };
    CHECK(refused(memory::EventRepository{}));
    CHECK(refused(
        open_events(interlock_test::postgres_server().url() + "&name_space=another", postgres::backend)));
    CHECK_FALSE(refused(open_events(url, postgres::backend)));
}

}  // namespace postgres_open_events_test
