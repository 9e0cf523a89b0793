// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_PESSIMISTIC_ROW_LOCK_HPP
#define INTERLOCK_POLICIES_PESSIMISTIC_ROW_LOCK_HPP

/// @file
/// Pessimistic row locks: open a transaction, lock the rows, run the operation, save, commit.
///
/// Use it when conflicts are common, or when the operation is dear to repeat: it runs again only after a
/// deadlock, a serialization failure or a lost session, and with `max_attempts = 1` never.
///
///     interlock::TransactionService service{interlock::PessimisticRowLock{}, accounts};
///     service.do_in_transaction(interlock::keys("alice", "bob"), [](Account& from, Account& to) {
///         from.balance -= 5;
///         to.balance += 5;
///     });

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/row_lock_session.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {

/// A policy that locks the rows before it shows them to the operation.
///
/// **Guarantee.** From load to commit nobody else changes or locks the states (law P3 without conflicts).
/// Waiters get a row in the order in which they came, where the store can do that. Several keys are locked in
/// the order of their bytes, so that two calls cannot deadlock, in whatever order they name their keys. The
/// lock ends with the transaction; there is no lease to lose.
/// **Does not guarantee.** Progress of others while the operation runs: keep it short. On a store that can
/// only wait by blocking, asynchronous callers wait on a few threads, so that those who wait for one row may
/// keep others from asking for theirs.
/// **Needs.** `RowLockingRepository`; for operation ids `OperationRepository`.
/// **Cost.** Two round trips. Waiting pins what the store needs for it: a connection on PostgreSQL, nothing
/// in memory.
struct PessimisticRowLock {
    /// Queue for the rows, or give up at once with `lock_busy`.
    Wait wait{Wait::until_deadline};
    /// Attempts in total, including the first. An attempt is repeated after a serialization failure or a
    /// deadlock that the store reports.
    int max_attempts{10};
    /// How long to wait before such a repetition.
    Backoff backoff{};
    /// What to do when there is no value.
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
