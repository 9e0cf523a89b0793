// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// Row locks of states in two repositories of a store that has none.

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Order {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id))

using Orders = il::redis::StateRepository<Order>;

void use(il::JointRepository<Orders, Orders> const& both)
{
    il::TransactionService service{il::PessimisticRowLock{}, both};
}
