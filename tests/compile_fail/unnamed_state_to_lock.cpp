// expect: name it first
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A state written in place inside a co_await expression: g++ 12 destroys it twice.

#include "unnamed.hpp"

boost::asio::awaitable<void> use(Locks const& locks, std::shared_ptr<int> three)
{
    co_await locks.async_acquire(Stock{"sku-1", *three}, boost::asio::use_awaitable);
}
