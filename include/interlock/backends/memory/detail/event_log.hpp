// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_LOG_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_LOG_HPP

/// @file
/// What all handles of one `memory::EventRepository` share: the events of each partition in their order, the
/// streams, the known consumers, and those who wait for more. It has no clock, so that repositories of
/// whatever runtime write into it.

#include <interlock/backends/memory/detail/event_sink.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// The events of one log. One mutex guards all of them, since an append gives numbers and positions in one
/// order. Every public member may be called from several threads at once.
class EventLog final : public EventSink {
    /// The events of one key.
    struct Stream {
        std::int64_t last{0};              // the number of its last event
        std::deque<Position> positions{};  // of its last events, as far as they are kept
    };
    /// An append that named an operation id, for as long as its last event is kept.
    struct KeptAppend {
        std::int64_t number;
        Position position;
    };
    struct Partition {
        Position last{0};  // the position of its last event; those before it are all kept, or trimmed
        std::deque<Event> events{};
        std::unordered_map<std::string, Stream> streams{};
        std::unordered_map<std::string, KeptAppend> appends{};
        std::map<std::string, Position, std::less<>> consumers{};
        std::vector<Waiter*> readers{};

        /// The position up to which events were trimmed.
        Position trimmed() const noexcept { return last - static_cast<Position>(events.size()); }
    };

public:
    explicit EventLog(EventRepositoryOptions options)
        : options_(std::move(options)), partitions_(checked_partitions(options_.partitions))
    {}

    EventRepositoryOptions const& options() const noexcept { return options_; }
    unsigned partitions() const noexcept { return static_cast<unsigned>(partitions_.size()); }

    void begin() override { mutex_.lock(); }
    Outcome<void> add(Key const& stream, std::span<NewEvent const> events) override;
    void end(bool kept) noexcept override;

    Outcome<EventPage> read(verb::ReadEvents const& read) const;
    Outcome<std::vector<Event>> read_stream(verb::ReadStream const& read) const;
    Outcome<Appended> append(verb::AppendEvents const& append);
    Outcome<LogExtent> extent(unsigned partition) const;
    Outcome<void> note_consumer(verb::NoteConsumer const& note);
    Outcome<void> forget_consumer(std::string_view consumer);
    Outcome<Position> trim(verb::TrimEvents const& trim);

    void subscribe(unsigned partition, Waiter& waiter)
    {
        std::lock_guard const lock(mutex_);
        partitions_.at(partition).readers.push_back(&waiter);
    }
    /// Once it returns, `waiter` is not being woken and will not be.
    void unsubscribe(unsigned partition, Waiter& waiter) noexcept
    {
        std::lock_guard const lock(mutex_);
        if (partition < partitions())
            std::erase(partitions_[partition].readers, &waiter);
    }

private:
    struct Added {
        Partition* partition;
        std::pair<std::string const, Stream>* stream;
    };
    // Appends one event to the stream `entry`. The caller has made room in `added_`, so that what stands in
    // the log is noted there without an allocation.
    void add_one(
        Partition& partition, unsigned number, std::pair<std::string const, Stream>& entry, Key const& stream,
        NewEvent const& event);
    void take_back() noexcept;
    void tell_readers() noexcept;
    Partition& partition_with(Key const& stream) noexcept
    {
        return partitions_[partition_of(stream.bytes(), partitions())];
    }
    static unsigned checked_partitions(unsigned partitions)
    {
        if (partitions < 1 || partitions > 16384)
            throw Error(Errc::invalid_argument, "memory: a log has 1 to 16384 partitions");
        return partitions;
    }
    Outcome<void> check(unsigned partition, std::int64_t after, std::size_t limit) const
    {
        return interlock::detail::validate_read(partition, partitions(), after, limit);
    }
    static std::string name_of(Key const& stream, OperationId const& id)
    {
        // With the length in front, since both may hold any byte.
        return std::to_string(stream.bytes().size()).append(":").append(stream.bytes()).append(id.value());
    }

