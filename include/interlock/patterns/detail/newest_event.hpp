// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_NEWEST_EVENT_HPP
#define INTERLOCK_PATTERNS_DETAIL_NEWEST_EVENT_HPP

/// @file
/// What a report needs to know of a partition: where it ends, and when its newest event was stored.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Times of the store are compared with each other, and never with a clock of this process.
using RecordedAt = std::chrono::sys_time<std::chrono::microseconds>;

struct NewestEvent {
    Position position{0};
    RecordedAt recorded_at{};  // the epoch: not known
};

/// Of a reader at `reader`: an event that it has read already tells nothing.
inline bool has_newest(LogExtent const& extent, Position reader) noexcept
{
    return extent.last > reader && extent.last > 0;
}
/// `page` was read behind the position before the last one. It is empty while that event is still held back.
inline NewestEvent newest_in(LogExtent const& extent, Outcome<EventPage> const& page)
{
    NewestEvent newest{extent.last, {}};
    if (page && !page->events.empty())
        newest.recorded_at = page->events.back().recorded_at;
    return newest;
}

/// One trip, and another one when there is something that the reader has not handled.
template <class Events>
Outcome<NewestEvent> newest_event(Events const& events, unsigned partition, Position reader)
{
    auto const extent = events.extent(partition);
    if (!extent)
        return extent.failure();
    if (!has_newest(*extent, reader))
        return NewestEvent{extent->last, {}};
    return newest_in(*extent, events.read(partition, extent->last - 1, 1));
}

/// How dense the events of a partition lie, as far as a reader has seen: positions grow, but in some logs
/// they are times, and in others some are missing.
class EventDensity {
public:
    /// `events`: a page of a partition.
    void learn(std::span<Event const> events) noexcept
    {
        if (events.size() >= 2)
            per_position_ = static_cast<double>(events.size() - 1) /
                            static_cast<double>(events.back().position - events.front().position);
        known_ = known_ || !events.empty();
    }
    /// About how many events lie behind `from`, up to the event at `to`. Nothing: no event was seen yet.
    std::optional<Position> between(Position from, Position to) const noexcept
    {
        if (to <= from)
            return Position{0};
        if (!known_)
            return std::nullopt;
        return std::max<Position>(1, std::llround(static_cast<double>(to - from) * per_position_));
    }

private:
    bool known_{false};
    double per_position_{0};
};

/// How much later the newest event was stored than one at `handled`, as far as the store says.
inline std::chrono::nanoseconds behind_by(NewestEvent const& newest, RecordedAt handled) noexcept
{
    if (newest.recorded_at == RecordedAt{} || handled == RecordedAt{})
        return {};
    return std::max(newest.recorded_at - handled, std::chrono::microseconds{0});
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_NEWEST_EVENT_HPP
