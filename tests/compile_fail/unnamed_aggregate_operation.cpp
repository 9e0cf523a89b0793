// expect: name it first
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// An aggregate as operation, written in place inside a co_await expression: g++ 12 destroys it twice.

#include "unnamed.hpp"

struct Take {
    std::shared_ptr<int> three;
    void operator()(Stock& s) const { s.quantity -= *three; }
};

boost::asio::awaitable<void> use(Service const& service, std::shared_ptr<int> three)
{
    co_await service.async_do_in_transaction("sku-1", Take{three}, boost::asio::use_awaitable);
}
