// SPDX-License-Identifier: BSL-1.0

// What a `Recorder` takes, for which state, in which form, and why: on memory. That each event is there as
// often as its effect, whatever happens meanwhile, is in tests/contract/recording.cpp.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"

#include <chrono>
#include <cstddef>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace recorded_events_test {

namespace asio = boost::asio;
using namespace interlock;
using Catch::Matchers::ContainsSubstring;
using interlock_test::Stock;

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

struct Large {
    std::string bytes;
    static constexpr EventType event{"large", 1};
};
BOOST_DESCRIBE_STRUCT(Large, (), (bytes))

/// A store with a log, and two states in it.
struct World {
    World()
    {
        static_cast<void>(stock.insert(Stock{"x", 10}).value());
        static_cast<void>(stock.insert(Stock{"y", 10}).value());
    }
    std::vector<Event> all() const { return log.read(0, 0, 10'000).value().events; }
    std::vector<int> quantities() const
    {
        std::vector<int> found;
        for (auto const& event : all())
            found.push_back(event.as<Sold>().value().quantity);
        return found;
    }
    int left(char const* sku) const { return stock.load(sku).value().value.quantity; }

    memory::EventRepository log;
    memory::StateRepository<Stock> stock{{.events = log}};
    TransactionService<Stock, OptimisticVersioning, memory::StateRepository<Stock>> service{
        OptimisticVersioning{}, stock};
};

TEST_CASE("ids of events are unlike, and near each other for some time", "[core][recorded_events]")
{
    interlock_test::ManualRuntime const runtime;
    std::set<std::string> ids;
    std::string moment;  // what the ids of one moment begin with
    for (int ms = 0; ms < 3; ++ms) {
        auto const former = std::exchange(moment, detail::new_event_id(runtime).substr(0, 12));
        CHECK(former < moment);
        for (int i = 0; i < 1000; ++i) {
            auto const id = detail::new_event_id(runtime);
            REQUIRE(id.size() == 32);
            REQUIRE(id.find_first_not_of("0123456789abcdef") == std::string::npos);
            REQUIRE(id.starts_with(moment));
            REQUIRE(ids.insert(id.substr(12)).second);  // whatever the clock says
        }
        runtime.advance(std::chrono::milliseconds{1});
    }
    // Each random digit takes each value.
    for (std::size_t at = 0; at < 20; ++at) {
        std::set<char> values;
        for (auto const& id : ids)
            values.insert(id[at]);
        CHECK(values.size() == 16);
    }
}

TEST_CASE("the first form that an operation fits is taken", "[core][recorded_events]")
{
    World const world;
    // One that takes anything is called without a recorder, as it was before there were recorders.
    std::size_t arguments = 0;
    world.service.do_in_transaction("x", [&](auto&... all) { arguments = sizeof...(all); });
    CHECK(arguments == 1);
    // A recorder stands behind whatever else is asked for.
    TransactionService const rows{PessimisticRowLock{}, world.stock};
    using Rows = memory::StateRepository<Stock>::transaction_type;
    rows.do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, 1}); });
    rows.do_in_transaction("x", [](Stock& s, Rows&, Recorder& record) { record(Sold{s.sku, 2}); });
    rows.do_in_transaction("x", [](Stock& s, TransactionContext& context, Recorder& record) {
        record(Sold{s.sku, 2 + context.attempt()});
    });
    TransactionService const locks{SetNxLock{}, world.stock};
    locks.do_in_transaction("x", [](Stock& s, Recorder& record) { record(Sold{s.sku, 4}); });
    locks.do_in_transaction(
        "x", [](Stock& s, TransactionContext&, Recorder& record) { record(Sold{s.sku, 5}); });
    CHECK(world.quantities() == std::vector{1, 2, 3, 4, 5});
}

TEST_CASE("an event belongs to the state that is named by its number in the call", "[core][recorded_events]")
{
    World const world;
    static_cast<void>(world.stock.insert(Stock{"z", 10}).value());
    world.service.do_in_transaction(keys("z", "x", "y"), [](Stock& z, Stock& x, Stock& y, Recorder& record) {
        CHECK(record.empty());
        record(Sold{y.sku, 1}, 2);
        record(Sold{z.sku, 2});
        record(Sold{x.sku, 3}, 1);
        record(Sold{z.sku, 4}, 0);
        CHECK(record.events().size() == 4);
    });
    for (auto const& event : world.all())
        CHECK(event.as<Sold>().value().sku == event.stream.bytes());
    auto const of_z = world.log.read_stream(Key{"z"}).value();
    REQUIRE(of_z.size() == 2);
    CHECK(of_z[0].as<Sold>()->quantity == 2);
    CHECK(of_z[1].as<Sold>()->quantity == 4);
    auto const none =
        world.service.try_do_in_transaction(keys("x", "y"), [](Stock& x, Stock&, Recorder& record) {
            --x.quantity;
            record(Sold{x.sku, 9}, 2);
        });
    CHECK(none.errc() == Errc::invalid_argument);
    CHECK_THAT(none.detail(), ContainsSubstring("state 2 of 2"));
    CHECK(world.left("x") == 10);
    CHECK(world.all().size() == 4);
}

