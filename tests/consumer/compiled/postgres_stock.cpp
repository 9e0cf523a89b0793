// SPDX-License-Identifier: BSL-1.0

// There is no server here, and that is what the library says.
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include "compiled/units.hpp"

#include <chrono>
#include <string>

namespace il = interlock;

namespace {

struct Stock {
    std::string id;
    int amount{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (id, amount))

}  // namespace

bool sell()
{
    il::postgres::Pool const pool{"postgresql:///none?host=/nowhere"};
    il::TransactionService service{il::PessimisticRowLock{}, il::postgres::StateRepository<Stock>{pool}};
    auto const left = service.try_do_in_transaction(
        "sku-1", [](Stock& s) { return --s.amount; }, {.deadline = std::chrono::milliseconds{200}});
    return !left && left.effect() == il::Effect::not_applied;
}
