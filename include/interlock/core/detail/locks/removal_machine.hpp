// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_MACHINE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_MACHINE_HPP

// Decides when the removal of a lock record is over, when to ask the store again, and what all attempts
// together came to. No I/O, no clock, no thread.
//
// A removal compares before it deletes, so that asking again is safe: an attempt whose outcome is unknown is
// simply repeated. A record that was not removed by the end of its lease ends by itself; from then on there
// is nothing to ask for.
//
// A grant that its caller gave up is another case: it may be under way to a store that stands still, and its
// lease begins when the store goes on. So the store is asked for longer than a lease, and a record that is
// not there is looked for again.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/repeated_call.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether an attempt that came to `removed` is to be repeated. What nobody can tell any more (see
/// `answered`) is not.
inline bool was_in_vain(Outcome<Removal> const& removed) noexcept
{
    return is_no_answer(removed.errc()) &&
           !(removed.errc() == Errc::outcome_unknown && removed.cause() == Errc::lock_lost);
}

class RemovalMachine {
public:
    enum class Action : unsigned char {
        ask_again,  ///< at `again_at()`
        over,       ///< the outcome of the last attempt, as `answered` left it, is that of the removal
    };

    /// `until`: when there is nothing to ask for any more, as a rule because the record ends by itself.
    /// `doubt`: whether an earlier attempt may have removed it. `looks_again`: how often a record that is not
    /// there is looked for once more, because it may be still to come.
    RemovalMachine(
        Backoff const& polls, TimePoint until, Doubt doubt = {}, unsigned char looks_again = 0) noexcept
        : repetition_(polls, until), doubt_(doubt), looks_again_(looks_again)
    {}

    /// One attempt came to `removed`. Makes that the outcome of all attempts so far. `moment` is asked for
    /// `now()` and `random_bits()` only when there may be another attempt: hardly ever.
    template <class Moment>
    Action answered(Outcome<Removal>& removed, Moment const& moment) noexcept
    {
        INTERLOCK_ASSERT(!over_, "a removal that is over is not asked for again");
        bool const may_come = looks_again_ > 0 && removed && *removed == Removal::gone;
        // Another acquisition's record, behind an attempt that may have been applied: either that attempt
        // removed ours, or the lock had been lost before. Nobody can tell any more.
        if (doubt_.open() && removed && *removed == Removal::taken) {
            removed = Failure::unknown(Errc::lock_lost);
        } else {
            // No record behind an attempt that may have been applied: that attempt has removed it.
            if (doubt_.open() && removed && *removed == Removal::gone && !may_come)
                removed = Removal::removed;
            doubt_.settle(removed);
        }
        again_at_ = TimePoint::max();
        if (may_come)
            --looks_again_;
        if (may_come || was_in_vain(removed))
            again_at_ = repetition_.next(moment.now(), moment.random_bits());
        over_ = again_at_ == TimePoint::max();
        return over_ ? Action::over : Action::ask_again;
    }

    /// After `ask_again`: no more attempts will be made.
    void give_up() noexcept { over_ = true; }

    TimePoint again_at() const noexcept { return again_at_; }
    /// For whoever goes on in place of this one.
    Doubt doubt() const noexcept { return doubt_; }
    bool over() const noexcept { return over_; }

private:
    Repetition repetition_;
    Doubt doubt_;
    TimePoint again_at_{TimePoint::max()};
    unsigned char looks_again_;
    bool over_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_MACHINE_HPP
