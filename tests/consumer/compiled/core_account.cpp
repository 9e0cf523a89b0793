// SPDX-License-Identifier: BSL-1.0

// The policy and the store are chosen when the program runs.
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include "compiled/units.hpp"

#include <string>

namespace il = interlock;

namespace {

struct Account {
    std::string id;
    int amount{0};
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, amount))

}  // namespace

bool pay()
{
    il::StateRepository<Account> const accounts = il::open<Account>("memory:", il::memory::backend);
    accounts.insert({"ann", 2}).value();
    il::TransactionService<Account> service{il::OptimisticVersioning{}, accounts};
    return service.do_in_transaction("ann", [](Account& a) { return --a.amount; }) == 1;
}
