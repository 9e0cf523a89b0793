// SPDX-License-Identifier: BSL-1.0

// A table is what the server resolves its name to. Tenants in schemas of their own share no lock, no answer
// and no wait; one table by two names, and a partition and its root, share all of them.
//
// How it works: the library's tables are in a schema that all tenants see. Each tenant has a pool with a
// search_path of its own, and a table of the same name.

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace postgres_foreign_identity_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::sql;

struct Order {
    std::int64_t id{0};
    int paid{0};
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, paid))

postgres::Pool pool_of(postgres::Pool const& shared, std::string const& path, std::string const& user = {})
{
    auto url = postgres_server().url() + "&name_space=" + shared.options().name_space;
    if (!path.empty())
        url += "&options=-csearch_path%3D" + path + ",public";
    if (!user.empty())
        url.replace(url.find("interlock@"), 9, user);
    return postgres::Pool{postgres::Options::parse(url).value()};
}

/// Two tenants, each with order 1.
struct Tenants {
    Tenants()
    {
        for (auto const& tenant : {a, b})
            sql(
                {"CREATE SCHEMA " + tenant,
                 "CREATE TABLE " + tenant +
                     ".orders (id bigint PRIMARY KEY, paid int NOT NULL DEFAULT 0, "
                     "version bigint NOT NULL DEFAULT 1)",
                 "INSERT INTO " + tenant + ".orders VALUES (1)"});
    }
    int paid(std::string const& tenant) const
    {
        return std::stoi(postgres_server().command("SELECT paid FROM " + tenant + ".orders WHERE id = 1"));
    }
    postgres::Pool shared{fresh_pool()};
    std::string a{shared.options().name_space + "_a"};
    std::string b{shared.options().name_space + "_b"};
    postgres::Pool pool_a{pool_of(shared, a)};
    postgres::Pool pool_b{pool_of(shared, b)};
    postgres::StateRepository<Order> orders_a{pool_a, {.table = "orders", .key = "id"}};
    postgres::StateRepository<Order> orders_b{pool_b, {.table = "orders", .key = "id"}};
    postgres::StateRepository<Order> qualified_a{pool_a, {.table = a + ".orders", .key = "id"}};
};

auto const pay = [](Order& order) { return order.paid += 100; };
constexpr std::int64_t one = 1;

TEST_CASE("an operation id of one tenant is not answered to another", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    int expected = 0;
    auto const each = [&](auto policy, char const* name) {
        INFO(name);
        OperationId const id{name};
        auto const first = TransactionService{policy, tenants.orders_a}.try_do_in_transaction(id, one, pay);
        auto const second = TransactionService{policy, tenants.orders_b}.try_do_in_transaction(id, one, pay);
        auto const again =
            TransactionService{policy, tenants.qualified_a}.try_do_in_transaction(id, one, pay);
        expected += 100;
        CHECK(first);
        CHECK((second && !second.replayed()));
        CHECK((again && again.replayed()));
        CHECK(tenants.paid(tenants.a) == expected);
        CHECK(tenants.paid(tenants.b) == expected);
    };
    each(OptimisticVersioning{}, "optimistic");
    each(OptimisticVersioning{.remember = 10}, "optimistic, remembering");
    each(PessimisticRowLock{}, "row lock");
    each(SetNxLock{}, "lease");
}

TEST_CASE("tenants share no lock; two names of one table do", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    auto const held = LockStateService{tenants.orders_a}.try_acquire(one);
    REQUIRE(held);
    CHECK(LockStateService{tenants.orders_b}.try_acquire(one));
    CHECK_FALSE(LockStateService{tenants.qualified_a}.try_acquire(one));
    CHECK(tenants.orders_a.identity() != tenants.orders_b.identity());
    CHECK(tenants.orders_a.verify_fencing());
}

TEST_CASE("an operation on one tenant's row may work on another's", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    auto const nested = [&](auto policy) {
        TransactionService const outer{policy, tenants.orders_a};
        TransactionService const inner{policy, tenants.orders_b};
        outer.do_in_transaction(one, [&](Order& order) {
            ++order.paid;
            inner.do_in_transaction(one, [](Order& other) { ++other.paid; });
        });
    };
    nested(OptimisticVersioning{});
    nested(PessimisticRowLock{});
    nested(SetNxLock{});
    CHECK(tenants.paid(tenants.a) == 3);
    CHECK(tenants.paid(tenants.b) == 3);
}

