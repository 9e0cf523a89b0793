// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_CONSUMER_NOTE_HPP
#define INTERLOCK_PATTERNS_DETAIL_CONSUMER_NOTE_HPP

/// @file
/// What readers ask a log without blocking, besides for events.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/patterns/detail/newest_event.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>

#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `verb::NoteConsumer`.
struct ConsumerNote {
    std::string consumer;
    unsigned partition;
    Position position;
    bool goes_back;
    verb::NoteConsumer verb() const { return {consumer, partition, position, goes_back}; }
};

/// The same on the calling thread.
template <class Events>
Outcome<void> note_consumer(Events const& events, ConsumerNote const& note)
{
    return note.goes_back ? events.note_consumer_again(note.consumer, note.partition, note.position)
                          : events.note_consumer(note.consumer, note.partition, note.position);
}

/// As `newest_event`, without blocking. `done` is called with the outcome, on its associated executor.
template <class Events, class F>
void start_newest_event(Events const& events, unsigned partition, Position reader, F done)
{
    auto const executor = boost::asio::get_associated_executor(done);
    auto extent_known = [events, partition, reader, executor,
                         done = std::move(done)](Outcome<LogExtent> extent) mutable {
        if (!extent)
            return done(Outcome<NewestEvent>{std::move(extent).failure()});
        if (!has_newest(*extent, reader))
            return done(Outcome<NewestEvent>{NewestEvent{extent->last, {}}});
        auto read = [extent = *extent, done = std::move(done)](Outcome<EventPage> page) mutable {
            done(Outcome<NewestEvent>{newest_in(extent, page)});
        };
        events.async_read(
            partition, extent->last - 1, 1, Deadline{},
            boost::asio::bind_executor(executor, std::move(read)));
    };
    events.async_extent(partition, Deadline{}, boost::asio::bind_executor(executor, std::move(extent_known)));
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_CONSUMER_NOTE_HPP
