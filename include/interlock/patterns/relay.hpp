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
#include <interlock/core/outcome.hpp>
#include <interlock/patterns/handling.hpp>
#include <interlock/patterns/subscription.hpp>

#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A subscription whose handler is a sink: `sink(event)`, with what an `EventHandler` may return; a coroutine
/// for `async_run`.
///
/// **Guarantee.** Each event reaches the sink at least once, under the same id each time, and those of one
/// stream in their order, each after the sink has said of the one before it that it is safe. An event that
/// the sink refuses parks its stream, and no other. **Does not guarantee.** That an event is handed on only
/// once: whoever receives it keeps ids in mind, as an `Inbox` does. Order between streams: let the broker's
/// key be the stream. **The rest** is as of `Subscription`. A sink says success only when the broker has the
/// event for good: a message that was merely written to a socket is not safe.
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
            return detail::call_handler(*sink, event, delivery);
        };
    }

    Subscription<Events, Cursors> subscription_;
    std::shared_ptr<Sink> sink_;  // shared by all runs, perhaps side by side
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_RELAY_HPP
