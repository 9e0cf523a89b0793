// SPDX-License-Identifier: BSL-1.0

#include "services.hpp"

Cost set_nx_lock(std::size_t waiters, Style style)
{
    Counters repository;
    std::string const name = "hits";
    static_cast<void>(repository.insert(Counter{name, 0}).value());
    interlock::LockStateService const locks{repository};
    interlock::TransactionService const service{interlock::SetNxLock{}, locks};
    auto held = locks.acquire(name);
    return weigh_service(
        waiters, style, service, name, [&] { return locks.waiter_count(); },
        [&] { static_cast<void>(locks.release(held)); });
}