TEST_CASE("what no log could keep ends the call, and nothing is changed", "[core][recorded_events]")
{
    World const world;
    auto const refused = [&](auto fill) {
        auto const outcome = world.service.try_do_in_transaction("x", [&](Stock& s, Recorder& record) {
            --s.quantity;
            fill(record);
        });
        CHECK(outcome.errc() == Errc::invalid_argument);
        return std::string(outcome.detail());
    };
    CHECK_THAT(
        refused([](Recorder& record) { record(Large{std::string(max_event_bytes + 1, 'x')}); }),
        ContainsSubstring("'large'") && ContainsSubstring(std::to_string(max_event_bytes)));
    CHECK_THAT(
        refused([](Recorder& record) {
            record.because({std::string(max_event_bytes, 'c'), {}, {}});
            record(Sold{"x", 1});
        }),
        ContainsSubstring("'stock.sold'"));
    CHECK_THAT(
        refused([](Recorder& record) {
            for (std::size_t i = 0; i <= max_events_of_commit; ++i)
                record(Sold{"x", 1});
        }),
        ContainsSubstring("1001"));
    CHECK(world.left("x") == 10);
    CHECK(world.all().empty());
    world.service.do_in_transaction("x", [](Stock&, Recorder& record) {
        for (std::size_t i = 0; i < max_events_of_commit; ++i)
            record(Sold{"x", 1});
    });
    CHECK(world.all().size() == max_events_of_commit);
}

TEST_CASE("a full log refuses the whole commit", "[core][recorded_events]")
{
    memory::EventRepository const log{{.max_events = 2}};
    memory::StateRepository<Stock> const stock{{.events = log}};
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    TransactionService const service{OptimisticVersioning{}, stock};
    auto const sell = [](int count) {
        return [count](Stock& s, Recorder& record) {
            for (int i = 0; i < count; ++i)
                record(Sold{s.sku, --s.quantity});
        };
    };
    service.do_in_transaction("x", sell(1));
    CHECK(service.try_do_in_transaction("x", sell(2)).errc() == Errc::overloaded);
    CHECK(stock.load("x").value().value.quantity == 9);
    service.do_in_transaction("x", sell(1));
    CHECK(log.read(0, 0).value().events.size() == 2);
    // What was read may go, and there is room again.
    CHECK(log.trim(0, 2).value() == 2);
    service.do_in_transaction("x", sell(2));
    CHECK(log.read_stream(Key{"x"}).value().back().number == 4);
}

/// A store that hands everything on but events.
class WithoutEvents : public StoreMembers<WithoutEvents, Stock, std::string> {
    using Inner = memory::StateRepository<Stock>;

public:
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = SystemRuntime;
    static constexpr std::string_view name = "plain";
    explicit WithoutEvents(Inner inner) : inner_(std::move(inner)) {}
    SystemRuntime runtime() const noexcept { return {}; }
    void const* identity() const noexcept { return inner_.identity(); }
    template <class Verb>
        requires CarriesOut<Inner, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return inner_.carry_out(verb, deadline);
    }

private:
    Inner inner_;
};
static_assert(AtomicRepository<WithoutEvents> && !RecordingRepository<WithoutEvents>);

TEST_CASE("a store without events that was chosen at run time says so", "[core][recorded_events]")
{
    World const world;
    // Its inner store could record; what stands before it cannot.
    StateRepository<Stock> const erased{WithoutEvents{world.stock}};
    for (AnyPolicy const& policy : {AnyPolicy{OptimisticVersioning{}}, AnyPolicy{SetNxLock{}}}) {
        TransactionService<Stock> const service{policy, erased};
        auto const refused = service.try_do_in_transaction("x", [](Stock& s, Recorder& record) {
            --s.quantity;
            record(Sold{s.sku, 1});
        });
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK_THAT(refused.detail(), ContainsSubstring("'plain' has no events"));
        CHECK(service.do_in_transaction("x", [](Stock& s, Recorder&) { return s.quantity; }) == 10);
    }
    CHECK(world.left("x") == 10);
    CHECK(world.all().empty());
}

