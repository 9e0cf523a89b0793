// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP

/// @file
/// Idempotency keys whose record is part of the transaction that makes the effect.
///
/// Use it where states and records are in one database. For stores apart from each other, and for operations
/// that reach outside, see `idempotency_keys.hpp`: there the claim is visible, and kept, before the operation
/// runs.
///
///     interlock::postgres::TransactionalIdempotencyStore const records{pool};
///     interlock::IdempotencyInTransaction const policy{
///         interlock::PessimisticRowLock{}, records, interlock::Duplicates::refuse};
///     interlock::TransactionService const payments{policy, accounts};
///     payments.do_in_transaction(request, "alice", [](Account& a) { return a.balance -= 5; });

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/in_transaction_session.hpp>
#include <interlock/policies/idempotency_keys.hpp>

#include <concepts>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A policy that claims a request's key, runs the operation and stores the answer in one transaction of
/// `Inner`, which locks rows.
///
/// What a request gets is as in the table of `IdempotencyKeys`, without its rows about leases: a crash leaves
/// neither claim nor effect.
///
/// **Guarantee.** Exactly one effect per scope and key while the record is kept, in one store transaction
/// with the record (law P4). What became of a commit whose answer was lost is read off the record, once its
/// transaction has surely ended.
/// **Does not guarantee.** That the operation runs only once: after a conflict it runs again.
/// **Needs.** `RowLockingRepository`, `OperationRepository`, and a store of records in the same database.
/// **Cost.** That of `Inner` where the store claims in the trip that locks the rows, as PostgreSQL does. Else
/// one round trip more, and two when duplicates are refused. A replay is a transaction without a change.
template <class Inner, class Store>
class IdempotencyInTransaction {
public:
    static constexpr std::string_view name = "idempotency_in_transaction";
    /// Every call under this policy needs an `IdempotentRequest`.
    static constexpr bool idempotent = true;
    static constexpr Needs needs = [] {
        Needs n = Inner::needs;
        n.row_locks = true;
        n.operations = true;
        return n;
    }();
    using policy_concept = transaction_policy_tag;

    /// `refuse`: a duplicate that comes while the first is being executed gets `idempotency_in_progress`; at
    /// once in PostgreSQL, also while the first one waits for its rows.
    /// `wait`: it waits for the end of the first one's transaction, by its own deadline at most, and gets its
    /// answer; of one that was rolled back it takes the place.
    IdempotencyInTransaction(Inner inner, Store store, Duplicates duplicates = Duplicates::wait)
        requires TransactionPolicy<Inner>
        : inner_(std::move(inner)), store_(std::move(store)), duplicates_(duplicates)
    {}

    /// A mistake, told at its line.
    INTERLOCK_WRITE_INSTEAD(
        "pass what duplicates do by itself: IdempotencyInTransaction{policy, records, Duplicates::refuse}; a "
        "claim that is a part of the transaction has no lease")
    IdempotencyInTransaction(Inner inner, Store store, IdempotencyOptions options)
        requires TransactionPolicy<Inner>;

    /// The policy that runs the operation.
    Inner const& inner() const noexcept { return inner_; }
    /// The store of records, in the same database as the states.
    Store const& store() const noexcept { return store_; }
    /// What a duplicate does while the first is being executed.
    Duplicates duplicates() const noexcept { return duplicates_; }

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::InTransactionSession<Inner, Store, R>;

private:
    Inner inner_;
    Store store_;
    Duplicates duplicates_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP
