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

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
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

/// What a refused call says; it must have left nothing in the log.
template <class F>
std::string refused(il::Errc code, F call)
{
    try {
        call();
    } catch (il::Error const& error) {
        CHECK(error.errc() == code);
        return error.what();
    }
    FAIL_CHECK("it was not refused");
    return {};
}

TEST_CASE("a log that cannot share the transaction is refused in words", "[postgres][events]")
{
    Fixture f;
    f.stock().insert(Stock{"sku-1", 100}).value();
    auto const call = [](pg::StateRepository<Stock> const& repository) {
        il::TransactionService service{il::PessimisticRowLock{}, repository};
        service.do_in_transaction("sku-1", sell);
    };
    SECTION("no log")
    {
        auto const words =
            refused(il::Errc::misconfigured, [&] { call(pg::StateRepository<Stock>{f.pool}); });
        CHECK_THAT(words, ContainsSubstring("{.events = ...}"));
    }
    SECTION("a log of another pool")
    {
        pg::EventRepository const other{pg::Pool{f.pool.options()}};
        auto const words = refused(
            il::Errc::misconfigured, [&] { call(pg::StateRepository<Stock>{f.pool, {.events = other}}); });
        CHECK_THAT(words, ContainsSubstring("was made from another pool"));
    }
    SECTION("a log without its tables")
    {
        pg::EventRepository const none{f.pool, {.table = "nowhere"}};
        auto const words = refused(
            il::Errc::misconfigured, [&] { call(pg::StateRepository<Stock>{f.pool, {.events = none}}); });
        CHECK_THAT(words, ContainsSubstring("nowhere"));
    }
    CHECK(f.sold("sku-1") == 0);
    CHECK(f.stock().load("sku-1")->value.quantity == 100);
}

TEST_CASE("options of a log that make no sense are refused", "[postgres][events]")
{
    pg::Pool const pool{"postgresql:///nowhere"};
    auto const made = [&](pg::EventRepositoryOptions options) { pg::EventRepository{pool, options}; };
    CHECK_THROWS_AS(made({.partitions = 0}), il::Error);
    CHECK_THROWS_AS(made({.partitions = 257}), il::Error);
    CHECK_THROWS_AS(made({.table = "Order Lines"}), il::Error);
    CHECK_THROWS_AS(made({.table = std::string(49, 't')}), il::Error);
    CHECK_THROWS_AS(made({.writer = std::string("a\0b", 3)}), il::Error);
    CHECK_NOTHROW(made({.table = "\"Sch\"." + std::string(48, 't')}));
}

TEST_CASE("a log has whatever name its user gives it", "[postgres][events]")
{
    auto const pool = interlock_test::fresh_pool();
    auto const schema = pool.options().name_space;
    interlock_test::sql({"CREATE SCHEMA \"" + schema + " S\""});
    // The last ones are short, as names within statements are.
    std::vector<std::string> const names{
        "\"" + schema + " S\".\"Order \"\"Events\"\".x\"", schema + "_order", "w", "n", "gone", "ends"};
    for (auto const& name : names) {
        pg::EventRepository const events{pool, {.table = name, .partitions = 3, .writer = "shop"}};
        events.create_schema().value();
        events.create_schema().value();  // changes nothing
        pg::StateRepository<Stock> const stock{pool, {.events = events}};
        stock.insert(Stock{"sku-" + name, 5}).value();
        il::TransactionService service{il::OptimisticVersioning{}, stock};
        for (int i = 0; i < 3; ++i)
            service.do_in_transaction("sku-" + name, sell);
        auto const all = events.read_stream(il::Key{"sku-" + name}).value();
        REQUIRE(all.size() == 3);
        CHECK(all[2].writer == "shop");
        CHECK(all[2].number == 3);
        CHECK(events.read(all[2].partition, 0)->events.size() == 3);
        CHECK(events.note_consumer("reader", all[2].partition, all[1].position));
        CHECK(events.trim(all[2].partition, all[2].position).value() == all[1].position);
    }
}

