// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_EVENT_MEMBERS_HPP
#define INTERLOCK_CORE_KIT_EVENT_MEMBERS_HPP

/// @file
/// For authors of an event repository: the members that users call, made from the verbs of
/// `contracts/event_repository.hpp`. A store writes the verbs and inherits the rest:
///
///     class EventRepository : public EventMembers<EventRepository> {
///     public:
///         Outcome<EventPage> carry_out(verb::ReadEvents const& read, Deadline deadline) const;
///         ...
///     };
///     // events.read(partition, after), events.append(...) and their twins are there now

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/kit/verb_operation.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/async_result.hpp>

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

namespace detail {

// What an asynchronous twin keeps until its call has ended.

struct ReadEventsRequest {
    unsigned partition;
    Position after;
    std::size_t limit;
    verb::ReadEvents verb() const { return {partition, after, limit}; }
};
struct ReadStreamRequest {
    Key stream;
    std::int64_t after;
    std::size_t limit;
    verb::ReadStream verb() const { return {stream, after, limit}; }
};
struct AppendEventsRequest {
    Key stream;
    Expected expected;
    std::vector<NewEvent> events;
    std::optional<OperationId> id;
    verb::AppendEvents verb() const { return {stream, expected, events, id ? &*id : nullptr}; }
};
struct ExtentOfLogRequest {
    unsigned partition;
    verb::ExtentOfLog verb() const { return {partition}; }
};

/// `events`, each with an id.
template <Runtime R>
std::vector<NewEvent> with_ids(std::span<NewEvent const> events, R const& runtime)
{
    std::vector<NewEvent> all{events.begin(), events.end()};
    give_ids<R>(all, runtime);
    return all;
}

/// Success, or `invalid_argument` in words: whatever is wrong with an append whoever carries it out.
inline Outcome<void> validate_append(verb::AppendEvents const& append)
{
    if (!append.stream.valid())
        return append.stream.validate();
    if (!append.expected.valid())
        return Failure{Errc::invalid_argument, "no stream has a number below 0"};
    if (append.id != nullptr)
        if (auto valid = append.id->validate(); !valid)
            return valid;
    return validate(append.events);
}
/// The same for a read.
inline Outcome<void> validate_read(
    unsigned partition, unsigned partitions, std::int64_t after, std::size_t limit)
{
    if (partition >= partitions)
        return Failure{
            Errc::invalid_argument, "there is no partition " + std::to_string(partition) + ": the log has " +
                                        std::to_string(partitions) + ", counted from 0"};
    if (after < 0)
        return Failure{Errc::invalid_argument, "no position is below 0"};
    if (limit == 0)
        return Failure{Errc::invalid_argument, "a read of at most 0 events would never come to an end"};
    return success();
}
/// The same for the name of a consumer.
inline Outcome<void> validate_consumer(std::string_view consumer)
{
    if (consumer.empty() || consumer.size() > OperationId::max_size)
        return Failure{Errc::invalid_argument, "the name of a consumer has 1 to 255 bytes"};
    return success();
}
/// The failure of a reader whose position the log has never reached.
inline Failure position_beyond_log(Position after, Position last)
{
    return Failure{
        Errc::corrupt_state, "the position " + std::to_string(after) + " is beyond the last one, " +
                                 std::to_string(last) +
                                 ": it is of another log, or the log was restored from a backup"};
}

}  // namespace detail

/// How many events a read gives that does not say.
inline constexpr std::size_t default_page = 256;

