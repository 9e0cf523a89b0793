// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_ACCESS_HPP
#define INTERLOCK_BACKENDS_REDIS_ACCESS_HPP

/// @file
/// What a command does to the data of a Redis server. Whoever sends a command says so, since the library
/// cannot know it of a script:
///
///     connection.async_execute(redis::Command{"GET", "x"}, redis::Access::read, token);
///     connection.async_execute(redis::Command{"INCR", "x"}, redis::Access::write, token);

namespace interlock {
inline namespace v0 {
namespace redis {

/// What a command does, and therefore what it means when its reply is lost.
enum class Access : unsigned char {
    /// It changes nothing. When the reply is lost the call fails, and that is all.
    read,
    /// It may change something. When the reply is lost after a byte of the command may have left, the call
    /// ends as `outcome_unknown`.
    write,
    /// As `write`; the command keeps a record of an answer. A server whose memory is full is `overloaded`,
    /// not `unavailable`.
    record,
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_ACCESS_HPP
