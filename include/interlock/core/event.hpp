// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_EVENT_HPP
#define INTERLOCK_CORE_EVENT_HPP

/// @file
/// What happened, as a value that is stored in the same commit as the change that made it happen. An
/// operation that takes a `Recorder` behind its state says what happened; a repository that was given an
/// event repository keeps what was said.
///
///     struct Sold {
///         std::string sku;
///         int quantity = 0;
///         static constexpr interlock::EventType event{"stock.sold", 1};
///     };
///     BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))
///
///     service.do_in_transaction("sku-1", [](Stock& stock, interlock::Recorder& record) {
///         --stock.quantity;
///         record(Sold{stock.sku, 1});  // stored with the change, or not at all
///     });

#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// The place of an event in its partition of the log. Positions grow in the order of the log, and some
/// numbers may be missing. 0 is the place before the first event.
using Position = std::int64_t;

namespace detail {

/// Whether other programs can know an event by this name: 1 to 128 of the characters a to z, A to Z, 0 to 9,
/// dot, dash and underscore. Names that differ in capitals are two names.
constexpr bool is_event_name(std::string_view name) noexcept
{
    if (name.empty() || name.size() > 128)
        return false;
    for (char const c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '-' || c == '_'))
            return false;
    return true;
}

}  // namespace detail

/// The name under which all programs know a kind of event, and the version of its shape, 1 or more. Members
/// that are added with a default need no new version; see `patterns/contract.hpp`.
struct EventType {
    std::string_view name;
    int version{1};
    constexpr bool valid() const noexcept { return detail::is_event_name(name) && version >= 1; }
};

/// A user's own struct that says what happened, stored like a state, with its name and version beside it:
/// `static constexpr EventType event{"stock.sold", 1}`. A struct without a name, or with a name that other
/// programs could not write, is no fact, and does not compile where a fact is asked for.
template <class F>
concept Fact = StorableState<F> && std::copyable<F> && requires {
    { F::event } -> std::convertible_to<EventType>;
    requires EventType { F::event }
    .valid();
};

/// Why an event happened. The library hands it on: an event that a handler records while it handles another
/// event has that event's `correlation`, and its id as `cause`.
struct Cause {
    std::string correlation;  ///< the conversation that the event belongs to: an order, a request
    std::string cause;        ///< the id of the request or event that made it happen
    std::string traceparent;  ///< the W3C trace context, as it came in

    friend bool operator==(Cause const&, Cause const&) = default;
};

/// An event that is to be stored. The store adds its place: see `Event`.
struct NewEvent {
    /// The same text for all deliveries of one event, and another one for every other event. Empty: the
    /// policy that commits the event, or `append`, makes 32 hexadecimal digits: 12 of how long the machine
    /// has run, and 20 random ones.
    std::string id;
    std::string type;  ///< see `EventType::name`
    int version{1};    ///< see `EventType::version`
    std::string data;  ///< the fact as `StateTraits` encodes it, or any bytes
    Cause because;
    std::size_t state{0};  ///< in a call on several states: to which of them it belongs
};

/// An event as it is stored and read.
struct Event {
    std::string id;          ///< the same, however often the event is delivered
    Key stream;              ///< whose event it is: the key of the state
    std::int64_t number{0};  ///< in its stream: 1, 2, 3, in the order of the commits, none missing
    unsigned partition{0};   ///< the part of the log that its stream belongs to
    Position position{0};    ///< in that partition
    std::string type;
    int version{1};
    std::string data;
    Cause because;
    std::string writer;  ///< what the event repository that stored it calls itself, see its options
    /// When it was stored, by the store's clock; the epoch where the store has no clock that people read, as
    /// memory. It orders nothing.
    std::chrono::sys_time<std::chrono::microseconds> recorded_at{};

    /// Whether it is an event of the name of `F`, of whatever version.
    template <Fact F>
    bool is() const noexcept
    {
        return type == EventType{F::event}.name;
    }
    /// The fact. Nothing: it is another fact, of another version, or its bytes are damaged.
    template <Fact F>
    std::optional<F> as() const
    {
        if (!is<F>() || version != EventType{F::event}.version)
            return std::nullopt;
        return StateTraits<F>::decode(data);
    }
};

/// `fact` as an event that is to be stored.
template <Fact F>
NewEvent new_event(F const& fact, Cause because = {})
{
    NewEvent event;
    event.type = EventType{F::event}.name;
    event.version = EventType{F::event}.version;
    event.because = std::move(because);
    StateTraits<F>::encode(fact, event.data);
    return event;
}