TEST_CASE("a row that one tenant lacks is nobody else's wait", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    PessimisticRowLock const policy{.wait = Wait::no, .missing = Missing::create};
    TransactionService const outer{policy, tenants.orders_a};
    outer.do_in_transaction(Order{7, 0}, [&](Order& order) {
        ++order.paid;
        std::thread{[&] {
            auto const other = TransactionService{policy, tenants.orders_b}.try_do_in_transaction(
                Order{7, 0}, [](Order& o) { o.paid += 2; });
            CHECK(other);
            auto const same = TransactionService{policy, tenants.qualified_a}.try_do_in_transaction(
                Order{7, 0}, [](Order& o) { o.paid += 2; });
            CHECK(same.errc() == Errc::lock_busy);
        }}.join();
    });
    CHECK(tenants.orders_a.load(7).value().value.paid == 1);
    CHECK(tenants.orders_b.load(7).value().value.paid == 2);
}

TEST_CASE("a search_path of the role tells tenants apart", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    for (auto const& tenant : {tenants.a, tenants.b})
        sql(
            {"CREATE ROLE " + tenant + " LOGIN SUPERUSER",
             "ALTER ROLE " + tenant + " SET search_path = \"$user\", public"});
    postgres::StateRepository<Order> const a{
        pool_of(tenants.shared, {}, tenants.a), {.table = "orders", .key = "id"}};
    postgres::StateRepository<Order> const b{
        pool_of(tenants.shared, {}, tenants.b), {.table = "orders", .key = "id"}};
    CHECK(a.identity() != b.identity());
    OperationId const id{"pay"};
    REQUIRE(TransactionService{OptimisticVersioning{}, a}.try_do_in_transaction(id, one, pay));
    CHECK_FALSE(TransactionService{OptimisticVersioning{}, b}.try_do_in_transaction(id, one, pay).replayed());
    CHECK(TransactionService{OptimisticVersioning{}, tenants.orders_a}
              .try_do_in_transaction(id, one, pay)
              .replayed());
    CHECK(tenants.paid(tenants.a) == 100);
    CHECK(tenants.paid(tenants.b) == 100);
}

TEST_CASE(
    "an operation that changes the search_path writes to no other table", "[postgres][foreign_identity]")
{
    Tenants const tenants;
    TransactionService const service{PessimisticRowLock{}, tenants.orders_a};
    for (std::string const& setting :
         {"SET LOCAL search_path = " + tenants.b, "SET search_path = " + tenants.b + ", public"}) {
        INFO(setting);
        auto const done = service.try_do_in_transaction(one, [&](Order& order, postgres::Transaction& tx) {
            tx.exec(setting);
            order.paid = 7;
        });
        CHECK(done.errc() == Errc::invalid_argument);
        CHECK(done.detail().find("search_path") != std::string::npos);
    }
    CHECK(tenants.paid(tenants.a) == 0);
    CHECK(tenants.paid(tenants.b) == 0);
    // And what came of it is gone with its session.
    for (int i = 0; i < 4; ++i)
        CHECK(service.try_do_in_transaction(one, pay));
    CHECK(tenants.paid(tenants.a) == 400);
    CHECK(tenants.paid(tenants.b) == 0);
}

TEST_CASE("a partition that is asked for directly is its root", "[postgres][foreign_identity]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_events";
    sql(
        {"CREATE TABLE " + table + " (id bigint PRIMARY KEY, paid int NOT NULL DEFAULT 0, " +
             "version bigint NOT NULL DEFAULT 1) PARTITION BY RANGE (id)",
         "CREATE TABLE " + table + "_low PARTITION OF " + table +
             " FOR VALUES FROM (0) TO (100) "
             "PARTITION BY RANGE (id)",
         "CREATE TABLE " + table + "_lowest PARTITION OF " + table + "_low FOR VALUES FROM (0) TO (10)",
         "INSERT INTO " + table + " VALUES (1)"});
    postgres::StateRepository<Order> const root{pool, {.table = table, .key = "id"}};
    postgres::StateRepository<Order> const low{pool, {.table = table + "_low", .key = "id"}};
    postgres::StateRepository<Order> const lowest{pool, {.table = table + "_lowest", .key = "id"}};
    auto held = LockStateService{root}.try_acquire(one);
    REQUIRE(held);
    CHECK_FALSE(LockStateService{low}.try_acquire(one));
    CHECK_FALSE(LockStateService{lowest}.try_acquire(one));
    REQUIRE(held->release());
    OperationId const id{"pay"};
    CHECK(TransactionService{SetNxLock{}, lowest}.try_do_in_transaction(id, one, pay));
    CHECK(TransactionService{OptimisticVersioning{}, root}.try_do_in_transaction(id, one, pay).replayed());
    CHECK(TransactionService{PessimisticRowLock{}, low}.try_do_in_transaction(id, one, pay).replayed());
    CHECK(root.load(one).value().value.paid == 100);
    CHECK(root.insert(Order{2, 0}));
    CHECK(root.insert(Order{2, 0}).errc() == Errc::already_exists);
}

