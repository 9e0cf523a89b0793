// SPDX-License-Identifier: BSL-1.0

// Callers that wait for the lock itself, without a transaction around it.

#include "services.hpp"

namespace {

using Locks = interlock::LockStateService<Counter, Counters, interlock::Assurance::fenced>;
constexpr interlock::AcquireOptions patiently{.deadline = std::chrono::minutes{10}};

asio::awaitable<void> hold_once(Locks const& locks, std::string const& key, std::size_t& done)
{
    auto lock = co_await locks.async_acquire(key, patiently, asio::use_awaitable);
    ++done;
    static_cast<void>(locks.release(lock));
}

}  // namespace

Cost lock_state_service(std::size_t waiters, Style style)
{
    std::string const key = "hits";
    Locks const locks{Counters{}};
    auto held = locks.acquire(key);
    std::size_t done = 0;
    asio::io_context context{1};
    return weigh_and_time(
        context, waiters, style, [&] { return hold_once(locks, key, done); },
        [&] {
            locks.async_acquire(
                key, patiently,
                asio::bind_executor(context, [&](boost::system::error_code error, Locks::lock_type lock) {
                    if (!error)
                        ++done;
                    static_cast<void>(locks.release(lock));
                }));
        },
        [&] { return locks.waiter_count(); }, [&] { static_cast<void>(locks.release(held)); },
        [&] { return done; });
}
