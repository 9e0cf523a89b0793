// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_CONNECTION_STATISTICS_HPP
#define INTERLOCK_BACKENDS_REDIS_CONNECTION_STATISTICS_HPP

/// @file
/// What a `Connection`, or the connection of a client's asynchronous calls, has done so far:
///
///     auto const done = connection.statistics();
///     std::cout << done.commands / std::max<std::uint64_t>(done.writes, 1) << " commands share a write\n";
///     if (done.reconnects > 0)
///         std::cout << "the server was lost " << done.reconnects << " times\n";

#include <cstdint>

namespace interlock {
inline namespace v0 {
namespace redis {

/// Counts since the connection object was made.
struct ConnectionStatistics {
    /// System calls that sent commands. A large one may count twice.
    std::uint64_t writes{0};
    /// Commands that were handed to those system calls. Calls of one script that left as one command count
    /// once.
    std::uint64_t commands{0};
    /// Times that a connection was made after the first one.
    std::uint64_t reconnects{0};
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_CONNECTION_STATISTICS_HPP
