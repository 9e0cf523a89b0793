// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP

/// @file
/// What `IdempotencyKeys` keeps for a repository, and one call under it: claim the key, run the inner policy,
/// store the answer, or give the claim back.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/claim_keeper.hpp>
#include <interlock/policies/detail/idempotency_machine.hpp>
#include <interlock/policies/idempotency_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The sum of two times; the longest there is, if that is too long.
constexpr std::chrono::nanoseconds longer(std::chrono::nanoseconds a, std::chrono::nanoseconds b) noexcept
{
    return a > std::chrono::nanoseconds::max() - b ? std::chrono::nanoseconds::max() : a + b;
}

/// The effect was undone, but that it was rejected for good could not be stored, or is not known to be.
inline Failure not_rejected(Failure const& why)
{
    auto const code = why.errc() == Errc::outcome_unknown ? Errc::unavailable : why.errc();
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
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(repository), observer),
          observer_(observer)
    {}
    template <class Locks>
        requires std::constructible_from<InnerSession, Inner, Locks, Observer*>
    IdempotencySession(IdempotencyKeys<Inner, Store> policy, Locks locks, Observer* observer)
        : policy_(std::move(policy)), inner_(policy_.inner(), std::move(locks), observer), observer_(observer)
    {}

    R const& repository() const noexcept { return inner_.repository(); }
    RetryLimits retry_limits() const noexcept { return inner_.retry_limits(); }
    static constexpr bool guarded(Form form) noexcept { return InnerSession::guarded(form); }
    static constexpr bool two_stores = true;  // are asked by one call
    /// One of the two that blocks is enough.
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

    /// The operation id that makes a request's effect happen at most once. Scope and key are too long for
    /// one: 256 bits of hash stand for them, in a name space of their own. Its records are kept at least as
    /// long as those of the requests: as long as one of them may lead to a second effect.
    OperationId operation_id(IdempotentRequest const& request) const
    {
        OperationId id{"idempotency:" + request_digest(request.name())};
        id.keep_for(detail::longer(retention_of(policy_.store()), policy_.options().lease.value()));
        return id;
    }

    template <std::size_t N, Form Shape>
    class Transaction {
        using InnerTransaction = typename InnerSession::template Transaction<N, Shape>;
        using T = value_type;

    public:
        Transaction(
            IdempotencySession const& session, std::span<Key const, N> keys,
            std::span<std::size_t const, N> order, std::span<std::optional<T> const, N> named,
            TransactionContext& context)
            : session_(session), store_(session.policy().store()), home_(keys[order[0]]), context_(context),
              owner_(new_owner_token(session.repository().runtime())),
              inner_(session.inner(), keys, order, named, context)
        {}
        Transaction(Transaction const&) = delete;
        Transaction& operator=(Transaction const&) = delete;
        /// Of a call that was destroyed before its end.
        ~Transaction()
        {
            unsubscribe();
            auto const how = executed_ && !guarded(Shape) ? ClaimEnd::unknown : ClaimEnd::nothing;
            if (machine_.end(how) == ClaimAction::settle)
                machine_.settle_failed();
            if (machine_.end(how) == ClaimAction::give_back)
                end_later({.settled = machine_.settled()});
        }

        Step<Begun> begin(Waiter& waiter)
        {
            if (machine_.begin() != ClaimAction::run) {
                if (auto step = claim(waiter))
                    return std::move(*step);
                if (!std::exchange(executed_, true))
                    observe(IdempotencyEvent::executed);
            }
            return inner_.begin(waiter);
        }

        std::optional<Failure> refusal() const { return inner_.refusal(); }

        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            machine_.committing();
            auto step = commit_step(inner_, operation, waiter);
            if (step.done())
                machine_.committed(step.outcome().errc());
            return step;
        }
        std::uint32_t attempt() const noexcept { return machine_.attempt(); }

        void resolved(bool applied)
        {
            machine_.resolved(applied);
            if constexpr (requires { inner_.resolved(applied); })
                inner_.resolved(applied);
        }

        Step<CommitResult> verify(Waiter& waiter)
            requires can_verify<InnerTransaction>
        {
            return verify_step(inner_, waiter);
        }

        /// Kept like an answer, once this owner's attempt was forbidden: then nobody can still be applied.
        /// Final only when it is stored, since it leaves no operation record to fall back on.
        Step<Begun> reject(std::string_view text, Waiter& waiter)
        {
            inner_.rollback(false);
            while (machine_.reject() == ClaimAction::settle) {
                auto settled = settle(waiter);
                if (!settled)
                    return Step<Begun>::under_way();
                if (!*settled)
                    return not_rejected(settled->failure());
                if (machine_.answered())
                    return Step<Begun>{Outcome<Begun>{replay(std::move((*settled)->answer))}};
            }
            auto done = store_.carry_out(
                verb::Complete{request(), owner_, text, true}, Deadline{context_.deadline()});
            if (done) {
                machine_.ended();
                return Step<Begun>{Outcome<Begun>{Begun{true, true, std::string(text)}}};
            }
            if (done.errc() == Errc::fenced_out) {
                machine_.ended();
                observe(IdempotencyEvent::lease_lost);
                return Failure{
                    Errc::idempotency_in_progress, "rejected, but somebody else had taken the claim over"};
            }
            return not_rejected(done.failure());
        }

        void rollback(bool unresolved) noexcept { inner_.rollback(unresolved); }

        /// Completes the claim or gives it back, by the deadline of the call; what must go on after that,
        /// does so elsewhere. An answer that is stored late or never loses nothing: whoever takes the claim
        /// over finds the operation's record.
        Step<Begun> conclude(CallEnd end, std::string_view answer, Waiter& waiter)
        {
            unsubscribe();
            auto const how = end == CallEnd::not_applied ? ClaimEnd::nothing
                             : end == CallEnd::unknown   ? ClaimEnd::unknown
                                                         : ClaimEnd::applied;
            Begun begun;
            for (;;) {
                switch (machine_.end(how)) {
                case ClaimAction::settle: {
                    if (late()) {
                        machine_.settle_failed();
                        break;
                    }
                    auto settled = settle(waiter);
                    if (!settled)
                        return Step<Begun>::under_way();
                    if (!*settled)
                        machine_.settle_failed();
                    else if (machine_.answered())
                        begun = replay(std::move((*settled)->answer));
                    break;
                }
                case ClaimAction::complete: {
                    std::string const kept(begun.replayed ? std::string_view{begun.answer} : answer);
                    if (end_now({.answer = kept}) != Ended::by_owner &&
                        (end == CallEnd::found || begun.replayed))
                        if (auto failure = disown(kept))
                            return *std::move(failure);
                    break;
                }
                case ClaimAction::give_back: end_now({.settled = machine_.settled()}); break;
                default: machine_.ended(); return Step<Begun>{Outcome<Begun>{std::move(begun)}};
                }
            }
        }

        void abandon() noexcept
        {
            unsubscribe();
            finding_.give_up();
            settling_.give_up();
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
        IdempotentRequest const& request() const noexcept { return *ContextAccess::request(context_); }
        static constexpr bool subscribes = SubscribableIdempotencyStore<Store>;
        bool wakes() const noexcept { return subscribes && capabilities_of(store_).wakes_waiters; }

        /// Does what stands before the operation. Nothing: the claim is ours and names the attempt that may
        /// be made.
        std::optional<Step<Begun>> claim(Waiter& waiter)
        {
            if (auto valid = request().validate(); !valid)
                return Step<Begun>{std::move(valid).failure()};
            for (auto action = machine_.begin();;) {
                switch (action) {
                case ClaimAction::claim: {
                    if (executed_)  // whoever has the claim now needs what this call still holds
                        inner_.rollback(false);
                    auto claimed = ask_claim();
                    if (!claimed) {
                        // Unknown: the claim may be ours. It is idempotent for its owner, so it is simply
                        // made again.
                        machine_.claim_failed(claimed.errc());
                        if (claimed.errc() == Errc::outcome_unknown)
                            return Step<Begun>{Errc::unavailable};
                        return Step<Begun>{std::move(claimed).failure()};
                    }
                    bool const here = claimed->named_home == home_.bytes();
                    if (claimed->state == ClaimState::taken_over) {
                        if (!std::exchange(took_over_, true))
                            observe(IdempotencyEvent::taken_over);
                        if (!here)
                            former_ = Key{std::move(claimed->named_home)};
                    }
                    action = machine_.claimed(claimed->state, here, claimed->named_attempt);
                    if (action == ClaimAction::wait &&
                        session_.policy().options().duplicates == Duplicates::wait) {
                        if (auto later = wait(waiter, claimed->retry_after))
                            return later;
                        action = machine_.begin();  // subscribed: look again
                        break;
                    }
                    unsubscribe();
                    if (action == ClaimAction::done)
                        return Step<Begun>{
                            Outcome<Begun>{replay(std::move(claimed->answer), claimed->rejected)}};
                    if (!machine_.claimed())
                        return Step<Begun>{refused(*claimed)};
                    break;
                }
                case ClaimAction::settle: {
                    auto settled = settle(waiter);
                    if (!settled)
                        return Step<Begun>::under_way();
                    if (!*settled)
                        return Step<Begun>{std::move(*settled).failure()};
                    if (machine_.answered())
                        return Step<Begun>{Outcome<Begun>{replay(std::move((*settled)->answer))}};
                    action = machine_.begin();
                    break;
                }
                case ClaimAction::look_up: {
                    Deadline const deadline{context_.deadline()};
                    auto const& id = *context_.operation_id();
                    auto repository = session_.repository();
                    auto asked = finding_.ask(repository, waiter, verb::FindOperation{home_, id}, deadline);
                    if (!asked)
                        return Step<Begun>::under_way();
                    auto& found = *asked;
                    if (!found)
                        return Step<Begun>{std::move(found).failure()};
                    action = *found ? machine_.looked_up({(*found)->answered, (*found)->attempt})
                                    : machine_.looked_up({});
                    if (machine_.answered())
                        return Step<Begun>{Outcome<Begun>{replay(std::move((*found)->answer))}};
                    break;
                }
                default: return std::nullopt;
                }
            }
        }

        Outcome<Claim> ask_claim()
        {
            auto const& options = session_.policy().options();
            auto const now = session_.repository().runtime().now();
            lease_end_ = add(now, options.lease.value());
            NamedAttempt const attempt{&home_, machine_.attempt(), machine_.naming()};
            return store_.carry_out(
                verb::Claim{request(), owner_, options.lease, options.after_lease, attempt},
                Deadline{context_.deadline()});
        }

        Failure refused(Claim const& claim)
        {
            switch (claim.state) {
            case ClaimState::mismatch:
                observe(IdempotencyEvent::mismatch);
                return Failure{
                    Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
            case ClaimState::abandoned:
                return Failure{
                    Errc::idempotency_in_progress, "its execution ended without an answer; not run again"};
            default:
                observe(IdempotencyEvent::in_progress);
                return Failure::busy(Errc::idempotency_in_progress, claim.retry_after);
            }
        }

        Begun replay(std::string answer, bool rejected = false) const
        {
            observe(IdempotencyEvent::replayed);
            return Begun{true, rejected, std::move(answer)};
        }

        /// Forbids what the machine says; nothing while that is under way.
        std::optional<Outcome<OperationRecord>> settle(Waiter& waiter)
        {
            Deadline const deadline{context_.deadline()};
            auto const& id = *context_.operation_id();
            auto const& home = machine_.settles_elsewhere() ? former_ : home_;
            auto const attempt = machine_.settled_attempt();
            auto repository = session_.repository();
            auto asked =
                settling_.ask(repository, waiter, verb::ForbidOperation{home, id, attempt}, deadline);
            if (!asked)
                return std::nullopt;
            if (*asked)
                machine_.settled((*asked)->answered);
            return std::optional<Outcome<OperationRecord>>{std::move(*asked)};
        }

        /// Until the owner's lease is over, or a wake-up. Wake-ups are hints, which may be lost, so the store
        /// is asked now and then. Nothing: subscribed just now, so that an answer in between would have been
        /// missed.
        std::optional<Step<Begun>> wait(Waiter& waiter, std::chrono::nanoseconds lease)
        {
            auto const& runtime = session_.repository().runtime();
            if constexpr (subscribes) {
                if (!subscribed_) {
                    store_.subscribe(request(), waiter);
                    subscribed_ = &waiter;
                    return std::nullopt;
                }
            }
            constexpr Backoff seldom{
                .initial = std::chrono::milliseconds{40},
                .cap = std::chrono::milliseconds{640},
                .immediate = 0};
            auto const poll = wakes() ? seldom.limit(++polls_) : std::chrono::milliseconds{20};
            return Step<Begun>::pending(add(runtime.now(), std::min<std::chrono::nanoseconds>(lease, poll)));
        }

        void unsubscribe() noexcept
        {
            if constexpr (subscribes)
                if (auto* const waiter = std::exchange(subscribed_, nullptr))
                    store_.unsubscribe(request(), *waiter);
        }

        /// After the deadline neither of the two stores is asked by a call that may block.
        bool late() const noexcept
        {
            return !session_.in_place() && session_.repository().runtime().now() >= context_.deadline();
        }

        /// What the store said when the claim was ended.
        enum class Ended : unsigned char { by_owner, not_by_owner, unsaid };

        Ended end_now(ClaimEnding ending)
        {
            machine_.ended();
            if (late()) {
                end_later(std::move(ending));
                return Ended::unsaid;
            }
            auto const ended = end_claim(store_, request(), owner_, ending, Deadline{context_.deadline()});
            if (worth_ending_again(ended)) {
                end_later(std::move(ending));
                return Ended::unsaid;
            }
            if (!ended) {
                observe(IdempotencyEvent::lease_lost);
                return Ended::not_by_owner;
            }
            if (!ending.answer)
                observe(IdempotencyEvent::given_back);
            return Ended::by_owner;
        }

        /// An answer was found in the operation's record, and the claim is not known to be this owner's any
        /// more. While it slept, the key may have been given back and used for another request, whose answer
        /// this then is. The store compares the fingerprints: nothing, if the answer is this request's.
        std::optional<Failure> disown(std::string const& answer)
        {
            Outcome<Claim> claimed = Errc::deadline_exceeded;
            if (!late())
                claimed = ask_claim();
            if (!claimed)
                return Failure::unknown(claimed.errc(), "whose the stored answer is could not be found out");
            switch (claimed->state) {
            case ClaimState::mismatch: return refused(*claimed);
            case ClaimState::claimed:
            case ClaimState::taken_over:  // nobody had it: it is answered by what was found
                static_cast<void>(store_.carry_out(
                    verb::Complete{request(), owner_, answer, false}, Deadline{context_.deadline()}));
                return std::nullopt;
            default: return std::nullopt;
            }
        }

        /// Never blocks: a store that would is asked by another thread.
        void end_later(ClaimEnding ending) noexcept
        {
            if (!runs_in_place(store_)) {
                auto const& runtime = session_.repository().runtime();
                auto const threads =
                    store_executor(runtime, BlockingCalls::keeping, session_.repository(), &session_);
                return ClaimKeeper<Store, typename R::runtime_type, std::remove_cv_t<decltype(threads)>>::
                    start(store_, runtime, threads, request(), owner_, std::move(ending), lease_end_);
            }
            try {
                static_cast<void>(end_claim(store_, request(), owner_, ending, Deadline{}));
            } catch (...) {  // no memory: until the lease is over, then
            }
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
        IdempotencyMachine machine_;
        Key former_;  // the home that the claim named when it was taken over
        TimePoint lease_end_{};
        int polls_{0};
        bool took_over_{false};
        bool executed_{false};
        Waiter* subscribed_{nullptr};
        [[no_unique_address]] PendingCall<R, verb::FindOperation> finding_;
        [[no_unique_address]] PendingCall<R, verb::ForbidOperation> settling_;
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

#endif  // INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP
