// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP

/// @file
/// Idempotency keys around any policy: a request that arrives several times is executed once and answered alike.

#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime.hpp>
#include <interlock/core/transaction_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What a duplicate does while the first is being executed.
enum class Duplicates : unsigned char {
    refuse,  ///< `idempotency_in_progress` with the rest of the lease as `retry_after`
    wait,    ///< until the answer is there or the deadline comes
};

/// How `IdempotencyKeys` treats claims.
struct IdempotencyOptions {
    /// How long a claim is respected without an answer. Longer than the operation takes.
    Ttl lease{std::chrono::seconds{60}};
    Duplicates duplicates{Duplicates::refuse};
    /// About an owner whose lease is over.
    AfterLease after_lease{AfterLease::take_over};
};

namespace detail {
template <class Inner, class Store, class R>
class IdempotencySession;
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
/// | retention over | same | runs again |
/// | store unavailable | any | its failure; never run unguarded |
///
/// **Guarantee.** At most one effect per scope and key (law P4), taking over included: the effect carries an operation id
/// made from scope and key, so a former owner that is merely slow and its successor cannot both be applied; both get
/// the answer of the one that was. Completing, giving back and taking over are compare-and-set on the owner.
/// **Does not guarantee.** That the operation runs only once: what it does outside the repository is repeated when a
/// claim is taken over. Anything after the retention of the store or of the repository's operation records.
/// **Needs.** An `IdempotencyStore`; an `OperationRepository`; what `Inner` needs.
/// **Cost.** Those of `Inner`, and two calls of the store: claim, complete. A replay is one.
template <class Inner, class Store>
class IdempotencyKeys {
public:
    static constexpr std::string_view name = "idempotency_keys";
    static constexpr Needs needs = [] {
        Needs n = Inner::needs;
        n.operations = true;
        return n;
    }();
    using policy_concept = transaction_policy_tag;

    IdempotencyKeys(Inner inner, Store store, IdempotencyOptions options = {})
        requires TransactionPolicy<Inner> && IdempotencyStore<Store>
        : inner_(std::move(inner)), store_(std::move(store)), options_(options)
    {}

    Inner const& inner() const noexcept { return inner_; }
    Store const& store() const noexcept { return store_; }
    IdempotencyOptions const& options() const noexcept { return options_; }

    template <class R>
    using Session = detail::IdempotencySession<Inner, Store, R>;

private:
    Inner inner_;
    Store store_;
    IdempotencyOptions options_;
};

namespace detail {

/// The effect was undone, but that it was rejected for good could not be stored, or is not known to be.
inline Failure not_rejected(Failure const& why)
{
    auto const code = why.code() == Errc::outcome_unknown ? Errc::unavailable : why.code();
    return Failure{code, "the rejection could not be stored: " + why.detail()};
}

/// Hands on the lock type of a session that has one.
template <class Session>
struct lock_type_of {};
template <class Session>
    requires requires { typename Session::lock_type; }
struct lock_type_of<Session> {
    using lock_type = typename Session::lock_type;
};

template <class Inner, class Store, class R>
class IdempotencySession : public lock_type_of<typename Inner::template Session<R>> {
    using InnerSession = typename Inner::template Session<R>;

public:
    using repository_type = R;
    using value_type = typename R::value_type;
    static constexpr auto forms = InnerSession::forms;
    static constexpr std::string_view name = IdempotencyKeys<Inner, Store>::name;

    IdempotencySession(IdempotencyKeys<Inner, Store> policy, R repository, Observer* observer)
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(repository), observer), observer_(observer)
    {}
    template <class Locks>
        requires std::constructible_from<InnerSession, Inner, Locks, Observer*>
    IdempotencySession(IdempotencyKeys<Inner, Store> policy, Locks locks, Observer* observer)
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(locks), observer), observer_(observer)
    {}

