// SPDX-License-Identifier: BSL-1.0

// Options that are right, in braces and by a name, under which no call takes itself for a mistaken one.

#include <interlock/interlock.hpp>

#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <chrono>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Patience : il::CallOptions {};

void use(
    il::TransactionServiceFor<il::OptimisticVersioning, il::memory::StateRepository<Stock>> const& service)
{
    il::OperationId const id{"order-17"};
    auto const take = [](Stock& s) { return --s.quantity; };
    service.do_in_transaction("a", take, {});
    service.do_in_transaction(std::string("a"), take, {});
    service.do_in_transaction(std::string("a"), take, {1s});
    service.do_in_transaction(id, "a", take, {});
    service.do_in_transaction(id, "a", take, {1s});
    service.do_in_transaction(id, "a", take, Patience{});
    static_cast<void>(service.try_do_in_transaction("a", take, {{}}));
    static_cast<void>(service.async_do_in_transaction("a", take, {}, boost::asio::use_awaitable));
    static_cast<void>(service.async_do_in_transaction(id, "a", take, {}, boost::asio::use_awaitable));
    static_cast<void>(service.async_do_in_transaction("a", take, {1s}, boost::asio::use_awaitable));
    service.async_do_in_transaction("a", take, [](auto&&...) {});
    service.async_do_in_transaction("a", take, {}, [](auto&&...) {});
    service.do_in_transaction("a", [](auto& s) { s.quantity = 0; });
}