    EventRepositoryOptions options_;
    mutable std::mutex mutex_;
    std::vector<Partition> partitions_;
    std::size_t count_{0};      // of all partitions
    std::vector<Added> added_;  // by the append that is being made
};

inline Outcome<void> EventLog::add(Key const& stream, std::span<NewEvent const> events)
{
    if (options_.max_events - std::min(options_.max_events, count_) < events.size())
        return Failure{
            Errc::overloaded, "events: the limit of " + std::to_string(options_.max_events) +
                                  " is reached; trim what every consumer has read"};
    auto const number = partition_of(stream.bytes(), partitions());
    auto& partition = partitions_[number];
    std::string const name{stream.bytes()};
    if (!partition.streams.contains(name) && partition.streams.size() >= options_.max_streams)
        return Failure{Errc::overloaded, "streams of events: the limit of a partition is reached"};
    added_.reserve(added_.size() + events.size());
    auto const at = partition.streams.try_emplace(name).first;
    try {
        for (auto const& event : events)
            add_one(partition, number, *at, stream, event);
    } catch (...) {
        if (at->second.last == 0)  // a stream without an event is none
            partition.streams.erase(at);
        throw;
    }
    return success();
}

inline void EventLog::add_one(
    Partition& partition, unsigned number, std::pair<std::string const, Stream>& entry, Key const& stream,
    NewEvent const& event)
{
    auto& of = entry.second;
    of.positions.push_back(partition.last + 1);
    try {
        partition.events.push_back(Event{
            event.id,
            stream,
            of.last + 1,
            number,
            partition.last + 1,
            event.type,
            event.version,
            event.data,
            event.because,
            options_.writer,
            {}});
    } catch (...) {
        of.positions.pop_back();
        throw;
    }
    ++of.last;
    ++partition.last;
    ++count_;
    added_.push_back({&partition, &entry});
}

inline void EventLog::take_back() noexcept
{
    auto const [partition, stream] = added_.back();
    added_.pop_back();
    partition->events.pop_back();
    stream->second.positions.pop_back();
    if (--stream->second.last == 0)  // it was made by this append
        partition->streams.erase(partition->streams.find(stream->first));
    --partition->last;
    --count_;
}

inline void EventLog::tell_readers() noexcept
{
    for (auto const& added : added_)
        for (auto* const reader : added.partition->readers)
            reader->wake();
    added_.clear();
}

inline void EventLog::end(bool kept) noexcept
{
    if (kept)
        tell_readers();
    while (!added_.empty())
        take_back();
    mutex_.unlock();
}

inline Outcome<EventPage> EventLog::read(verb::ReadEvents const& read) const
{
    if (auto valid = check(read.partition, read.after, read.limit); !valid)
        return std::move(valid).failure();
    std::lock_guard const lock(mutex_);
    auto const& partition = partitions_[read.partition];
    if (read.after > partition.last)
        return interlock::detail::position_beyond_log(read.after, partition.last);
    EventPage page;
    auto const trimmed = partition.trimmed();
    page.trimmed = read.after < trimmed;
    auto const begin = static_cast<std::size_t>(std::max(read.after, trimmed) - trimmed);
    auto const end = begin + std::min(read.limit, partition.events.size() - begin);
    page.events.assign(
        partition.events.begin() + static_cast<std::ptrdiff_t>(begin),
        partition.events.begin() + static_cast<std::ptrdiff_t>(end));
    page.next = trimmed + static_cast<Position>(end);
    page.more = end < partition.events.size();
    return page;
}