/// A program whose role finds the table `orders` in the schema `b` and the tables of the library in public.
/// What is in the schema `a` has other contents under the same versions.
struct Running {
    explicit Running(std::string const& path)
    {
        sql({"CREATE SCHEMA " + a, "CREATE SCHEMA " + b, "CREATE ROLE " + role + " LOGIN SUPERUSER"});
        find(path);
        make(b, 1000);
    }
    void find(std::string const& path) const { sql({"ALTER ROLE " + role + " SET search_path = " + path}); }
    static void make(std::string const& schema, int paid)
    {
        sql(
            {"CREATE TABLE " + schema +
                 ".orders (id bigint PRIMARY KEY, paid int NOT NULL, version bigint NOT NULL)",
             "INSERT INTO " + schema + ".orders SELECT id, " + std::to_string(paid) +
                 ", 1 FROM generate_series(1, 9) id",
             "CREATE SEQUENCE " + schema + ".orders_version MINVALUE " + std::to_string(paid)});
    }
    /// Under each policy, with and without an operation id, on one row and on two, on whatever connections.
    void works(postgres::StateRepository<Order> const& orders) const
    {
        auto const each = [&](auto policy) {
            TransactionService const service{policy, orders};
            auto const before = orders.load(one).value().value.paid;
            CHECK(service.try_do_in_transaction(one, pay));
            CHECK(service.try_do_in_transaction(OperationId{"pay " + std::to_string(++calls)}, one, pay));
            CHECK(service.try_do_in_transaction(
                keys(one, std::int64_t{2}), [](Order& x, Order& y) { pay(x), pay(y); }));
            CHECK(orders.load(one).value().value.paid == before + 300);
        };
        each(OptimisticVersioning{.remember = 10});
        each(PessimisticRowLock{});
        each(SetNxLock{});
        CHECK(orders.insert(Order{100 + ++calls, 0}));
    }
    std::string in(std::string const& schema) const
    {
        return interlock_test::single_value(
            "SELECT count(*) || ' ' || min(paid) || ' ' || max(version) FROM " + schema + ".orders");
    }
    mutable int calls{0};
    postgres::Pool shared{fresh_pool()};
    std::string a{shared.options().name_space + "_a"};
    std::string b{shared.options().name_space + "_b"};
    std::string role{shared.options().name_space + "_role"};
    postgres::RepositoryOptions const options{
        .table = "orders", .key = "id", .version_sequence = "orders_version"};
};

TEST_CASE("a running program keeps its table when another comes in front", "[postgres][foreign_identity]")
{
    std::string const front = interlock_test::fresh_name_space() + "_front";
    sql({"CREATE SCHEMA " + front});
    Running const running{"public"};
    running.find(front + ", " + running.b + ", public");
    postgres::StateRepository<Order> const orders{pool_of(running.shared, {}, running.role), running.options};
    running.works(orders);
    Running::make(front, 7);
    running.works(orders);
    CHECK(running.in(front) == "9 7 1");
    // Who begins now finds the other one.
    postgres::StateRepository<Order> const later{pool_of(running.shared, {}, running.role), running.options};
    CHECK(later.load(one).value().value.paid == 7);
    running.works(later);
    // And when its own is gone, a name means what is there.
    sql({"DROP TABLE " + running.b + ".orders"});
    CHECK(TransactionService{OptimisticVersioning{}, orders}.try_do_in_transaction(std::int64_t{9}, pay));
    CHECK(later.load(std::int64_t{9}).value().value.paid == 107);
}

