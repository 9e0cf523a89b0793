// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_LOG_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_LOG_HPP

// Events as the scripts take and give them: eight words, each behind its length and a colon, `5:sku-1` and so
// on, and behind them the data. The words are stream, id, type, version, correlation, cause, traceparent and
// writer.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/recorded_events.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Where a log is, and its options, as the repositories of states that write into it see it.
struct EventLogPlace {
    std::shared_ptr<std::string const> store;  // the same for all that is in this store; see `intern_store`
    std::size_t shards;
    std::size_t max_events;
    std::string writer;
    /// What is known of the log of a shard.
    struct Known {
        std::atomic<TimePoint> looked{};  // when a commit has last looked; no time: the next one looks
        std::atomic<int> wary{0};         // so many look in any case, since the log was full
        std::atomic<bool> has_readers{false};
    };
    std::unique_ptr<Known[]> known{std::make_unique<Known[]>(shards)};

    /// Of a log that may hold no more, each commit and each append looks how full it is. Of another one it is
    /// the first of this client in a millisecond, since that, and to look for readers, are each a tenth of
    /// what an event costs the server. So such a log exceeds its bound by no more than what comes in a
    /// millisecond, or together with the first that is refused: those behind a refusal look again. The first
    /// reader of a commit may not be told in the millisecond after it came.
    static constexpr std::size_t small = 65'536;
    static constexpr int wary_after_full = 1'000;

    /// Whether it is time for a commit to look.
    bool due(std::size_t shard, TimePoint now) const noexcept
    {
        return max_events <= small || known[shard].wary.load(std::memory_order_relaxed) > 0 ||
               due_after(known[shard].looked.load(std::memory_order_relaxed), now);
    }
    /// Whether a commit looks now: of those that might, one does.
    bool looks(std::size_t shard, TimePoint now) const noexcept
    {
        auto& [looked, wary, has_readers] = known[shard];
        if (max_events <= small)
            return true;
        if (wary.load(std::memory_order_relaxed) > 0) {
            wary.fetch_sub(1, std::memory_order_relaxed);
            return true;
        }
        auto last = looked.load(std::memory_order_relaxed);
        return due_after(last, now) && looked.compare_exchange_strong(last, now, std::memory_order_relaxed);
    }
    /// Whether a commit that has looked has found readers.
    bool has_readers(std::size_t shard) const noexcept
    {
        return known[shard].has_readers.load(std::memory_order_relaxed);
    }
    /// What a commit has found.
    void note_readers(std::size_t shard) const noexcept
    {
        known[shard].has_readers.store(true, std::memory_order_relaxed);
    }
    void note_full(std::size_t shard) const noexcept
    {
        known[shard].wary.store(wary_after_full, std::memory_order_relaxed);
    }
    /// A commit has stored nothing, so that, if it was to look, nobody was told.
    void note_refused(std::size_t shard) const noexcept
    {
        if (!has_readers(shard))
            known[shard].looked.store({}, std::memory_order_relaxed);
    }

private:
    static bool due_after(TimePoint last, TimePoint now) noexcept
    {
        return last == TimePoint{} || now < last || now - last >= std::chrono::milliseconds{1};
    }
};

/// Adds an event, one word. `W`: a `Command` or a `ScriptCall`.
template <class W, class R>
void add_event(
    W& command, Key const& stream, NewEvent const& event, std::string_view writer, R const& runtime)
{
    std::string const drawn = event.id.empty() ? interlock::detail::new_event_id(runtime) : std::string{};
    std::array<char, 20> digits;
    std::array<std::string_view, 8> const words{
        stream.bytes(),
        event.id.empty() ? std::string_view{drawn} : std::string_view{event.id},
        event.type,
        Command::write_number(digits, event.version),
        event.because.correlation,
        event.because.cause,
        event.because.traceparent,
        writer};
    std::array<std::array<char, 20>, 8> lengths;
    std::array<std::string_view, 25> parts;
    for (std::size_t i = 0; i < words.size(); ++i) {
        parts[3 * i] = Command::write_number(lengths[i], words[i].size());
        parts[3 * i + 1] = ":";
        parts[3 * i + 2] = words[i];
    }
    parts[24] = event.data;
    command.add_parts(parts);
}

// A position is the time of the id, in milliseconds, and 21 bits for the number within it. A log reaches 2^20
// of these only while the server's clock stands behind its last event; the script then goes on to the next
// millisecond.
inline constexpr int bits_within_millisecond = 21;

/// The position of an id or a place. Nothing: it is none.
inline std::optional<Position> position_of(std::string_view id) noexcept
{
    std::int64_t time = 0;
    std::int64_t number = 0;
    auto const dash = id.find('-');
    if (dash == std::string_view::npos ||
        !parse_number<std::int64_t>(id.substr(0, dash), 0, INT64_MAX >> bits_within_millisecond, time) ||
        !parse_number<std::int64_t>(
            id.substr(dash + 1), 0, (std::int64_t{1} << bits_within_millisecond) - 1, number))
        return std::nullopt;
    return (time << bits_within_millisecond) | number;
}

/// The position as the scripts compare it: 13 digits, '-', 7 digits.
inline std::string place_of(Position position)
{
    auto const padded = [](std::int64_t number, std::size_t width) {
        auto const digits = std::to_string(number);
        return std::string(width - digits.size(), '0') + digits;
    };
    return padded(position >> bits_within_millisecond, 13) + "-" +
           padded(position & ((std::int64_t{1} << bits_within_millisecond) - 1), 7);
}

/// Takes the next word off `header`. Nothing: there is none.
inline std::optional<std::string_view> take_word(std::string_view& header) noexcept
{
    auto const colon = header.find(':');
    std::size_t size = 0;
    if (colon == std::string_view::npos ||
        !parse_number<std::size_t>(header.substr(0, colon), 0, header.size() - colon - 1, size))
        return std::nullopt;
    auto const word = header.substr(colon + 1, size);
    header.remove_prefix(colon + 1 + size);
    return word;
}

/// The event that an entry of the log is. Nothing: it is damaged.
inline std::optional<Event> read_event(
    std::string_view id, std::string_view number, std::string_view rest, unsigned partition)
{
    auto const position = position_of(id);
    auto const count = number_of(number.substr(0, std::min<std::size_t>(number.size(), 12)));
    std::array<std::string_view, 8> words;
    for (auto& word : words) {
        auto const taken = take_word(rest);
        if (!taken)
            return std::nullopt;
        word = *taken;
    }
    Event event;
    if (!position || !count || !parse_number(words[3], 1, INT32_MAX, event.version))
        return std::nullopt;
    event.stream = Key{std::string(words[0])};
    event.id = words[1];
    event.type = words[2];
    event.because = {std::string(words[4]), std::string(words[5]), std::string(words[6])};
    event.writer = words[7];
    event.number = *count;
    event.partition = partition;
    event.position = *position;
    event.data = rest;
    event.recorded_at = std::chrono::sys_time<std::chrono::microseconds>{
        std::chrono::milliseconds{*position >> bits_within_millisecond}};
    return event;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_LOG_HPP