TEST_CASE("a refused commit appends nothing, and says why it was refused", "[postgres][events]")
{
    Fixture f;
    auto const stock = f.stock();
    il::Key const key{"sku-1"};
    Stock const value{"sku-1", 1};
    auto event = il::new_event(Sold{"sku-1", 1});
    event.id = f.pool.options().name_space;
    std::vector<il::NewEvent> const events{event};
    auto const commit = [&](il::Version version, il::ChangeKind kind, il::Fence const* fence = nullptr,
                            il::OperationCommit const* operation = nullptr) {
        std::array changes{il::Change<Stock>{
            .key = &key,
            .kind = kind,
            .version = version,
            .value = &value,
            .fence = fence,
            .events = events}};
        return stock.commit(changes, operation);
    };
    CHECK(commit(7, il::ChangeKind::write).errc() == il::Errc::not_found);
    auto const version = stock.insert(value).value();
    CHECK(commit(il::no_version, il::ChangeKind::write).errc() == il::Errc::already_exists);
    CHECK(commit(version + 1, il::ChangeKind::write).errc() == il::Errc::version_conflict);
    CHECK(commit(version + 1, il::ChangeKind::verify).errc() == il::Errc::version_conflict);
    CHECK(commit(version + 1, il::ChangeKind::erase).errc() == il::Errc::version_conflict);
    il::Fence const stale{il::OwnerToken{}, il::FencingToken{1}};
    CHECK(commit(version, il::ChangeKind::write, &stale).errc() == il::Errc::fenced_out);
    CHECK(commit(version, il::ChangeKind::guard, &stale).errc() == il::Errc::fenced_out);
    CHECK(f.sold("sku-1") == 0);

    // The same commit again, as after a lost reply, is known by its id, and so are its events.
    il::OperationId const id{"order-1"};
    il::OperationCommit const operation{.home = &key, .id = &id, .attempt = 1, .answer = "done"};
    CHECK_FALSE(commit(version, il::ChangeKind::write, nullptr, &operation)->duplicate);
    CHECK(commit(version, il::ChangeKind::write, nullptr, &operation)->duplicate);
    CHECK(f.sold("sku-1") == 1);

    // An event that was stored before is no other one.
    auto const now = stock.load("sku-1")->version;
    auto const twice = commit(now, il::ChangeKind::write);
    CHECK(twice.errc() == il::Errc::constraint_violated);
    CHECK(stock.load("sku-1")->version == now);
    CHECK(f.sold("sku-1") == 1);
    // Neither is one of a guard alone.
    auto const other = [&] {
        std::array changes{il::Change<Stock>{.key = &key, .kind = il::ChangeKind::guard, .events = events}};
        return stock.commit(changes, nullptr);
    };
    CHECK(other().errc() == il::Errc::constraint_violated);
}

TEST_CASE("events are stored with the user's own statements, or not at all", "[postgres][events]")
{
    Fixture f;
    auto const name = f.pool.options().name_space;
    interlock_test::sql(
        {"CREATE TABLE " + name + "_orders (sku text, UNIQUE (sku) DEFERRABLE INITIALLY DEFERRED)",
         "CREATE TABLE " + name +
             "_stock (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO " + name + "_stock VALUES ('sku-1', 100)"});
    auto const stock = f.stock({.table = name + "_stock", .key = "sku"});
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    auto const order = [&](Stock& s, pg::Transaction& tx, il::Recorder& record) {
        tx.exec("INSERT INTO " + name + "_orders VALUES ($1)", s.sku);
        sell(s, record);
    };
    service.do_in_transaction("sku-1", order);
    CHECK(f.sold("sku-1") == 1);
    // The constraint refuses the second at COMMIT.
    static_cast<void>(
        refused(il::Errc::constraint_violated, [&] { service.do_in_transaction("sku-1", order); }));
    CHECK(f.sold("sku-1") == 1);
    CHECK(stock.load("sku-1")->value.quantity == 99);
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "sku-1",
            [&](Stock& s, pg::Transaction& tx, il::Recorder& record) {
                tx.exec("DELETE FROM " + name + "_orders");
                sell(s, record);
                throw std::runtime_error("no");
            }),
        std::runtime_error);
    CHECK(f.sold("sku-1") == 1);
    CHECK(interlock_test::single_value("SELECT count(*) FROM " + name + "_orders") == "1");
}

