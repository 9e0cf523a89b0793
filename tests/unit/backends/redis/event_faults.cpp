// SPDX-License-Identifier: BSL-1.0

// What can go wrong between a change and its event in Redis: another log, no room, no reply, no server, a
// clock that goes back. The event is in the log exactly as often as its change was applied.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/recording_observer.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace redis_event_faults_test {

using namespace interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::Account;
using interlock_test::CountingWaiter;
using interlock_test::CuttingProxy;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

struct Sold {
    std::string sku;
    int left = 0;
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, left))

Key const x{"x"};

int sell(Stock& stock, Recorder& record)
{
    --stock.quantity;
    record(Sold{stock.sku, stock.quantity});
    return stock.quantity;
}

/// All events of a partition.
std::vector<Event> all_of(redis::EventRepository const& events, unsigned partition = 0)
{
    std::vector<Event> all;
    for (Position at = 0;;) {
        auto page = events.read(partition, at, 500).value();
        all.insert(all.end(), page.events.begin(), page.events.end());
        at = page.next;
        if (!page.more)
            return all;
    }
}

/// That the stock of `sku` went down by one with each event, and is where the last one says.
void check_sales(redis::Client const& client, std::string_view sku, int from)
{
    redis::EventRepository const events{client};
    auto const sold = events.read_stream(Key{sku}, 0, 100'000).value();
    auto const left = Repository{client}.load(Key{sku}).value().value.quantity;
    CHECK(from - left == static_cast<int>(sold.size()));
    int expected = from;
    std::int64_t number = 0;
    for (auto const& event : sold) {
        CHECK(event.number == ++number);
        CHECK(event.as<Sold>()->left == --expected);
    }
}

// ---- Which log, and how large

TEST_CASE("states whose log is not in their shards record nothing, and change nothing", "[redis][events]")
{
    auto const options = redis_options();
    redis::Client const client{options};
    RedisServer const other_server;
    redis::Client const other{redis_options(other_server)};
    Repository const states{client};
    states.insert(Stock{"x", 10}).value();
    struct Case {
        char const* what;
        redis::EventLogHandle log;
    };
    for (auto const& [what, log] : std::vector<Case>{
             {"none", {}},
             {"other name space", redis::EventRepository{client, {.name_space = "elsewhere"}}},
             {"other shards", redis::EventRepository{client, {.shards = 2}}},
             {"other server", redis::EventRepository{other, {.name_space = options.name_space}}}}) {
        CAPTURE(what);
        Repository const wrong{client, {.events = log}};
        TransactionService const optimistic{OptimisticVersioning{}, wrong};
        TransactionService const locking{SetNxLock{}, wrong};
        for (auto const& end :
             {optimistic.try_do_in_transaction("x", sell), locking.try_do_in_transaction("x", sell),
              optimistic.try_do_in_transaction(OperationId{"id"}, "x", sell),
              optimistic.async_try_do_in_transaction("x", sell, asio::use_future).get()}) {
            CHECK(end.errc() == Errc::misconfigured);
            CHECK(end.failure().message().find("event") != std::string::npos);
        }
        // What records nothing is not concerned.
        CHECK(optimistic.do_in_transaction("x", [](Stock const& stock) { return stock.quantity; }) == 10);
    }
    CHECK(all_of(redis::EventRepository{client}).empty());
    // Another client of the same server and name space is the same log.
    Repository const right{client, {.events = redis::EventRepository{redis::Client{options}}}};
    CHECK(TransactionService{OptimisticVersioning{}, right}.do_in_transaction("x", sell) == 9);
    CHECK_THROWS_AS((redis::EventRepository{client, {.shards = 0}}), Error);
    CHECK_THROWS_AS((redis::EventRepository{client, {.max_events = 0}}), Error);
    CHECK_THROWS_AS((redis::EventRepository{client, {.writer = std::string(256, 'w')}}), Error);
}

TEST_CASE("a log that is full refuses the change as well, until it is trimmed", "[redis][events]")
{
    redis::Client const client{redis_options()};
    redis::EventRepository const events{client, {.max_events = 3}};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 10}).value();
    TransactionService const service{OptimisticVersioning{}, states};
    TransactionService const locking{SetNxLock{}, states};
    for (int i = 0; i < 3; ++i)
        service.do_in_transaction("x", sell);
    CHECK(service.try_do_in_transaction("x", sell).errc() == Errc::overloaded);
    CHECK(service.try_do_in_transaction(OperationId{"id"}, "x", sell).errc() == Errc::overloaded);
    CHECK(locking.try_do_in_transaction("x", sell).errc() == Errc::overloaded);
    CHECK(events.append(x, Expected::any(), std::vector{new_event(Sold{})}).errc() == Errc::overloaded);
    check_sales(client, "x", 10);
    auto const all = all_of(events);
    CHECK(events.trim(0, all[1].position).value() == all[1].position);
    CHECK(service.do_in_transaction(OperationId{"id"}, "x", sell) == 6);
    CHECK(locking.do_in_transaction("x", sell) == 5);
    CHECK(service.try_do_in_transaction("x", sell).errc() == Errc::overloaded);
    CHECK(events.read_stream(x).value().back().number == 5);
}

