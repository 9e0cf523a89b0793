// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINE_HPP

// Who of the callers of one service gets the lock on one key, and how: the decision, without mutex, clock,
// store or memory. The lock table tells the line what happened; the line answers what is to be done.
//
// | what happened | what is to be done |
// |---|---|
// | `enter`: a caller comes | `drive`: nobody is there, ask the store · `queue` · `busy` · `overloaded` |
// | `granted`, `hold`: the store grants a lease | the driver holds; look at `lease().next()` |
// | `released`: a holder is done | `hand_on`: the first in the queue holds next · `remove_record` |
// | `gave_up`: the driver ends without a lock | the first in the queue drives next; else: idle |
// | `lost`: the holder, or `removed`, `lapsed`: the record is gone | likewise |
// | `pass_over`: whoever is to drive next does not come | the one behind it drives; it goes to the end |
// | `leave`: a caller does not wait any more | nothing, or the next drives instead |
//
// The laws that `tests/interleaving/lock_line.cpp` checks in every order of events:
// * At most one caller drives or holds, or one record is being removed.
// * First come, first served.
// * Whoever waits in the queue is behind somebody who will wake it: a driver, a holder or a removal.
// * Each holder gets a token that is greater than every earlier one and that the store granted to this
//   service.
// * While a write of the former holder may still arrive, the lease is handed on to nobody: the next holder
//   would have the same record, so the store could not tell the two apart by their owner.
// * Once somebody elsewhere waits, the lease is handed on so many times, and for so long, at most.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lease_machine.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/lock.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `Queue`: an `IntrusiveQueue`, or something like it. A value-initialised `Queue::Member` is nobody.
template <class Queue>
class LockLine {
public:
    using Member = typename Queue::Member;

    enum class State : unsigned char {
        idle,      ///< nobody is here
        trying,    ///< one caller drives (asks the store), or is to do so next
        held,      ///< one caller holds the lock
        removing,  ///< nobody holds the lock any more; its record is being removed
    };

    // ---- callers come and go --------------------------------------------------------------------

    enum class Entered : unsigned char {
        drive,       ///< it asks the store, at once
        queue,       ///< it waits in the queue until it is handed the lock or is to drive
        busy,        ///< somebody else has the lock, and the caller does not want to wait
        overloaded,  ///< there is no room in the queue
    };

    /// `room()`: whether one more caller may wait; asked only when the caller would have to.
    template <class Room>
    Entered enter(Member member, Wait wait, Room&& room) noexcept
    {
        if (state_ == State::idle) {
            state_ = State::trying;
            return Entered::drive;
        }
        // A lock whose record is being removed is nobody's. The first caller that comes waits for the end of
        // that trip, even if it would not wait for a holder.
        bool const nobodys = state_ == State::removing && queue_.empty();
        if (wait == Wait::no && !nobodys)
            return Entered::busy;
        if (!room())
            return Entered::overloaded;
        queue_.push_back(member);
        return Entered::queue;
    }

    enum class Left : unsigned char {
        queue,  ///< it was one of those who wait
        turn,   ///< it was to drive next: somebody else must, see `gave_up`
    };

    /// `member` waits no more: neither for the lock nor to drive.
    Left leave(Member member) noexcept
    {
        if (promoted_ == member) {
            promoted_ = Member{};
            return Left::turn;
        }
        queue_.remove(member);
        return Left::queue;
    }

    /// Who is to drive next and has not begun to; nobody, most of the time.
    Member promoted() const noexcept { return promoted_; }
    void begin_driving(Member member) noexcept
    {
        INTERLOCK_ASSERT(
            state_ == State::trying && promoted_ == member, "only the next in line begins to drive");
        static_cast<void>(member);
        promoted_ = Member{};
    }

    /// Whoever is to drive next has not come for a while. Returns who drives instead; nobody: there is nobody
    /// else.
    Member pass_over() noexcept
    {
        INTERLOCK_ASSERT(promoted_ != Member{}, "somebody was to drive");
        if (queue_.empty())
            return Member{};
        queue_.push_back(std::exchange(promoted_, Member{}));
        return promote_next();
    }

    // ---- the driver -----------------------------------------------------------------------------

    /// The store granted `grant` to the driver, which had asked at `sent`. `hold` or `not_held` is next.
    void granted(OwnerToken owner, Grant const& grant, TimePoint sent, LockOptions const& options) noexcept
    {
        INTERLOCK_ASSERT(
            state_ == State::trying && promoted_ == Member{}, "only a driver is granted a lease");
        owner_ = owner;
        first_token_ = next_token_ = grant.first.value();
        end_token_ = first_token_ + grant.count;
        hand_ons_ = 0;
        wanted_since_ = TimePoint{};
        lease_ = LeaseMachine{{grant.ttl, options.drift, options.margin, options.renew}};
        lease_.granted(sent, grant.ttl);
    }

    /// A caller holds the lock from now on, under the token that this returns: the driver, or the one to whom
    /// `released` handed the lease on.
    FencingToken hold() noexcept
    {
        INTERLOCK_ASSERT(next_token_ < end_token_, "the store has granted one more token");
        state_ = State::held;
        return FencingToken{next_token_++};
    }

