// expect: [^_]do_in_transaction.*is unavailable: name the state behind the operation id
// expect: try_do_in_transaction.*is unavailable: name the state behind the operation id
// expect: async_do_in_transaction.*is unavailable: name the state behind the operation id
// expect: [^_]do_in_transaction.*is unavailable: make the id an OperationId, in front of the key
// expect: try_do_in_transaction.*is unavailable: make the id an OperationId, in front of the key
// expect: async_do_in_transaction.*is unavailable: make the id an OperationId, in front of the key
// expect: [^_]do_in_transaction.*is unavailable: name several states by keys
// expect: [^_]do_in_transaction.*is unavailable: pass an operation behind the key
// expect: [^_]do_in_transaction.*is unavailable: name the state first
// SPDX-License-Identifier: BSL-1.0

// The key of a call with an id is missing, or the id is a text, or there are two keys and no keys(...).

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
    service.do_in_transaction(il::OperationId{"a"}, take);
    service.try_do_in_transaction(id, take, {.deadline = 1s});
    service.async_do_in_transaction(id, take, asio::use_awaitable);
    service.do_in_transaction("a", "order-17", take);
    service.try_do_in_transaction("order-17", il::keys("a", "b"), move, {.deadline = 1s});
    joint.async_do_in_transaction(il::in(stock, "a"), std::string("order-17"), take, asio::use_awaitable);
    service.do_in_transaction("a", "b", move);
    service.do_in_transaction("a");
    service.do_in_transaction(take);
}
