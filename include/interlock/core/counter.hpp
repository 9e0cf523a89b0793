// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_COUNTER_HPP
#define INTERLOCK_CORE_COUNTER_HPP

/// @file
/// The vocabulary of counters that a store changes by itself, at most once per operation id.

#include <interlock/core/outcome.hpp>

#include <cstdint>
#include <optional>

namespace interlock {
inline namespace v0 {

/// By how much a counter changes, and between which bounds it must stay.
struct CounterChange {
    /// The greatest distance from zero of amounts, bounds and counters: what every store computes exactly.
    static constexpr std::int64_t limit = (std::int64_t{1} << 53) - 1;

    std::int64_t amount{0};
    std::optional<std::int64_t> at_least{};
    std::optional<std::int64_t> at_most{};

    Outcome<void> validate() const
    {
        for (auto const number : {amount, at_least.value_or(0), at_most.value_or(0)})
            if (number < -limit || number > limit)
                return Failure{Errc::invalid_argument, "a counter's numbers must be below 2^53"};
        if (at_least && at_most && *at_least > *at_most)
            return Failure{Errc::invalid_argument, "a counter's lower bound is above its upper bound"};
        return success();
    }
};

/// Unless it would be more than `ceiling`.
constexpr CounterChange increment(std::int64_t amount, std::optional<std::int64_t> ceiling = {}) noexcept
{
    return {.amount = amount, .at_most = ceiling};
}
/// Unless it would be less than `floor`: for stock, seats, budgets.
constexpr CounterChange decrement(std::int64_t amount, std::int64_t floor) noexcept
{
    return {.amount = -amount, .at_least = floor};
}

/// What came of it. That a bound was in the way is an answer, and is kept like one.
struct CounterAnswer {
    std::int64_t value{0};  ///< the counter right after this operation, or, refused by a bound, as it was
    bool changed{false};    ///< false: a bound was in the way
    bool replayed{false};   ///< the answer of an earlier call with the same id
    explicit operator bool() const noexcept { return changed; }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_COUNTER_HPP
