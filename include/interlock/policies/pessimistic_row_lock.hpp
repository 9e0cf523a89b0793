// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_PESSIMISTIC_ROW_LOCK_HPP
#define INTERLOCK_POLICIES_PESSIMISTIC_ROW_LOCK_HPP

/// @file
/// Pessimistic row locks: open a transaction, lock the rows, run the operation, save, commit.
///
/// Use it when conflicts are common, or the operation is dear to repeat: it runs again only after a deadlock,
/// a serialization failure or a lost session, with `max_attempts = 1` never.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/row_lock_session.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {

/// A policy that locks the rows before it shows them to the operation.
///
/// **Guarantee.** From load to commit nobody else changes or locks the states (law P3 without conflicts).
/// Waiters get a row in the order in which they came, where the store can. Several keys are locked in the
/// order of their bytes: no deadlock, whatever order they are named in. The lock ends with the transaction;
/// there is no lease to lose. **Does not guarantee.** Progress of others while the operation runs: keep it
/// short. On a store that can only wait by blocking, asynchronous callers wait on a few threads: who waits
/// for one row may keep others from asking for theirs. **Needs.** `RowLockingRepository`; operation ids:
/// `OperationRepository`. **Cost.** Two round trips; waiting pins what the store needs for it (a connection
/// on PostgreSQL, nothing in memory).
struct PessimisticRowLock {
    /// Queue for the rows, or give up at once with `lock_busy`.
    Wait wait{Wait::until_deadline};
    /// For serialization failures and deadlocks that the store reports. In total, including the first.
    int max_attempts{10};
    Backoff backoff{};
    Missing missing{Missing::fail};

    static constexpr std::string_view name = "pessimistic_row_lock";
    static constexpr Needs needs{.row_locks = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::RowLockSession<PessimisticRowLock, R>;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_PESSIMISTIC_ROW_LOCK_HPP
