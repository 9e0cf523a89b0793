// SPDX-License-Identifier: BSL-1.0

// There is no server here, and that is what the library says.
#include <interlock/backends/redis/state_repository.hpp>
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
    il::redis::Client const client{"unix:///nowhere/redis.sock"};
    il::TransactionService service{il::SetNxLock{}, il::redis::StateRepository<Stock>{client}};
    auto const left = service.try_do_in_transaction(
        "sku-1", [](Stock& s) { return --s.amount; }, {.deadline = std::chrono::milliseconds{200}});
    return !left && left.effect() == il::Effect::not_applied;
}
