// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_NEWEST_EVENT_HPP
#define INTERLOCK_PATTERNS_DETAIL_NEWEST_EVENT_HPP

/// @file
/// What a report needs to know of a partition: where it ends, and when its newest event was stored.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <chrono>
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
