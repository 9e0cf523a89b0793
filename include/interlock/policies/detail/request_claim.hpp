// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_REQUEST_CLAIM_HPP
#define INTERLOCK_POLICIES_DETAIL_REQUEST_CLAIM_HPP

/// @file
/// The claim of one call on the key of its request: what has to be asked of the store of claims, and of the
/// operation's record, before the operation runs and after it has ended. The machine decides, this asks,
/// waits and gives up. Depends on the two stores, but on neither policy nor operation.

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
#include <interlock/policies/detail/wrapping_session.hpp>
#include <interlock/policies/idempotency_options.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What the claims of a service have in common.
template <class Store>
struct ClaimTerms {
    Store store;
    IdempotencyOptions options;
};

/// `R`: the repository, which has the operation's record.
template <class Store, class R>
class RequestClaim {
public:
    /// What the store said when the claim was ended.
    enum class Ended : unsigned char { by_owner, not_by_owner, unsaid };

    /// `threads`: names the service, whose threads are asked to end what the call cannot wait for. `home`:
    /// the key that the operation's record belongs to.
    RequestClaim(
        ClaimTerms<Store> const& terms, R const& repository, void const* threads, Key const& home,
        TransactionContext const& context, Observer* observer)
        : options_(terms.options), store_(terms.store), repository_(repository), threads_(threads),
          home_(home), context_(context), observer_(observer), owner_(new_owner_token(repository.runtime()))
    {}
    RequestClaim(RequestClaim const&) = delete;
    RequestClaim& operator=(RequestClaim const&) = delete;
    ~RequestClaim() = default;

    IdempotencyMachine& machine() noexcept { return machine_; }
    IdempotencyMachine const& machine() const noexcept { return machine_; }

    /// Does what stands before the operation. Nothing: the claim is ours and names the attempt that may be
    /// made.
    std::optional<Step<Begun>> claim(Waiter& waiter)
    {
        if (auto valid = request().validate(); !valid)
            return Step<Begun>{std::move(valid).failure()};
        std::optional<Step<Begun>> end;
        for (auto action = machine_.begin(); !end;) {
            switch (action) {
            case ClaimAction::claim: end = ask_to_have_it(action, waiter); break;
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
            case ClaimAction::look_up: end = look_up(action, waiter); break;
            default: return std::nullopt;
            }
        }
        return end;
    }

    /// Stores the rejection `text`, which is final only then, since it leaves no operation record to fall
    /// back on. For an owner whose attempt is forbidden, so that nobody can still be applied.
    Outcome<Begun> complete_rejected(std::string_view text)
    {
        auto done = store_.carry_out(verb::Complete{request(), owner_, text, true}, deadline());
        if (done) {
            machine_.ended();
            return Begun{true, true, std::string(text)};
        }
        if (done.errc() != Errc::fenced_out)
            return not_rejected(done.failure());
        machine_.ended();
        observe(observer_, IdempotencyEvent::lease_lost);
        return Failure{Errc::idempotency_in_progress, "rejected, but somebody else had taken the claim over"};
    }

    /// Forbids what the machine says; nothing while that is under way.
    std::optional<Outcome<OperationRecord>> settle(Waiter& waiter)
    {
        auto const& home = machine_.settles_elsewhere() ? former_ : home_;
        auto const attempt = machine_.settled_attempt();
        auto repository = repository_;
        auto asked = settling_.ask(
            repository, waiter, verb::ForbidOperation{home, *context_.operation_id(), attempt}, deadline());
        if (!asked)
            return std::nullopt;
        if (*asked)
            machine_.settled((*asked)->answered);
        return std::optional<Outcome<OperationRecord>>{std::move(*asked)};
    }

    /// An answer was stored by an earlier execution.
    Begun replay(std::string answer, bool rejected = false) const
    {
        observe(observer_, IdempotencyEvent::replayed);
        return Begun{true, rejected, std::move(answer)};
    }