TEST_CASE("an operation that runs again has recorded what its last run did", "[core][recorded_events]")
{
    World const world;
    int runs = 0;
    world.service.do_in_transaction("x", [&](Stock& s, Recorder& record) {
        CHECK(record.empty());
        for (int i = 0; i <= runs; ++i)
            record(Sold{s.sku, 10 * runs + i});
        if (++runs < 3)
            static_cast<void>(
                world.stock.compare_and_set("x", world.stock.load("x").value().version, Stock{"x", runs})
                    .value());
        --s.quantity;
    });
    CHECK(runs == 3);
    CHECK(world.quantities() == std::vector{20, 21, 22});
    CHECK(world.left("x") == 1);
    // What a run that threw had recorded, and why, is nobody's.
    bool fails = true;
    auto const operation = [&](Stock& s, Recorder& record) {
        if (fails)
            record.because({"lost", "lost", "lost"});
        record(Sold{s.sku, fails ? -1 : 30});
        if (fails)
            throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(world.service.do_in_transaction(OperationId{"op"}, "x", operation), std::runtime_error);
    fails = false;
    world.service.do_in_transaction(OperationId{"op"}, "x", operation);
    CHECK(world.quantities().back() == 30);
    CHECK(world.all().back().because == Cause{});
    CHECK(world.all().size() == 4);
}

// ---- why -----------------------------------------------------------------------------------------

TEST_CASE(
    "what an operation records says why: its call, a call around it, or itself", "[core][recorded_events]")
{
    World const world;
    Cause const outer{"order-1", "request-1", "trace-1"};
    Cause const inner{"order-2", "request-2", {}};
    auto const note = [](Stock& s, Recorder& record) { record(Sold{s.sku, 0}); };
    world.service.do_in_transaction("x", note, {.cause = &outer});
    world.service.do_in_transaction(
        "x",
        [&](Stock& s, Recorder& record) {
            world.service.do_in_transaction("y", note);                     // that of the call around it
            world.service.do_in_transaction("y", note, {.cause = &inner});  // its own
            record(Sold{s.sku, 0});
            record.because({"order-3", "request-3", {}});
            record(Sold{s.sku, 0});
        },
        {.cause = &outer});
    world.service.do_in_transaction("x", note);
    auto const of_x = world.log.read_stream(Key{"x"}).value();
    auto const of_y = world.log.read_stream(Key{"y"}).value();
    REQUIRE(of_x.size() == 4);
    REQUIRE(of_y.size() == 2);
    CHECK(of_x[0].because == outer);
    CHECK(of_y[0].because == outer);
    CHECK(of_y[1].because == inner);
    CHECK(of_x[1].because == outer);
    CHECK(of_x[2].because.correlation == "order-3");
    CHECK(of_x[3].because == Cause{});
}

TEST_CASE("a context tells an operation why it was called", "[core][recorded_events]")
{
    World const world;
    Cause const cause{"order-1", {}, {}};
    auto const why = [](Stock&, TransactionContext& context) {
        return context.cause() == nullptr ? std::string("nobody said so") : context.cause()->correlation;
    };
    CHECK(world.service.do_in_transaction("x", why) == "nobody said so");
    CHECK(world.service.do_in_transaction("x", why, {.cause = &cause}) == "order-1");
}

// ---- asynchronous --------------------------------------------------------------------------------

TEST_CASE("an operation that awaits records, too", "[core][recorded_events]")
{
    World const world;
    asio::io_context io;
    Cause const cause{"order-1", {}, {}};
    auto const sell = [](Stock& s, TransactionContext& context, Recorder& record) -> asio::awaitable<int> {
        record(Sold{s.sku, 1});
        co_await asio::post(asio::use_awaitable);
        --s.quantity;
        record(Sold{s.sku, context.attempt() + 1});
        co_return s.quantity;
    };
    auto const fails = [](Stock& s, Recorder& record) -> asio::awaitable<void> {
        record(Sold{s.sku, 9});
        co_await asio::post(asio::use_awaitable);
        throw std::runtime_error("mine");
    };
    auto const program = [&]() -> asio::awaitable<void> {
        std::string const key = "x";
        CallOptions options;
        options.cause = &cause;
        int const left =
            co_await world.service.async_do_in_transaction(key, sell, options, asio::use_awaitable);
        CHECK(left == 9);
        bool threw = false;
        try {
            co_await world.service.async_do_in_transaction(key, fails, asio::use_awaitable);
        } catch (std::runtime_error const&) {
            threw = true;
        }
        CHECK(threw);
    };
    auto done = asio::co_spawn(io, program(), asio::use_future);
    io.run();
    done.get();
    CHECK(world.quantities() == std::vector{1, 2});
    CHECK(world.all().at(1).because == cause);
}

// ---- the recorder alone --------------------------------------------------------------------------

TEST_CASE("an operation can be tested with a recorder of one's own", "[core][recorded_events]")
{
    Cause const cause{"order-1", {}, {}};
    Recorder record{&cause};
    Stock stock{"x", 1};
    [](Stock& s, Recorder& recorder) { recorder(Sold{s.sku, --s.quantity}); }(stock, record);
    REQUIRE(record.events().size() == 1);
    CHECK(record.events()[0].type == "stock.sold");
    CHECK(record.events()[0].because == cause);
    CHECK(record.events()[0].id.empty());
    CHECK(StateTraits<Sold>::decode(record.events()[0].data)->quantity == 0);
}

TEST_CASE("an event is read as a fact of its own name and version only", "[core][recorded_events]")
{
    auto const made = new_event(Sold{"x", 3});
    Event event;
    event.type = made.type;
    event.version = made.version;
    event.data = made.data;
    CHECK(event.is<Sold>());
    CHECK(event.as<Sold>()->quantity == 3);
    CHECK_FALSE(event.is<Large>());
    CHECK_FALSE(event.as<Large>());
    event.version = 2;
    CHECK(event.is<Sold>());
    CHECK_FALSE(event.as<Sold>());
    event.version = 1;
    event.data.pop_back();
    CHECK_FALSE(event.as<Sold>());
}

}  // namespace recorded_events_test
