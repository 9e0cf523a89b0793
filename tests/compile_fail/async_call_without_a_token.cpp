// expect: [^_]async_do_in_transaction.*is unavailable: pass a completion token last
// expect: async_try_do_in_transaction.*is unavailable: pass a completion token last
// expect: [^_]async_do_in_transaction.*pass the options in front of the completion token: \(key
// expect: async_try_do_in_transaction.*pass the options in front of the completion token: \(id, key
// expect: [^_]do_in_transaction.*is unavailable: pass nothing but options behind the operation
// expect: try_do_in_transaction.*is unavailable: pass nothing but options behind the operation
// SPDX-License-Identifier: BSL-1.0

// The completion token of an asynchronous call is missing, or its options stand behind it.

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
    service.async_do_in_transaction("a", take);
    service.async_try_do_in_transaction(id, il::keys("a", "b"), move, {.deadline = 1s});
    joint.async_do_in_transaction(il::in(stock, "a"), take, {.deadline = 1s});
    service.async_do_in_transaction("a", take, asio::use_awaitable, {.deadline = 1s});
    service.async_do_in_transaction(il::keys("a", "b"), move, asio::use_awaitable, {.deadline = 1s});
    service.async_try_do_in_transaction(id, "a", take, asio::use_awaitable, {.deadline = 1s});
    service.do_in_transaction("a", take, asio::use_awaitable);
    joint.try_do_in_transaction(il::in(stock, "a"), take, {.deadline = 1s}, asio::use_awaitable);
}
