// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP

/// @file
/// Idempotency keys whose record is part of the transaction that makes the effect.
///
/// Use it where states and records are in one database. For stores apart from each other, and for operations that reach
/// outside, see `idempotency_keys.hpp`: there the claim is visible, and kept, before the operation runs.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/idempotency_keys.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A store of idempotency records that writes them inside of an open transaction `X`.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `s.claim(tx, request)` | `Outcome<Claim>` | waits for others who execute the request; `claimed`, `completed`, `mismatch` or `in_progress` |
/// | `s.complete(tx, request, answer)` | | the record, committed with `tx` |
/// | `s.reject(request, text, deadline)` | `Outcome<Claim>` | waits for others who execute the request; a record without an effect, if there is none; then `completed` by what is stored, or `mismatch` |
/// | `s.find(request, deadline)` | `Outcome<Claim>` | as `claim`, outside of a transaction and without waiting: `in_progress` while a transaction that claimed it may still commit, `claimed` when there is neither such a transaction nor a record |
// clang-format off
template <class S, class X>
concept IdempotencyStoreFor = std::copyable<S> &&
    requires(S const s, X& tx, IdempotentRequest const& request, std::string_view answer, Deadline deadline) {
    { s.claim(tx, request) } -> std::same_as<Outcome<Claim>>;
    s.complete(tx, request, answer);
    { s.reject(request, answer, deadline) } -> std::same_as<Outcome<Claim>>;
    { s.find(request, deadline) } -> std::same_as<Outcome<Claim>>;
};
// clang-format on

namespace detail {
template <class Inner, class Store, class R>
class InTransactionSession;
}  // namespace detail

/// A policy that claims a request's key, runs the operation and stores the answer in one transaction of `Inner`, which locks
/// rows.
///
/// What a request gets is as in the table of `IdempotencyKeys`, without its rows about leases: a crash leaves neither claim
/// nor effect.
///
/// **Guarantee.** Exactly one effect per scope and key while the record is kept, in one store transaction with it (law P4).
/// What became of a commit whose answer was lost is read off the record, once its transaction has surely ended.
/// **Does not guarantee.** That the operation runs only once: after a conflict it runs again.
/// **Needs.** `RowLockingRepository`, `OperationRepository`, and a store of records in the same database.
/// **Cost.** One round trip more than `Inner`, two when duplicates are refused. A replay is a transaction without a change.
template <class Inner, class Store>
class IdempotencyInTransaction {
public:
    static constexpr std::string_view name = "idempotency_in_transaction";
    static constexpr bool idempotent = true;
    static constexpr Needs needs = [] {
        Needs n = Inner::needs;
        n.row_locks = true;
        n.operations = true;
        return n;
    }();
    using policy_concept = transaction_policy_tag;

    /// `refuse`: a duplicate that comes while the first is being executed gets `idempotency_in_progress`. `wait`: it waits for
    /// the first one's transaction, and gets its answer.
    IdempotencyInTransaction(Inner inner, Store store, Duplicates duplicates = Duplicates::wait)
        requires TransactionPolicy<Inner>
        : inner_(std::move(inner)), store_(std::move(store)), duplicates_(duplicates)
    {}

    Inner const& inner() const noexcept { return inner_; }
    Store const& store() const noexcept { return store_; }
    Duplicates duplicates() const noexcept { return duplicates_; }

    template <class R>
    using Session = detail::InTransactionSession<Inner, Store, R>;

private:
    Inner inner_;
    Store store_;
    Duplicates duplicates_;
};

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
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(repository), observer), observer_(observer)
    {}

    R const& repository() const noexcept { return inner_.repository(); }
    RetryLimits retry_limits() const noexcept { return inner_.retry_limits(); }
    static constexpr bool guarded(Form form) noexcept { return InnerSession::guarded(form); }
    InnerSession const& inner() const noexcept { return inner_; }
    Policy const& policy() const noexcept { return policy_; }
    Observer* observer() const noexcept { return observer_; }
    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const { return inner_.unfit(keys, deadline); }

    static OperationId operation_id(IdempotentRequest const& request)
    {
        return OperationId{"idempotency:" + request_digest(request.name())};  // a name only: the record is the store's
    }

    template <std::size_t N, Form Shape>
    class Transaction {
        using InnerTransaction = typename InnerSession::template Transaction<N, Shape>;
        using T = value_type;

    public:
        Transaction(
            InTransactionSession const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
            std::span<std::optional<T> const, N> named, TransactionContext& context)
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
                auto const code = begun.outcome().error();
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
                return Failure{Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
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

        /// Of a commit whose answer was lost: the record says what became of it. `in_progress`: not known yet.
        Outcome<Claim> resolve() const
        {
            return session_.policy().store().find(request(), Deadline{context_.deadline()});
        }

        Outcome<CommitResult> verify()
            requires requires(InnerTransaction& t) { t.verify(); }
        {
            return inner_.verify();
        }

        /// Kept like an answer, without the effect: in a transaction of its own, so that somebody else may have stored
        /// another one in between, which then counts for both.
        Outcome<Begun> reject(std::string_view text)
        {
            inner_.rollback(false);
            auto claim = session_.policy().store().reject(request(), text, Deadline{context_.deadline()});
            if (!claim)
                return not_rejected(claim.failure());
            if (claim->state != ClaimState::completed)
                return Failure{Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
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

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_IN_TRANSACTION_HPP
