// SPDX-License-Identifier: BSL-1.0

// The order in which rows and keys without a row are locked, and the versions that those get.

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace postgres_lock_order_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::PostgresServer;
using interlock_test::run_threads;
using interlock_test::Stock;

/// An operator's session.
class Session {
public:
    explicit Session(PostgresServer const& server)
    {
        connection_.open(*postgres::detail::parse_settings(server.url()), "test", soon()).value();
    }
    void run(std::string sql)
    {
        postgres::detail::Batch batch;
        batch.add(std::move(sql));
        auto const exchange =
            connection_.run(batch, soon(), postgres::detail::Connection::Bounded::by_caller);
        REQUIRE(exchange.progress == postgres::detail::Progress::answered);
        REQUIRE_FALSE(exchange.error);
    }

private:
    static TimePoint soon() { return interlock::detail::add(SystemRuntime::now(), 30s); }
    postgres::detail::Connection connection_;
};

int waiting(PostgresServer const& server)
{
    return std::stoi(server.command("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"));
}

TEST_CASE(
    "a row lock of a key without a row and a commit of the same keys do not deadlock",
    "[postgres][lock_order]")
{
    // The server would look for a deadlock only after the calls' deadlines: each would fail.
    PostgresServer const server{{"deadlock_timeout=60s"}};
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{pool};
    auto const version = stock.insert(Stock{"b", 10}).value();
    Session blocking{server};
    blocking.run("BEGIN");
    blocking.run("SELECT 1 FROM " + pool.options().name_space + "_state WHERE key = 'b' FOR UPDATE");

    std::optional<Outcome<int>> locked;
    std::thread locking([&] {  // finds no row of a, and waits for the one of b
        TransactionService const service{
            PessimisticRowLock{.max_attempts = 1, .missing = Missing::create}, stock};
        locked.emplace(service.try_do_in_transaction(
            keys("a", "b"),
            [](Stock& a, Stock& b) {
                ++a.quantity;
                return --b.quantity;
            },
            {.deadline = 20s}));
    });
    CHECK(eventually([&] { return waiting(server) == 1; }));
    std::optional<Outcome<CommitResult>> committed;
    std::thread committing([&] {  // has the place of a, and waits for b behind it
        Key const a{"a"};
        Key const b{"b"};
        Stock const new_a{"a", 100};
        Stock const new_b{"b", 5};
        std::array changes{
            Change<Stock>{.key = &a, .value = &new_a},
            Change<Stock>{.key = &b, .version = version, .value = &new_b}};
        committed.emplace(stock.commit(changes, nullptr, 20s));
    });
    CHECK(eventually([&] { return waiting(server) == 2; }));
    blocking.run("ROLLBACK");
    locking.join();
    committing.join();
    REQUIRE(locked->has_value());
    REQUIRE(committed->has_value());
    CHECK(stock.load("a").value().value.quantity == 101);
    CHECK(stock.load("b").value().value.quantity == 4);
}

TEST_CASE("every transaction locks keys that come and go in the same order", "[postgres][lock_order]")
{
    PostgresServer const server{{"deadlock_timeout=60s"}};
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{pool};
    postgres::StateRepository<Stock> const advisory{pool, {.row_lock = postgres::RowLock::advisory}};
    std::atomic<int> failed{0};
    std::array<std::atomic<int>, 3> made{};
    run_threads(6, [&](std::size_t i) {
        TransactionService const row{
            PessimisticRowLock{.max_attempts = 1, .missing = Missing::create}, stock};
        TransactionService const hash{
            PessimisticRowLock{.max_attempts = 1, .missing = Missing::create}, advisory};
        TransactionService const optimistic{
            OptimisticVersioning{.max_attempts = 1000, .missing = Missing::create}, stock};
        for (int n = 0; n < 30; ++n) {
            auto const three = n % 2 == 0 ? keys("a", "b", "c") : keys("c", "a", "b");
            auto const add = [](Stock& x, Stock& y, Stock& z) {
                ++x.quantity;
                ++y.quantity;
                ++z.quantity;
            };
            auto const done = i % 3 == 0   ? row.try_do_in_transaction(three, add, {.deadline = 30s})
                              : i % 3 == 1 ? hash.try_do_in_transaction(three, add, {.deadline = 30s})
                                           : optimistic.try_do_in_transaction(three, add, {.deadline = 30s});
            failed += done ? 0 : 1;
            if (i == 5) {  // and every now and then one of them is gone
                auto const gone = std::string(1, static_cast<char>('a' + n % 3));
                auto const there = stock.load(gone);
                if (there && stock.erase(gone, there->version))
                    made[static_cast<std::size_t>(n % 3)] += there->value.quantity;
            }
        }
    });
    CHECK(failed == 0);
    for (auto const* name : {"a", "b", "c"}) {
        auto const left = stock.load(name);
        auto const there = left ? left->value.quantity : 0;
        CHECK(there + made[static_cast<std::size_t>(name[0] - 'a')] == 180);
    }
}

