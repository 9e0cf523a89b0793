// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_VERB_OPERATION_HPP
#define INTERLOCK_CORE_KIT_VERB_OPERATION_HPP

/// @file
/// The one mechanism behind all asynchronous twins of a store's members: a verb is carried out for a caller
/// that must not block. Where the store starts calls, no thread is occupied; where the store answers in
/// place, the verb is carried out at once; else it blocks a thread of the runtime's pool, not the caller's.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/async_result.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Carries the verb of `request` out, blocking; a request that has a way of its own says so by `ask`.
template <class R, class Request>
auto ask_store(R const& repository, Request const& request, Deadline deadline)
{
    if constexpr (requires { request.ask(repository, deadline); })
        return request.ask(repository, deadline);
    else
        return repository.carry_out(request.verb(), deadline);
}

/// Carries `request` out for `token`, whose signature is `void(Outcome<answer>)`. `request` owns what its
/// verb refers to, for as long as the call lasts: `request.verb()` makes the verb.
///
/// **Completion.** Once, on the handler's associated executor, never from within this call. The outcome is
/// that of the blocking member, its words included.
/// **Cancellation.** Before the call has begun: `cancelled`, nothing was sent. Afterwards a call that reads
/// is given up and is `cancelled`, if the store starts calls; everything else ends with the store's outcome.
/// **Deadline.** Counted from this call; waiting for a thread counts.
template <class R, class Request, class Token>
auto async_carry_out(R const& repository, Request request, Deadline deadline, Token& token);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/verb_operation.ipp>

#endif  // INTERLOCK_CORE_KIT_VERB_OPERATION_HPP
