// SPDX-License-Identifier: BSL-1.0

// Porting, the side of after: for_update_before_postgres.cpp with the library, on the same kind of table. The
// row is locked, read and written in two trips; failures are told apart; a lost COMMIT is looked into.
// Needs: a PostgreSQL server, whose URL is the argument.
// Run with: for_update_after_postgres postgresql://localhost/shop

#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <string>
#include <string_view>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("for_update_after_postgres: name a server, like postgresql://localhost/shop\n");
        return 77;
    }
    il::postgres::Pool const pool{argv[1]};
    il::postgres::create_schema(pool).value();  // for operation ids
    constexpr std::string_view ddl[] = {
        "CREATE TABLE IF NOT EXISTS porting_after("
        "sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL)"};
    il::postgres::run_script(pool, ddl).value();
    il::postgres::StateRepository<Stock> const stock{pool, {.table = "porting_after", .key = "sku"}};
    static_cast<void>(stock.insert({"sku-1", 10}));  // unless it is there

    il::TransactionService const service{il::PessimisticRowLock{}, stock};
    // The id makes a call whose COMMIT got no answer definite: it is looked up, and not made twice.
    il::OperationId const order{"order-4711"};
    auto const left = service.do_in_transaction(order, "sku-1", [](Stock& s) { return s.quantity -= 3; });
    fmt::print("{} left\n", left);
}