TEST_CASE("a server without memory takes neither the change nor the event", "[redis][events]")
{
    RedisServer const server;
    redis::Client const client{redis_options(server)};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 10}).value();
    TransactionService const service{OptimisticVersioning{}, states};
    TransactionService const locking{SetNxLock{}, states};
    service.do_in_transaction("x", sell);
    server.command({"CONFIG", "SET", "maxmemory", "1"});
    CHECK(service.try_do_in_transaction("x", sell).effect() == Effect::not_applied);
    CHECK(service.try_do_in_transaction(OperationId{"id"}, "x", sell).errc() == Errc::overloaded);
    CHECK(events.append(x, Expected::any(), std::vector{new_event(Sold{})}).errc() == Errc::overloaded);
    CHECK(events.read(0, 0).value().events.size() == 1);
    server.command({"CONFIG", "SET", "maxmemory", "0"});
    service.do_in_transaction(OperationId{"id"}, "x", sell);
    locking.do_in_transaction("x", sell);
    check_sales(client, "x", 10);
}

// ---- Many at once

TEST_CASE("under conflicts each sale is told once, in the order of the sales", "[redis][events]")
{
    auto const options = redis_options();
    redis::Client const client{options};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 1000}).value();
    states.insert(Stock{"y", 1000}).value();
    TransactionService const optimistic{OptimisticVersioning{}, states};
    TransactionService const locking{SetNxLock{}, states};
    std::atomic<int> sold{0};
    run_threads(4, [&](std::size_t thread) {
        for (std::size_t i = 0; i < 40; ++i) {
            auto const* const key = (i + thread) % 3 == 0 ? "y" : "x";
            auto const end = thread % 2 == 0 ? optimistic.try_do_in_transaction(
                                                   OperationId{std::to_string(40 * thread + i)}, key, sell)
                                             : locking.try_do_in_transaction(key, sell);
            sold += end.has_value();
        }
        // Both at once, and an event of each.
        auto const both = [](Stock& a, Stock& b, Recorder& record) {
            record(Sold{b.sku, --b.quantity}, 1);
            record(Sold{a.sku, --a.quantity}, 0);
            return 0;
        };
        auto const end = optimistic.async_try_do_in_transaction(keys("x", "y"), both, asio::use_future);
        sold += 2 * const_cast<std::future<Outcome<int>>&>(end).get().has_value();
    });
    check_sales(client, "x", 1000);
    check_sales(client, "y", 1000);
    CHECK(static_cast<int>(all_of(events).size()) == sold);
    CHECK(sold > 100);
}

// ---- Wake-ups

