// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP

/// @file
/// Idempotency keys around any policy. A client that got no reply sends its request again; with the same key
/// the request is executed once, and every copy of it gets the same answer.
///
///     interlock::IdempotencyKeys const policy{interlock::OptimisticVersioning{}, records, {.lease = 30s}};
///     interlock::TransactionService const payments{policy, accounts};
///     interlock::IdempotentRequest const request{
///         header("Idempotency-Key"), interlock::Scope(user), interlock::fingerprint(body)};
///     auto const answer = payments.do_in_transaction(
///         request, "alice", [](Account& a) { return a.balance -= 5; });  // answer.replayed(): not run again

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/idempotency_session.hpp>
#include <interlock/policies/idempotency_options.hpp>

#include <concepts>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// Whether a store of records is one that `IdempotencyInTransaction` takes.
template <class S>
concept writes_in_transactions = requires(S const& s, IdempotentRequest const& request) {
    s.find(request);
    s.reject(request, std::string_view{});
};

}  // namespace detail

/// A policy that claims a request's key, runs the operation under `Inner`, and stores the answer.
///
/// | record | request | answer |
/// |---|---|---|
/// | none | key missing, longer than 255 bytes, with control characters | `invalid_argument` |
/// | none | valid | claim, run, store the answer |
/// | any, also in progress | other fingerprint | `idempotency_mismatch`; nothing is run or overwritten |
/// | in progress, lease runs | same | `idempotency_in_progress`, or wait (`Duplicates`) |
/// | in progress, lease over | same | taken over by compare-and-set and run, or refused (`AfterLease`) |
/// | answered | same | the stored answer, byte for byte; `Answer::replayed()` |
/// | rejected by `FinalRejection` | same | the same `FinalRejection` |
/// | operation threw otherwise, or was not applied | same | the claim was given back: runs again |
/// | it is not known whether the operation was applied | same | in progress until the lease is over, then found out |
/// | retention over | same | runs again |
/// | store unavailable | any | its failure; never run unguarded |
///
/// **Guarantee.** At most one effect per scope and key (law P4), whatever states the request names when it
/// comes again, and also when a claim is taken over. Only the attempt that the claim's record names may be
/// applied, and whoever takes over settles that attempt before making another: it finds the attempt's answer,
/// or forbids it. Of a slow owner and its successor, each gets the answer of the one that was applied, or
/// fails as not applied. A request that is or will be applied is never rejected for good. Completing, giving
/// back and taking over are compare-and-set on the owner.
/// **Does not guarantee.** That the operation runs only once: what it does outside the repository is repeated
/// when a claim is taken over. Anything after the retention of the store; operation records of requests are
/// kept longer than that, whatever the repository's own retention is.
/// **Deadlines.** Completing and giving back end by the call's deadline. What has not succeeded by then is
/// tried again in the background until the lease is over, as is what a destroyed call leaves. A completion
/// that is late or lost loses nothing, since the operation's record has the answer.
/// **Needs.** An `IdempotencyStore`; an `OperationRepository`; what `Inner` needs.
/// **Cost.** What `Inner` costs, two calls of the store (claim, complete), and one of the repository (has the
/// operation been applied?). A replay is one call. Taking over, a rejection, and an attempt after one that
/// was lost cost one or two more.
template <class Inner, class Store>
class IdempotencyKeys {
public:
    static constexpr std::string_view name = "idempotency_keys";
    /// Every call under this policy needs an `IdempotentRequest`.
    static constexpr bool idempotent = true;
    static constexpr Needs needs = [] {
        Needs n = Inner::needs;
        n.operations = true;
        return n;
    }();
    using policy_concept = transaction_policy_tag;

    /// `inner` runs the operation; `store` keeps the claims and the answers.
    IdempotencyKeys(Inner inner, Store store, IdempotencyOptions options = {})
        requires TransactionPolicy<Inner> && IdempotencyStore<Store>
        : inner_(std::move(inner)), store_(std::move(store)), options_(options)
    {}

    /// A mistake, told at its line.
    template <class S>
        requires std::same_as<S, Store> && (!IdempotencyStore<S>) && detail::writes_in_transactions<S>
    INTERLOCK_WRITE_INSTEAD(
        "pass these records to IdempotencyInTransaction{policy, records}, since the transaction of the "
        "states "
        "writes them; IdempotencyKeys takes an IdempotencyStore, whose claims stand by themselves")
    IdempotencyKeys(Inner inner, S store, IdempotencyOptions options = {});

    /// From one whose policy and store are known to one in which they are chosen at run time.
    template <class I, class S>
        requires(!std::same_as<IdempotencyKeys<I, S>, IdempotencyKeys>) && std::convertible_to<I, Inner> &&
                    std::convertible_to<S, Store>
    IdempotencyKeys(IdempotencyKeys<I, S> const& other)  // NOLINT: says the same
        : inner_(other.inner()), store_(other.store()), options_(other.options())
    {}

    /// The policy that runs the operation.
    Inner const& inner() const noexcept { return inner_; }
    /// The store of claims and answers.
    Store const& store() const noexcept { return store_; }
    /// The options that the policy was made with.
    IdempotencyOptions const& options() const noexcept { return options_; }

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::IdempotencySession<typename Inner::template Session<R>, Store>;

private:
    Inner inner_;
    Store store_;
    IdempotencyOptions options_;
};

template <class I, class S>
    requires(!IdempotencyStore<S>) && detail::writes_in_transactions<S>
IdempotencyKeys(I, S, IdempotencyOptions = {}) -> IdempotencyKeys<I, S>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP
