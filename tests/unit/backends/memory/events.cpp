// SPDX-License-Identifier: BSL-1.0

// What is left of a commit whose events the log has refused.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <string>

namespace memory_events_test {

using namespace interlock;
using interlock_test::Stock;

struct Sold {
    int left{0};
    static constexpr EventType event{"memory.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (left))

TEST_CASE("a commit that a full log refuses takes no room for streams", "[memory][events]")
{
    memory::EventRepository const log{{.max_events = 1, .max_streams = 3}};
    memory::StateRepository<Stock> const stock{{.events = log}};
    TransactionService const service{OptimisticVersioning{.missing = Missing::create}, stock};
    auto const sell = [](Stock& a, Stock& b, Recorder& record) {
        record(Sold{--a.quantity});
        record(Sold{--b.quantity}, 1);
    };
    for (int i = 0; i < 5; ++i) {
        auto const name = std::to_string(i);
        CHECK(service.try_do_in_transaction(keys("a" + name, "b" + name), sell).errc() == Errc::overloaded);
        CHECK(stock.load("a" + name).errc() == Errc::not_found);
    }
    CHECK(log.extent(0).value().last == 0);
    service.do_in_transaction("c", [](Stock& c, Recorder& record) { record(Sold{--c.quantity}); });
    CHECK(log.read_stream(Key{"c"}).value().size() == 1);
    CHECK(log.read_stream(Key{"a0"}).value().empty());
}

}  // namespace memory_events_test