TEST_CASE(
    "readers of this process, and of others once they are known, are woken by a commit", "[redis][events]")
{
    auto const options = redis_options();
    redis::Client const client{options};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 100}).value();
    TransactionService const service{OptimisticVersioning{}, states};
    redis::EventRepository const elsewhere{redis::Client{options}};
    CountingWaiter here;
    CountingWaiter there;
    events.subscribe(0, here);
    elsewhere.subscribe(0, there);
    CHECK(eventually([&] { return here.count() > 0 && there.count() > 0; }));  // they hear now
    auto const heard = there.count();
    auto before = here.count();
    service.do_in_transaction("x", sell);
    CHECK(here.count() > before);  // at once
    std::this_thread::sleep_for(50ms);
    CHECK(there.count() == heard);  // nobody is known to read: no message
    CHECK(elsewhere.note_consumer("there", 0, 0));
    service.do_in_transaction("x", sell);
    CHECK(eventually([&] { return there.count() > heard; }));
    auto const again = there.count();
    service.async_do_in_transaction("x", sell, asio::use_future).get();
    CHECK(eventually([&] { return there.count() > again; }));
    before = here.count();
    CHECK(events.append(x, Expected::any(), std::vector{new_event(Sold{})}));
    CHECK(here.count() > before);
    events.unsubscribe(0, here);
    elsewhere.unsubscribe(0, there);
    before = here.count();
    service.do_in_transaction("x", sell);
    CHECK(here.count() == before);
}

// ---- Two logs

TEST_CASE("events of two types are stored in both logs or in none", "[redis][events][joint]")
{
    auto const options = redis_options();
    auto const shop = options.name_space + ".shop";
    auto const bank = options.name_space + ".bank";
    redis::Client const client{options};
    redis::EventRepository const sold{client, {.name_space = shop}};
    redis::EventRepository const paid{client, {.name_space = bank, .max_events = 1}};
    Repository const stock{client, {.name_space = shop, .events = sold}};
    redis::StateRepository<Account> const accounts{client, {.name_space = bank, .events = paid}};
    stock.insert(Stock{"x", 10}).value();
    accounts.insert(Account{1, 100, ""}).value();
    auto const both = keys(in(stock, "x"), in(accounts, 1));
    auto const sell_and_pay = [](Stock& s, Account& account, Recorder& record) {
        record(Sold{"paid", static_cast<int>(--account.balance)}, 1);
        sell(s, record);
    };
    TransactionService const service{OptimisticVersioning{}, JointRepository{stock, accounts}};
    service.do_in_transaction(both, sell_and_pay);
    auto const nothing_more = [&] {
        CHECK(stock.load("x").value().value.quantity == 9);
        CHECK(accounts.load(1).value().value.balance == 99);
        CHECK(all_of(sold).size() == 1);
    };
    nothing_more();
    CHECK(all_of(paid).size() == 1);
    SECTION("when one of them is full")
    {
        auto const full = service.try_do_in_transaction(both, sell_and_pay);
        CHECK(full.errc() == Errc::overloaded);
        nothing_more();
        CHECK(all_of(paid).size() == 1);
        // With an operation id there is no record of it, either.
        OperationId const id{"later"};
        CHECK(service.try_do_in_transaction(id, both, sell_and_pay).errc() == Errc::overloaded);
        paid.trim(0, all_of(paid)[0].position + 1).value();
        service.do_in_transaction(id, both, sell_and_pay);
        service.do_in_transaction(id, both, sell_and_pay);
        CHECK(all_of(sold).size() == 2);
        CHECK(all_of(paid).size() == 1);
    }
    SECTION("when something else has the name of one")
    {
        auto const log = "v1:{" + bank + ".0}:log";
        redis_server().command({"DEL", log});
        redis_server().command({"SET", log, "no log"});
        CHECK(service.try_do_in_transaction(both, sell_and_pay).errc() == Errc::corrupt_state);
        nothing_more();
    }
    SECTION("when one of the repositories names none")
    {
        redis::StateRepository<Account> const silent{client, {.name_space = bank}};
        TransactionService const half{OptimisticVersioning{}, JointRepository{stock, silent}};
        auto const refused = half.try_do_in_transaction(keys(in(stock, "x"), in(silent, 1)), sell_and_pay);
        CHECK(refused.errc() == Errc::misconfigured);
        nothing_more();
        half.do_in_transaction(
            keys(in(stock, "x"), in(silent, 1)),
            [](Stock& s, Account const&, Recorder& record) { sell(s, record); });
        CHECK(all_of(sold).size() == 2);
    }
}

// ---- Foreign entries, and clocks