/// The members of an event repository: `Derived` carries out the verbs. Outcomes are those of the verbs;
/// `message()` of a failure says what went wrong, and in which store. The asynchronous twins are as those of
/// repositories, see `StoreMembers`.
template <class Derived>
class EventMembers {
public:
    /// The events behind the position `after` of a partition; begin with 0, and go on with `next`.
    Outcome<EventPage> read(
        unsigned partition, Position after, std::size_t limit = default_page, Deadline deadline = {}) const
    {
        return ask(verb::ReadEvents{partition, after, limit}, deadline);
    }
    /// The events of one stream behind the number `after`; begin with 0.
    Outcome<std::vector<Event>> read_stream(
        Key const& stream, std::int64_t after = 0, std::size_t limit = default_page,
        Deadline deadline = {}) const
    {
        return ask(verb::ReadStream{stream, after, limit}, deadline);
    }
    /// Stores events without a state; `version_conflict`, which says where the stream is, when `expected` is
    /// not so. Without an id a lost reply is `outcome_unknown`, and the events may be there.
    Outcome<Appended> append(
        Key const& stream, Expected expected, std::span<NewEvent const> events, Deadline deadline = {}) const
    {
        return ask(verb::AppendEvents{stream, expected, events}, deadline);
    }
    /// The same, once for each `id`, for as long as the events are kept.
    Outcome<Appended> append(
        OperationId const& id, Key const& stream, Expected expected, std::span<NewEvent const> events,
        Deadline deadline = {}) const
    {
        return ask(verb::AppendEvents{stream, expected, events, &id}, deadline);
    }
    /// The oldest and the newest position of a partition.
    Outcome<LogExtent> extent(unsigned partition, Deadline deadline = {}) const
    {
        return ask(verb::ExtentOfLog{partition}, deadline);
    }
    /// What `consumer` has read is not waited for by `trim`; what it has not read stays.
    Outcome<void> note_consumer(
        std::string_view consumer, unsigned partition, Position position, Deadline deadline = {}) const
    {
        return ask(verb::NoteConsumer{consumer, partition, position}, deadline);
    }
    /// The same of a consumer that reads again what it has read: what is behind `position` stays from now on.
    Outcome<void> note_consumer_again(
        std::string_view consumer, unsigned partition, Position position, Deadline deadline = {}) const
    {
        return ask(verb::NoteConsumer{consumer, partition, position, true}, deadline);
    }
    /// A consumer that will not come again: what it has not read may go.
    Outcome<void> forget_consumer(std::string_view consumer, Deadline deadline = {}) const
    {
        return ask(verb::ForgetConsumer{consumer}, deadline);
    }
    /// Removes what all known consumers have read, up to `up_to`; how far that was.
    Outcome<Position> trim(unsigned partition, Position up_to, Deadline deadline = {}) const
    {
        return ask(verb::TrimEvents{partition, up_to}, deadline);
    }

    /// As `read`. **Completion.** `void(Outcome<EventPage>)`.
    template <boost::asio::completion_token_for<void(Outcome<EventPage>)> Token>
    auto async_read(
        unsigned partition, Position after, std::size_t limit, Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::ReadEventsRequest{partition, after, limit}, deadline, token);
    }
    /// As `read_stream`. **Completion.** `void(Outcome<std::vector<Event>>)`.
    template <boost::asio::completion_token_for<void(Outcome<std::vector<Event>>)> Token>
    auto async_read_stream(
        Key const& stream, std::int64_t after, std::size_t limit, Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::ReadStreamRequest{stream, after, limit}, deadline, token);
    }
    /// As `append`; the events are copied. **Completion.** `void(Outcome<Appended>)`.
    template <boost::asio::completion_token_for<void(Outcome<Appended>)> Token>
    auto async_append(
        OperationId const& id, Key const& stream, Expected expected, std::span<NewEvent const> events,
        Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::AppendEventsRequest{stream, expected, {events.begin(), events.end()}, id},
            deadline, token);
    }
    template <boost::asio::completion_token_for<void(Outcome<Appended>)> Token>
    auto async_append(
        Key const& stream, Expected expected, std::span<NewEvent const> events, Deadline deadline,
        Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::AppendEventsRequest{stream, expected, {events.begin(), events.end()}, {}},
            deadline, token);
    }
    /// As `extent`. **Completion.** `void(Outcome<LogExtent>)`.
    template <boost::asio::completion_token_for<void(Outcome<LogExtent>)> Token>
    auto async_extent(unsigned partition, Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(self(), detail::ExtentOfLogRequest{partition}, deadline, token);
    }

protected:
    EventMembers() = default;

private:
    template <class Verb>
    auto ask(Verb const& verb, Deadline deadline) const -> Outcome<typename Verb::answer>
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        return carry_out_explained(self(), verb, deadline);
    }
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_EVENT_MEMBERS_HPP
