// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_DOUBT_HPP
#define INTERLOCK_CORE_KIT_DOUBT_HPP

/// @file
/// One rule for everybody who asks a store again (law P5): once an attempt may have been applied, nothing but
/// an answer of the store about that attempt ends the doubt. Whoever makes several attempts at one thing
/// keeps one `Doubt` for all of them.
///
/// A later attempt that fails for a reason of its own (no connection, no time left, a full queue, a missing
/// right) says nothing about the earlier one. Which failures of a verb are answers about every attempt so
/// far, only the caller knows: before the store said so, it must have looked for the effect of the earlier
/// attempts.
///
///     Doubt doubt;
///     for (;;) {
///         Outcome<X> outcome = ask();
///         doubt.settle(outcome, {Errc::idempotency_mismatch});  // `outcome` now speaks for all attempts
///         if (outcome || !worth_asking_again(outcome) || too_late())
///             return outcome;
///     }
///
/// Where an attempt may be given up while it is under way, `sent` and `came` bracket it. `open` then tells
/// whether there is something to find out, something to give back, or something that must not be handed on.

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What is not known about the attempts at one thing. Not thread-safe: it belongs to one call.
class Doubt {
public:
    /// Whether an attempt may have been applied, or may still be, and the store has not said which.
    bool open() const noexcept { return earlier_ || under_way_; }

    /// An attempt leaves. Until `came` says what it came to, it may be applied.
    void sent() noexcept { under_way_ = true; }

    /// An attempt came to `code`. `answers`: with this code the store speaks about every attempt so far.
    void came(Errc code, bool answers) noexcept
    {
        under_way_ = false;
        if (code == Errc::outcome_unknown)
            earlier_ = true;
        else if (answers)
            earlier_ = false;
    }

    /// The store has said in another way what became of every attempt.
    void answered() noexcept { earlier_ = under_way_ = false; }

    /// Makes what one attempt came to the outcome of all of them. While an earlier attempt is in doubt, a
    /// failure that is no answer becomes unknown, because of that failure. A value is an answer; of the
    /// failures, those in `answers` are.
    template <class X>
    void settle(Outcome<X>& outcome, std::initializer_list<Errc> answers = {}) noexcept
    {
        auto const code = outcome.errc();
        came(code, outcome.has_value() || std::find(answers.begin(), answers.end(), code) != answers.end());
        if (!outcome && open())
            outcome = std::move(outcome).failure().in_doubt();
    }

private:
    bool earlier_{false};    // an attempt has ended without an answer
    bool under_way_{false};  // an attempt has not ended
};

/// The failure of a call that had an effect and nothing to show for it, behind `undone`, which was to take
/// that effect back: where it was not taken back, the call is in doubt because of its failure.
template <class X>
Failure after_undoing(Failure failure, Outcome<X> const& undone) noexcept
{
    return undone ? std::move(failure) : std::move(failure).in_doubt();
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_DOUBT_HPP