TEST_CASE(
    "all connections of a pool use one table, whatever their search_path", "[postgres][foreign_identity]")
{
    Running const running{"public"};
    running.find(running.b + ", public");
    Running::make(running.a, 7);
    auto const pool = pool_of(running.shared, {}, running.role);
    postgres::StateRepository<Order> const orders{pool, running.options};
    running.works(orders);
    running.find(running.a + ", public");
    // The connection that is there is in use, so that others are made.
    TransactionService{PessimisticRowLock{}, orders}.do_in_transaction(
        std::int64_t{5}, [&](Order&) { running.works(orders); });
    running.works(orders);
    CHECK(pool.connection_count() > 1);
    CHECK(running.in(running.a) == "9 7 1");
    CHECK(running.in(running.b).starts_with("12 0 "));
}

TEST_CASE("a table that is made anew is another one", "[postgres][foreign_identity]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_orders";
    auto const make = [&] {
        sql(
            {"CREATE TABLE " + table + " (id bigint PRIMARY KEY, paid int NOT NULL DEFAULT 0, " +
                 "version bigint NOT NULL DEFAULT 1)",
             "INSERT INTO " + table + " VALUES (1)"});
    };
    make();
    postgres::StateRepository<Order> const orders{pool, {.table = table, .key = "id"}};
    TransactionService const service{OptimisticVersioning{}, orders};
    OperationId const id{"pay"};
    REQUIRE(service.try_do_in_transaction(id, one, pay));
    sql({"ALTER TABLE " + table + " RENAME TO " + table + "_old"});
    CHECK(orders.load(one).errc() == Errc::misconfigured);
    make();
    auto const anew = service.try_do_in_transaction(id, one, pay);
    REQUIRE(anew);
    CHECK_FALSE(anew.replayed());
    postgres::StateRepository<Order> const old{pool, {.table = table + "_old", .key = "id"}};
    CHECK(TransactionService{OptimisticVersioning{}, old}.try_do_in_transaction(id, one, pay).replayed());
}

TEST_CASE("a missing table or column is named, and found once it is there", "[postgres][foreign_identity]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_orders";
    postgres::StateRepository<Order> const orders{pool, {.table = table, .key = "id"}};
    auto const says = [&](std::string const& word) {
        auto const loaded = orders.load(one);
        CHECK(loaded.errc() == Errc::misconfigured);
        CHECK(loaded.detail().find(word) != std::string::npos);
        auto const locked = TransactionService{PessimisticRowLock{}, orders}.try_do_in_transaction(one, pay);
        CHECK(locked.errc() == Errc::misconfigured);
        CHECK(locked.detail().find(word) != std::string::npos);
    };
    says(table);
    sql({"CREATE TABLE " + table + " (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 1)"});
    says("no column paid");
    sql(
        {"ALTER TABLE " + table + " ADD paid int NOT NULL DEFAULT 0",
         "INSERT INTO " + table + " VALUES (1)"});
    CHECK(orders.load(one).value().value.paid == 0);
    sql({"ALTER TABLE " + table + " DROP version"});
    CHECK(orders.load(one).detail().find("no column version") != std::string::npos);
}

// ---- the library's own tables, where the search path changes ------------------------------------

/// A role and a name space of its own. Another release has made the tables in the schema public.
struct MovingPath {
    explicit MovingPath(bool made = true)
    {
        sql({"CREATE ROLE " + role + " LOGIN", "GRANT CREATE, USAGE ON SCHEMA public TO " + role});
        if (!made)
            return;
        postgres::create_schema(pool()).value();
        postgres::EventRepository{pool()}.create_schema().value();
    }
    postgres::Pool pool(std::string const& more = {}) const
    {
        auto url = postgres_server().url() + "&name_space=" + ns + more;
        url.replace(url.find("interlock@"), 10, role + "@");
        return postgres::Pool{postgres::Options::parse(url).value()};
    }
    /// A schema that the role may use; perhaps by another name than the role's own.
    void add_schema(std::string const& schema) const
    {
        sql({"CREATE SCHEMA " + schema + " AUTHORIZATION " + role});
    }
    /// How many of the library's tables are in a schema.
    static std::string tables(std::string const& schema)
    {
        return interlock_test::single_value(
            "SELECT count(*) FROM pg_class WHERE relnamespace = '" + schema + "'::regnamespace");
    }
    void refuses(postgres::Pool const& after, std::string const& schema) const
    {
        auto const named = [&](Outcome<void> const& refused) {
            CHECK(refused.errc() == Errc::misconfigured);
            CHECK(refused.detail().find("public") != std::string::npos);
            CHECK(refused.detail().find(schema) != std::string::npos);
            CHECK(refused.detail().find("schema=") != std::string::npos);
        };
        named(postgres::create_schema(after));
        named(postgres::EventRepository{after}.create_schema());
        CHECK(tables(schema) == "0");
        auto const migration = postgres::schema_sql(ns);
        std::vector<std::string_view> const statements{migration};
        CHECK_FALSE(postgres::run_script(after, statements));
        CHECK(tables(schema) == "0");
    }
    std::string ns{interlock_test::fresh_name_space()};
    std::string role{ns + "_role"};
};

