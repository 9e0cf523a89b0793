// SPDX-License-Identifier: BSL-1.0

// Events that are stored in the transactions of PostgreSQL: each is there exactly as often as its effect,
// under every policy, and a log that is not as it must be is refused in words.

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_events_test {

namespace il = interlock;
namespace pg = interlock::postgres;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Sold {
    std::string sku;
    int left{0};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, left))

static_assert(il::RecordingRepository<pg::StateRepository<Stock>>);
static_assert(il::SubscribableEvents<pg::EventRepository>);

/// A pool with the tables of the library and of a log.
struct Fixture {
    explicit Fixture(pg::EventRepositoryOptions options = {})
        : pool(interlock_test::fresh_pool()), events(pool, std::move(options))
    {
        events.create_schema().value();
    }
    pg::StateRepository<Stock> stock(pg::RepositoryOptions options = {}) const
    {
        options.events = events;
        return pg::StateRepository<Stock>{pool, std::move(options)};
    }
    /// How many were sold, by the events of a stream, which must be in order and without a hole.
    int sold(std::string const& sku) const
    {
        auto const all = events.read_stream(il::Key{sku}, 0, 10'000).value();
        for (std::size_t i = 0; i < all.size(); ++i) {
            REQUIRE(all[i].number == static_cast<std::int64_t>(i + 1));
            REQUIRE(all[i].stream == il::Key{sku});
            REQUIRE((i == 0 || all[i].position > all[i - 1].position));
        }
        return static_cast<int>(all.size());
    }

    pg::Pool pool;
    pg::EventRepository events;
};

auto const sell = [](Stock& stock, il::Recorder& record) {
    --stock.quantity;
    record(Sold{stock.sku, stock.quantity});
    return stock.quantity;
};

template <class Policy>
void effect_and_event_are_one(Policy policy)
{
    Fixture f;
    auto const stock = f.stock();
    stock.insert(Stock{"sku-1", 100}).value();
    stock.insert(Stock{"sku-2", 100}).value();
    il::TransactionService service{policy, stock};

    CHECK(service.do_in_transaction("sku-1", sell) == 99);
    auto const first = f.events.read(0, 0).value();
    REQUIRE(first.events.size() == 1);
    CHECK(first.events[0].template as<Sold>()->left == 99);
    CHECK(first.events[0].id.size() == 32);
    CHECK(first.events[0].recorded_at.time_since_epoch() > 1h);
    CHECK(first.next == first.events[0].position);
    CHECK_FALSE(first.more);

    // What was thrown leaves nothing.
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "sku-1",
            [](Stock& s, il::Recorder& record) {
                sell(s, record);
                throw std::runtime_error("no");
            }),
        std::runtime_error);
    CHECK(f.sold("sku-1") == 1);

    // An operation id that was used before records nothing again.
    il::OperationId const id{"order-1"};
    CHECK(service.do_in_transaction(id, "sku-1", sell) == 98);
    CHECK(service.do_in_transaction(id, "sku-1", sell) == 98);
    CHECK(f.sold("sku-1") == 2);

    // An operation that changes nothing is committed for what it records.
    service.do_in_transaction("sku-1", [](Stock& s, il::Recorder& record) { record(Sold{s.sku, 0}); });
    service.do_in_transaction(
        il::OperationId{"order-2"}, "sku-1", [](Stock& s, il::Recorder& record) { record(Sold{s.sku, 0}); });
    CHECK(f.sold("sku-1") == 4);

    // Several states, and several events of each.
    service.do_in_transaction(il::keys("sku-2", "sku-1"), [](Stock& two, Stock& one, il::Recorder& record) {
        --two.quantity;
        --one.quantity;
        record(Sold{one.sku, 1}, 1);
        record(Sold{two.sku, 2});
        record(Sold{one.sku, 3}, 1);
    });
    CHECK(f.sold("sku-1") == 6);
    CHECK(f.sold("sku-2") == 1);
    CHECK(stock.load("sku-1")->value.quantity == 97);
}

TEST_CASE("an event is there exactly as often as its effect", "[postgres][events]")
{
    SECTION("optimistic")
    {
        effect_and_event_are_one(il::OptimisticVersioning{});
    }
    SECTION("optimistic, nothing remembered")
    {
        effect_and_event_are_one(il::OptimisticVersioning{.remember = 0});
    }
    SECTION("row lock")
    {
        effect_and_event_are_one(il::PessimisticRowLock{});
    }
    SECTION("lease")
    {
        effect_and_event_are_one(il::SetNxLock{});
    }
}

}  // namespace postgres_events_test
