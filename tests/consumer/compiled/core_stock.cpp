// SPDX-License-Identifier: BSL-1.0

// The store of the process, by a policy that needs a lock: the clock and the alarms of the compiled part run.
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include "compiled/units.hpp"

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
    il::memory::StateRepository<Stock> const stock;
    stock.insert({"sku-1", 2}).value();
    il::TransactionService service{il::SetNxLock{}, stock};
    return service.do_in_transaction("sku-1", [](Stock& s) { return --s.amount; }) == 1;
}