TEST_CASE("a trigger that refuses or changes the row has to do with its events, too", "[postgres][events]")
{
    Fixture f;
    auto const name = f.pool.options().name_space;
    interlock_test::sql(
        {"CREATE TABLE " + name +
             "_stock (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO " + name + "_stock VALUES ('sku-1', 100)",
         "CREATE FUNCTION " + name +
             "_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.quantity = 50 THEN RETURN NULL; END "
             "IF; IF new.quantity = 40 THEN RAISE 'no'; END IF; RETURN new; END $$",
         "CREATE TRIGGER t BEFORE UPDATE ON " + name + "_stock FOR EACH ROW EXECUTE FUNCTION " + name +
             "_f()"});
    auto const stock = f.stock({.table = name + "_stock", .key = "sku"});
    auto const set = [&](auto policy, int quantity) {
        il::TransactionService service{policy, stock};
        service.do_in_transaction("sku-1", [&](Stock& s, il::Recorder& record) {
            s.quantity = quantity;
            record(Sold{s.sku, quantity});
        });
    };
    for (int quantity : {50, 40}) {
        static_cast<void>(refused(
            il::Errc::constraint_violated, [&] { set(il::OptimisticVersioning{.remember = 0}, quantity); }));
        static_cast<void>(
            refused(il::Errc::constraint_violated, [&] { set(il::PessimisticRowLock{}, quantity); }));
    }
    CHECK(f.sold("sku-1") == 0);
    set(il::OptimisticVersioning{.remember = 0}, 30);
    set(il::PessimisticRowLock{}, 20);
    CHECK(f.sold("sku-1") == 2);
}

TEST_CASE("however a key is spelled, its events are in one stream", "[postgres][events]")
{
    Fixture f{{.partitions = 3}};
    auto const name = f.pool.options().name_space;
    interlock_test::sql(
        {"CREATE TABLE " + name + "_stock (sku uuid PRIMARY KEY, quantity int, version bigint DEFAULT 1)",
         "INSERT INTO " + name + "_stock VALUES ('7f1c0000-0000-0000-0000-00000000000a', 100)"});
    auto const stock = f.stock({.table = name + "_stock", .key = "sku"});
    il::TransactionService locked{il::PessimisticRowLock{}, stock};
    il::TransactionService versioned{il::OptimisticVersioning{}, stock};
    locked.do_in_transaction("7F1C0000-0000-0000-0000-00000000000A", sell);
    versioned.do_in_transaction("{7f1c0000-0000-0000-0000-00000000000a}", sell);
    CHECK(f.sold("7f1c0000-0000-0000-0000-00000000000a") == 2);
}

struct Order {
    std::string sku;
    int lines{0};
};
BOOST_DESCRIBE_STRUCT(Order, (), (sku, lines))

TEST_CASE("whoever writes into one stream at a time, nobody fails for that", "[postgres][events]")
{
    Fixture f;
    auto const name = f.pool.options().name_space;
    interlock_test::sql(
        {"CREATE TABLE " + name + "_orders (sku text PRIMARY KEY, lines int, version bigint DEFAULT 1)",
         "INSERT INTO " + name + "_orders SELECT 'sku-' || n, 0 FROM generate_series(0, 2) n"});
    auto const stock = f.stock();
    for (int i = 0; i < 3; ++i)
        stock.insert(Stock{"sku-" + std::to_string(i), 0}).value();
    auto const isolation = GENERATE(pg::Isolation::read_committed, pg::Isolation::repeatable_read);
    pg::StateRepository<Order> const orders{
        f.pool, {.table = name + "_orders", .key = "sku", .isolation = isolation, .events = f.events}};
    constexpr int each = 30;
    interlock_test::run_threads(6, [&](std::size_t thread) {
        il::TransactionService optimistic{il::OptimisticVersioning{.max_attempts = 1000}, stock};
        il::TransactionService locking{il::PessimisticRowLock{.max_attempts = 1000}, orders};
        for (std::size_t n = 0; n < each; ++n) {
            auto const sku = "sku-" + std::to_string((n + thread) % 3);
            auto const other = "sku-" + std::to_string((n + thread + 1) % 3);
            if (thread % 3 == 0) {
                optimistic.do_in_transaction(sku, sell);
            } else if (thread % 3 == 1) {
                locking.do_in_transaction(il::keys(sku, other), [](Order& a, Order& b, il::Recorder& record) {
                    ++a.lines;
                    ++b.lines;
                    record(Sold{a.sku, a.lines});
                });
            } else {
                std::array const event{il::new_event(Sold{sku, 0})};
                f.events.append(il::Key{sku}, il::Expected::any(), event).value();
            }
        }
    });
    int all = 0;
    for (int i = 0; i < 3; ++i)
        all += f.sold("sku-" + std::to_string(i));
    CHECK(all == 6 * each);
}

struct CountingWaiter final : il::Waiter {
    std::atomic<int> woken{0};
    void wake() noexcept override { ++woken; }
};

