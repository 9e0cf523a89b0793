// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_LOCK_HPP
#define INTERLOCK_CORE_LOCK_HPP

/// @file
/// A held lock: a move-only handle on one acquisition, in two types for two levels of assurance.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/observer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The way of services and policies to what a lock keeps private; see `kit/lock_access.hpp`.
class LockAccess;

/// What a handle knows of its lock.
enum class LockStatus : unsigned char {
    held,      ///< the lease runs, by this process's clock, counted from before the request left
    in_doubt,  ///< the lease still runs, but a renewal is due and not confirmed
    lost,      ///< the lease is over, or the store names somebody else; see `lost_reason`
};

namespace detail {

/// Why a lock is lost, in words.
constexpr char const* meaning_of(LostReason reason) noexcept
{
    switch (reason) {
    case LostReason::none: return "the lock is held";
    case LostReason::expired: return "the lease ended before a renewal was confirmed";
    case LostReason::taken: return "somebody else has been given the lock";
    case LostReason::removed: return "the lock's record was removed from the store";
    case LostReason::released: break;
    }
    return "the lock was released, or never acquired";
}

/// One local grant, shared by its handle and the service that gave it.
class Hold {
public:
    Hold(OwnerToken owner, FencingToken token, TimePoint valid_until, TimePoint granted_at) noexcept
        : fence_{owner, token}, granted_at_(granted_at), valid_until_(valid_until.time_since_epoch().count())
    {}
    Hold(Hold const&) = delete;
    Hold& operator=(Hold const&) = delete;
    virtual ~Hold() = default;

    virtual TimePoint now() const noexcept = 0;
    /// Of the store, for messages.
    virtual std::string place() const { return {}; }
    /// Gives the lock back without blocking. `unresolved`: a write of this holder may still arrive.
    virtual void release(bool unresolved) noexcept = 0;
    /// Gives the lock back and reports; may block until the deadline that every call has.
    virtual Outcome<void> release_and_report() = 0;
    /// One renewal now.
    virtual Outcome<void> renew_now(Deadline deadline) = 0;

    /// Whoever asked for it has it. A grant that nobody comes for, since an executor stands still, is not
    /// renewed for ever.
    void take() noexcept
    {
        if (offer_.exchange(Offer::taken, std::memory_order_acq_rel) == Offer::neglected)
            revive();
    }
    /// False: it was taken. True: it is not to be renewed until it is.
    bool neglect() noexcept
    {
        auto open = Offer::open;
        return offer_.compare_exchange_strong(open, Offer::neglected, std::memory_order_acq_rel) ||
               open == Offer::neglected;
    }

    Fence const& fence() const noexcept { return fence_; }
    TimePoint granted_at() const noexcept { return granted_at_; }
    TimePoint valid_until() const noexcept
    {
        return TimePoint{std::chrono::nanoseconds{valid_until_.load(std::memory_order_acquire)}};
    }
    void extend(TimePoint valid_until) noexcept
    {
        valid_until_.store(valid_until.time_since_epoch().count(), std::memory_order_release);
    }
    void set_in_doubt(bool value) noexcept { in_doubt_.store(value, std::memory_order_release); }

    /// A write under this hold may still arrive, though nobody waits for it: the lease is not handed on to
    /// anybody, who would not be fenced from it.
    void set_unresolved() noexcept { unresolved_.store(true, std::memory_order_release); }
    bool unresolved() const noexcept { return unresolved_.load(std::memory_order_acquire); }

    /// Computed at each call from the clock, never from a flag that a late timer sets (law P6).
    LockStatus status() const noexcept { return status(now()); }
    LockStatus status(TimePoint now) const noexcept
    {
        if (reason_.load(std::memory_order_acquire) != LostReason::none || now >= valid_until())
            return LockStatus::lost;
        return in_doubt_.load(std::memory_order_acquire) ? LockStatus::in_doubt : LockStatus::held;
    }
    LostReason lost_reason() const noexcept
    {
        auto const reason = reason_.load(std::memory_order_acquire);
        return reason == LostReason::none && now() >= valid_until() ? LostReason::expired : reason;
    }

    /// `lock_lost` in words. Precondition: it is lost.
    Error lost_error() const
    {
        auto text = place();
        if (!text.empty())
            text += ": ";
        return Error(Errc::lock_lost, text + meaning_of(lost_reason()));
    }

    /// Marks the lock lost (once) and tells who listens. Not to be called under a lock.
    void lose(LostReason reason) noexcept
    {
        auto none = LostReason::none;
        if (!reason_.compare_exchange_strong(none, reason, std::memory_order_acq_rel))
            return;
        if (reason == LostReason::released)
            return;
        std::stop_source stop{std::nostopstate};
        {
            std::lock_guard lock(mutex_);
            if (stop_)
                stop = *stop_;
            if (listener_ != nullptr)
                listener_->wake();
        }
        stop.request_stop();
    }

    std::stop_token stop_token()
    {
        std::lock_guard lock(mutex_);
        if (!stop_)
            stop_.emplace();
        auto const reason = reason_.load(std::memory_order_acquire);
        if (reason != LostReason::none && reason != LostReason::released)
            stop_->request_stop();
        return stop_->get_token();
    }

    /// Woken when the lock is lost. Null takes it back.
    void listen(Waiter* waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        listener_ = waiter;
    }

protected:
    /// Renewals go on, if it is not too late.
    virtual void revive() noexcept = 0;

private:
    enum class Offer : unsigned char { open, taken, neglected };

