// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_AWAITED_HANDLER_HPP
#define INTERLOCK_PATTERNS_DETAIL_AWAITED_HANDLER_HPP

/// @file
/// How a handler that is a coroutine is told from one that is none, by what it returns.

#include <boost/asio/awaitable.hpp>

#include <type_traits>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether a handler is a coroutine, and the executor that it wants.
template <class R>
struct AwaitedHandler : std::false_type {};
template <class R, class Executor>
struct AwaitedHandler<boost::asio::awaitable<R, Executor>> : std::true_type {
    using executor_type = Executor;
    using result_type = R;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_AWAITED_HANDLER_HPP
