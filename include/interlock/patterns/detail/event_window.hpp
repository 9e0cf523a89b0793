// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_EVENT_WINDOW_HPP
#define INTERLOCK_PATTERNS_DETAIL_EVENT_WINDOW_HPP

/// @file
/// The events between a cursor and the last one that was read: a line for each stream, of which the first is
/// free or being handled, and the place up to which all have ended.

#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

class EventWindow {
public:
    /// Names an event for as long as it is in the window.
    using Number = std::uint64_t;

    /// The events of one stream that wait, in their order.
    struct Line {
        std::deque<Number> entries{};
        int tries{0};     // at the first of them
        int failures{0};  // of those, what speaks against the event
    };

    bool empty() const noexcept { return entries_.empty(); }
    std::size_t size() const noexcept { return entries_.size(); }
    /// Those that have not ended.
    std::size_t waiting() const noexcept { return waiting_; }
    /// The first event that has not ended; null: there is none.
    Event const* front() const noexcept { return entries_.empty() ? nullptr : &entries_.front().event; }
    Event const& event(Number number) const { return entry(number).event; }
    Line& line(Event const& event) { return lines_.at(std::string(event.stream.bytes())); }

    void add(Event event)
    {
        auto const number = first_ + entries_.size();
        auto& line = lines_[std::string(event.stream.bytes())];
        if (line.entries.empty())
            free_.insert(number);
        line.entries.push_back(number);
        auto const position = event.position;
        entries_.push_back({std::move(event), position});
        ++waiting_;
    }
    /// An event at `position` that is not handled.
    void pass_over(Position position) { entries_.push_back({{}, position, true}); }

    /// Takes the event at the front of the log among those that are first in their lines and free, if it is
    /// before `end`.
    std::optional<Number> take(TimePoint now, Number end)
    {
        while (!later_.empty() && later_.begin()->first <= now) {
            free_.insert(later_.begin()->second);
            later_.erase(later_.begin());
        }
        if (free_.empty() || *free_.begin() >= end)
            return std::nullopt;
        return free_.extract(free_.begin()).value();
    }
    /// Whether everything before `end` has ended, and was left out by `follow`.
    bool ended_before(Number end) const noexcept { return entries_.empty() || first_ >= end; }
    /// An event that was taken is free again from `at` on.
    void again(Number number, TimePoint at) { later_.emplace(at, number); }
    /// When the next of those is free.
    TimePoint next_again() const noexcept
    {
        return later_.empty() ? TimePoint::max() : later_.begin()->first;
    }

    /// An event that was taken has ended; the next one of its stream is free.
    void end(Number number)
    {
        auto const it = lines_.find(std::string(event(number).stream.bytes()));
        auto& line = it->second;
        line.tries = line.failures = 0;
        line.entries.pop_front();
        if (line.entries.empty())
            lines_.erase(it);
        else
            free_.insert(line.entries.front());
        end_entry(number);
    }
    /// The stream of an event that was taken leaves the window; the number of its last event.
    std::int64_t end_stream(Number number)
    {
        auto const line = lines_.extract(std::string(event(number).stream.bytes()));
        std::int64_t last = 0;
        for (auto const of : line.mapped().entries) {
            last = event(of).number;
            end_entry(of);
        }
        return last;
    }

    /// Leaves out what has ended at the front: the position of the last of it, and how many they were.
    struct Followed {
        Position position{0};
        std::size_t count{0};
    };
    Followed follow()
    {
        Followed followed;
        for (; !entries_.empty() && entries_.front().ended; ++first_, ++followed.count) {
            followed.position = entries_.front().position;
            entries_.pop_front();
        }
        return followed;
    }

private:
    friend struct SubscriptionView;  // of an explorer

    struct Entry {
        Event event;
        Position position;
        bool ended{false};
    };

    Entry const& entry(Number number) const { return entries_[static_cast<std::size_t>(number - first_)]; }
    void end_entry(Number number)
    {
        auto& of = entries_[static_cast<std::size_t>(number - first_)];
        of.event = {};  // memory is for what waits
        of.ended = true;
        --waiting_;
    }

    std::deque<Entry> entries_;
    Number first_{0};  // of the front one
    std::size_t waiting_{0};
    std::unordered_map<std::string, Line> lines_;
    std::set<Number> free_;
    std::set<std::pair<TimePoint, Number>> later_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_EVENT_WINDOW_HPP
