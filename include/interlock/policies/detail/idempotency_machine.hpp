// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP
#define INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP

/// @file
/// What one owner of an idempotent request does next. The machine has no I/O, no clock and no thread: events
/// go in, actions come out, and a test walks through every order of events.
///
/// One rule carries all of it: **only the attempt that the claim's record names may be applied.** An attempt
/// is a home key (the key under which the operation's record is kept) and a number. From the rule follows:
/// - An owner commits an attempt only after the record has named that attempt under this owner.
/// - Whoever takes a claim over settles what the record names before naming another attempt. The new owner
///   looks at the operation's record, and where its own attempt goes to another home, it forbids the former
///   attempt there. At the same home both owners commit the same attempt, and the operation's record lets one
///   of the two through.
/// - A rejection is stored only after the owner's own attempt was forbidden.
/// - An owner that ends without an effect settles what it took over, and then gives the claim back. If it
///   cannot settle it, the store keeps what the record names for the next owner.
///
/// An answer that is found on the way is the answer.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/errc.hpp>

#include <compare>
#include <cstdint>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What the driver does next.
enum class ClaimAction : unsigned char {
    /// Claim `attempt()`; if `naming()`, in place of what the record names. Then `claimed` or `claim_failed`.
    claim,
    look_up,  ///< read the operation's record at this owner's home. Then `looked_up`
    /// Forbid `settled_attempt()`, at this owner's home or elsewhere. Then `settled` or `settle_failed`.
    settle,
    complete,   ///< store the answer, or the rejection. Then `ended`
    give_back,  ///< give the claim back, with `settled()`. Then `ended`
    run,        ///< run the operation, and commit `attempt()`
    wait,       ///< somebody else executes the request
    refuse,     ///< what the store said about the claim is the end of the call
    done,       ///< the claim is done with; an answer that was found is the answer of the call
};

/// What an operation's record said.
struct RecordFound {
    /// The operation was applied, and the record has its answer.
    bool answered{false};
    std::uint32_t forbidden{0};  ///< the highest attempt that the record forbids, and with it all before it
};

/// How a call ends.
enum class ClaimEnd : unsigned char {
    applied,
    nothing,  ///< surely not applied
    unknown,
};

/// One call of one owner. Not thread-safe: its driver calls one member at a time.
class IdempotencyMachine {
public:
    /// What `begin` of the policy does next. Called again after each answer, and when the operation is to run
    /// again.
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

    /// The store has arbitrated. `here`: what the record names is at this owner's home. `named`: its number;
    /// 0: none, or the attempt that was claimed.
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
    /// The claim failed. Once a claim may have been granted, only what the store says about it ends the
    /// doubt, and not the failure of a later one. Until then it is not known either what the record names:
    /// the claim may have been somebody else's in between.
    void claim_failed(Errc code) noexcept
    {
        if (code == Errc::outcome_unknown)
            holds_ = Holds::doubt;
    }

    /// The operation's record was read.
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

    /// The attempt is sent. Until `committed` or `resolved` says more, it may be applied.
    void committing() noexcept { sent_ = true; }
    /// The commit came to `code`.
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
    /// What became of a commit that was unknown. If it was not applied, the attempt is forbidden now; only
    /// the store can say whether the claim is still this owner's.
    void resolved(bool applied) noexcept
    {
        sent_ = false;
        answered_ = applied;
        stale_ = !applied;
    }

    /// The operation threw a rejection. Its own attempt is settled first, and then the rejection is stored.
    ClaimAction reject() const noexcept { return rejecting_ ? ClaimAction::complete : ClaimAction::settle; }
    /// Whether `settle` is about what was taken over, at the home that the claim named, because that is not
    /// this owner's home.
    bool settles_elsewhere() const noexcept { return former_ == Former::elsewhere; }
    /// The number of the attempt that `settle` forbids.
    std::uint32_t settled_attempt() const noexcept
    {
        return former_ == Former::elsewhere ? former_attempt_ : attempt_;
    }
    /// The attempt was forbidden, or `answered`: the operation's record has an answer instead. This event
    /// comes in `begin`, for a rejection, and at the end.
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
        // What may have been applied keeps its claim until the lease is over. Whoever takes the claim over
        // then finds out.
        if (sent_ || how != ClaimEnd::nothing)
            return ClaimAction::done;
        if (holds_ == Holds::claim && former_ != Former::none && !unsettled_)
            return ClaimAction::settle;
        return ClaimAction::give_back;
    }
    /// At the end the attempt could not be settled, so the claim is given back together with what it names.
    void settle_failed() noexcept { unsettled_ = true; }

    /// The claim is ended, or was somebody else's.
    void ended() noexcept { holds_ = Holds::nothing; }

    /// The attempt that this owner makes next.
    std::uint32_t attempt() const noexcept { return attempt_; }
    /// Whether the next claim is only made to name another attempt, because what the record names now is
    /// settled.
    bool naming() const noexcept
    {
        return holds_ == Holds::claim && !stale_ && former_ == Former::none && looked_ && named_ != attempt_;
    }
    /// Whether nothing that the record names can still be applied, so that a claim that is given back may be
    /// forgotten.
    bool settled() const noexcept { return holds_ == Holds::claim && former_ == Former::none; }
    /// Whether the claim may be this owner's.
    bool holds() const noexcept { return holds_ != Holds::nothing; }
    /// Whether the claim is this owner's, as the store said last.
    bool claimed() const noexcept { return holds_ == Holds::claim; }

    friend auto operator<=>(IdempotencyMachine const&, IdempotencyMachine const&) = default;

private:
    // `doubt`: a claim may have been granted.
    enum class Holds : unsigned char { nothing, doubt, claim };
    // Where the attempt is that was taken over and is not settled yet.
    enum class Former : unsigned char { none, here, elsewhere };

    std::uint32_t attempt_{1};
    std::uint32_t named_{0};           // the attempt that the record names at this owner's home; 0: none
    std::uint32_t former_attempt_{0};  // the attempt that was taken over
    Holds holds_{Holds::nothing};
    Former former_{Former::none};
    bool looked_{false};     // the operation's record was read since the claim
    bool stale_{false};      // the attempt is forbidden; it must be asked whether the claim is still ours
    bool sent_{false};       // the attempt was sent and may be applied
    bool answered_{false};   // the operation's record has an answer
    bool rejecting_{false};  // the own attempt is forbidden for the sake of a rejection
    bool unsettled_{false};  // settling has failed at the end
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_MACHINE_HPP