    /// There is no memory for the driver's hold. It drives on, and gives up.
    void not_held() noexcept
    {
        state_ = State::trying;
        lease_.stop();
    }

    /// The driver ends without a lock. Returns who drives next; nobody: the line is idle.
    [[nodiscard]] Member gave_up() noexcept { return promote_next(); }

    // ---- the holder -----------------------------------------------------------------------------

    enum class Released : unsigned char { hand_on, remove_record };

    /// The holder is done. `unresolved`: a write of it may still arrive. `wanted_elsewhere()`: whether
    /// somebody waits at another service; asked only when the lease could be handed on. What follows
    /// `hand_on` is `hold` and `take_next`, or `not_handed_on`.
    template <class Wanted>
    Released released(TimePoint now, bool unresolved, LockOptions const& options, Wanted&& wanted_elsewhere)
    {
        INTERLOCK_ASSERT(state_ == State::held, "only a holder releases");
        if (!unresolved && may_hand_on(now, options, wanted_elsewhere))
            return Released::hand_on;
        not_handed_on();
        return Released::remove_record;
    }
    Member take_next() noexcept { return queue_.pop_front(); }
    /// The lease is not handed on: its record is to be removed.
    void not_handed_on() noexcept
    {
        state_ = State::removing;
        lease_.stop();
    }

    /// The holder has lost the lock, or its record was removed together with its last write. Returns who
    /// drives next.
    [[nodiscard]] Member lost() noexcept
    {
        lease_.stop();
        return promote_next();
    }

    /// The record has been removed. Returns who drives next.
    [[nodiscard]] Member removed() noexcept
    {
        INTERLOCK_ASSERT(!renewal_under_way(owner_), "the removal of a record waits for a renewal of it");
        return lapsed();
    }
    /// Nobody removes the record any more: its lease is over. Returns who drives next.
    [[nodiscard]] Member lapsed() noexcept
    {
        INTERLOCK_ASSERT(state_ == State::removing, "the record of a released lock ends");
        return promote_next();
    }

    // ---- renewals -------------------------------------------------------------------------------

    /// A renewal for `owner` that was planned is still to be sent.
    bool renewal_wanted(OwnerToken owner) const noexcept
    {
        return owner_ == owner && lease_.renewing() && !lease_.stopped();
    }
    /// A renewal leaves for the store, and the mutex is free until `renewal_returned`.
    void renewal_left() noexcept { renewing_for_ = owner_; }
    void renewal_returned(OwnerToken owner) noexcept
    {
        if (renewing_for_ == owner)  // else that was an earlier holder's
            renewing_for_ = OwnerToken{};
    }
    bool renewal_under_way(OwnerToken owner) const noexcept { return owner && renewing_for_ == owner; }

    // ---- what is known --------------------------------------------------------------------------

    State state() const noexcept { return state_; }
    bool somebody_queues() const noexcept { return !queue_.empty(); }
    /// Of the last grant.
    OwnerToken owner() const noexcept { return owner_; }
    FencingToken first_token() const noexcept { return FencingToken{first_token_}; }
    LeaseMachine& lease() noexcept { return lease_; }
    LeaseMachine const& lease() const noexcept { return lease_; }

private:
    template <class Wanted>
    bool may_hand_on(TimePoint now, LockOptions const& options, Wanted&& wanted_elsewhere)
    {
        if (queue_.empty() || next_token_ >= end_token_ || lease_.stopped())
            return false;
        if (lease_.renewed() != options.renew)  // nobody came for it in time, so it is not renewed any more
            return false;
        // The next holder should get a lock that it can use: at least half of a lease is left, or it was just
        // renewed.
        if (lease_.valid_until() - now < options.ttl.value() / 2)
            return false;
        if (!wanted_elsewhere())
            return true;
        if (wanted_since_ == TimePoint{}) {
            wanted_since_ = now;
            hand_ons_ = 0;
        }
        return ++hand_ons_ <= options.hand_on_count && now - wanted_since_ <= options.hand_on_time;
    }

    Member promote_next() noexcept
    {
        if (queue_.empty()) {
            state_ = State::idle;
            owner_ = renewing_for_ = OwnerToken{};
            return Member{};
        }
        state_ = State::trying;
        promoted_ = queue_.pop_front();
        return promoted_;
    }

    Queue queue_{};
    Member promoted_{};
    OwnerToken owner_{};
    OwnerToken renewing_for_{};     // whose renewal is on its way to the store; zero: nobody's
    std::uint64_t first_token_{0};  // the tokens of the grant: from here ...
    std::uint64_t next_token_{0};   // ... the next holder's ...
    std::uint64_t end_token_{0};    // ... to before this one
    LeaseMachine lease_{};
    TimePoint wanted_since_{};  // when somebody elsewhere was first seen to wait during this grant
    int hand_ons_{0};           // since then
    State state_{State::idle};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINE_HPP
