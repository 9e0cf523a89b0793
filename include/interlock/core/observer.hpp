// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OBSERVER_HPP
#define INTERLOCK_CORE_OBSERVER_HPP

/// @file
/// What a metric or a trace needs to know, told as it happens.
///
///     struct Conflicts final : interlock::Observer {
///         std::atomic<int> seen{0};
///         void on_conflict(interlock::RetryEvent const&) noexcept override { ++seen; }
///     } conflicts;
///     interlock::TransactionService service{policy, repository, {.observer = &conflicts}};

#include <interlock/core/errc.hpp>
#include <interlock/core/fencing_token.hpp>

#include <chrono>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// Why a lock is not held any more.
enum class LostReason : unsigned char {
    none,      ///< the lock is not lost
    expired,   ///< by this process's own clock the lease ran out before a renewal was confirmed
    taken,     ///< the store's record names another acquisition
    removed,   ///< the store has no record: forced release, eviction, or a restart without persistence
    released,  ///< its holder released it
};

/// One call of `do_in_transaction` has ended, in whatever way.
struct TransactionEvent {
    /// The `name` of the policy.
    std::string_view policy;
    int attempts;         ///< runs of the operation, the first one included
    Errc result;          ///< `ok` when the change was applied
    bool user_exception;  ///< the operation threw an exception and was rolled back
    bool replayed;        ///< the answer came from an operation record, so that the operation was not needed
    /// From the call to its end.
    std::chrono::nanoseconds duration;
};

/// One call of `acquire` has ended. The three durations name where the time went.
struct AcquireEvent {
    Errc result;         ///< `ok` when the lock was granted
    FencingToken token;  ///< the token of the grant
    bool handed_on;      ///< a local holder handed the lock on, without a trip to the store
    int store_attempts;  ///< how often the store was asked for the lock
    /// Time in the queue behind other callers of this process.
    std::chrono::nanoseconds local_queue;
    /// Time in calls to the store.
    std::chrono::nanoseconds store;
    /// Time in which the call waited for a holder in another process.
    std::chrono::nanoseconds wake_up;
};

/// A held lock was given up by its holder.
struct ReleaseEvent {
    /// What came of the removal in the store. After a failure the record stays until its lease ends.
    Errc result;
    FencingToken token;
    bool handed_on;  ///< the lock went to the next local waiter
    /// From the grant to the release.
    std::chrono::nanoseconds held;
};

/// An attempt failed. The operation is run again, or, after a conflict, the call may also end.
struct RetryEvent {
    std::string_view policy;
    /// Why the attempt failed.
    Errc reason;
    int attempt;  ///< the attempt that failed, counted from 1
    /// The wait before the next attempt; zero when there is no wait, or no next attempt.
    std::chrono::nanoseconds delay;
};

/// A call had an attempt that may have been applied (see *doubt* in the glossary), and has now ended.
struct UnknownEvent {
    /// Why the outcome was unknown.
    Errc cause;
    Effect resolved;  ///< `applied` or `not_applied` when it was found out; else `unknown`
};

/// What happened to an idempotent request.
enum class IdempotencyEvent : unsigned char {
    executed,     ///< the request is ours, and its operation is run
    replayed,     ///< the stored answer of an earlier execution was given
    in_progress,  ///< somebody else executes the request
    mismatch,     ///< the key came with another fingerprint
    taken_over,   ///< the former owner's lease was over, and the claim is ours now
    given_back,   ///< the claim ended without an answer, so that the next one with the key runs the operation
    lease_lost    ///< another owner had the claim before ours was ended in the store
};

/// Receives events. Derive from it, override the members of interest, and pass a pointer in the options of a
/// service.
///
/// **Contract.** A member is called on the thread on which the event happens, possibly from several threads
/// at once, and never while the library holds a mutex. Members are `noexcept`. The observer must outlive
/// every handle that has its pointer.
/// **Cost.** Without an observer an event costs one comparison with null. With an observer an event that has
/// a duration costs two more readings of the clock. No event carries a key or a value: they do not belong
/// into metrics.
class Observer {
public:
    /// A call of `do_in_transaction` or one of its twins has ended.
    virtual void on_transaction(TransactionEvent const&) noexcept {}
    /// Another writer was first. The operation is run again, or the caller gets `version_conflict`.
    virtual void on_conflict(RetryEvent const&) noexcept {}
    /// An attempt failed and is repeated, for whatever reason: conflicts are told here, too.
    virtual void on_retry(RetryEvent const&) noexcept {}
    /// A call of `acquire` has ended, with a lock or without one.
    virtual void on_acquire(AcquireEvent const&) noexcept {}
    /// A holder gave its lock up. A failure of the removal is told only here when nobody waits for the
    /// release.
    virtual void on_release(ReleaseEvent const&) noexcept {}
    /// A renewal was answered. `lag`: how much later than planned the renewal was sent.
    virtual void on_renewal(Errc, std::chrono::nanoseconds /*lag*/) noexcept {}
    /// A renewal was due and is not confirmed yet: the lock may be lost.
    virtual void on_in_doubt(FencingToken) noexcept {}
    /// A lock was lost before its holder gave it up.
    virtual void on_lost(FencingToken, LostReason) noexcept {}
    /// The store refused a guarded write, since its record no longer names the writer's acquisition.
    virtual void on_fenced_out(FencingToken) noexcept {}
    /// An unknown outcome was found out, or stays unknown.
    virtual void on_unknown(UnknownEvent const&) noexcept {}
    /// A policy with idempotency keys decided about a request.
    virtual void on_idempotency(IdempotencyEvent) noexcept {}
    /// The store grants efficiency locks although it would refuse fenced ones as `misconfigured`; `why` gives
    /// the reason. Told once per service.
    virtual void on_unsafe_store(std::string_view /*why*/) noexcept {}

    Observer() = default;
    Observer(Observer const&) = default;
    Observer& operator=(Observer const&) = default;
    virtual ~Observer() = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_OBSERVER_HPP
