// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_SET_NX_LOCK_HPP
#define INTERLOCK_POLICIES_SET_NX_LOCK_HPP

/// @file
/// Lease locks: the distributed critical section of the article, made true by fencing.
///
/// Use it when the operation takes long, or touches things that are not in the store: whoever waits then
/// waits for a lock instead of repeating work, and a holder that was paused for too long can no longer write.
///
///     interlock::TransactionService service{interlock::SetNxLock{.lock = {.ttl = 10s}}, printers};
///     service.do_in_transaction("printer-1", [&](Printer& p, interlock::Lock<Printer>& lock) {
///         device.print(p.queue.front(), lock.fencing_token());  // the device refuses an older token
///         p.queue.erase(p.queue.begin());
///     });

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/lease_session.hpp>

#include <stop_token>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// A policy that holds a lease on each key while the operation runs, and writes under its fence.
///
/// **Guarantee.** An operation that takes `T&` is applied only while the store's lock record names its
/// acquisition. It is therefore never applied after a later holder was granted the lock, however long this
/// one was paused (law P1). Local waiters are served in order. Several keys are locked in the order of their
/// bytes. When the lock is lost, an asynchronous operation is cancelled, a synchronous one sees its
/// `stop_token()` stopped, and the call ends as `lock_lost`.
/// **Does not guarantee.** That work outside the store stops with the lease: give `fencing_token()` to other
/// systems. An operation that takes only `Lock<T>&` makes no guarded write: when it returned, it counts as
/// *applied*; when the lock was lost midway, the call ends as `outcome_unknown` because of `lock_lost`. With
/// an operation id it is `outcome_unknown` also where the store did not keep the answer, see
/// `EfficiencySetNxLock`; here the answer is kept under the fences of all keys, so that the keys of a call
/// with an id must be in one shard of a Redis repository; else it is `invalid_argument`, and does not run.
/// **Needs.** `FencedRepository`; for operation ids `OperationRepository`.
/// **Cost.** With a `FusedRepository` two round trips for lock, read, write and unlock. A lock that is handed
/// on within this process costs one, since the state comes from the holder before. What an operation throws
/// about such a state, or returns without a change, is believed only after the state was compared with the
/// stored one, which is one more round trip; if the stored one has moved on, the operation runs again, and
/// where the store does not answer the call ends by that failure.
///
/// A service that is made with a `LockStateService` shares that service's queue and options. A service that
/// is made with a repository has a queue of its own, with `lock` as its options.
struct SetNxLock {
    /// The lease, its renewal, and the queue.
    LockOptions lock{};
    /// Queue, or give up at once with `lock_busy`: for the lock, and for a transaction of
    /// `PessimisticRowLock` that has one of the rows when they are to be written.
    Wait wait{Wait::until_deadline};
    /// Attempts in total, including the first. An attempt is repeated after a write that was refused because
    /// somebody wrote without the lock; after the last one the call is `version_conflict`.
    int max_attempts{10};
    /// How long to wait before such a repetition.
    Backoff backoff{};
    /// What to do when there is no value.
    Missing missing{Missing::fail};

    static constexpr std::string_view name = "set_nx_lock";
    static constexpr Needs needs{.versions = true, .leases = true, .fences = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::LeaseSession<SetNxLock, R, Assurance::fenced>;
};

/// The form without fences, for stores whose counter is not durable enough. The operation gets an
/// `EfficiencyLock<T>&` and no `T&`: there is no guarded write to make, and nothing may depend on the lock
/// for correctness. Use it to avoid doing the same work twice most of the time.
///
/// **Operation ids.** The answer is kept once the operation has returned, so that whoever comes later with
/// the same id gets it; two that run at the same time, because a lease ran out, run both. The answer is all
/// that is stored, under the smallest key, so the keys of a call may be in several shards of a Redis
/// repository.
/// **An answer that is not kept.** The operation has returned, but the store does not keep its answer: the
/// call ends as `outcome_unknown`, with the store's reason as the cause, and the operation runs again when
/// the id comes again. The call is not *applied*, since that promises the answer to whoever comes next. This
/// is also so for an operation that returns after the deadline of its call (the cause is
/// `deadline_exceeded`), as nothing is sent to a store after a deadline; only a store in memory keeps the
/// answer then, for which nothing is sent. So name a deadline that is longer than the operation takes.
/// Without an id there is nothing to keep: an operation that has returned is *applied*, however late.
struct EfficiencySetNxLock {
    /// The lease, its renewal, and the queue.
    LockOptions lock{};
    /// Queue for the lock, or give up at once with `lock_busy`.
    Wait wait{Wait::until_deadline};
    /// Attempts in total, including the first.
    int max_attempts{1};
    /// How long to wait before another attempt.
    Backoff backoff{};

    static constexpr std::string_view name = "efficiency_set_nx_lock";
    static constexpr Needs needs{.leases = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::LeaseSession<EfficiencySetNxLock, R, Assurance::efficiency>;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_SET_NX_LOCK_HPP