/// The bounds of one event, which are its data with its cause, and its id; and of one commit (law P10).
inline constexpr std::size_t max_event_bytes = std::size_t{1} << 20;
inline constexpr std::size_t max_event_id_bytes = 1024;
inline constexpr std::size_t max_events_of_commit = 1000;

/// Success, or `invalid_argument` with a text that names what is wrong: the name, the version, the id or the
/// size of one of `events`, or their number.
inline Outcome<void> validate(std::span<NewEvent const> events)
{
    if (events.size() > max_events_of_commit)
        return Failure{
            Errc::invalid_argument, "one commit stores at most " + std::to_string(max_events_of_commit) +
                                        " events, and these are " + std::to_string(events.size())};
    for (auto const& event : events) {
        if (!EventType{event.type, event.version}.valid())
            return Failure{
                Errc::invalid_argument,
                "no event can be called '" + std::string(detail::beginning_of(event.type, 128)) +
                    "', version " + std::to_string(event.version) +
                    ": a name has 1 to 128 of a-z A-Z 0-9 . - _, a version is 1 or more"};
        if (event.id.size() > max_event_id_bytes)
            return Failure{
                Errc::invalid_argument, "the id of an event '" + event.type + "' has " +
                                            std::to_string(event.id.size()) + " bytes, the limit is " +
                                            std::to_string(max_event_id_bytes)};
        // An id is no part of this: it would make a difference whether one was drawn already.
        auto const size = event.data.size() + event.because.correlation.size() + event.because.cause.size() +
                          event.because.traceparent.size();
        if (size > max_event_bytes)
            return Failure{
                Errc::invalid_argument, "an event '" + event.type + "' of " + std::to_string(size) +
                                            " bytes is larger than " + std::to_string(max_event_bytes)};
    }
    return success();
}

/// What an operation says that happened: `[](Stock& s, Recorder& record) { --s.quantity; record(Sold{...});
/// }`.
///
/// **Guarantee.** What was recorded by the run of the operation that was committed is in the log, once, in
/// the order in which it was recorded, in the same commit as the change. After a throw, a conflict or a
/// rollback nothing of it is there. With an operation id that was used before nothing is recorded again. An
/// operation that records and changes nothing is committed, too. **Failures.** More than
/// `max_events_of_commit` events, or one of more than `max_event_bytes`, end the call as
/// `invalid_argument`, a repository without an event repository as `misconfigured`; nothing is written
/// then. **Lifetimes and thread safety.** As `TransactionContext`. **Cost.** A fact is encoded when it is
/// recorded; no trip of its own.
class Recorder {
public:
    /// For drivers, and for tests of an operation: `because` must outlive it, or is null.
    explicit Recorder(Cause const* because = nullptr) noexcept : because_(because) {}

    /// Records that `fact` happened to the state that the call names first.
    template <Fact F>
    void operator()(F const& fact)
    {
        add(new_event(fact), 0);
    }
    /// Records that `fact` happened to the call's `i`th state, counted from 0 in the order of the call.
    template <Fact F>
    void operator()(F const& fact, std::size_t i)
    {
        add(new_event(fact), i);
    }
    /// A mistake, told at its line.
    template <class F>
        requires(!Fact<F>)
    INTERLOCK_WRITE_INSTEAD(
        "record a fact: a struct that can be stored, with the name that other programs know it by, of a-z "
        "A-Z 0-9 . - _, and its version: static constexpr interlock::EventType event{\"stock.sold\", 1}")
    void
    operator()(F const&, std::size_t = 0);

    /// Why what is recorded from now on happened, in place of what the call says by `CallOptions::cause`.
    void because(Cause cause) { own_ = std::move(cause); }

    /// What was recorded so far, in its order.
    std::span<NewEvent const> events() const noexcept { return events_; }
    /// Whether nothing was recorded so far.
    bool empty() const noexcept { return events_.empty(); }

private:
    friend class ContextAccess;

    void add(NewEvent event, std::size_t state)
    {
        event.state = state;
        if (own_)
            event.because = *own_;
        else if (because_ != nullptr)
            event.because = *because_;
        events_.push_back(std::move(event));
    }

    std::vector<NewEvent> events_;
    std::optional<Cause> own_;
    Cause const* because_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_EVENT_HPP