    Fence fence_;
    TimePoint granted_at_;
    std::atomic<Offer> offer_{Offer::open};
    std::atomic<TimePoint::rep> valid_until_;
    std::atomic<LostReason> reason_{LostReason::none};
    std::atomic<bool> in_doubt_{false};
    std::atomic<bool> unresolved_{false};
    std::mutex mutex_;
    std::optional<std::stop_source> stop_;
    Waiter* listener_{nullptr};
};

/// What both lock types have in common.
template <class T>
class LockHandle {
public:
    LockHandle() = default;
    LockHandle(T state, std::shared_ptr<Hold> hold) : state_(std::move(state)), hold_(std::move(hold)) {}
    LockHandle(LockHandle&& other) noexcept : state_(std::move(other.state_)), hold_(std::move(other.hold_))
    {}
    LockHandle& operator=(LockHandle&& other) noexcept
    {
        if (this != &other) {
            give_back();
            state_ = std::move(other.state_);
            hold_ = std::move(other.hold_);
        }
        return *this;
    }
    ~LockHandle() { give_back(); }

    /// The state that was passed to `acquire`; if a key was passed, a default `T` with that key. It is not
    /// the value in the store: load the repository for that. Precondition: the handle is not empty (neither
    /// default-constructed, moved from, nor released).
    T const& state() const noexcept { return *state_; }
    explicit operator bool() const noexcept { return hold_ != nullptr; }

    /// Computed from the clock at each call. An empty handle is `lost`.
    LockStatus status() const noexcept { return hold_ ? hold_->status() : LockStatus::lost; }
    LostReason lost_reason() const noexcept { return hold_ ? hold_->lost_reason() : LostReason::released; }

    /// How long the lock may still be believed without another renewal; zero when lost.
    std::chrono::nanoseconds remaining() const noexcept
    {
        if (status() == LockStatus::lost)
            return std::chrono::nanoseconds{0};
        auto const left = hold_->valid_until() - hold_->now();
        return left.count() > 0 ? left : std::chrono::nanoseconds{0};
    }

    /// Makes sure that at least `duration` is left, with one renewal (one round trip, blocking for 5 s at
    /// most) if it is not. `lock_lost` when the lock is lost, or what kept the renewal from being confirmed;
    /// `invalid_argument` when no single lease is that long.
    Outcome<void> ensure(std::chrono::nanoseconds duration)
    {
        if (status() == LockStatus::lost)
            return Errc::lock_lost;
        if (remaining() >= duration)
            return success();
        auto renewed =
            hold_->renew_now(Deadline{std::min(hold_->valid_until(), Deadline{}.at(hold_->now()))});
        if (!renewed)
            return renewed;
        if (remaining() >= duration)
            return success();
        return Failure{Errc::invalid_argument, "ensure: the duration is longer than a whole lease"};
    }

    /// Fires when the lock is lost: pass it to what should stop then. Best effort; the guarantees are
    /// `status()` at each call, and the fence.
    std::stop_token stop_token() const { return hold_ ? hold_->stop_token() : std::stop_token{}; }

    /// Throws `Error` (`lock_lost`, with the reason) if the lock is lost by now. One look at the clock, no
    /// trip: for the line before a side effect that nobody would fence. It says nothing about the time after
    /// it; see `ensure`.
    void check() const
    {
        if (status() == LockStatus::lost)
            throw hold_ ? hold_->lost_error() : Error(Errc::lock_lost, meaning_of(LostReason::released));
    }

    /// Gives the lock back and reports; the handle is empty afterwards. `ok` also when it was empty before.
    /// `lock_lost` when the lock had been lost before: work done under it may have met another holder's.
    /// Blocks for one trip to the store, more when that fails, but 5 s at most; what is not done by then goes
    /// on without the caller and is `outcome_unknown`. The destructor gives the lock back as well, without
    /// blocking and without a report.
    Outcome<void> release()
    {
        auto const hold = std::move(hold_);
        return hold ? hold->release_and_report() : success();
    }

protected:
    Hold const* held() const noexcept { return hold_.get(); }

private:
    friend class interlock::LockAccess;

    void give_back() noexcept
    {
        if (hold_)
            hold_->release(false);
        hold_.reset();
    }

    std::optional<T> state_;
    std::shared_ptr<Hold> hold_;
};

}  // namespace detail

/// A lock whose holder can be fenced: a later holder's guarded writes exclude this one's (law P1).
///
/// **Guarantee.** At most one handle per key is valid at a time while the store keeps its own promises (law
/// P2, conditional); after the next grant no guarded write of this one is applied (law P1, unconditional).
/// **Does not guarantee.** That work outside the store stops when the lock is lost: pass `fencing_token()` to
/// other systems so that they can refuse it, and watch `stop_token()`. **Lifetimes.** Independent of the
/// service that gave it. The destructor gives the lock back and never blocks. **Thread safety.** Distinct
/// objects: safe. Shared objects: const members safe. Not bound to a thread.
template <class T>
class Lock : public detail::LockHandle<T> {
public:
    using value_type = T;
    static constexpr Assurance assurance = Assurance::fenced;
    using detail::LockHandle<T>::LockHandle;

    /// Greater than that of every earlier holder of this key.
    FencingToken fencing_token() const noexcept
    {
        return this->held() != nullptr ? this->held()->fence().token : FencingToken{};
    }
    /// What a guarded write carries. Secret: it authorises writes.
    Fence fence() const noexcept { return this->held() != nullptr ? this->held()->fence() : Fence{}; }
};

/// A lock that keeps work from being done twice most of the time, and no more: it has no fencing token,
/// because its store has no counter that outlives what it would guard. Nothing may depend on it for
/// correctness.
template <class T>
class EfficiencyLock : public detail::LockHandle<T> {
public:
    using value_type = T;
    static constexpr Assurance assurance = Assurance::efficiency;
    using detail::LockHandle<T>::LockHandle;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_LOCK_HPP
