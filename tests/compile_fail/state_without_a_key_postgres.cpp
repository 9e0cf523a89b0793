// expect: this state has no key: describe it
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A struct that was not described has no key, and none was named.

#include <interlock/backends/postgres/state_repository.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};

void use(il::postgres::Pool const& pool)
{
    il::postgres::StateRepository<Stock> stock{pool, {.table = "stock", .key = "sku"}};
}
