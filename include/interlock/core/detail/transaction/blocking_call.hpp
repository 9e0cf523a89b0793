// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_BLOCKING_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_BLOCKING_CALL_HPP

/// @file
/// The driver of a blocking call of do_in_transaction: the calling thread does all of it.

#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/call_core.hpp>
#include <interlock/core/detail/transaction/policy_call.hpp>
#include <interlock/core/detail/transaction/transaction_call.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <stop_token>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The sleep between two attempts. A stop ends it, unless it is the end of a commit that is being found out.
template <class R>
void sleep_blocking(CallCore& call, BlockingWaiter<R>& waiter, R const& runtime, std::stop_token const& stop)
{
    auto const until = call.machine().wake_at();
    if (!stop.stop_possible() || !call.machine().may_wake_early())
        return static_cast<void>(runtime.sleep_until(until));
    while (runtime.now() < until && !stop.stop_requested())
        waiter.wait_until(until);
}

/// What is left of a blocking call when it did not go straight to its end: `action` is next. `waits`: it was
/// begun, and is not done yet.
template <class Session, std::size_t N, Form Shape, Once Mode, class R>
[[gnu::noinline]] void drive_on(
    PolicyCall<Session, N, Shape, Mode>& call, Action action, bool waits, BlockingWaiter<R>& waiter,
    R const& runtime, std::stop_token const& stop)
{
    auto const stopped = [&] {
        if (!stop.stop_requested())
            return false;
        call.machine().cancel();
        return true;
    };
    while (action != Action::finish) {
        if (action == Action::run) {
            call.run();
        } else if (action == Action::sleep) {
            sleep_blocking(call, waiter, runtime, stop);
        } else if (std::exchange(waits, false) || !call.perform(action, waiter)) {
            if (action != Action::begin) {  // what has run is not given up
                waiter.wait_until(call.wake_at());
                continue;
            }
            waiter.wait_until(std::min(call.wake_at(), call.deadline()));
            if (stopped())
                action = call.expire(Errc::cancelled);
            else if (runtime.now() >= call.deadline())
                action = call.expire(Errc::deadline_exceeded);
            continue;
        }
        stopped();
        action = call.feed(action);
    }
}

/// Makes a call on this thread, to its end. Rethrows what the operation threw.
template <Once Mode, class Session, class T, std::size_t N, bool Named, class F>
auto call_blocking(
    Session const& session, CallTarget<T, N, Named> const& target, F& operation, CallTerms terms,
    CallOptions const& options)
{
    using R = typename Session::repository_type::runtime_type;
    auto const& runtime = session.repository().runtime();
    auto const stop = options.stop.token();
    BlockingWaiter<R> waiter{runtime};
    terms.outer = options.within.get() != nullptr ? options.within.get() : current_context;
    terms.cause = options.cause;
    terms.name = options.name;
    terms.deadline = options.deadline;
    terms.stopped = stop.stop_requested();
    terms.now = runtime.now();
    CallCore::Told told;
    TransactionCall<Session, N, F, Mode> call{session, target.keys, target.named(), operation, terms};
    WakeOnStop const wakes{stop, waiter};
    Action action = call.start(&told);
    ObservedScope const observed{call.observed()};
    // The way of nearly all calls, laid out straight: nobody else is there, nothing fails.
    bool waits = false;
    if (action == Action::begin) {
        waits = !call.begin(waiter);
        if (!waits && (action = call.began()) == Action::run) {
            call.run();
            if (stop.stop_requested())
                call.machine().cancel();
            if ((action = call.ran()) == Action::commit) {
                waits = !call.commit(waiter);
                if (!waits)
                    action = call.committed();
            }
        }
    }
    if (action != Action::finish)
        drive_on(call, action, waits, waiter, runtime, stop);
    auto outcome = call.outcome();
    if (call.threw())
        std::rethrow_exception(call.exception());
    return outcome;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_BLOCKING_CALL_HPP