    /// After the deadline neither of the two stores is asked by a call that may block.
    bool late() const noexcept
    {
        return !(runs_in_place(repository_) && runs_in_place(store_)) &&
               repository_.runtime().now() >= context_.deadline();
    }

    /// Ends the claim by the deadline of the call. What must go on after that does so elsewhere.
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
            observe(observer_, IdempotencyEvent::lease_lost);
            return Ended::not_by_owner;
        }
        if (!ending.answer)
            observe(observer_, IdempotencyEvent::given_back);
        return Ended::by_owner;
    }

    /// Never blocks: a store that would is asked by another thread.
    void end_later(ClaimEnding ending) noexcept
    {
        if (!runs_in_place(store_)) {
            auto const& runtime = repository_.runtime();
            // The claim may be under way to a store that stands still: its lease begins when that goes on.
            if (!machine_.claimed())
                lease_end_ = std::max(lease_end_, add(runtime.now(), give_back_time));
            auto const threads = store_executor(runtime, BlockingCalls::keeping, repository_, threads_);
            return ClaimKeeper<Store, typename R::runtime_type, std::remove_cv_t<decltype(threads)>>::start(
                store_, runtime, threads, request(), owner_, std::move(ending), lease_end_);
        }
        try {
            static_cast<void>(end_claim(store_, request(), owner_, ending, Deadline{}));
        } catch (...) {  // no memory: until the lease is over, then
        }
    }

    /// An answer was found in the operation's record, and the claim is not known to be this owner's any more.
    /// While it slept, the key may have been given back and used for another request, whose answer this then
    /// is. The store compares the fingerprints: nothing, if the answer is this request's.
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
            static_cast<void>(store_.carry_out(verb::Complete{request(), owner_, answer, false}, deadline()));
            return std::nullopt;
        default: return std::nullopt;
        }
    }

    /// What `claim` waits for: the owner that executes the request; `ok`: it does not wait for one.
    Failure reason() const { return executing_.value_or(Failure{Errc::ok}); }

    /// Nobody wakes the caller's waiter for this claim any more.
    void unsubscribe() noexcept
    {
        if constexpr (subscribes)
            if (auto* const waiter = std::exchange(subscribed_, nullptr))
                store_.unsubscribe(request(), *waiter);
    }
    void give_up() noexcept
    {
        unsubscribe();
        finding_.give_up();
        settling_.give_up();
    }

