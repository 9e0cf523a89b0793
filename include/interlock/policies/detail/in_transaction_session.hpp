// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP

/// @file
/// What `IdempotencyInTransaction` keeps for a repository, and one call under it: claim, effect and answer
/// are written by one transaction of the store.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/idempotency_session.hpp>
#include <interlock/policies/idempotency_keys.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class Inner, class Store, class R>
class InTransactionSession {
    using InnerSession = typename Inner::template Session<R>;
    using Policy = IdempotencyInTransaction<Inner, Store>;
    static_assert(
        IdempotencyStoreFor<Store, typename R::transaction_type>,
        "the store of records cannot write into this repository's transactions");

public:
    using repository_type = R;
    using value_type = typename R::value_type;
    static constexpr auto forms = InnerSession::forms;
    static constexpr std::string_view name = Policy::name;

    InTransactionSession(Policy policy, R repository, Observer* observer)
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(repository), observer),
          observer_(observer)
    {}

    R const& repository() const noexcept { return inner_.repository(); }
    RetryLimits retry_limits() const noexcept { return inner_.retry_limits(); }
    static constexpr bool guarded(Form form) noexcept { return InnerSession::guarded(form); }
    InnerSession const& inner() const noexcept { return inner_; }
    Policy const& policy() const noexcept { return policy_; }
    Observer* observer() const noexcept { return observer_; }
    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        return inner_.unfit(keys, deadline);
    }

    static OperationId operation_id(IdempotentRequest const& request)
    {
        // A name only: the record is the store's.
        return OperationId{"idempotency:" + request_digest(request.name())};
    }

    template <std::size_t N, Form Shape>
    class Transaction {
        using InnerTransaction = typename InnerSession::template Transaction<N, Shape>;
        using T = value_type;

    public:
        Transaction(
            InTransactionSession const& session, std::span<Key const, N> keys,
            std::span<std::size_t const, N> order, std::span<std::optional<T> const, N> named,
            TransactionContext& context)
            : session_(session), context_(context), inner_(session.inner(), keys, order, named, context)
        {}

        Step<Begun> begin(Waiter& waiter)
        {
            auto const& store = session_.policy().store();
            Deadline const deadline{context_.deadline()};
            if (auto valid = request().validate(); !valid)
                return std::move(valid).failure();
            if (session_.policy().duplicates() == Duplicates::refuse) {
                auto found = store.find(request(), deadline);
                if (!found)
                    return std::move(found).failure();
                if (found->state == ClaimState::in_progress)
                    return in_progress();
            }
            auto begun = inner_.begin(waiter);
            if (!begun.done())
                return begun;
            if (!begun.outcome()) {
                // Perhaps because of what the first one did: it erased its state, say.
                auto const code = begun.outcome().errc();
                if (code != Errc::not_found)
                    return begun;
                auto found = store.find(request(), deadline);
                if (!found || found->state != ClaimState::completed)
                    return begun;
                return replay(*std::move(found));
            }
            auto claim = store.claim(inner_.store_transaction(), request());
            if (!claim) {
                inner_.rollback(false);
                return std::move(claim).failure();
            }
            switch (claim->state) {
            case ClaimState::claimed: observe(IdempotencyEvent::executed); return begun;
            case ClaimState::completed: inner_.rollback(false); return replay(*std::move(claim));
            case ClaimState::mismatch:
                inner_.rollback(false);
                observe(IdempotencyEvent::mismatch);
                return Failure{
                    Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
            case ClaimState::taken_over:
            case ClaimState::in_progress:
            case ClaimState::abandoned: break;
            }
            inner_.rollback(false);
            return in_progress();
        }

        std::optional<Failure> refusal() const { return inner_.refusal(); }

        Outcome<CommitResult> commit(OperationCommit const* operation)
        {
            session_.policy().store().complete(inner_.store_transaction(), request(), operation->answer);
            return inner_.commit(nullptr);  // the request's record is the operation's
        }

        /// Of a commit whose answer was lost: the record says what became of it. `in_progress`: not known
        /// yet.
        Outcome<Claim> resolve() const
        {
            return session_.policy().store().find(request(), Deadline{context_.deadline()});
        }

        Outcome<CommitResult> verify()
            requires requires(InnerTransaction& t) { t.verify(); }
        {
            return inner_.verify();
        }

        /// Kept like an answer, without the effect: in a transaction of its own, so that somebody else may
        /// have stored another one in between, which then counts for both.
        Outcome<Begun> reject(std::string_view text)
        {
            inner_.rollback(false);
            auto claim = session_.policy().store().reject(request(), text, Deadline{context_.deadline()});
            if (!claim)
                return not_rejected(claim.failure());
            if (claim->state != ClaimState::completed)
                return Failure{
                    Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
            return Begun{true, claim->rejected, std::move(claim->answer)};
        }

        void rollback(bool unresolved) noexcept { inner_.rollback(unresolved); }
        void abandon() noexcept { inner_.abandon(); }
        T& state(std::size_t i) noexcept { return inner_.state(i); }
        decltype(auto) store_transaction() noexcept { return inner_.store_transaction(); }

    private:
        IdempotentRequest const& request() const noexcept { return *ContextAccess::request(context_); }
        Step<Begun> replay(Claim claim) const
        {
            observe(IdempotencyEvent::replayed);
            return Step<Begun>{Outcome<Begun>{Begun{true, claim.rejected, std::move(claim.answer)}}};
        }
        Step<Begun> in_progress() const
        {
            observe(IdempotencyEvent::in_progress);
            return Failure{Errc::idempotency_in_progress};
        }
        void observe(IdempotencyEvent event) const noexcept
        {
            if (session_.observer() != nullptr)
                session_.observer()->on_idempotency(event);
        }

        InTransactionSession const& session_;
        TransactionContext& context_;
        InnerTransaction inner_;
    };

private:
    Policy policy_;
    InnerSession inner_;
    Observer* observer_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_IN_TRANSACTION_SESSION_HPP
