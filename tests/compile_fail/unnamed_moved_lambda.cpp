// expect: name it first
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A named lambda, moved: an rvalue as well, and refused with the rest inside a co_await expression: g++ 12
// destroys it twice.

#include "unnamed.hpp"

boost::asio::awaitable<void> use(Service const& service, std::shared_ptr<int> three)
{
    auto take = [three](Stock& s) { s.quantity -= *three; };
    co_await service.async_do_in_transaction("sku-1", std::move(take), boost::asio::use_awaitable);
}
