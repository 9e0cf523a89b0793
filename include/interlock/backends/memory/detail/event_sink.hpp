// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_SINK_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_SINK_HPP

/// @file
/// The side of a log of events that a store in memory writes to. It is apart from the log, so that a program
/// that records nothing does not compile what only readers need.

#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>

#include <span>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// A log that events can be added to. Between `begin` and `end` nobody else sees or changes the log; it is
/// taken after the mutexes of a store's shards, and no other mutex is taken under it.
class EventSink {
public:
    EventSink() = default;
    EventSink(EventSink const&) = delete;
    EventSink& operator=(EventSink const&) = delete;
    virtual ~EventSink() = default;

    virtual void begin() = 0;
    /// Adds `events` behind those of `stream`, or `overloaded`. May throw for want of memory.
    virtual Outcome<void> add(Key const& stream, std::span<NewEvent const> events) = 0;
    /// What was added stays and readers are told, or it is taken out again.
    virtual void end(bool kept) noexcept = 0;
};

/// An append that is being made; what is added is taken out again unless `keep` is called.
class PendingAppend {
public:
    PendingAppend() noexcept = default;
    PendingAppend(PendingAppend const&) = delete;
    PendingAppend& operator=(PendingAppend const&) = delete;
    ~PendingAppend()
    {
        if (sink_ != nullptr)
            sink_->end(false);
    }

    /// As `EventSink::add`; the log is taken when the first events come.
    Outcome<void> add(EventSink& sink, Key const& stream, std::span<NewEvent const> events)
    {
        if (sink_ == nullptr) {
            sink.begin();
            sink_ = &sink;
        }
        return sink.add(stream, events);
    }
    void keep() noexcept
    {
        if (sink_ != nullptr)
            sink_->end(true);
        sink_ = nullptr;
    }

private:
    EventSink* sink_{nullptr};
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_SINK_HPP
