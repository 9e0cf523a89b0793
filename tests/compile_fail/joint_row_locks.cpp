// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// Row locks of states in two repositories.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Order {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id))

using Orders = il::memory::StateRepository<Order>;

void use(il::JointRepository<Orders, Orders> const& both)
{
    il::TransactionService service{il::PessimisticRowLock{}, both};
}
