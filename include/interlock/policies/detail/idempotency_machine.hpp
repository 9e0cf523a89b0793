// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP
#define INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP

// What one owner of an idempotent request does next. No I/O, no clock, no thread: events go in, actions come out.
//
// One rule carries all of it: **only the attempt that the claim's record names may be applied.** An attempt is a home key
// (the one under which the operation's record is kept) and a number. So
// * an owner commits an attempt only after the record has named it under this owner;
// * whoever takes over settles what the record names before it names another: it looks at the operation's record, and where
//   it goes to another home, it forbids the former attempt there. At the same home both commit the same attempt, and the
//   operation's record lets one of them through;
// * a rejection is stored after its own attempt was forbidden;
// * who ends without an effect settles what it took over, then gives the claim back; where it cannot, the store keeps what
//   is named for the next one.
// An answer that is found on the way is the answer.

#include <interlock/core/errc.hpp>
#include <interlock/core/idempotent_request.hpp>

#include <compare>
#include <cstdint>

namespace interlock {
inline namespace v0 {
namespace detail {

enum class ClaimAction : unsigned char {
    claim,      ///< `attempt()`; `naming()`: instead of what this owner's record names. Then `claimed` or `claim_failed`
    look_up,    ///< the operation's record at this owner's home. Then `looked_up`
    settle,     ///< forbid `settled_attempt()`, at this owner's home or elsewhere. Then `settled` or `settle_failed`
    complete,   ///< store the answer, or the rejection. Then `ended`
    give_back,  ///< with `settled()`. Then `ended`
    run,        ///< the operation, and commit `attempt()`
    wait,       ///< somebody else executes the request
    refuse,     ///< what the store said of the claim is the end of the call
    done,       ///< of the claim nothing is left to do; the answer that was found, if there is one, is the call's
};

/// What an operation's record said.
struct RecordFound {
    bool answered{false};
    std::uint32_t forbidden{0};  ///< attempts up to it
};

/// How a call ends.
enum class ClaimEnd : unsigned char {
    applied,
    nothing,  ///< surely not applied
    unknown,
};

class IdempotencyMachine {
public:
    /// What `begin` does next; called again after each answer, and to run again.
    ClaimAction begin() const noexcept
    {
        if (answered_)
            return ClaimAction::done;
        if (holds_ != Holds::claim || stale_)
            return ClaimAction::claim;
        if (former_ == Former::elsewhere)
            return ClaimAction::settle;
        if (!looked_)
            return ClaimAction::look_up;
        return named_ == attempt_ ? ClaimAction::run : ClaimAction::claim;
    }

    /// The store arbitrated. `here`: what the record names is at this owner's home; `named`: its number, 0 for none, or what
    /// was claimed.
    ClaimAction claimed(ClaimState state, bool here = false, std::uint32_t named = 0) noexcept
    {
        switch (state) {
        case ClaimState::claimed:
            looked_ = naming();
            former_ = Former::none;
            named_ = named != 0 ? named : attempt_;
            break;
        case ClaimState::taken_over:
            looked_ = false;
            former_ = named == 0 ? Former::none : here ? Former::here : Former::elsewhere;
            former_attempt_ = named;
            named_ = 0;
            if (former_ == Former::here)
                named_ = attempt_ = named;
            break;
        case ClaimState::completed:
            holds_ = Holds::nothing;
            answered_ = true;
            return ClaimAction::done;
        case ClaimState::in_progress: holds_ = Holds::nothing; return ClaimAction::wait;
        case ClaimState::mismatch:
        case ClaimState::abandoned: holds_ = Holds::nothing; return ClaimAction::refuse;
        }
        holds_ = Holds::claim;
        stale_ = false;
        return begin();
    }
    /// Once a claim may have been granted, only what the store says of it ends the doubt, not how a later one failed. Until
    /// then it is not known either what the record names: it may have been somebody else's in between.
    void claim_failed(Errc code) noexcept
    {
        if (code == Errc::outcome_unknown)
            holds_ = Holds::doubt;
    }

    ClaimAction looked_up(RecordFound found) noexcept
    {
        looked_ = true;
        if (found.answered) {
            answered_ = true;
        } else if (found.forbidden >= attempt_) {
            attempt_ = found.forbidden + 1;
            former_ = Former::none;
        }
        return begin();
    }

    /// The attempt leaves: until `committed` or `resolved` says more, it may be applied.
    void committing() noexcept { sent_ = true; }
    void committed(Errc code) noexcept
    {
        if (code == Errc::outcome_unknown)
            return;
        sent_ = false;
        if (code == Errc::ok)
            answered_ = true;
        else if (code == Errc::superseded)
            stale_ = true;
    }
    /// Of a commit that was unknown. Not applied: the attempt is forbidden; whether the claim is still this owner's, the
    /// store says.
    void resolved(bool applied) noexcept
    {
        sent_ = false;
        answered_ = applied;
        stale_ = !applied;
    }

    /// The operation threw a rejection: its own attempt is settled first.
    ClaimAction reject() const noexcept { return rejecting_ ? ClaimAction::complete : ClaimAction::settle; }
    /// Whether `settle` is about what was taken over, at `Claim::former`, if that is elsewhere.
    bool settles_elsewhere() const noexcept { return former_ == Former::elsewhere; }
    std::uint32_t settled_attempt() const noexcept
    {
        return former_ == Former::elsewhere ? former_attempt_ : attempt_;
    }
    /// What was forbidden, or was found instead. In `begin`, for a rejection, and at the end.
    void settled(bool answered) noexcept
    {
        if (answered)
            answered_ = true;
        else if (former_ != Former::elsewhere)
            stale_ = rejecting_ = true;
        former_ = Former::none;
    }
    bool answered() const noexcept { return answered_; }

    /// What is left to do at the end of a call.
    ClaimAction end(ClaimEnd how) const noexcept
    {
        if (holds_ == Holds::nothing)
            return ClaimAction::done;
        if (answered_)
            return ClaimAction::complete;
        // What may have been applied keeps its claim until the lease is over; whoever takes over then finds out.
        if (sent_ || how != ClaimEnd::nothing)
            return ClaimAction::done;
        if (holds_ == Holds::claim && former_ != Former::none && !unsettled_)
            return ClaimAction::settle;
        return ClaimAction::give_back;
    }
    /// At the end: it could not be settled, so the claim is given back with what it names.
    void settle_failed() noexcept { unsettled_ = true; }

    /// The claim is ended, or was somebody else's.
    void ended() noexcept { holds_ = Holds::nothing; }

    std::uint32_t attempt() const noexcept { return attempt_; }
    /// Whether the claim is only to name another attempt: what the record names now is settled.
    bool naming() const noexcept
    {
        return holds_ == Holds::claim && !stale_ && former_ == Former::none && looked_ && named_ != attempt_;
    }
    /// Whether nothing that the record names can still be applied, so that a claim given back may be forgotten.
    bool settled() const noexcept { return holds_ == Holds::claim && former_ == Former::none; }
    bool holds() const noexcept { return holds_ != Holds::nothing; }
    bool claimed() const noexcept { return holds_ == Holds::claim; }

    friend auto operator<=>(IdempotencyMachine const&, IdempotencyMachine const&) = default;

private:
    enum class Holds : unsigned char { nothing, doubt, claim };
    enum class Former : unsigned char { none, here, elsewhere };

    std::uint32_t attempt_{1};
    std::uint32_t named_{0};  // by the record, at this owner's home
    std::uint32_t former_attempt_{0};
    Holds holds_{Holds::nothing};
    Former former_{Former::none};  // not settled yet
    bool looked_{false};           // since the claim
    bool stale_{false};            // the attempt is forbidden: is the claim still ours, and what is allowed?
    bool sent_{false};             // and may be applied
    bool answered_{false};
    bool rejecting_{false};
    bool unsettled_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP
