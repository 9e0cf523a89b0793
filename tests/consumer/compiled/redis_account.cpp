// SPDX-License-Identifier: BSL-1.0

// The same server, by way of a URL.
#include <interlock/backends/redis/backend.hpp>
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
    auto const accounts = il::open<Account>("unix:///nowhere/redis.sock", il::redis::unix_backend);
    return accounts.load("ann").errc() == il::Errc::unavailable;
}
