// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_GROWTH_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_GROWTH_HPP

// What an event costs beside many that are stored already: logs of several sizes, of which each in turn gets
// an event, gives a page, and moves a consumer on.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>

#include "harness.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// Takes `--stored N,N,...` from the words of the command line. Empty: it is not there.
inline std::vector<long> take_stored(int& argc, char** argv)
{
    std::vector<long> sizes;
    for (int i = 1; i + 1 < argc; ++i) {
        if (std::strcmp(argv[i], "--stored") != 0)
            continue;
        for (char* at = argv[i + 1]; *at != '\0';) {
            char* end = nullptr;
            auto const size = std::strtol(at, &end, 10);
            if (size > 0)
                sizes.push_back(size);
            at = *end == ',' ? end + 1 : end;
            if (end == at && *at != '\0')
                break;
        }
        for (int j = i; j + 2 < argc; ++j)
            argv[j] = argv[j + 2];
        argc -= 2;
        break;
    }
    return sizes;
}

/// How many events each stream of such a log has.
inline constexpr long events_in_stream = 10;

/// The log that `events` is, with `stored` events in streams of the names order-0, order-1, ...
template <class Events>
struct StoredLog {
    long stored;
    Events events;
};

template <class Events>
std::function<void(int)> appending(StoredLog<Events> const& log)
{
    interlock::NewEvent event;
    event.type = "stock.sold";
    event.data = std::string(200, 'x');
    auto const streams = static_cast<std::uint64_t>(log.stored / events_in_stream);
    return [=, random = std::uint64_t{0x9e3779b97f4a7c15}](int) mutable {
        random = random * 6364136223846793005 + 1442695040888963407;
        interlock::Key const stream{"order-" + std::to_string((random >> 20) % streams)};
        static_cast<void>(log.events.append(stream, interlock::Expected::any(), std::array{event}).value());
    };
}

/// `limit` events from somewhere in the log; then, if there is a consumer, that it has read them.
template <class Events>
std::function<void(int)> reading(StoredLog<Events> const& log, std::size_t limit, std::string const& consumer)
{
    auto const extent = log.events.extent(0).value();
    auto const range = static_cast<double>(extent.last - extent.first);
    return [=, random = std::uint64_t{0x9e3779b97f4a7c15}](int) mutable {
        random = random * 6364136223846793005 + 1442695040888963407;
        auto const part = static_cast<double>(random >> 11) / 9007199254740992.0;
        auto const after = extent.first + static_cast<interlock::Position>(range * 0.99 * part);
        auto const page = log.events.read(0, after, limit).value();
        if (!consumer.empty())
            log.events.note_consumer(consumer, 0, page.next).value();
    };
}

template <class Events>
void grow(
    Options const& options, char const* workload, int rounds, double seconds,
    std::vector<StoredLog<Events>> const& logs)
{
    auto const compare = [&](char const* setting, auto const& make) {
        std::vector<TurnTaker> takers;
        for (auto const& log : logs) {
            std::vector<Target> targets;
            if (&log != &logs[0])  // no more than a fifth dearer
                targets.push_back({"beside_" + std::to_string(logs[0].stored), Target::Kind::at_least, 0.83});
            takers.push_back(
                {"beside_" + std::to_string(log.stored), [&make, &log] { return make(log); },
                 std::move(targets)});
        }
        compete_in_turns(options, workload, setting, "per second", rounds, seconds, takers);
    };
    compare("append, one thread", [](auto const& log) { return appending(log); });
    compare("read 256 events from anywhere", [](auto const& log) { return reading(log, 256, {}); });
    compare("step of a consumer: read 1, note", [](auto const& log) { return reading(log, 1, "consumer"); });
}

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_GROWTH_HPP