TEST_CASE("an entry that is no event of ours is corrupt, and is not passed over", "[redis][events]")
{
    auto const options = redis_options();
    redis::Client const client{options};
    redis::EventRepository const events{client};
    CHECK(events.append(x, Expected::any(), std::vector{new_event(Sold{"x", 1})}));
    auto const log = "v1:{" + options.name_space + ".0}:log";
    auto const foreign = redis_server().command({"XADD", log, "*", "n", "000000000002", "e", "5:sku-"});
    CHECK(events.read(0, 0).errc() == Errc::corrupt_state);
    CHECK(events.read(0, 0, 1).value().events.size() == 1);
    redis_server().command({"XDEL", log, foreign});
    redis_server().command({"XADD", log, "*", "by", "hand"});
    CHECK(events.read(0, 0).errc() == Errc::corrupt_state);
    redis_server().command({"SET", "v1:{" + options.name_space + ".0}:stream:1:x", "not a number"});
    CHECK(events.read_stream(x).errc() == Errc::corrupt_state);
    CHECK(
        events.append(x, Expected::any(), std::vector{new_event(Sold{"x", 2})}).errc() ==
        Errc::corrupt_state);
}

TEST_CASE("positions go on growing while the server's clock is behind the last event", "[redis][events]")
{
    auto const options = redis_options();
    redis::Client const client{options};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 100}).value();
    TransactionService const service{OptimisticVersioning{}, states};
    service.do_in_transaction("x", sell);
    auto const log = "v1:{" + options.name_space + ".0}:log";
    // As if the clock had been in 2033, and a million events been stored since it was set right.
    redis_server().command({"XSETID", log, "2000000000000-999995"});
    for (int i = 0; i < 10; ++i)
        service.do_in_transaction("x", sell);
    CHECK(redis_server().command({"XINFO", "STREAM", log}).find("2000000000001-") != std::string::npos);
    check_sales(client, "x", 100);
    auto const all = all_of(events);
    REQUIRE(all.size() == 11);
    for (std::size_t i = 1; i < all.size(); ++i)
        CHECK(all[i].position > all[i - 1].position);
    CHECK(events.trim(0, all[8].position).value() == all[8].position);
    CHECK(events.read_stream(x).value().size() == 2);
}

// ---- Lost replies, lost servers

TEST_CASE("a commit whose reply was lost has its event exactly if it was applied", "[redis][events]")
{
    RedisServer const server{{"--port", "@PORT@"}};
    CuttingProxy proxy{server.port()};
    auto const options = redis_options(server);
    redis::Client const direct{options};
    auto by_proxy = options;
    by_proxy.unix_path.clear();
    by_proxy.host = "127.0.0.1";
    by_proxy.port = proxy.port();
    redis::Client const client{by_proxy};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    Repository{direct}.insert(Stock{"x", 1000}).value();
    TransactionService const optimistic{OptimisticVersioning{}, states};
    TransactionService const locking{SetNxLock{}, states};
    std::vector const one{new_event(Sold{"x", 0})};
    // The server knows the scripts, so that what is lost is not its word that it does not.
    optimistic.do_in_transaction(OperationId{"known"}, "x", sell);
    locking.do_in_transaction("x", sell);
    CHECK(events.append(OperationId{"known"}, Key{"y"}, Expected::any(), one));
    int number = 0;
    for (auto const cut : {CuttingProxy::Cut::reply, CuttingProxy::Cut::request})
        for (bool const asynchronous : {false, true})
            for (bool const lock : {false, true}) {
                CAPTURE(static_cast<int>(cut), asynchronous, lock);
                auto const id = "operation-" + std::to_string(++number);
                auto const run = [&](auto const& service) {
                    auto const cutting = [&, cuts = proxy.cuts()](Stock& stock, Recorder& record) {
                        if (proxy.cuts() == cuts)
                            proxy.cut(cut, id);  // its first commit
                        return sell(stock, record);
                    };
                    return asynchronous ? service
                                              .async_try_do_in_transaction(
                                                  OperationId{id}, "x", cutting, asio::use_future)
                                              .get()
                                        : service.try_do_in_transaction(OperationId{id}, "x", cutting);
                };
                auto const end = lock ? run(locking) : run(optimistic);
                CHECK(end.has_value());
                check_sales(direct, "x", 1000);
                CHECK(events.read_stream(x).value().size() == static_cast<std::size_t>(2 + number));
            }
    CHECK(proxy.cuts() == 8);
    // An append with an id may be sent again.
    proxy.cut(CuttingProxy::Cut::reply, "append-1");
    CHECK(
        events.append(OperationId{"append-1"}, Key{"z"}, Expected::none(), one).errc() ==
        Errc::outcome_unknown);
    CHECK(events.append(OperationId{"append-1"}, Key{"z"}, Expected::none(), one).value().duplicate);
    CHECK(events.read_stream(Key{"z"}).value().size() == 1);
}

