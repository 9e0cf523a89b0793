// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP

/// @file
/// What `IdempotencyInTransaction` keeps for a repository, and one call under it: claim, effect and answer
/// are written by one transaction of the store.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/wrapping_session.hpp>
#include <interlock/policies/idempotency_options.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class Session, std::size_t N, Form Shape>
class InTransactionTransaction;

template <class Inner, class Store, class R>
class InTransactionSession : public WrappingSession<typename Inner::template Session<R>> {
    using Policy = IdempotencyInTransaction<Inner, Store>;
    static_assert(
        IdempotencyStoreFor<Store, typename R::transaction_type>,
        "the store of records cannot write into this repository's transactions: take the transactional one "
        "of "
        "the same backend, or wrap the policy in IdempotencyKeys, whose claims stand by themselves");

public:
    static constexpr std::string_view name = Policy::name;

    InTransactionSession(Policy policy, R repository, Observer* observer)
        : InTransactionSession::WrappingSession(observer, policy.inner(), std::move(repository), observer),
          policy_(std::move(policy))
    {}

    Policy const& policy() const noexcept { return policy_; }

    static OperationId operation_id(IdempotentRequest const& request)
    {
        // A name only: the record is the store's.
        return OperationId{"idempotency:" + request_digest(request.name())};
    }

    template <std::size_t N, Form Shape>
    using Transaction = InTransactionTransaction<InTransactionSession, N, Shape>;

private:
    Policy policy_;
};

/// What a transaction keeps of a claim that is made in its first trip.
template <class Store, bool ClaimsFirst>
struct FirstClaim {
    struct type {};
};
template <class Store>
struct FirstClaim<Store, true> {
    using type = std::optional<typename Store::before_locks_type>;
};

template <class Session, std::size_t N, Form Shape>
class InTransactionTransaction : public IdempotentTransaction<Session, N, Shape> {
    using Base = IdempotentTransaction<Session, N, Shape>;

public:
    InTransactionTransaction(
        Session const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        std::span<std::optional<typename Session::value_type> const, N> named, TransactionContext& context)
        : Base(session, keys, order, named, context)
    {}

    Step<Begun> begin(Waiter& waiter)
    {
        if (auto valid = this->request().validate(); !valid)
            return std::move(valid).failure();
        bool const refuses = this->session().policy().duplicates() == Duplicates::refuse;
        if constexpr (claims_first) {
            // Whoever executes the request may wait for the rows, too: a duplicate must not wait behind it.
            if (!first_) {
                auto const duplicates = refuses ? Wait::no : Wait::until_deadline;
                first_.emplace(store().before_locks(this->request(), duplicates));
                this->inner([&](auto& t) {
                    if constexpr (requires { t.do_before_locks(&*first_); })
                        t.do_before_locks(&*first_);
                });
            }
        } else if (refuses) {
            auto found = store().find(this->request(), this->deadline());
            if (!found)
                return std::move(found).failure();
            if (found->state == ClaimState::in_progress)
                return in_progress();
        }
        auto begun = this->inner([&](auto& t) { return t.begin(waiter); });
        if (!begun.done())
            return begun;
        if (!begun.outcome()) {
            if (begun.outcome().errc() == Errc::idempotency_in_progress)
                return in_progress();
            // Perhaps because of what the first one did: it erased its state, say.
            if (begun.outcome().errc() != Errc::not_found)
                return begun;
            auto found = store().find(this->request(), this->deadline());
            if (!found || found->state != ClaimState::completed)
                return begun;
            return replay(*std::move(found));
        }
        auto claim = claim_now();
        if (claim && claim->state == ClaimState::claimed) {
            observe(this->session().observer(), IdempotencyEvent::executed);
            return begun;
        }
        this->rollback(false);
        if (!claim)
            return std::move(claim).failure();
        if (claim->state == ClaimState::completed)
            return replay(*std::move(claim));
        if (claim->state != ClaimState::mismatch)
            return in_progress();
        observe(this->session().observer(), IdempotencyEvent::mismatch);
        return mismatched_request(store());
    }

    Outcome<CommitResult> commit(OperationCommit const* operation)
    {
        store().complete(this->store_transaction(), this->request(), operation->answer);
        // Without an operation's record: the request's record is that.
        return this->inner([](auto& t) { return t.commit(nullptr); });
    }

    /// Of a commit whose answer was lost: the record says what became of it. `in_progress`: not known yet.
    Outcome<Claim> resolve() const { return store().find(this->request(), this->deadline()); }

    /// Kept like an answer, without the effect: in a transaction of its own, so that somebody else may have
    /// stored another one in between, which then counts for both.
    Outcome<Begun> reject(std::string_view text)
    {
        auto claim = store().reject(this->request(), text, this->deadline());
        if (!claim)
            return not_rejected(claim.failure());
        if (claim->state != ClaimState::completed)
            return mismatched_request(store());
        return Begun{true, claim->rejected, std::move(claim->answer)};
    }

private:
    using Store = std::remove_cvref_t<decltype(std::declval<Session const&>().policy().store())>;
    static constexpr bool claims_first = verb::DoesBeforeLocks<typename Session::repository_type> &&
                                         requires { typename Store::before_locks_type; };

    decltype(auto) store() const { return this->session().policy().store(); }

    Outcome<Claim> claim_now()
    {
        if constexpr (claims_first)
            if (first_)
                return store().claim(this->store_transaction(), this->request(), *first_);
        return store().claim(this->store_transaction(), this->request());
    }

    Step<Begun> replay(Claim claim) const
    {
        observe(this->session().observer(), IdempotencyEvent::replayed);
        return Step<Begun>{Outcome<Begun>{Begun{true, claim.rejected, std::move(claim.answer)}}};
    }
    Step<Begun> in_progress() const
    {
        observe(this->session().observer(), IdempotencyEvent::in_progress);
        return Failure{Errc::idempotency_in_progress};
    }

    // The claim that is made before the rows are locked.
    [[no_unique_address]] typename FirstClaim<Store, claims_first>::type first_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP
