// expect: name it first
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A lambda that owns a vector, written in place inside a co_await expression: g++ 12 destroys it twice.

#include "unnamed.hpp"

boost::asio::awaitable<void> use(Service const& service, std::shared_ptr<int> three)
{
    co_await service.async_do_in_transaction(
        "sku-1", [v = std::vector<int>(100, 1)](Stock& s) { s.quantity -= v[0]; },
        boost::asio::use_awaitable);
}
