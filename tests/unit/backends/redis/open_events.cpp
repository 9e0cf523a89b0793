// SPDX-License-Identifier: BSL-1.0

// A log that is opened by its URL, and states that record into it.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/core/any_event_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <string>

namespace redis_open_events_test {

using namespace interlock;
using interlock_test::fresh_name_space;
using interlock_test::redis_server;
using interlock_test::Stock;

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

TEST_CASE("states that are opened with a log record into it", "[redis][open_events]")
{
    auto const url = redis_server().url() + "?name_space=" + fresh_name_space();
    auto const events = open_events(url, redis::unix_backend);
    CHECK(events.store_name() == "redis");
    auto const stock = open<Stock>(url, events, redis::unix_backend);
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    TransactionService<Stock> const service{OptimisticVersioning{}, stock};
    service.do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, --s.quantity}); });
    // Whoever opens the same URL reads the same log.
    auto const read = open_events(url, redis::unix_backend).read_stream(Key{"x"}).value();
    REQUIRE(read.size() == 1);
    CHECK(read[0].as<Sold>().value().quantity == 9);
    // Without the log the states keep none.
    TransactionService<Stock> const plain{OptimisticVersioning{}, open<Stock>(url, redis::unix_backend)};
    auto const refused =
        plain.try_do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, 0}); });
    CHECK(refused.errc() == Errc::misconfigured);
}

TEST_CASE("a log of another place is refused when the states are opened", "[redis][open_events]")
{
    auto const url = redis_server().url() + "?name_space=" + fresh_name_space();
    auto const refused = [&](auto const& log) {
        try {
            static_cast<void>(open<Stock>(url, log, redis::unix_backend));
            return false;
        } catch (Error const& e) {
            return e.code() == Errc::misconfigured;
        }
    };
    CHECK(refused(memory::EventRepository{}));
    CHECK(refused(
        open_events(redis_server().url() + "?name_space=" + fresh_name_space(), redis::unix_backend)));
    CHECK_FALSE(refused(open_events(url, redis::unix_backend)));
}

}  // namespace redis_open_events_test