TEST_CASE("tables of the library are never made over those that are there", "[postgres][foreign_identity]")
{
    MovingPath const moving;
    auto const refused_as_found = [&](std::string const& schema, std::string const& more = {}) {
        moving.add_schema(schema);
        moving.refuses(moving.pool(more), schema);
        // With the schema said, either is what it says.
        CHECK(postgres::create_schema(moving.pool(more + "&schema=public")));
        CHECK(moving.tables(schema) == "0");
        CHECK(postgres::create_schema(moving.pool(more + "&schema=" + schema)));
        CHECK(postgres::EventRepository{moving.pool(more + "&schema=" + schema)}.create_schema());
        CHECK(moving.tables(schema) != "0");
    };
    SECTION("a schema that is called as the role")
    {
        refused_as_found(moving.role);
    }
    SECTION("another path of the role, which public is still in")
    {
        sql({"ALTER ROLE " + moving.role + " SET search_path = " + moving.ns + "_app, public"});
        refused_as_found(moving.ns + "_app");
    }
    SECTION("another path of the role, from which public is gone")
    {
        sql({"ALTER ROLE " + moving.role + " SET search_path = " + moving.ns + "_app"});
        refused_as_found(moving.ns + "_app");
    }
    SECTION("another path in the URL")
    {
        refused_as_found(moving.ns + "_app", "&options=-csearch_path%3D" + moving.ns + "_app,public");
    }
}

TEST_CASE("tables that hide others are not used", "[postgres][foreign_identity]")
{
    MovingPath const moving;
    moving.add_schema(moving.role);
    auto const before = moving.pool("&schema=public");
    Key const visits{"visits"};
    postgres::Counters{before}.atomic_once(OperationId{"visit"}, visits, {.amount = 7}).value();
    // As an older release makes them, which looks at nothing.
    REQUIRE(postgres::create_schema(moving.pool("&schema=" + moving.role)));
    REQUIRE(postgres::EventRepository{moving.pool("&schema=" + moving.role)}.create_schema());
    auto const after = moving.pool();
    auto const hidden = [&](auto const& outcome) {
        CHECK(outcome.errc() == Errc::misconfigured);
        CHECK(
            outcome.detail().find("of schema " + moving.role + " hides the one of schema public") !=
            std::string::npos);
        CHECK(outcome.detail().find("schema=") != std::string::npos);
    };
    hidden(postgres::Counters{after}.load(visits));
    hidden(postgres::StateRepository<Order>{after}.load(1));
    hidden(postgres::EventRepository{after}.extent(0));
    // The one that is meant, said.
    CHECK(postgres::Counters{before}.load(visits).value() == 7);
    CHECK(postgres::Counters{moving.pool("&schema=" + moving.role)}.load(visits).value() == 0);
    // A log of a name of its own, in a pool that may be used.
    postgres::EventRepositoryOptions const log{.table = moving.ns + "_billing"};
    REQUIRE(postgres::EventRepository{before, {.table = "public." + log.table}}.create_schema());
    REQUIRE(postgres::EventRepository{before, {.table = moving.role + "." + log.table}}.create_schema());
    hidden(postgres::EventRepository{before, log}.extent(0));
}

TEST_CASE("a pool does not go on with the library's tables of another schema", "[postgres][foreign_identity]")
{
    MovingPath const moving{false};
    for (auto const* tenant : {"_a", "_b"}) {
        moving.add_schema(moving.ns + tenant);
        postgres::create_schema(moving.pool("&schema=" + moving.ns + tenant)).value();
    }
    sql({"ALTER ROLE " + moving.role + " SET search_path = " + moving.ns + "_a"});
    postgres::StateRepository<Order> const orders{moving.pool()};
    TransactionService const service{PessimisticRowLock{.missing = Missing::create}, orders};
    OperationId const id{"pay"};
    CHECK_FALSE(service.try_do_in_transaction(id, one, pay).replayed());
    sql({"ALTER ROLE " + moving.role + " SET search_path = " + moving.ns + "_b"});
    // The connection that is there is in use, so that another is made.
    service.do_in_transaction(std::int64_t{2}, [&](Order&) {
        auto const again = service.try_do_in_transaction(id, one, pay);
        CHECK(again.errc() == Errc::misconfigured);
        for (auto const& word :
             {"schema " + moving.ns + "_a", "schema " + moving.ns + "_b", std::string("schema=")})
            CHECK(again.detail().find(word) != std::string::npos);
    });
    CHECK(service.try_do_in_transaction(id, one, pay).replayed());
}

