// SPDX-License-Identifier: BSL-1.0

// Shows a reservation in the user's own tables: the product's row is locked and changed, a row of the
// reservations is inserted by a statement of our own, and both commit together or not at all. Sold out is a
// result, not an exception. Needs: a PostgreSQL server, 15 or later, whose URL is the argument; without one
// it says so and does nothing. It makes two tables, products and inventory_reservations, in a schema of its
// own.
// Run with: 10_postgres postgresql://localhost/test

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace il = interlock;
using namespace std::chrono_literals;

// #region product
// A row of the user's own table: the members are its columns.
struct Product {
    std::int64_t id{0};
    std::string name;
    int inventory_count{0};
    std::int64_t version{0};
};
BOOST_DESCRIBE_STRUCT(Product, (), (id, name, inventory_count, version))
// #endregion product

constexpr std::string_view ddl[] = {
    "DROP SCHEMA IF EXISTS interlock_tutorial CASCADE", "CREATE SCHEMA interlock_tutorial",
    "CREATE TABLE interlock_tutorial.products (id bigint PRIMARY KEY, name text NOT NULL,"
    " inventory_count int NOT NULL CHECK (inventory_count >= 0), version bigint NOT NULL)",
    "CREATE TABLE interlock_tutorial.inventory_reservations (id bigserial PRIMARY KEY,"
    " product_id bigint NOT NULL REFERENCES interlock_tutorial.products, quantity int NOT NULL)"};

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("10_postgres: name a server, like postgresql://localhost/test\n");
        return 77;
    }
    il::postgres::Pool const pool{argv[1]};
    // The library's own tables, for locks and records. Here we make them; elsewhere a migration would: see
    // `schema_sql`.
    il::postgres::create_schema(pool).value();
    il::postgres::run_script(pool, ddl).value();

    // #region reservation
    il::postgres::StateRepository<Product> products{
        pool, {.table = "interlock_tutorial.products", .key = "id"}};
    il::TransactionService service{il::PessimisticRowLock{.max_attempts = 5}, products};
    auto const reserve = [&](std::int64_t product, int quantity) {
        return service.do_in_transaction(product, [&](Product& p, il::postgres::Transaction& tx) {
            if (p.inventory_count < quantity)
                return false;  // insufficient inventory
            p.inventory_count -= quantity;
            tx.exec(
                "INSERT INTO interlock_tutorial.inventory_reservations (product_id, quantity) VALUES ($1, "
                "$2)",
                p.id, quantity);
            return true;
        });
    };
    // #endregion reservation

    products.insert(Product{.id = 1, .name = "tea", .inventory_count = 10}).value();
    std::vector<std::thread> buyers;
    for (int i = 0; i < 8; ++i)
        buyers.emplace_back([&] { reserve(1, 3); });  // 24 wanted, 10 there: three get theirs
    for (auto& buyer : buyers)
        buyer.join();
    auto const left = products.load(std::int64_t{1}).value();
    fmt::print("{} of {} left, version {}\n", left.value.inventory_count, left.value.name, left.version);
    return left.value.inventory_count == 1 && left.version == 4 ? 0 : 1;
}
