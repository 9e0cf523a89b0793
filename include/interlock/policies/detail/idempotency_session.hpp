// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP

/// @file
/// What `IdempotencyKeys` keeps for a repository, and one call under it: claim the key, run the inner policy,
/// store the answer, or give the claim back.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/claim_keeper.hpp>
#include <interlock/policies/detail/idempotency_machine.hpp>
#include <interlock/policies/detail/request_claim.hpp>
#include <interlock/policies/detail/wrapping_session.hpp>
#include <interlock/policies/idempotency_options.hpp>

#include <chrono>
#include <concepts>
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

template <class Session, std::size_t N, Form Shape>
class IdempotencyTransaction;

/// `Inner`: see `WrappingSession`.
template <class Inner, class Store>
class IdempotencySession : public WrappingSession<Inner> {
    using Base = WrappingSession<Inner>;

public:
    static constexpr std::string_view name = "idempotency_keys";
    static constexpr bool two_stores = true;  // are asked by one call
    using store_type = Store;

    /// `where`: the repository, or a lock service, as the inner session takes it.
    template <class Policy, class Where>
        requires std::constructible_from<
                     Inner, std::remove_cvref_t<decltype(std::declval<Policy const&>().inner())>, Where,
                     Observer*>
    IdempotencySession(Policy const& policy, Where where, Observer* observer)
        : Base(observer, policy.inner(), std::move(where), observer),
          claims_{policy.store(), policy.options()}
    {}
    /// Around a session that lives elsewhere.
    IdempotencySession(Inner inner, ClaimTerms<Store> claims, Observer* observer)
        requires std::is_reference_v<Inner>
        : Base(observer, inner), claims_(std::move(claims))
    {}

    ClaimTerms<Store> const& claims() const noexcept { return claims_; }
    /// One of the two that blocks is enough.
    bool in_place() const noexcept
    {
        return runs_in_place(this->repository()) && runs_in_place(claims_.store);
    }

    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        if (!claims_.options.lease.valid())
            return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
        return Base::unfit(keys, deadline);
    }

    /// The operation id that makes a request's effect happen at most once. Scope and key are too long for
    /// one: 256 bits of hash stand for them, in a name space of their own. Its records are kept at least as
    /// long as those of the requests: as long as one of them may lead to a second effect.
    OperationId operation_id(IdempotentRequest const& request) const
    {
        OperationId id{"idempotency:" + request_digest(request.name())};
        id.keep_for(detail::longer(retention_of(claims_.store), claims_.options.lease.value()));
        return id;
    }

    template <std::size_t N, Form Shape>
    using Transaction = IdempotencyTransaction<IdempotencySession, N, Shape>;

private:
    ClaimTerms<Store> claims_;
};

template <class Session, std::size_t N, Form Shape>
class IdempotencyTransaction : public IdempotentTransaction<Session, N, Shape> {
    using Base = IdempotentTransaction<Session, N, Shape>;
    using T = typename Session::value_type;
    using RequestClaim =
        detail::RequestClaim<typename Session::store_type, typename Session::repository_type>;

public:
    IdempotencyTransaction(
        Session const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        std::span<std::optional<T> const, N> named, TransactionContext& context)
        : Base(session, keys, order, named, context),
          claim_(
              session.claims(), session.repository(), &session, keys[order[0]], context, session.observer())
    {}
    /// Of a call that was destroyed before its end.
    ~IdempotencyTransaction()
    {
        claim_.unsubscribe();
        auto const how = executed_ && !Session::guarded(Shape) ? ClaimEnd::unknown : ClaimEnd::nothing;
        if (machine().end(how) == ClaimAction::settle)
            machine().settle_failed();
        if (machine().end(how) == ClaimAction::give_back)
            claim_.end_later({.settled = machine().settled()});
    }

    Step<Begun> begin(Waiter& waiter)
    {
        if (auto const action = machine().begin(); action != ClaimAction::run) {
            // Whoever has the claim now needs what this call still holds.
            if (action == ClaimAction::claim && executed_)
                this->rollback(false);
            if (auto step = claim_.claim(waiter))
                return std::move(*step);
            if (!std::exchange(executed_, true))
                observe(this->session().observer(), IdempotencyEvent::executed);
        }
        return this->inner([&](auto& t) { return t.begin(waiter); });
    }

    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        machine().committing();
        auto step = this->inner([&](auto& t) { return commit_step(t, operation, waiter); });
        if (step.done())
            machine().committed(step.outcome().errc());
        return step;
    }
    std::uint32_t attempt() const noexcept { return claim_.machine().attempt(); }

    void resolved(bool applied)
    {
        machine().resolved(applied);
        this->inner([&](auto& t) {
            if constexpr (requires { t.resolved(applied); })
                t.resolved(applied);
        });
    }

    /// Kept like an answer, once this owner's attempt was forbidden.
    Step<Begun> reject(std::string_view text, Waiter& waiter)
    {
        while (machine().reject() == ClaimAction::settle) {
            auto settled = claim_.settle(waiter);
            if (!settled)
                return Step<Begun>::under_way();
            if (!*settled)
                return not_rejected(settled->failure());
            if (machine().answered())
                return Step<Begun>{Outcome<Begun>{claim_.replay(std::move((*settled)->answer))}};
        }
        return claim_.complete_rejected(text);
    }

    /// Completes the claim or gives it back. An answer that is stored late or never loses nothing: whoever
    /// takes the claim over finds the operation's record.
    Step<Begun> conclude(CallEnd end, std::string_view answer, Waiter& waiter)
    {
        claim_.unsubscribe();
        auto const how = end == CallEnd::not_applied ? ClaimEnd::nothing
                         : end == CallEnd::unknown   ? ClaimEnd::unknown
                                                     : ClaimEnd::applied;
        Begun begun;
        for (;;) {
            switch (machine().end(how)) {
            case ClaimAction::settle: {
                if (claim_.late()) {
                    machine().settle_failed();
                    break;
                }
                auto settled = claim_.settle(waiter);
                if (!settled)
                    return Step<Begun>::under_way();
                if (!*settled)
                    machine().settle_failed();
                else if (machine().answered())
                    begun = claim_.replay(std::move((*settled)->answer));
                break;
            }
            case ClaimAction::complete: {
                std::string const kept(begun.replayed ? std::string_view{begun.answer} : answer);
                if (claim_.end_now({.answer = kept}) != RequestClaim::Ended::by_owner &&
                    (end == CallEnd::found || begun.replayed))
                    if (auto failure = claim_.disown(kept))
                        return *std::move(failure);
                break;
            }
            case ClaimAction::give_back: claim_.end_now({.settled = machine().settled()}); break;
            default: machine().ended(); return Step<Begun>{Outcome<Begun>{std::move(begun)}};
            }
        }
    }

    Failure reason()
    {
        auto claiming = claim_.reason();
        return claiming.errc() != Errc::ok ? std::move(claiming) : Base::reason();
    }

    void abandon() noexcept
    {
        claim_.give_up();
        Base::abandon();
    }

private:
    IdempotencyMachine& machine() noexcept { return claim_.machine(); }

    RequestClaim claim_;
    bool executed_{false};  // the operation may run, or has run: the observer was told
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_IDEMPOTENCY_SESSION_HPP
