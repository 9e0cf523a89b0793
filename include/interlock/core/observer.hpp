// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OBSERVER_HPP
#define INTERLOCK_CORE_OBSERVER_HPP

/// @file
/// Everything a metric or a trace needs to know, as it happens.

#include <interlock/core/errc.hpp>
#include <interlock/core/fencing_token.hpp>

#include <chrono>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// Why a lock is not held any more.
enum class LostReason : unsigned char {
    none,         ///< not lost
    expired,      ///< the lease ran out by this process's own clock before a renewal was confirmed
    taken,        ///< the store names another acquisition
    removed,      ///< the store has no record: forced release, eviction, or a restart without persistence
    released,     ///< by its holder
};

/// One end of `do_in_transaction`, whatever it came to.
struct TransactionEvent {
    std::string_view policy;
    int attempts;                      ///< including the first
    Errc result;                       ///< `ok` when applied
    bool user_exception;               ///< the operation threw; rolled back
    bool replayed;                     ///< answered from an operation record, the operation was not needed
    std::chrono::nanoseconds duration;
};

/// One end of `acquire`.
struct AcquireEvent {
    Errc result;                       ///< `ok` when granted
    FencingToken token;                ///< of the grant
    bool handed_on;                    ///< passed on by a local holder, without a trip to the store
    int store_attempts;                ///< calls of `create`
    std::chrono::nanoseconds local_queue;  ///< behind other callers of this process
    std::chrono::nanoseconds store;        ///< in calls to the store
    std::chrono::nanoseconds wake_up;      ///< waiting for holders elsewhere
};

struct ReleaseEvent {
    Errc result;                       ///< of the removal in the store; a failure leaves the record until its lease ends
    FencingToken token;
    bool handed_on;                    ///< went to the next local waiter
    std::chrono::nanoseconds held;
};

struct RetryEvent {
    std::string_view policy;
    Errc reason;
    int attempt;                       ///< the one that failed, from 1
    std::chrono::nanoseconds delay;
};

/// How an unknown outcome ended.
struct UnknownEvent {
    Errc cause;
    Effect resolved;                   ///< `unknown` when it stays so
};

enum class IdempotencyEvent : unsigned char {
    executed, replayed, in_progress, mismatch, taken_over, given_back, lease_lost
};

/// Receives events. Derive and override what is of interest; give a pointer in the options of a service.
///
/// **Contract.** Calls are `noexcept`, come from whatever thread the event happens on, possibly from several
/// at once, and never under a lock of the library. The observer outlives every handle it was given to.
/// **Cost.** When absent: one comparison with null. When present: two more clock readings per event with a
/// duration. Keys and values are never passed: they do not belong into metrics.
class Observer {
public:
    virtual void on_transaction(TransactionEvent const&) noexcept {}
    /// Another writer won; the operation will be run again or the caller gets `version_conflict`.
    virtual void on_conflict(RetryEvent const&) noexcept {}
    /// Any retry, conflicts included.
    virtual void on_retry(RetryEvent const&) noexcept {}
    virtual void on_acquire(AcquireEvent const&) noexcept {}
    virtual void on_release(ReleaseEvent const&) noexcept {}
    /// `lag`: how much later than planned the renewal was sent.
    virtual void on_renewal(Errc, std::chrono::nanoseconds /*lag*/) noexcept {}
    /// A renewal was due and is not confirmed: the lock may be lost.
    virtual void on_in_doubt(FencingToken) noexcept {}
    virtual void on_lost(FencingToken, LostReason) noexcept {}
    /// The store refused a guarded write.
    virtual void on_fenced_out(FencingToken) noexcept {}
    virtual void on_unknown(UnknownEvent const&) noexcept {}
    virtual void on_idempotency(IdempotencyEvent) noexcept {}
    /// Efficiency locks are granted by a store on which fenced ones would be `misconfigured`, and why. Once per service.
    virtual void on_unsafe_store(std::string_view /*why*/) noexcept {}

    Observer() = default;
    Observer(Observer const&) = default;
    Observer& operator=(Observer const&) = default;
    virtual ~Observer() = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_OBSERVER_HPP
