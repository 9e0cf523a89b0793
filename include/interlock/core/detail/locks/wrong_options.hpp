// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_WRONG_OPTIONS_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_WRONG_OPTIONS_HPP

// Which option of a lock service, or of one acquire, is out of range: words, or null where none is.

#include <interlock/core/deadline.hpp>
#include <interlock/core/lock.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

[[gnu::cold]] constexpr char const* wrong_option(LockOptions const& options) noexcept
{
    if (!options.ttl.valid())
        return "ttl must be from 50 ms to 24 h";
    if (!(options.drift >= 0 && options.drift < 0.5))  // a NaN, too
        return "drift must be from 0 to less than 0.5";
    if (options.margin.count() < 0)
        return "margin must not be negative";
    if (!options.poll.valid())
        return "poll: 0 <= initial <= cap, immediate >= 0";
    if (options.max_attempts < 1)
        return "max_attempts counts the first attempt: at least 1";
    if (options.hand_on_count < 0)
        return "hand_on_count must not be negative";
    if (options.hand_on_time.count() < 0)
        return "hand_on_time must not be negative";
    return options.holder.valid() ? nullptr : "a holder has 112 bytes at most";
}

constexpr char const* wrong_option(Deadline deadline, int max_attempts) noexcept
{
    if (!deadline.valid())
        return "acquire options: deadline is not a number";
    return max_attempts < 1 ? "acquire options: max_attempts counts the first attempt: at least 1" : nullptr;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_WRONG_OPTIONS_HPP
