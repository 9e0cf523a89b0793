// expect: [^_]do_in_transaction.*is unavailable: name the deadline, by which the call ends
// expect: [^_]do_in_transaction.*is unavailable: give the number of attempts to the policy
// expect: try_do_in_transaction.*is unavailable: give the number of attempts to the policy
// expect: [^_]async_do_in_transaction.*is unavailable: give a lock's lease to the policy
// expect: async_try_do_in_transaction.*is unavailable: give the number of attempts to the policy
// SPDX-License-Identifier: BSL-1.0

// Options in braces by the names that other libraries have for them.

#include <interlock/interlock.hpp>

#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <chrono>
#include <string>

namespace il = interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

using Stocks = il::memory::StateRepository<Stock>;

void use(
    il::TransactionServiceFor<il::OptimisticVersioning, Stocks> const& service,
    il::TransactionServiceFor<il::OptimisticVersioning, il::JointRepository<Stocks, Stocks>> const& joint,
    Stocks const& stock)
{
    auto const take = [](Stock& s) { return --s.quantity; };
    auto const move = [](Stock& from, Stock& to) { to.quantity += from.quantity; };
    il::OperationId const id{"order-17"};
    service.do_in_transaction("a", take, {.timeout = 1s});
    service.do_in_transaction(id, "a", take, {.retries = 3});
    service.try_do_in_transaction(il::keys("a", "b"), move, {.max_attempts = 3});
    service.async_do_in_transaction("a", take, {.ttl = 1s}, asio::use_awaitable);
    joint.async_try_do_in_transaction(il::in(stock, "a"), take, {.attempts = 3}, asio::use_awaitable);
}
