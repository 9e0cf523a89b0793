// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_LOCK_HPP
#define INTERLOCK_CORE_LOCK_HPP

/// @file
/// A held lock: a move-only handle on one acquisition, in two types for two levels of assurance. A
/// `LockStateService` gives it out; it goes back when the handle does. `LockOptions` says how long a lease
/// lasts and who gets a turn, `AcquireOptions` how long one caller waits.
///
///     LockStateService locks{repository, {.ttl = 10s}};      // others wait that long for a crashed holder
///     auto lock = locks.acquire("sku-1", {.deadline = 2s});  // waits for its turn, 2 s at most
///     robot.fetch("sku-1", lock.fencing_token());  // the robot refuses a token below the last one it saw
///     lock.check();                                // throws `lock_lost` when the lease is over by now
///     print_label("sku-1");
///     if (!lock.release())                         // or let the destructor do it, without a report
///         log("the lock was lost while this ran");

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/lock_info.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/separate_compilation.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// How a `LockStateService` holds and hands out locks. The defaults suit a store in the same data centre. A
/// service that is given values out of range is made all the same, and every `acquire` of it fails with
/// `invalid_argument`.
struct LockOptions {
    /// How long a lease lasts when nobody renews it: when a holder crashes, others wait that long. 50 ms to
    /// 24 h.
    Ttl ttl{};
    /// Whether a held lock is renewed, each time a third of the ttl has passed. Without renewal a lock is
    /// lost after one ttl.
    bool renew{true};
    /// By how much the clock of this process and that of the store may differ in rate. 0.01 is one percent;
    /// less than 0.5.
    double drift{0.01};
    /// A holder stops trusting its lease this long before the lease ends, so that a check and the write after
    /// it both fall into the lease. At most a tenth of the ttl is used.
    std::chrono::nanoseconds margin{std::chrono::milliseconds{5}};
    /// How long to wait between two attempts at the store. A store that wakes waiters is asked that often all
    /// the same, at the cap, because a wake-up may be lost.
    Backoff poll{
        .initial = std::chrono::milliseconds{2}, .cap = std::chrono::milliseconds{250}, .immediate = 0};
    /// How many attempts at the store one `acquire` that waits makes at most.
    int max_attempts{std::numeric_limits<int>::max()};
    /// How many callers of this service may wait at a time, over all keys. Whoever comes beyond that is told
    /// `overloaded`.
    std::size_t max_waiters{default_max_waiters};
    /// A released lock goes to the next caller of this service without a trip to the store. Once somebody
    /// elsewhere waits for it, that happens this many times more at most ...
    int hand_on_count{32};
    /// ... and for this long at most; then the lock is released in the store.
    std::chrono::nanoseconds hand_on_time{std::chrono::milliseconds{20}};
    /// Who hears of acquired, renewed, lost and released locks; null: nobody. It must outlive the service and
    /// its locks.
    Observer* observer{nullptr};
    /// What this service calls itself in the lock records of the store, for whoever inspects them; left out:
    /// `host:pid:program`. Everybody who may read the store may read it, so it is no place for a secret.
    /// `""`: nothing, and no byte is stored.
    HolderName holder{};
};

/// How one `acquire` behaves.
struct AcquireOptions {
    /// Bounds local queue, store and wake-up together.
    Deadline deadline{};
    /// Attempts at the store; the service's `max_attempts` bounds it, too.
    int max_attempts{std::numeric_limits<int>::max()};
    /// Ends the call as `cancelled` while it waits. A stop that was requested before the call sends nothing
    /// to the store.
    StopSignal stop{};
};

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
char const* meaning_of(LostReason reason) noexcept;

/// One local grant, shared by its handle and the service that gave it. What a user sees of it are the
/// members of `Lock`.
class Hold {
public:
    Hold(OwnerToken owner, FencingToken token, TimePoint valid_until, TimePoint granted_at) noexcept
        : fence_{owner, token}, granted_at_(granted_at), valid_until_(valid_until.time_since_epoch().count())
    {}
    Hold(Hold const&) = delete;
    Hold& operator=(Hold const&) = delete;
    virtual ~Hold() = default;

    /// By the clock of the service.
    virtual TimePoint now() const noexcept = 0;
    /// Of the store, for messages.
    virtual std::string place() const;
    /// Gives the lock back without blocking. `unresolved`: a write of this holder may still arrive.
    virtual void release(bool unresolved) noexcept = 0;
    /// Gives the lock back and reports; may block until the deadline that every call has.
    virtual Outcome<void> release_and_report() = 0;
    /// One renewal now.
    virtual Outcome<void> renew_now(Deadline deadline) = 0;

    /// Whoever asked for the lock has it. A grant that nobody comes for, since an executor stands still, is
    /// not renewed for ever.
    void take() noexcept
    {
        if (offer_.exchange(Offer::taken, std::memory_order_acq_rel) == Offer::neglected)
            revive();
    }
    /// False: the lock was taken. True: it is not to be renewed until it is.
    bool neglect() noexcept;

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
    /// anybody, who would not be fenced from that write.
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
    /// `lock_lost` in words. Precondition: the lock is lost.
    Failure lost() const;

    /// Marks the lock lost, once, and tells who listens. Not to be called under a mutex.
    void lose(LostReason reason) noexcept;
    /// Stops when the lock is lost; not when it is released.
    std::stop_token stop_token();
    /// `waiter` is woken when the lock is lost. Null: nobody is, any more.
    void listen(Waiter* waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        listener_ = waiter;
    }

protected:
    /// Renewals go on, if it is not too late.
    virtual void revive() noexcept = 0;

private:
    /// What has become of the grant on its way to whoever asked for it.
    enum class Offer : unsigned char { open, taken, neglected };

