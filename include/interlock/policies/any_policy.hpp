// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_ANY_POLICY_HPP
#define INTERLOCK_POLICIES_ANY_POLICY_HPP

/// @file
/// A policy that is chosen at run time, because a configuration file or a command line says so.
/// `TransactionService<T>` holds one, together with a repository that is chosen at run time.
///
///     interlock::AnyPolicy policy = interlock::OptimisticVersioning{};
///     if (config.pessimistic)
///         policy = interlock::PessimisticRowLock{};
///     auto const accounts = interlock::open<Account>(config.url, interlock::memory::backend);
///     interlock::TransactionService<Account> service{policy, accounts};
///     service.do_in_transaction("alice", [](Account& account) { account.balance -= 5; });
///
/// With `IdempotencyKeys` around one of the three policies, calls take an `IdempotentRequest`:
///
///     interlock::TransactionService<Account> payments{
///         interlock::IdempotencyKeys{
///             interlock::SetNxLock{}, interlock::open_idempotency_store(url, backends...)},
///         interlock::open<Account>(url, backends...)};
///     payments.do_in_transaction(request, "alice", [](Account& account) { return account.balance -= 5; });

#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/detail/any_session.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <concepts>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {

/// One of `OptimisticVersioning`, `PessimisticRowLock` and `SetNxLock`, from each of which it converts, with
/// `IdempotencyKeys` around it or without.
///
/// **Guarantee.** That of the policy that it holds.
/// **Operations** take `T&`, and after it a `TransactionContext&` if they want one. A lock or a store's
/// transaction is not passed, since their types depend on the choice.
/// **Misuse.** With a fixed policy, a combination of policy and store that does not fit fails to compile, and
/// so does a call without a request under an idempotent policy. Here both are known only at run time: the
/// call fails with `misconfigured`, before anything is sent, and its message says what to write. The same
/// goes for a request under a policy without idempotency keys.
/// **Cost.** That of the policy, and one branch at each step of a transaction.
class AnyPolicy {
public:
    AnyPolicy(OptimisticVersioning policy) : held_(std::move(policy)) {}  // NOLINT
    AnyPolicy(PessimisticRowLock policy) : held_(std::move(policy)) {}    // NOLINT
    AnyPolicy(SetNxLock policy) : held_(std::move(policy)) {}             // NOLINT
    /// Holds the policy inside, and claims the keys of requests in the store of `policy`.
    template <class Inner, class Store>
        requires std::convertible_to<Inner, AnyPolicy> && std::convertible_to<Store, AnyIdempotencyStore>
    AnyPolicy(IdempotencyKeys<Inner, Store> const& policy)  // NOLINT
        : AnyPolicy(AnyPolicy(policy.inner()), {policy.store(), policy.options()})
    {}

    static constexpr std::string_view name = "any_policy";
    static constexpr Needs needs{
        .versions = true, .row_locks = true, .leases = true, .fences = true, .operations = true};
    /// A service takes calls with a request and calls without one; which of them fit the policy that was
    /// chosen is found out when they are made.
    static constexpr bool takes_requests = true;
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::AnySession<R>;

private:
    template <class R>
    friend class detail::AnySession;
    using Keys = detail::ClaimTerms<AnyIdempotencyStore>;

    AnyPolicy(AnyPolicy inner, Keys keys)
        : held_(std::move(inner.held_)), keys_(std::move(keys)), keyed_twice_(inner.keys_.has_value())
    {}

    /// Why a call with a request is refused; null: it is not.
    char const* misuse_of_requests() const noexcept
    {
        if (keyed_twice_)
            return "wrap a policy in IdempotencyKeys once: the inner one is idempotent already";
        return keys_ ? nullptr
                     : "wrap the policy, since a request needs an idempotent one: "
                       "IdempotencyKeys{policy, store}";
    }

    std::variant<OptimisticVersioning, PessimisticRowLock, SetNxLock> held_;
    std::optional<Keys> keys_;  // where the claims of requests go; nothing: the policy is not idempotent
    bool keyed_twice_{false};   // the policy inside had a store of its own
};

/// A service for idempotent requests whose policy, repository and idempotency store are chosen at run time,
/// as `TransactionService<T>` is under `IdempotencyKeys`. Its type says that every call needs a request, so
/// that one without does not compile:
///
///     class Payments {
///         interlock::IdempotentTransactionService<Account> service_;
///     };
///
/// What only one store has (`IdempotencyInTransaction`, which needs that store's own transactions) is chosen
/// when the program is compiled.
template <class T>
using IdempotentTransactionService = TransactionService<T, IdempotencyKeys<AnyPolicy, AnyIdempotencyStore>>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_ANY_POLICY_HPP