private:
    static constexpr bool subscribes = SubscribableIdempotencyStore<Store>;
    // For so long a store that stands still is asked to end a claim that nobody has seen.
    static constexpr std::chrono::minutes give_back_time{2};

    IdempotentRequest const& request() const noexcept { return *ContextAccess::request(context_); }
    Deadline deadline() const noexcept { return Deadline{context_.deadline()}; }
    bool wakes() const noexcept { return subscribes && capabilities_of(store_).wakes_waiters; }

    Outcome<Claim> ask_claim()
    {
        lease_end_ = add(repository_.runtime().now(), options_.lease.value());
        NamedAttempt const attempt{&home_, machine_.attempt(), machine_.naming()};
        return store_.carry_out(
            verb::Claim{request(), owner_, options_.lease, options_.after_lease, attempt}, deadline());
    }

    /// Sets the next action; or what begin comes to without the operation.
    std::optional<Step<Begun>> ask_to_have_it(ClaimAction& action, Waiter& waiter)
    {
        auto claimed = ask_claim();
        if (!claimed) {
            // Unknown: the claim may be ours. It is idempotent for its owner, so it is simply made again.
            machine_.claim_failed(claimed.errc());
            return Step<Begun>{std::move(claimed).failure().without_doubt()};
        }
        bool const here = claimed->named_home == home_.bytes();
        if (claimed->state == ClaimState::taken_over) {
            if (!std::exchange(took_over_, true))
                observe(observer_, IdempotencyEvent::taken_over);
            if (!here)
                former_ = Key{std::move(claimed->named_home)};
        }
        action = machine_.claimed(claimed->state, here, claimed->named_attempt);
        if (action == ClaimAction::wait && options_.duplicates == Duplicates::wait &&
            ContextAccess::wait(context_, Wait::until_deadline) == Wait::until_deadline) {
            executing_.emplace(Failure::busy(Errc::idempotency_in_progress, claimed->retry_after));
            if (auto later = wait(waiter, claimed->retry_after))
                return later;
            action = machine_.begin();  // subscribed: look again
            return std::nullopt;
        }
        unsubscribe();
        executing_.reset();
        if (action == ClaimAction::done)
            return Step<Begun>{Outcome<Begun>{replay(std::move(claimed->answer), claimed->rejected)}};
        if (!machine_.claimed())
            return Step<Begun>{refused(*claimed)};
        return std::nullopt;
    }

    /// Likewise, about the operation's record.
    std::optional<Step<Begun>> look_up(ClaimAction& action, Waiter& waiter)
    {
        auto repository = repository_;
        auto asked = finding_.ask(
            repository, waiter, verb::FindOperation{home_, *context_.operation_id()}, deadline());
        if (!asked)
            return Step<Begun>::under_way();
        auto& found = *asked;
        if (!found)
            return Step<Begun>{std::move(found).failure()};
        action =
            *found ? machine_.looked_up({(*found)->answered, (*found)->attempt}) : machine_.looked_up({});
        if (machine_.answered())
            return std::optional<Step<Begun>>{std::in_place, replay(std::move((*found)->answer))};
        return std::nullopt;
    }

    Failure refused(Claim const& claim) const
    {
        switch (claim.state) {
        case ClaimState::mismatch:
            observe(observer_, IdempotencyEvent::mismatch);
            return mismatched_request(store_);
        case ClaimState::abandoned:
            return Failure{
                Errc::idempotency_in_progress, "its execution ended without an answer; not run again"};
        default:
            observe(observer_, IdempotencyEvent::in_progress);
            return Failure::busy(Errc::idempotency_in_progress, claim.retry_after);
        }
    }

    /// Until the owner's lease is over, or a wake-up. Wake-ups are hints, which may be lost, so the store is
    /// asked now and then. Nothing: subscribed just now, so that an answer in between would have been missed.
    std::optional<Step<Begun>> wait(Waiter& waiter, std::chrono::nanoseconds lease)
    {
        if constexpr (subscribes) {
            if (!subscribed_) {
                store_.subscribe(request(), waiter);
                subscribed_ = &waiter;
                return std::nullopt;
            }
        }
        constexpr Backoff seldom{
            .initial = std::chrono::milliseconds{40}, .cap = std::chrono::milliseconds{640}, .immediate = 0};
        auto const poll = wakes() ? seldom.limit(++polls_) : std::chrono::milliseconds{20};
        auto const now = repository_.runtime().now();
        return Step<Begun>::pending(add(now, std::min<std::chrono::nanoseconds>(lease, poll)));
    }

    IdempotencyOptions const& options_;
    Store store_;
    R const& repository_;
    void const* threads_;  // names their owner
    Key const& home_;
    TransactionContext const& context_;
    Observer* observer_;
    OwnerToken owner_;
    IdempotencyMachine machine_;
    Key former_;                        // the home that the claim named when it was taken over
    TimePoint lease_end_{};             // of the last claim, by the clock of this process
    int polls_{0};                      // since the call began to wait
    std::optional<Failure> executing_;  // what the store said of another owner, while the call waits for it
    bool took_over_{false};             // the observer was told
    Waiter* subscribed_{nullptr};
    [[no_unique_address]] PendingCall<R, verb::FindOperation> finding_;
    [[no_unique_address]] PendingCall<R, verb::ForbidOperation> settling_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_REQUEST_CLAIM_HPP
