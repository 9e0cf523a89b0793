// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_WAITERS_SERVICES_HPP
#define INTERLOCK_BENCHMARKS_WAITERS_SERVICES_HPP

#include <interlock/interlock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

#include <exception>

using Counters = interlock::memory::StateRepository<Counter>;

inline void increment(Counter& counter)
{
    ++counter.count;
}

/// The whole queue has to pass before it.
inline constexpr interlock::CallOptions patient{.deadline = std::chrono::minutes{10}};

template <class Service>
asio::awaitable<void> increment_once(Service const& service, std::string const& key)
{
    co_await service.async_do_in_transaction(key, increment, patient, asio::use_awaitable);
}

/// A transaction service whose key somebody else has, until `release()`.
template <class Service, class Waiting, class Release>
Cost weigh_service(
    std::size_t waiters, Style style, Service const& service, std::string const& key, Waiting waiting,
    Release release)
{
    asio::io_context context{1};
    return weigh_and_time(
        context, waiters, style, [&] { return increment_once(service, key); },
        [&] {
            service.async_do_in_transaction(
                key, increment, patient, asio::bind_executor(context, [](std::exception_ptr exception) {
                    if (exception)
                        std::rethrow_exception(exception);
                }));
        },
        waiting, release,
        [&] { return static_cast<std::size_t>(service.repository().load(key).value().value.count); });
}

#endif  // INTERLOCK_BENCHMARKS_WAITERS_SERVICES_HPP