TEST_CASE("readers of this process and of others are told after the commit", "[postgres][events]")
{
    Fixture f;
    pg::EventRepository const elsewhere{pg::Pool{f.pool.options()}};  // as another process has it
    CountingWaiter near;
    CountingWaiter far;
    f.events.subscribe(0, near);
    elsewhere.subscribe(0, far);
    auto const stock = f.stock();
    stock.insert(Stock{"sku-1", 1000}).value();
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    CHECK(interlock_test::eventually([&] {
        service.do_in_transaction("sku-1", sell);
        return far.woken > 0;
    }));
    std::this_thread::sleep_for(50ms);
    auto const near_before = near.woken.load();
    service.do_in_transaction("sku-1", sell);
    CHECK(near.woken > near_before);  // before the call has returned
    // Many commits are few messages.
    auto const far_before = far.woken.load();
    auto const begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i)
        service.do_in_transaction("sku-1", sell);
    auto const windows = (std::chrono::steady_clock::now() - begin) / 5ms + 2;
    std::this_thread::sleep_for(50ms);
    CHECK(far.woken - far_before <= windows);
    CHECK(far.woken > far_before);
    f.events.unsubscribe(0, near);
    elsewhere.unsubscribe(0, far);
}

TEST_CASE("a request is recorded once, by the store of requests in the transaction", "[postgres][events]")
{
    Fixture f;
    auto const stock = f.stock();
    stock.insert(Stock{"sku-1", 100}).value();
    pg::TransactionalIdempotencyStore const store{f.pool};
    il::TransactionService service{il::IdempotencyInTransaction{il::PessimisticRowLock{}, store}, stock};
    il::IdempotentRequest const request{"request-1", il::Scope{"ann"}};
    CHECK(service.do_in_transaction(request, "sku-1", sell) == 99);
    CHECK(service.do_in_transaction(request, "sku-1", sell) == 99);
    CHECK(f.sold("sku-1") == 1);
}

TEST_CASE("a large append is made in parts, and once", "[postgres][events]")
{
    Fixture f;
    std::vector<il::NewEvent> many(777, il::new_event(Sold{"x", 1}));
    auto const stock = f.stock();
    stock.insert(Stock{"sku-1", 100}).value();
    il::OperationId const id{"op"};
    auto const first = f.events.append(id, il::Key{"sku-1"}, il::Expected::none(), many).value();
    CHECK(first.number == 777);
    auto const again = f.events.append(id, il::Key{"sku-1"}, il::Expected::none(), many).value();
    CHECK(again.duplicate);
    CHECK(again.number == 777);
    CHECK(again.position == first.position);
    CHECK(f.events.append(il::Key{"sku-1"}, il::Expected::none(), many).errc() == il::Errc::version_conflict);
    CHECK(f.sold("sku-1") == 777);
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    service.do_in_transaction("sku-1", [](Stock& s, il::Recorder& record) {
        for (int i = 0; i < 1000; ++i)
            record(Sold{s.sku, i});
    });
    CHECK(f.sold("sku-1") == 1777);
    static_cast<void>(refused(il::Errc::invalid_argument, [&] {
        service.do_in_transaction("sku-1", [](Stock& s, il::Recorder& record) {
            for (int i = 0; i < 1001; ++i)
                record(Sold{s.sku, i});
        });
    }));
    CHECK(f.sold("sku-1") == 1777);
    many.resize(1);
    many[0].because.correlation = "\xff";
    auto const bad = f.events.append(il::Key{"sku-1"}, il::Expected::any(), many);
    CHECK(bad.errc() == il::Errc::invalid_argument);
    CHECK_THAT(bad.detail(), ContainsSubstring("must be UTF-8"));
}

/// Stores `count` events in partition 0, by the server itself, which then knows how many they are.
void fill(std::string const& table, int count)
{
    interlock_test::sql(
        {"INSERT INTO " + table +
             " (partition, position, stream, number, id, type, version, data, correlation, cause, "
             "traceparent, "
             "writer, append, recorded_at) SELECT 0, nextval('" +
             table + "_position_0'), 's', i, i::text, 'stock.sold', 1, '', '', '', '', '', NULL, now() " +
             "FROM generate_series(1, " + std::to_string(count) + ") i",
         "ANALYZE " + table});
}

