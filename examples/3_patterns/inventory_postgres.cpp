// SPDX-License-Identifier: BSL-1.0

// Shows: POST /reservations of an inventory service. The inventory's row is locked and gets a new version,
// the reservation and the order are rows of the user's own tables, and the event ORDER_CREATED says so: all
// of it is one transaction, once for each request, however often the request comes.
// Needs: a PostgreSQL server, 15 or later, whose URL is the argument; it drops the schema
// interlock_shop, and makes its tables in a new one of that name.
// Run with: inventory_postgres postgresql://localhost/test

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace il = interlock;

struct Inventory {  // a row of interlock_shop.inventory
    std::int64_t product{0};
    int available{0};
    std::int64_t version{0};
};
BOOST_DESCRIBE_STRUCT(Inventory, (), (product, available, version))

struct OrderCreated {
    std::int64_t id{0};
    std::int64_t product{0};
    int quantity{0};
    static constexpr il::EventType event{"ORDER_CREATED", 1};
};
BOOST_DESCRIBE_STRUCT(OrderCreated, (), (id, product, quantity))

struct SoldOut {};

constexpr std::string_view ddl[] = {
    "DROP SCHEMA IF EXISTS interlock_shop CASCADE", "CREATE SCHEMA interlock_shop",
    "CREATE TABLE interlock_shop.inventory"
    " (product bigint PRIMARY KEY, available int NOT NULL, version bigint)",
    "CREATE TABLE interlock_shop.orders"
    " (id bigserial PRIMARY KEY, product bigint NOT NULL, quantity int NOT NULL)",
    "CREATE TABLE interlock_shop.reservations (order_id bigint PRIMARY KEY REFERENCES interlock_shop.orders,"
    " product bigint NOT NULL REFERENCES interlock_shop.inventory, quantity int NOT NULL)"};

using Inventories = il::postgres::StateRepository<Inventory>;
using Service = il::TransactionService<Inventory, il::PessimisticRowLock, Inventories>;

// #region reserve
/// POST /reservations: the number of the order. `request` is the same however often the request is sent.
std::int64_t reserve(Service const& service, il::OperationId const& request, int product, int quantity)
{
    auto const operation = [&](Inventory& inventory, il::postgres::Transaction& tx, il::Recorder& record) {
        auto const insert =
            "INSERT INTO interlock_shop.orders (product, quantity) VALUES ($1, $2) RETURNING id";
        auto const order = tx.exec(insert, product, quantity).value<std::int64_t>();
        tx.exec("INSERT INTO interlock_shop.reservations VALUES ($1, $2, $3)", order, product, quantity);
        record(OrderCreated{order, product, quantity});
        inventory.available -= quantity;
        if (inventory.available < 0)
            throw SoldOut{};  // and nothing of the above has ever been
        return order;
    };
    return service.do_in_transaction(request, product, operation);
}
// #endregion reserve

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("inventory_postgres: name a server, like postgresql://localhost/test\n");
        return 77;
    }
    il::postgres::Pool const pool{argv[1]};
    il::postgres::create_schema(pool).value();  // the library's own tables, for the operation ids
    il::postgres::run_script(pool, ddl).value();
    il::postgres::EventRepository const events{pool, {.table = "interlock_shop.events"}};
    events.create_schema().value();
    Inventories const inventory{
        pool, {.table = "interlock_shop.inventory", .key = "product", .events = events}};
    Service const service{il::PessimisticRowLock{}, inventory};
    inventory.insert({.product = 1, .available = 5}).value();

    auto const id = fmt::format("{:016x}", il::SystemRuntime::random_bits());
    auto const first = reserve(service, il::OperationId{id + "-1"}, 1, 3);
    auto const again = reserve(service, il::OperationId{id + "-1"}, 1, 3);  // sent twice: the same order
    try {
        reserve(service, il::OperationId{id + "-2"}, 1, 3);
    } catch (SoldOut) {
        fmt::print("sold out\n");
    }
    auto const count =
        "SELECT (SELECT count(*) FROM interlock_shop.orders),"
        " (SELECT count(*) FROM interlock_shop.reservations)";
    bool const one_each = service.do_in_transaction(1, [&](Inventory&, il::postgres::Transaction& tx) {
        auto const rows = tx.exec(count);
        return rows.get<int>(0, 0) == 1 && rows.get<int>(0, 1) == 1;
    });
    auto const left = inventory.load(std::int64_t{1}).value().value;
    auto const said = events.read(0, 0).value().events;
    fmt::print("orders {} and {}; {} left, version {}\n", first, again, left.available, left.version);
    return one_each && said.size() == 1 && first == again && left.available == 2 ? 0 : 1;
}
