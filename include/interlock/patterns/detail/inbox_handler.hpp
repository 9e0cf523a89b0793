// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_INBOX_HANDLER_HPP
#define INTERLOCK_PATTERNS_DETAIL_INBOX_HANDLER_HPP

/// @file
/// The handler of an inbox's transaction: it keeps what the call refers to, and has the executor, the
/// allocator and the cancellation slot of the caller's handler.

#include <interlock/core/outcome.hpp>

#include <boost/asio/associator.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Calls `handler` with what the inbox answers: `request.answered(outcome of the transaction)`.
template <class Handler, class R, class Request>
struct InboxHandler {
    Handler handler;
    std::unique_ptr<Request> request;

    void operator()(std::exception_ptr thrown, Outcome<R> done)
    {
        auto outcome = request->answered(std::move(done));
        request.reset();
        std::move(handler)(std::move(thrown), std::move(outcome));
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

/// Executor, allocator and cancellation slot of the caller's handler.
template <
    template <class, class> class Associator, class Handler, class R, class Request, class DefaultCandidate>
struct boost::asio::associator<
    Associator, interlock::detail::InboxHandler<Handler, R, Request>, DefaultCandidate>
    : Associator<Handler, DefaultCandidate> {
    static auto get(interlock::detail::InboxHandler<Handler, R, Request> const& h) noexcept
    {
        return Associator<Handler, DefaultCandidate>::get(h.handler);
    }
    static auto get(
        interlock::detail::InboxHandler<Handler, R, Request> const& h,
        DefaultCandidate const& candidate) noexcept
    {
        return Associator<Handler, DefaultCandidate>::get(h.handler, candidate);
    }
};

#endif  // INTERLOCK_PATTERNS_DETAIL_INBOX_HANDLER_HPP
