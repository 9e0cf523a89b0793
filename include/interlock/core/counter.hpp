// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_COUNTER_HPP
#define INTERLOCK_CORE_COUNTER_HPP

/// @file
/// The vocabulary of counters, which a store changes by itself, at most once per operation id.
///
///     interlock::redis::Counters counters{client};
///     interlock::OperationId const id{"order-17"};
///     auto const change = interlock::decrement(2, 0);  // two seats, and never below none
///     auto const left = counters.atomic_once(id, interlock::Key{"seats"}, change).value();
///     if (!left)
///         std::puts("sold out");  // an answer, not an error
///
/// Where a state is only a number, a counter saves the reading trip: the store adds to the number and looks
/// at the bounds in one step.

#include <interlock/core/outcome.hpp>

#include <cstdint>
#include <limits>
#include <optional>

namespace interlock {
inline namespace v0 {

/// By how much a counter changes, and the bounds within which it must stay.
struct CounterChange {
    /// Amounts, bounds and counters must not be farther from zero than this. Up to here every store computes
    /// exactly, Lua with its doubles included.
    static constexpr std::int64_t limit = (std::int64_t{1} << 53) - 1;

    /// What is added to the counter; a negative amount is subtracted.
    std::int64_t amount{0};
    /// A change that would leave the counter below this value is refused. No value: there is no lower bound.
    std::optional<std::int64_t> at_least{};
    /// A change that would leave the counter above this value is refused. No value: there is no upper bound.
    std::optional<std::int64_t> at_most{};

    /// Success, or `invalid_argument` with a text that says which of the numbers is out of range. No store is
    /// asked.
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

/// Adds `amount`, unless the counter would then be above `ceiling`.
constexpr CounterChange increment(std::int64_t amount, std::optional<std::int64_t> ceiling = {}) noexcept
{
    return {.amount = amount, .at_most = ceiling};
}
/// Subtracts `amount`, unless the counter would then be below `floor`: for stock, seats and budgets.
constexpr CounterChange decrement(std::int64_t amount, std::int64_t floor) noexcept
{
    // The smallest number has no opposite; it is refused as it is.
    constexpr auto smallest = std::numeric_limits<std::int64_t>::min();
    return {.amount = amount == smallest ? smallest : -amount, .at_least = floor};
}

/// What came of a change. A refusal by a bound is an answer like any other: the store keeps it under the
/// operation id, and whoever comes with that id again gets the same refusal.
struct CounterAnswer {
    /// The counter right after this change; if a bound refused it, the counter as it was.
    std::int64_t value{0};
    bool changed{false};   ///< false: a bound refused the change
    bool replayed{false};  ///< true: this is the answer of an earlier call with the same id
    /// Whether the counter was changed.
    explicit operator bool() const noexcept { return changed; }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_COUNTER_HPP
