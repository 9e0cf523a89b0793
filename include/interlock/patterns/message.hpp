// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_MESSAGE_HPP
#define INTERLOCK_PATTERNS_MESSAGE_HPP

/// @file
/// What a consumer needs to know of something that is delivered to it, perhaps more than once: its id, and
/// what is said about why it happened. An `Event` is such a message; one that a broker brings is made into
/// one:
///
///     interlock::Message const message{delivery.message_id()};
///     inbox.handle(message, payment.order, [&](Order& order) { order.paid = true; });

#include <interlock/core/event.hpp>

#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Why something happens that is done because of `event`: the event is its cause, and it belongs to the
/// event's conversation, which begins with the event when the event names none. The trace goes on.
inline Cause because_of(std::string const& id, Cause const& its_own)
{
    return Cause{its_own.correlation.empty() ? id : its_own.correlation, id, its_own.traceparent};
}
inline Cause because_of(Event const& event)
{
    return because_of(event.id, event.because);
}

/// The id of a message, and why it was sent. The id must be the same for all deliveries of one message, and
/// be made by who sends it: the number of a delivery is no id.
class Message {
public:
    /// `its_cause`: what came with the message about why it was sent.
    explicit Message(std::string id, Cause const& its_cause = {})
        : id_(std::move(id)), because_(because_of(id_, its_cause))
    {}
    /// An event is a message.
    Message(Event const& event) : Message(event.id, event.because) {}  // NOLINT: meant to be implicit

    /// By which another delivery of the message is known again.
    std::string const& id() const noexcept { return id_; }
    /// Why that happens which is done because of this message.
    Cause const& because() const noexcept { return because_; }

private:
    std::string id_;
    Cause because_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_MESSAGE_HPP
