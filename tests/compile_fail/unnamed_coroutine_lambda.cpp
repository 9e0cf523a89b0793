// expect: name it first
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A capturing coroutine written in place inside a co_await expression: g++ 12 destroys it twice.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if !defined(__GNUC__) || __GNUC__ != 12 || defined(__clang__)
#error this compiler gets it right and the library accepts it; under g++ 12 it says: name it first
#endif

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

boost::asio::awaitable<void> use(
    il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
        service,
    il::LockStateService<Stock, il::memory::StateRepository<Stock>> const& locks, std::shared_ptr<int> three)
{
    static_cast<void>(locks);
    co_await service.async_do_in_transaction(
        "sku-1",
        [three](Stock& s) -> boost::asio::awaitable<void> {
            s.quantity -= *three;
            co_return;
        },
        boost::asio::use_awaitable);
}