struct Paid {
    std::int64_t order{0};
    static constexpr EventType event{"order.paid", 1};
};
BOOST_DESCRIBE_STRUCT(Paid, (), (order))

TEST_CASE("a running program keeps its log of events", "[postgres][foreign_identity]")
{
    // The tables of the library stay where they are; each of two schemas has a log of the same name.
    MovingPath const moving;
    std::string const log = moving.ns + "_billing";
    sql(
        {"CREATE TABLE public." + moving.ns +
             "_orders (id bigint PRIMARY KEY, paid int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT "
             "1)",
         "INSERT INTO public." + moving.ns + "_orders VALUES (1), (2)",
         "GRANT ALL ON public." + moving.ns + "_orders TO " + moving.role});
    for (auto const* schema : {"_a", "_b"}) {
        moving.add_schema(moving.ns + schema);
        auto const pool = moving.pool("&schema=public");
        REQUIRE(postgres::EventRepository{pool, {.table = moving.ns + schema + "." + log}}.create_schema());
    }
    auto const stored = [&](char const* schema) {
        return interlock_test::single_value("SELECT count(*) FROM " + moving.ns + schema + "." + log);
    };
    auto const path = [&](char const* schema) {
        sql({"ALTER ROLE " + moving.role + " SET search_path = " + moving.ns + schema + ", public"});
    };
    path("_a");
    auto const pool = moving.pool("&schema=public");
    postgres::EventRepository const own{pool, {.table = log}};
    postgres::StateRepository<Order> const orders{
        pool, {.table = "public." + moving.ns + "_orders", .key = "id", .events = own}};
    auto const record = [](Order& order, Recorder& recorder) {
        recorder(Paid{order.id});
        return order.paid += 100;
    };
    auto const each = [&](auto const& policy, char const* name) {
        INFO(name);
        TransactionService const service{policy, orders};
        path("_a");
        CHECK(service.try_do_in_transaction(one, record));
        auto const before = std::stoi(stored("_a"));
        path("_b");
        // The connections that are there are in use, so that others are made.
        TransactionService const rows{PessimisticRowLock{}, orders};
        rows.do_in_transaction(std::int64_t{2}, [&](Order&) {
            rows.do_in_transaction(std::int64_t{1}, [&](Order&) {});
            CHECK(service.try_do_in_transaction(one, record));
            CHECK(service.try_do_in_transaction(OperationId{name}, one, record));
            CHECK(own.read(0, 0, 1000).value().events.size() == static_cast<std::size_t>(before) + 2);
        });
        CHECK(std::stoi(stored("_a")) == before + 2);
        CHECK(stored("_b") == "0");
    };
    each(OptimisticVersioning{}, "optimistic");
    each(PessimisticRowLock{}, "row lock");
    each(SetNxLock{}, "lease");
    CHECK(own.trim(0, 1));
}

