// expect: joint_store
// SPDX-License-Identifier: BSL-1.0

// States of two types together, where one of the repositories does not know how: its store is chosen at run
// time.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Order {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id))

void use(il::memory::StateRepository<Order> const& orders, il::StateRepository<Order> const& others)
{
    il::JointRepository both{orders, others};
}
