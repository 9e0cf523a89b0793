// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_CURSOR_HPP
#define INTERLOCK_PATTERNS_CURSOR_HPP

/// @file
/// Where a consumer of events is: a state like any other, in whatever repository the program chooses.
///
///     interlock::memory::StateRepository<interlock::Cursor> cursors;
///     interlock::Subscription shipping{events, cursors, "shipping"};
///     auto const where = cursors.load("shipping/0").value().value.position;  // in partition 0
///
/// The lock on that state is the consumer's lease: see `subscription.hpp`.

#include <interlock/core/event.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {

/// A stream with an event that a consumer could not handle. That event and those behind it wait for
/// `Subscription::resume`, while other streams go on. The events stay in the log, so that this is all that is
/// stored.
struct Parked {
    std::string stream;        ///< the bytes of its key
    std::int64_t number{0};    ///< of the event that it waits with
    std::int64_t position{0};  ///< of that event, in its partition
    std::int64_t attempts{0};  ///< how often that event was tried
    std::string error;         ///< why it could not be handled, the first 300 bytes
    bool resume{false};        ///< whether somebody has asked for it to go on

    friend bool operator==(Parked const&, Parked const&) = default;
};
BOOST_DESCRIBE_STRUCT(Parked, (), (stream, number, position, attempts, error, resume))

/// One of the runs that share the partitions of a consumer. The number grows for as long as the run lives.
struct ConsumerMember {
    std::string id;        ///< drawn by the run
    std::int64_t beat{0};  ///< how often it has said that it lives

    friend bool operator==(ConsumerMember const&, ConsumerMember const&) = default;
};
BOOST_DESCRIBE_STRUCT(ConsumerMember, (), (id, beat))

/// Where a consumer is in a partition: all events up to `position` were handled, or wait in a parked stream.
struct Cursor {
    std::string id;               ///< see `cursor_id`
    std::int64_t position{0};     ///< 0: before the first event
    std::uint32_t partitions{0};  ///< of the log that the position belongs to
    std::vector<Parked> parked;   ///< in the order in which they were parked
    /// Who shares the partitions, in the order of joining: in the record `members_id`, which is no cursor and
    /// has nothing else. In a cursor there are none.
    std::vector<ConsumerMember> members{};

    friend bool operator==(Cursor const&, Cursor const&) = default;
};
BOOST_DESCRIBE_STRUCT(Cursor, (), (id, position, partitions, parked, members))

/// The key of the cursor of `consumer` in `partition`: "shipping/0".
inline std::string cursor_id(std::string_view consumer, unsigned partition)
{
    return std::string(consumer) + '/' + std::to_string(partition);
}

/// The key of the record in which the runs of `consumer` are listed: "shipping/members".
inline std::string members_id(std::string_view consumer)
{
    return std::string(consumer) + "/members";
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_CURSOR_HPP