    R const& repository() const noexcept { return inner_.repository(); }
    RetryLimits retry_limits() const noexcept { return inner_.retry_limits(); }
    static constexpr bool guarded(Form form) noexcept { return InnerSession::guarded(form); }
    /// Two stores are asked: one that blocks is enough.
    bool in_place() const noexcept { return runs_in_place(repository()) && runs_in_place(policy_.store()); }
    InnerSession const& inner() const noexcept { return inner_; }
    IdempotencyKeys<Inner, Store> const& policy() const noexcept { return policy_; }
    Observer* observer() const noexcept { return observer_; }

    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        if (!policy_.options().lease.valid())
            return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
        return inner_.unfit(keys, deadline);
    }

    /// The operation id that makes a request's effect happen at most once. Scope and key are too long for one: 256 bits
    /// of hash stand for them, in a name space of their own.
    static OperationId operation_id(IdempotentRequest const& request)
    {
        return OperationId{"idempotency:" + request_digest(request.name())};
    }

    template <std::size_t N, Form Shape>
    class Transaction {
        using InnerTransaction = typename InnerSession::template Transaction<N, Shape>;
        using T = value_type;

    public:
        Transaction(
            IdempotencySession const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
            std::span<std::optional<T> const, N> named, TransactionContext& context)
            : session_(session), store_(session.policy().store()), home_(keys[order[0]]), context_(context),
              owner_(new_owner_token(session.repository().runtime())), inner_(session.inner(), keys, order, named, context)
        {}
        Transaction(Transaction const&) = delete;
        Transaction& operator=(Transaction const&) = delete;
        ~Transaction() { give_back(); }

        Step<Begun> begin(Waiter& waiter)
        {
            if (!claimed_) {
                if (auto step = claim(waiter))
                    return std::move(*step);
            }
            return inner_.begin(waiter);
        }

        std::optional<Failure> refusal() const { return inner_.refusal(); }

        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            auto step = commit_step(inner_, operation, waiter);
            if (!step.done() || !step.outcome())
                return step;
            auto const& result = *step.outcome();
            complete(result.duplicate ? std::string_view{result.answer} : operation->answer, false);
            return step;
        }

        Step<CommitResult> verify(Waiter& waiter)
            requires can_verify<InnerTransaction>
        {
            return verify_step(inner_, waiter);
        }

        /// Kept like an answer; without an operation record to fall back on, so that it is final only once it is stored.
        Outcome<Begun> reject(std::string_view text)
        {
            inner_.rollback(false);
            auto done = store_.complete(*context_.request(), owner_, text, true, Deadline{context_.deadline()});
            if (done) {
                claimed_ = false;
                return Begun{true, true, std::string(text)};
            }
            if (done.error() == Errc::fenced_out) {
                claimed_ = false;
                observe(IdempotencyEvent::lease_lost);
                return Failure{Errc::idempotency_in_progress, "rejected, but somebody else had taken the claim over"};
            }
            return not_rejected(done.failure());
        }

        void rollback(bool unresolved) noexcept
        {
            inner_.rollback(unresolved);
            if (unresolved)
                claimed_ = false;  // may have been applied: the claim stays until its lease is over
            else
                give_back();
        }

        void abandon() noexcept
        {
            unsubscribe();
            inner_.abandon();
        }

        bool lost() const noexcept
            requires requires(InnerTransaction const& t) { t.lost(); }
        {
            return inner_.lost();
        }
        void listen(Waiter* waiter) noexcept
            requires requires(InnerTransaction& t) { t.listen(waiter); }
        {
            inner_.listen(waiter);
        }
        T& state(std::size_t i) noexcept { return inner_.state(i); }
        decltype(auto) lock(std::size_t i) noexcept { return inner_.lock(i); }
        decltype(auto) store_transaction() noexcept { return inner_.store_transaction(); }

    private:
        static constexpr bool subscribes = requires(Store s, IdempotentRequest const& r, Waiter& w) {
            s.subscribe(r, w);
            s.unsubscribe(r, w);
        };

        bool wakes() const noexcept
        {
            if constexpr (requires { store_.wakes(); })
                return store_.wakes();
            else
                return subscribes;
        }

        /// Nothing when the claim is ours and there is work to do.
        std::optional<Step<Begun>> claim(Waiter& waiter)
        {
            auto const& request = *context_.request();
            if (auto valid = request.validate(); !valid)
                return Step<Begun>{std::move(valid).failure()};
            auto const& options = session_.policy().options();
            Deadline const deadline{context_.deadline()};
            auto claimed = store_.claim(request, owner_, options.lease, options.after_lease, deadline);
            if (!claimed) {
                // Unknown: the claim may be ours. It is idempotent for its owner, so it is simply made again.
                if (claimed.error() == Errc::outcome_unknown)
                    return Step<Begun>{Errc::unavailable};
                return Step<Begun>{std::move(claimed).failure()};
            }
            switch (claimed->state) {
            case ClaimState::mismatch:
                observe(IdempotencyEvent::mismatch);
                return Step<Begun>{
                    Failure{Errc::idempotency_mismatch, "the idempotency key was used for a different request"}};
            case ClaimState::completed:
                unsubscribe();
                observe(IdempotencyEvent::replayed);
                return Step<Begun>{Outcome<Begun>{Begun{true, claimed->rejected, std::move(claimed->answer)}}};
            case ClaimState::abandoned:
                return Step<Begun>{
                    Failure{Errc::idempotency_in_progress, "its execution ended without an answer; not run again"}};
            case ClaimState::in_progress:
                if (options.duplicates == Duplicates::refuse) {
                    observe(IdempotencyEvent::in_progress);
                    return Step<Begun>{Failure::busy(Errc::idempotency_in_progress, claimed->retry_after)};
                }
                return wait(request, waiter, claimed->retry_after);
            case ClaimState::taken_over: observe(IdempotencyEvent::taken_over); break;
            case ClaimState::claimed: break;
            }
            unsubscribe();
            claimed_ = true;
            // A former owner, or an earlier life of this store, may have been applied without having said so.
            auto repository = session_.repository();
            auto found = repository.find_operation(home_, *context_.operation_id(), deadline);
            if (!found)
                return Step<Begun>{std::move(found).failure()};
            if (*found && (*found)->answered) {
                complete((*found)->answer, false);
                observe(IdempotencyEvent::replayed);
                return Step<Begun>{Outcome<Begun>{Begun{true, false, std::move((*found)->answer)}}};
            }
            observe(IdempotencyEvent::executed);
            return std::nullopt;
        }

        Step<Begun> wait(IdempotentRequest const& request, Waiter& waiter, std::chrono::nanoseconds lease)
        {
            auto const& runtime = session_.repository().runtime();
            auto hint = lease;
            if constexpr (subscribes) {
                if (!subscribed_) {
                    // Subscribe, then look again: an answer in between is not missed.
                    store_.subscribe(request, waiter);
                    subscribed_ = &waiter;
                    if (auto again = claim(waiter))
                        return std::move(*again);
                    return inner_.begin(waiter);
                }
            }
            if (!wakes())
                hint = std::min<std::chrono::nanoseconds>(lease, std::chrono::milliseconds{20});
            return Step<Begun>::pending(add(runtime.now(), hint));
        }

        void unsubscribe() noexcept
        {
            if constexpr (subscribes)
                if (auto* const waiter = std::exchange(subscribed_, nullptr))
                    store_.unsubscribe(*context_.request(), *waiter);
        }

        /// The effect and its operation record are durable, so a refused or failed completion loses nothing: whoever has
        /// the claim now, or takes it over, finds the record and gives the same answer.
        void complete(std::string_view answer, bool rejected) noexcept
        {
            if (!std::exchange(claimed_, false))
                return;
            auto done = store_.complete(*context_.request(), owner_, answer, rejected, Deadline{});
            if (!done)
                observe(IdempotencyEvent::lease_lost);
        }

        void give_back() noexcept
        {
            unsubscribe();
            if (!std::exchange(claimed_, false))
                return;
            auto given = store_.give_back(*context_.request(), owner_, Deadline{});
            observe(given ? IdempotencyEvent::given_back : IdempotencyEvent::lease_lost);
        }

        void observe(IdempotencyEvent event) const noexcept
        {
            if (session_.observer() != nullptr)
                session_.observer()->on_idempotency(event);
        }

        IdempotencySession const& session_;
        Store store_;
        Key const& home_;
        TransactionContext& context_;
        OwnerToken owner_;
        bool claimed_{false};
        Waiter* subscribed_{nullptr};
        InnerTransaction inner_;
    };

private:
    IdempotencyKeys<Inner, Store> policy_;
    InnerSession inner_;
    Observer* observer_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_KEYS_HPP
