// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_SET_NX_LOCK_HPP
#define INTERLOCK_POLICIES_SET_NX_LOCK_HPP

/// @file
/// Lease locks: the distributed critical section of the article, made true by fencing.
///
/// Use it when the operation takes long, or touches things that are not in the store.

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
/// acquisition, so never after a later holder was granted the lock, however long it was paused (law P1).
/// Local waiters are served in order. Several keys are locked in the order of their bytes. Losing the lock
/// cancels an asynchronous operation and fires `stop_token()` for a synchronous one; the call then ends as
/// `lock_lost`. **Does not guarantee.** That work outside the store stops with the lease: give
/// `fencing_token()` to other systems. An operation that takes only `Lock<T>&` makes no guarded write:
/// returned is *applied*, lost midway is `outcome_unknown` because of `lock_lost`. **Needs.**
/// `FencedRepository`; operation ids: `OperationRepository`. **Cost.** With a `FusedRepository` two round
/// trips for lock, read, write and unlock; handed on locally: one, since the state comes from the holder
/// before. What an operation throws, or returns without a change, is believed about such a state only after
/// it was compared with the stored one (one trip); if that has moved on, the operation runs again.
///
/// Made with a `LockStateService`, the transactions of a service share its queue and options; made with a
/// repository the service gets a queue of its own, with `lock` as its options.
struct SetNxLock {
    LockOptions lock{};
    /// For the lock, and for a transaction of `PessimisticRowLock` that has one of the rows when they are to
    /// be written: queue, or give up at once with `lock_busy`.
    Wait wait{Wait::until_deadline};
    /// Runs of the operation after a write was refused because somebody wrote without the lock.
    int max_attempts{10};
    Backoff backoff{};
    Missing missing{Missing::fail};

    static constexpr std::string_view name = "set_nx_lock";
    static constexpr Needs needs{.versions = true, .leases = true, .fences = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::LeaseSession<SetNxLock, R, Assurance::fenced>;
};

/// The form without fences, for stores whose counter is not durable enough. The operation gets
/// `EfficiencyLock<T>&` and no `T&`: there is no guarded write to make, and nothing may depend on the lock
/// for correctness.
struct EfficiencySetNxLock {
    LockOptions lock{};
    Wait wait{Wait::until_deadline};
    int max_attempts{1};
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