/// Sells until the server is gone; how many sales were known to be applied.
int sell_until_killed(RedisServer& server, redis::Options const& options)
{
    redis::Client const client{options};
    Repository const states{client, {.events = redis::EventRepository{client}}};
    TransactionService const service{OptimisticVersioning{}, states};
    std::atomic<int> sold{0};
    std::thread killer([&] {
        eventually([&] { return sold > 200; });
        server.kill();
    });
    while (service.try_do_in_transaction("x", sell, {.deadline = 300ms}))
        ++sold;
    killer.join();
    return sold;
}

TEST_CASE("a server that is killed has each event with its change, or neither", "[redis][events]")
{
    for (std::string const when : {"always", "everysec"}) {
        CAPTURE(when);
        RedisServer server{{"--appendonly", "yes", "--appendfsync", when}};
        auto const options = redis_options(server);
        redis::Client const client{options};
        redis::EventRepository const events{client};
        Repository const states{client, {.events = events}};
        states.insert(Stock{"x", 100'000}).value();
        auto const sold = sell_until_killed(server, options);
        CHECK(sold > 200);
        server.start();
        redis::Client const after{options};
        check_sales(after, "x", 100'000);
        // One more may have been applied without an answer. Where the file is synced each second, what was
        // written while it was being synced is lost with the process, but changes and events alike.
        auto const kept = redis::EventRepository{after}.read_stream(x, 0, 100'000).value().size();
        if (when == "always")
            CHECK(kept >= static_cast<std::size_t>(sold));
        CHECK(kept <= static_cast<std::size_t>(sold) + 1);
        TransactionService const service{
            OptimisticVersioning{}, Repository{after, {.events = redis::EventRepository{after}}}};
        service.do_in_transaction("x", sell);
        check_sales(after, "x", 100'000);
    }
}

TEST_CASE(
    "a promoted replica lacks the last changes with their events, and later events are behind every reader",
    "[redis][events]")
{
    RedisServer primary{{"--port", "@PORT@", "--repl-diskless-sync-delay", "0"}};
    auto options = redis_options(primary);
    redis::Client const client{options};
    redis::EventRepository const events{client};
    Repository const states{client, {.events = events}};
    states.insert(Stock{"x", 100}).value();
    TransactionService const service{OptimisticVersioning{}, states};
    RedisServer replica{{"--port", "@PORT@", "--replicaof", "127.0.0.1 " + std::to_string(primary.port())}};
    for (int i = 0; i < 10; ++i)
        service.do_in_transaction("x", sell);
    auto promoted = options;
    promoted.unix_path = replica.socket();
    auto const log = "v1:{" + options.name_space + ".0}:log";
    REQUIRE(eventually([&] { return replica.command({"XLEN", log}) == "10"; }));
    // From here on nothing is replicated.
    replica.command({"REPLICAOF", "NO", "ONE"});
    for (int i = 0; i < 5; ++i)
        service.do_in_transaction("x", sell);
    auto const cursor = all_of(events).back().position;  // a reader who has read all of these
    primary.kill();
    redis::Client const then{promoted};
    check_sales(then, "x", 100);
    redis::EventRepository const kept{then};
    CHECK(all_of(kept).size() == 10);
    CHECK(kept.read(0, cursor).errc() == Errc::corrupt_state);  // the log is behind the reader
    TransactionService const going_on{OptimisticVersioning{}, Repository{then, {.events = kept}}};
    for (int i = 0; i < 3; ++i)
        going_on.do_in_transaction("x", sell);
    check_sales(then, "x", 100);
    // None of the later events is before the reader, though it had read some that are gone.
    CHECK(kept.read(0, cursor).value().events.size() == 3);
}

}  // namespace redis_event_faults_test