    Fence fence_;
    TimePoint granted_at_;
    std::atomic<Offer> offer_{Offer::open};
    std::atomic<TimePoint::rep> valid_until_;
    std::atomic<LostReason> reason_{LostReason::none};  // set once
    std::atomic<bool> in_doubt_{false};
    std::atomic<bool> unresolved_{false};
    std::mutex mutex_;                      // of the next two
    std::optional<std::stop_source> stop_;  // made when somebody asks for a token
    Waiter* listener_{nullptr};
};

/// What lock handles have in common, whatever the state is. The members of `Lock` and `EfficiencyLock` that
/// ask the clock (`status`, `remaining`, `check`) cost no trip, and are right however late a timer of this
/// process runs.
class LockHandleBase {
public:
    /// False: the handle is empty (default-constructed, moved from, or released).
    explicit operator bool() const noexcept { return hold_ != nullptr; }

    /// Computed from the clock at each call. An empty handle is `lost`.
    LockStatus status() const noexcept { return hold_ ? hold_->status() : LockStatus::lost; }
    /// Why `status()` is `lost`; `none` while it is not. Of an empty handle: `released`.
    LostReason lost_reason() const noexcept { return hold_ ? hold_->lost_reason() : LostReason::released; }

    /// How long the lock may still be believed without another renewal; zero when it is lost.
    std::chrono::nanoseconds remaining() const noexcept;

    /// Makes sure that at least `duration` is left, with one renewal if it is not.
    ///
    /// **Outcome.** `lock_lost` when the lock is lost; what kept the renewal from being confirmed;
    /// `invalid_argument` when no single lease is that long. **Cost.** Nothing while enough is left, else
    /// one round trip. Blocks for 5 s at most, and no longer than the lease lasts.
    Outcome<void> ensure(std::chrono::nanoseconds duration);

    /// Fires when the lock is lost: pass it to what should stop then. Best effort; the guarantees are
    /// `status()` at each call, and the fence.
    std::stop_token stop_token() const { return hold_ ? hold_->stop_token() : std::stop_token{}; }

    /// Throws `Error` (`lock_lost`, with the reason) if the lock is lost by now. One look at the clock, no
    /// trip: for the line before a side effect that nobody would fence. It says nothing about the time
    /// after it; see `ensure`.
    void check() const;

    /// Gives the lock back and reports; the handle is empty afterwards.
    ///
    /// **Outcome.** `ok`, also when the handle was empty before. `lock_lost` when the lock had been lost
    /// before: work done under it may have met another holder's. `outcome_unknown` for what is not known
    /// after 5 s; it goes on without the caller. **Cost.** Blocks for one trip to the store, more when that
    /// fails. The destructor gives the lock back as well, without blocking and without a report.
    Outcome<void> release();

protected:
    LockHandleBase() = default;
    explicit LockHandleBase(std::shared_ptr<Hold> hold) noexcept : hold_(std::move(hold)) {}
    LockHandleBase(LockHandleBase&& other) noexcept = default;
    LockHandleBase& operator=(LockHandleBase&& other) noexcept
    {
        if (this != &other) {
            give_back();
            hold_ = std::move(other.hold_);
        }
        return *this;
    }
    ~LockHandleBase() { give_back(); }

    Hold const* held() const noexcept { return hold_.get(); }

private:
    /// `lock_lost`, with the reason. Precondition: the lock is lost.
    Failure lost() const;

    friend class interlock::LockAccess;

    void give_back() noexcept
    {
        if (hold_)
            hold_->release(false);
        hold_.reset();
    }

    std::shared_ptr<Hold> hold_;  // null: the handle is empty
};

/// What both lock types have in common.
template <class T>
class LockHandle : public LockHandleBase {
public:
    LockHandle() = default;
    LockHandle(T state, std::shared_ptr<Hold> hold)
        : LockHandleBase(std::move(hold)), state_(std::move(state))
    {}
    /// The other handle is empty afterwards. What this one held before is given back first, without
    /// blocking.
    LockHandle(LockHandle&& other) noexcept
        : LockHandleBase(std::move(other)), state_(std::move(other.state_))
    {}
    LockHandle& operator=(LockHandle&& other) noexcept
    {
        if (this != &other) {
            LockHandleBase::operator=(std::move(other));
            state_ = std::move(other.state_);
        }
        return *this;
    }
    ~LockHandle() = default;

    /// The state that was passed to `acquire`; if a key was passed, a default `T` with that key. It is not
    /// the value in the store: load the repository for that. Precondition: the handle is not empty.
    T const& state() const noexcept { return *state_; }

private:
    std::optional<T> state_;
};

}  // namespace detail

/// A lock whose holder can be fenced: a later holder's guarded writes exclude this one's (law P1).
///
/// **Guarantee.** At most one handle per key is valid at a time while the store keeps its own promises (law
/// P2, conditional); after the next grant no guarded write of this one is applied (law P1, unconditional).
/// **Does not guarantee.** That work outside the store stops when the lock is lost: pass `fencing_token()`
/// to other systems so that they can refuse it, and watch `stop_token()`. **Lifetimes.** Independent of the
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
///
/// **Guarantee.** At most one handle per key is valid at a time while the store keeps its own promises (law
/// P2). **Does not guarantee.** That a holder which was paused writes nothing afterwards:
/// there is no fence to stop it. Lifetimes and thread safety are those of `Lock`.
template <class T>
class EfficiencyLock : public detail::LockHandle<T> {
public:
    using value_type = T;
    static constexpr Assurance assurance = Assurance::efficiency;
    using detail::LockHandle<T>::LockHandle;
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/lock.ipp>
#endif

#endif  // INTERLOCK_CORE_LOCK_HPP