TEST_CASE("a read gives as many events as it was asked for", "[postgres][events]")
{
    Fixture const f;
    constexpr il::Position last = 100'020;
    fill(f.pool.options().name_space + "_event", last);
    CHECK(f.events.read(0, 7, 0).errc() == il::Errc::invalid_argument);
    // Each text has a bound, a power of ten, for one row more than is asked for.
    for (std::size_t const limit : {1u, 8u, 9u, 10u, 98u, 99u, 100u, 999u, 9'999u}) {
        CAPTURE(limit);
        auto const page = f.events.read(0, 7, limit).value();
        REQUIRE(page.events.size() == limit);
        CHECK(page.events.front().position == 8);
        CHECK(page.events.back().position == static_cast<il::Position>(7 + limit));
        CHECK(page.next == page.events.back().position);
        CHECK(page.more);
        auto const rest = f.events.read(0, last - static_cast<il::Position>(limit), limit).value();
        CHECK(rest.events.size() == limit);
        CHECK_FALSE(rest.more);
    }
    for (std::size_t const limit : {std::size_t{99'999}, std::size_t{1} << 17, SIZE_MAX}) {
        CAPTURE(limit);
        auto const page = f.events.read(0, 7, limit).value();
        CHECK(page.events.size() == std::min(limit, std::size_t{100'000}));
        CHECK(page.events.back().position == page.next);
        CHECK(page.more);
    }
}

TEST_CASE("a read of a large log is not planned anew each time", "[postgres][events]")
{
    Fixture const f;
    fill(f.pool.options().name_space + "_event", 20'000);
    auto options = f.pool.options();
    options.max_connections = 1;  // so that all statements are in one session
    pg::Pool const one{options};
    pg::EventRepository const events{one};
    auto const planned = [&] {
        return one
            .query(
                "SELECT coalesce(sum(custom_plans), 0)::bigint FROM pg_prepared_statements "
                "WHERE statement LIKE '%LIMIT%'")
            .value<std::int64_t>();
    };
    for (std::size_t const limit : {1u, 10u, 100u, 256u, 1'000u}) {
        CAPTURE(limit);
        auto const before = planned();
        for (int i = 0; i < 20; ++i)
            REQUIRE(events.read(0, i, limit).value().events.size() == limit);
        CHECK(planned() - before <= 5);  // so often the server tries whether it pays to know the parameters
    }
}

TEST_CASE("an asynchronous operation records as another one does", "[postgres][events]")
{
    Fixture f;
    auto const stock = f.stock();
    stock.insert(Stock{"sku-1", 100}).value();
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    auto result = service.async_do_in_transaction("sku-1", sell, boost::asio::use_future);
    CHECK(result.get() == 99);
    CHECK(f.sold("sku-1") == 1);
}

TEST_CASE("a log that is moved or renamed under a running process is missed in words", "[postgres][events]")
{
    auto const name = interlock_test::fresh_name_space() + "_log";
    Fixture const f{{.table = name}};
    auto const stock = f.stock();
    stock.insert(Stock{"a", 100}).value();
    auto const calls = [&](auto check) {
        auto const by = [&](auto policy) {
            check(il::TransactionService{policy, stock}.try_do_in_transaction("a", sell));
            check(il::TransactionService{policy, stock}.try_do_in_transaction(
                il::OperationId{interlock_test::fresh_name_space()}, "a", sell));
        };
        by(il::OptimisticVersioning{});
        by(il::PessimisticRowLock{});
        by(il::SetNxLock{});
        check(f.events.read(0, 0));
        check(f.events.read_stream(il::Key{"a"}));
        check(f.events.note_consumer("reader", 0, 0));
        check(f.events.extent(0));
    };
    auto const good = [](auto const& outcome) { CHECK(outcome); };
    auto const missed = [](auto const& outcome) {
        CHECK(outcome.errc() == il::Errc::misconfigured);
        CHECK_THAT(outcome.detail(), ContainsSubstring("start the process again"));
    };
    calls(good);
    auto const schema = name + "_elsewhere";
    interlock_test::sql({"CREATE SCHEMA " + schema});
    for (auto const* part : {"", "_stream", "_partition", "_consumer"})
        interlock_test::sql({"ALTER TABLE " + name + part + " SET SCHEMA " + schema});
    calls(missed);
    for (auto const* part : {"", "_stream", "_partition", "_consumer"})
        interlock_test::sql({"ALTER TABLE " + schema + "." + name + part + " SET SCHEMA public"});
    calls(good);
    CHECK(stock.load("a").value().value.quantity == 100 - f.sold("a"));
    // One that was dropped, and made anew, is another log of the same name.
    interlock_test::sql(
        {"DROP TABLE " + name + ", " + name + "_stream, " + name + "_partition, " + name + "_consumer",
         "DROP SEQUENCE " + name + "_position_0"});
    calls(missed);
    f.events.create_schema().value();
    calls(good);
    CHECK(f.sold("a") == 6);
}

}  // namespace postgres_events_test