TEST_CASE(
    "a key that is made while its former row is deleted gets a version of its own", "[postgres][lock_order]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    auto const& ns = pool.options().name_space;
    auto const first = stock.insert(Stock{"x", 1}).value();
    // An insert that stops between drawing its version and looking at the index.
    postgres_server().command(
        "CREATE FUNCTION " + ns +
        "_stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_advisory_xact_lock(77); RETURN NEW; END $$");
    postgres_server().command(
        "CREATE TRIGGER stop BEFORE INSERT ON " + ns + "_state FOR EACH ROW EXECUTE FUNCTION " + ns +
        "_stop()");
    Session gate{postgres_server()};
    gate.run("SELECT pg_advisory_lock(77)");
    std::optional<Outcome<Version>> inserted;
    std::thread inserting([&] { inserted.emplace(stock.insert(Stock{"x", 3})); });
    CHECK(eventually([&] {
        return postgres_server().command(
                   "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT "
                   "granted") == "1";
    }));
    auto const second = stock.compare_and_set("x", first, Stock{"x", 2}).value();
    CHECK(stock.erase("x", second));
    gate.run("SELECT pg_advisory_unlock(77)");
    inserting.join();
    REQUIRE(inserted->has_value());
    auto const version = inserted->value();
    CHECK(version != first);
    CHECK(version != second);
    CHECK(stock.compare_and_set("x", first, Stock{"x", 9}).errc() == Errc::version_conflict);
    CHECK(stock.compare_and_set("x", second, Stock{"x", 9}).errc() == Errc::version_conflict);
    // From the next change on it is above all of them.
    CHECK(stock.compare_and_set("x", version, Stock{"x", 4}).value() > second);
    // A service that remembers the former row, with the greater version, is not led astray by it.
    TransactionService const service{OptimisticVersioning{}, stock};
    CHECK(service.do_in_transaction("x", [](Stock& s) { return ++s.quantity; }) == 5);
}

struct Part {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Part, (), (sku, quantity))

struct Moved {
    int left{0};
    static constexpr EventType event{"lock_order.moved", 1};
};
BOOST_DESCRIBE_STRUCT(Moved, (), (left))

TEST_CASE(
    "commits of two tables whose states share their streams do not deadlock, whichever way they cross",
    "[postgres][lock_order]")
{
    PostgresServer const server{{"deadlock_timeout=60s"}};
    auto const pool = fresh_pool(server);
    postgres::EventRepository const log{pool};
    log.create_schema().value();
    postgres::StateRepository<Stock> const stock{pool, {.events = log}};
    auto const table = pool.options().name_space + "_parts";
    server.command(
        "CREATE TABLE " + table +
        " (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL DEFAULT 1)");
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "sku", .events = log}};
    for (auto const* key : {"x", "y"}) {
        stock.insert({key, 1000}).value();
        parts.insert({key, 1000}).value();
    }
    auto const move = [](Stock& s, Part& p, Recorder& record) {
        record(Moved{--s.quantity});
        record(Moved{--p.quantity}, 1);
    };
    std::mutex mutex;
    std::set<std::string> refused;
    auto const run = [&](auto const& policy) {
        TransactionService const service{policy, JointRepository{stock, parts}};
        run_threads(2, [&](std::size_t i) {
            auto const* const one = i == 0 ? "x" : "y";
            auto const* const other = i == 0 ? "y" : "x";
            for (int n = 0; n < 100; ++n) {
                auto const moved = service.try_do_in_transaction(
                    keys(in(stock, one), in(parts, other)), move, {.deadline = 20s});
                std::lock_guard lock(mutex);
                if (!moved)
                    refused.insert(moved.message());
                if (!refused.empty())
                    return;
            }
        });
    };
    run(PessimisticRowLock{.max_attempts = 1});
    run(OptimisticVersioning{.max_attempts = 1});
    CHECK(refused == std::set<std::string>{});
    for (auto const* key : {"x", "y"}) {
        CHECK(stock.load(key).value().value.quantity == 800);
    }
    CHECK(server.command("SELECT count(*) FROM " + pool.options().name_space + "_event") == "800");
}

}  // namespace postgres_lock_order_test
