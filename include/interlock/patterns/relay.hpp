// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_RELAY_HPP
#define INTERLOCK_PATTERNS_RELAY_HPP

/// @file
/// Hands the events of a log on to somebody else: a message broker, a web hook, another log. What is handed
/// on was committed with the change that it tells of, and what was committed is handed on.
///
///     interlock::Relay const relay{events, cursors, "broker", [&](interlock::Event const& event) {
///         return publish(event.stream, event.id, event.data);  // an Outcome<void>
///     }};
///     relay.run(stop);

#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/patterns/handling.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// Whether a sink that failed so was kept from sending, and has nothing to say about the event. Why something
/// is unknown may be the event's fault, as when a script of the broker refuses it.
constexpr bool is_trouble_on_the_way(Errc code, Errc cause) noexcept
{
    switch (code) {
    case Errc::deadline_exceeded:
    case Errc::overloaded: return true;
    case Errc::outcome_unknown: return !needs_a_person(cause);
    default: return false;
    }
}

/// What a sink answered, as the subscription is to take it: trouble on the way does not count as an attempt.
template <class R>
R answer_of_sink(R answer)
{
    if constexpr (is_outcome<R>) {
        if (!answer && is_trouble_on_the_way(answer.errc(), answer.cause()))
            return Failure{Errc::unavailable, answer.message()};
    }
    return answer;
}
/// The same of what it threw: to be called while that is handled.
[[noreturn]] inline void throw_answer_of_sink(Error const& error)
{
    if (is_trouble_on_the_way(error.errc(), error.cause()))
        throw Error{Errc::unavailable, error.message()};
    throw;
}

template <class R, class Executor>
boost::asio::awaitable<R, Executor> answer_of_sink(boost::asio::awaitable<R, Executor> answer)
{
    try {
        if constexpr (std::is_void_v<R>) {
            co_await std::move(answer);
        } else {
            R result = co_await std::move(answer);
            co_return answer_of_sink(std::move(result));
        }
    } catch (Error const& error) {
        throw_answer_of_sink(error);
    }
}

}  // namespace detail

/// A subscription whose handler is a sink: `sink(event)`, with what an `EventHandler` may return; a coroutine
/// for `async_run`.
///
/// **Guarantee.** Each event reaches the sink at least once, under the same id each time, and those of one
/// stream in their order, each after the sink has said of the one before it that it is safe. An event that
/// the sink refuses parks its stream, and no other. A broker that cannot be reached parks nothing: when the
/// sink fails with `unavailable`, `deadline_exceeded`, `overloaded` or `outcome_unknown`, the event is sent
/// again, under the same id, for as long as it takes; an `outcome_unknown` whose `cause()` is that the broker
/// refuses the event counts as a refusal. **Does not guarantee.** That an event is handed on only once:
/// whoever receives it keeps ids in mind, as an `Inbox` does. Order between streams: let the broker's key be
/// the stream. **The rest** is as of `Subscription`. A sink says success only when the broker has the event
/// for good: a message that was merely written to a socket is not safe. Give it a deadline that is shorter
/// than `SubscriptionOptions::event_deadline`: an attempt that is ended from outside counts as one.
template <class Events, class Cursors, class Sink>
class Relay {
public:
    /// Asks no store anything yet. `name`: that of the subscription.
    Relay(Events events, Cursors cursors, std::string name, Sink sink, SubscriptionOptions options = {})
        : subscription_(std::move(events), std::move(cursors), std::move(name), options),
          sink_(std::make_shared<Sink>(std::move(sink)))
    {}

    /// What reads for it: for `parked`, `resume`, `lag` and so on.
    Subscription<Events, Cursors> const& subscription() const noexcept { return subscription_; }

    /// Hands events on, on the calling thread, until a stop is requested: see `Subscription::run`.
    Outcome<void> run(std::stop_token stop) const { return subscription_.run(sink(), std::move(stop)); }
    /// Until nothing is left: see `Subscription::drain`.
    Outcome<std::size_t> drain(Deadline deadline = {}) const { return subscription_.drain(sink(), deadline); }
    /// Without blocking: see `Subscription::async_run`.
    template <class CompletionToken>
    auto async_run(StopSignal stop, CompletionToken&& token) const
    {
        auto const handler = sink();
        return subscription_.async_run(handler, stop, std::forward<CompletionToken>(token));
    }

private:
    auto sink() const
    {
        return [sink = sink_](Event const& event, Delivery const& delivery) {
            using Answer = decltype(detail::call_handler(*sink, event, delivery));
            try {
                if constexpr (std::is_void_v<Answer>)
                    detail::call_handler(*sink, event, delivery);
                else
                    return detail::answer_of_sink(detail::call_handler(*sink, event, delivery));
            } catch (Error const& error) {
                detail::throw_answer_of_sink(error);
            }
        };
    }

    Subscription<Events, Cursors> subscription_;
    std::shared_ptr<Sink> sink_;  // shared by all runs, perhaps side by side
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_RELAY_HPP
