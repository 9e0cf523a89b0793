// SPDX-License-Identifier: BSL-1.0

// This is no contestant: it measures what co_spawn itself keeps for a suspended coroutine, which is then
// subtracted.

#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

namespace {

std::size_t parked_count = 0;
double parked_bytes = 0;

/// An operation that keeps its handler and nothing else, for ever.
template <class CompletionToken>
auto async_park(std::size_t room, CompletionToken&& token)
{
    return asio::async_initiate<CompletionToken, void()>(
        [](auto handler, std::size_t capacity) {
            static std::vector<decltype(handler)> parked;
            if (parked.capacity() < capacity) {
                parked.reserve(capacity);
                parked_bytes = static_cast<double>(capacity * sizeof handler);
            }
            parked.push_back(std::move(handler));
            ++parked_count;
        },
        token, room);
}

asio::awaitable<void> wait_for_ever(std::size_t room)
{
    co_await async_park(room, asio::use_awaitable);
}

}  // namespace

double awaitable_bytes(std::size_t coroutines)
{
    return frame_bytes(coroutines, [] { return async_park(0, asio::use_awaitable); });
}

double spawn_bytes(std::size_t coroutines)
{
    static asio::io_context context{1};  // never destroyed, and the coroutines in it neither
    auto const user = frame_bytes(coroutines, [=] { return wait_for_ever(coroutines); });
    auto const around = frame_bytes(coroutines, [=] { return async_park(coroutines, asio::use_awaitable); });
    auto const before = bytes_in_use();
    for (std::size_t i = 0; i < coroutines; ++i)
        asio::co_spawn(context, wait_for_ever(coroutines), asio::detached);
    while (parked_count < coroutines)
        context.poll();
    return (bytes_in_use() - before - parked_bytes) / static_cast<double>(coroutines) - user - around;
}