TEST_CASE(
    "tenants may each have the library's tables in a schema of their own", "[postgres][foreign_identity]")
{
    MovingPath const moving{false};
    OperationId const id{"pay"};
    auto const use = [&](postgres::Pool const& pool) {
        CHECK(postgres::create_schema(pool));
        CHECK(postgres::create_schema(pool));
        postgres::EventRepository const events{pool};
        CHECK(events.create_schema());
        postgres::StateRepository<Order> const orders{pool, {.events = events}};
        auto const each = [&](auto policy) {
            auto const add = [&](OperationId const& operation) {
                return TransactionService{policy, orders}.try_do_in_transaction(operation, Order{1, 0}, pay);
            };
            CHECK_FALSE(add(id).replayed());
            CHECK(add(id).replayed());
            CHECK(orders.erase(1, orders.load(1).value().version));
        };
        each(OptimisticVersioning{.missing = Missing::create});
        CHECK(postgres::purge(pool));
        CHECK(orders.verify_fencing());
        CHECK(events.extent(0));
    };
    SECTION("by the path that a session says")
    {
        for (auto const* tenant : {"_a", "_b"}) {
            moving.add_schema(moving.ns + tenant);
            use(moving.pool("&options=-csearch_path%3D" + moving.ns + tenant + ",public"));
        }
    }
    SECTION("by a schema that is said, whatever is in its name")
    {
        for (auto const* tenant : {" A.b", "-\xC3\xA4 {ns}"}) {
            moving.add_schema("\"" + moving.ns + tenant + "\"");
            auto options = moving.pool().options();
            options.schema = "\"" + moving.ns + tenant + "\"";
            use(postgres::Pool{options});
        }
    }
    SECTION("by a schema in the URL")
    {
        moving.add_schema("\"" + moving.ns + " c\"");
        use(moving.pool("&schema=%22" + moving.ns + "%20c%22"));
    }
}

TEST_CASE("a schema that is none is refused by name", "[postgres][foreign_identity]")
{
    for (auto const* schema : {"a.b", "A", "a b", "\"a", "a'b", "\"a$b\"", "\"\"", "a\\b"}) {
        INFO(schema);
        postgres::Options options{.url = "postgresql://localhost/x"};
        options.schema = schema;
        auto const valid = options.validate();
        CHECK(valid.errc() == Errc::invalid_argument);
        CHECK(valid.detail().find("schema") != std::string::npos);
        CHECK_THROWS_AS(postgres::schema_sql("orders", schema), Error);
    }
    MovingPath const moving{false};
    auto const missing = postgres::create_schema(moving.pool("&schema=" + moving.ns + "_nowhere"));
    CHECK(missing.errc() == Errc::misconfigured);
    CHECK(missing.detail().find(moving.ns + "_nowhere") != std::string::npos);
}

TEST_CASE(
    "tables of the library that come in front of its own are not used by connections that are there",
    "[postgres][foreign_identity]")
{
    // A schema that is called as the role stands first on the path, and is not there yet.
    auto const role = fresh_pool().options().name_space + "_role";
    sql({"CREATE ROLE " + role + " LOGIN SUPERUSER"});
    auto url = postgres_server().url() + "&name_space=" + role;
    url.replace(url.find("interlock@"), 9, role);
    postgres::Pool const pool{postgres::Options::parse(url).value()};
    REQUIRE(postgres::create_schema(pool));
    sql(
        {"CREATE TABLE " + role +
             "_orders (id bigint PRIMARY KEY, paid int NOT NULL, version bigint NOT NULL)",
         "INSERT INTO " + role + "_orders VALUES (1, 0, 1)"});
    auto const work = [&](postgres::Pool const& p) {
        postgres::StateRepository<Order> const orders{p, {.table = role + "_orders", .key = "id"}};
        auto const count = [](Order& order) { return ++order.paid; };
        TransactionService const optimistic{OptimisticVersioning{}, orders};
        TransactionService const locking{PessimisticRowLock{}, orders};
        TransactionService const idempotent{
            IdempotencyKeys<OptimisticVersioning, postgres::IdempotencyStore>{
                OptimisticVersioning{}, postgres::IdempotencyStore{p}},
            orders};
        CHECK(optimistic.do_in_transaction(OperationId{"a"}, 1, count) == 1);
        CHECK(locking.do_in_transaction(OperationId{"b"}, 1, count) == 2);
        CHECK(idempotent.do_in_transaction(IdempotentRequest("c", Scope("s")), 1, count) == 3);
        CHECK(postgres::Counters{p}.atomic_once(OperationId{"d"}, Key{"n"}, increment(1)).value().value == 1);
    };
    postgres::Pool const other{postgres::Options::parse(url).value()};
    work(pool);
    work(other);
    sql({"CREATE SCHEMA " + role});
    for (auto const* const table : {"_state", "_lock", "_operation", "_idempotency", "_counter", "_once"})
        sql(
            {"CREATE TABLE " + role + "." + role + table + " (LIKE public." + role + table +
             " INCLUDING ALL)"});
    work(pool);
    work(other);
    // Whoever connects now is told.
    postgres::Pool const fresh{postgres::Options::parse(url).value()};
    CHECK(postgres::Counters{fresh}.load(Key{"n"}).errc() == Errc::misconfigured);
}

}  // namespace postgres_foreign_identity_test