inline Outcome<std::vector<Event>> EventLog::read_stream(verb::ReadStream const& read) const
{
    if (!read.stream.valid())
        return read.stream.validate().failure();
    auto const number = partition_of(read.stream.bytes(), partitions());
    if (auto valid = check(number, read.after, read.limit); !valid)
        return std::move(valid).failure();
    std::lock_guard const lock(mutex_);
    auto const& partition = partitions_[number];
    std::vector<Event> events;
    auto const it = partition.streams.find(std::string(read.stream.bytes()));
    if (it == partition.streams.end())
        return events;
    auto const& stream = it->second;
    auto const oldest = stream.last - static_cast<std::int64_t>(stream.positions.size());
    for (auto i = std::max(read.after, oldest); i < stream.last && events.size() < read.limit; ++i) {
        auto const position = stream.positions[static_cast<std::size_t>(i - oldest)];
        events.push_back(partition.events[static_cast<std::size_t>(position - partition.trimmed() - 1)]);
    }
    return events;
}

inline Outcome<Appended> EventLog::append(verb::AppendEvents const& append)
{
    if (auto valid = interlock::detail::validate_append(append); !valid)
        return std::move(valid).failure();
    begin();
    struct End {
        EventLog& log;
        bool kept{false};
        ~End() { log.end(kept); }
    } end{*this};
    auto& partition = partition_with(append.stream);
    auto const it = partition.streams.find(std::string(append.stream.bytes()));
    auto const last = it == partition.streams.end() ? 0 : it->second.last;
    if (append.id != nullptr)
        if (auto const kept = partition.appends.find(name_of(append.stream, *append.id));
            kept != partition.appends.end())
            return Appended{true, kept->second.number, kept->second.position};
    if (!append.expected.allows(last))
        return Failure{Errc::version_conflict, "the stream is at number " + std::to_string(last)};
    if (append.events.empty())
        return Appended{false, last, partition.last};
    if (auto added = add(append.stream, append.events); !added)
        return std::move(added).failure();
    auto const number = last + static_cast<std::int64_t>(append.events.size());
    if (append.id != nullptr)
        partition.appends.insert_or_assign(
            name_of(append.stream, *append.id), KeptAppend{number, partition.last});
    end.kept = true;
    return Appended{false, number, partition.last};
}

inline Outcome<LogExtent> EventLog::extent(unsigned partition) const
{
    if (auto valid = check(partition, 0, 1); !valid)
        return std::move(valid).failure();
    std::lock_guard const lock(mutex_);
    auto const& of = partitions_[partition];
    return LogExtent{of.events.empty() ? 0 : of.trimmed() + 1, of.last};
}

inline Outcome<void> EventLog::note_consumer(verb::NoteConsumer const& note)
{
    if (auto valid = check(note.partition, note.position, 1); !valid)
        return valid;
    if (auto valid = interlock::detail::validate_consumer(note.consumer); !valid)
        return valid;
    std::lock_guard const lock(mutex_);
    auto& partition = partitions_[note.partition];
    if (note.position > partition.last)
        return interlock::detail::position_beyond_log(note.position, partition.last);
    auto& known = partition.consumers[std::string(note.consumer)];
    known = note.goes_back ? note.position : std::max(known, note.position);
    return success();
}

inline Outcome<void> EventLog::forget_consumer(std::string_view consumer)
{
    if (auto valid = interlock::detail::validate_consumer(consumer); !valid)
        return valid;
    std::lock_guard const lock(mutex_);
    for (auto& partition : partitions_)
        if (auto const it = partition.consumers.find(consumer); it != partition.consumers.end())
            partition.consumers.erase(it);
    return success();
}

inline Outcome<Position> EventLog::trim(verb::TrimEvents const& trim)
{
    if (auto valid = check(trim.partition, trim.up_to, 1); !valid)
        return std::move(valid).failure();
    std::lock_guard const lock(mutex_);
    auto& partition = partitions_[trim.partition];
    auto up_to = std::min(trim.up_to, partition.last);
    for (auto const& [name, position] : partition.consumers)
        up_to = std::min(up_to, position);
    while (partition.trimmed() < up_to) {
        partition.streams.at(std::string(partition.events.front().stream.bytes())).positions.pop_front();
        partition.events.pop_front();
        --count_;
    }
    std::erase_if(
        partition.appends, [&](auto const& kept) { return kept.second.position <= partition.trimmed(); });
    return partition.trimmed();
}

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_EVENT_LOG_HPP
