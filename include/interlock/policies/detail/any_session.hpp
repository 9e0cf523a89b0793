// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_ANY_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_ANY_SESSION_HPP

/// @file
/// What `AnyPolicy` keeps for a repository: the session of the policy that was chosen, and around it a
/// session for idempotent requests.

#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/idempotency_session.hpp>
#include <interlock/policies/detail/wrapping_session.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The transaction of whichever policy was chosen. `S`: the sessions of the three.
template <class Session, std::size_t N, Form Shape, class... S>
class AnyTransaction
    : public ForwardingTransaction<ChosenTransaction<typename S::template Transaction<N, Shape>...>> {
public:
    AnyTransaction(
        Session const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        std::span<std::optional<typename Session::value_type> const, N> named, TransactionContext& context)
        : AnyTransaction::ForwardingTransaction([&](auto& held) {
              std::visit(
                  [&](auto const& chosen) {
                      using Chosen = std::remove_cvref_t<decltype(chosen)>;
                      held.template emplace<typename Chosen::template Transaction<N, Shape>>(
                          chosen, keys, order, named, context);
                  },
                  session.chosen());
          })
    {}

    Step<Begun> begin(Waiter& waiter)
    {
        return this->inner([&](auto& t) { return t.begin(waiter); });
    }
    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        return this->inner([&](auto& t) { return commit_step(t, operation, waiter); });
    }
};

/// The session of whichever policy was chosen. Its members are those of that policy's session.
template <class R>
class ChosenSession {
    template <class Policy>
    using Of = typename Policy::template Session<R>;

public:
    using repository_type = R;
    using value_type = typename R::value_type;
    static constexpr auto forms = with_recorder<R, std::array{Form::states, Form::states_context}>();
    using Sessions = std::variant<Of<OptimisticVersioning>, Of<PessimisticRowLock>, Of<SetNxLock>>;

    template <class Policies>
    ChosenSession(Policies const& policies, R repository, Observer* observer)
        : repository_(repository),
          chosen_(std::visit(
              [&](auto const& policy) -> Sessions {
                  using P = std::remove_cvref_t<decltype(policy)>;
                  return Sessions{std::in_place_type<Of<P>>, policy, std::move(repository), observer};
              },
              policies))
    {}

    R const& repository() const noexcept { return repository_; }
    Sessions const& chosen() const noexcept { return chosen_; }
    RetryLimits retry_limits() const noexcept
    {
        return std::visit([](auto const& s) { return s.retry_limits(); }, chosen_);
    }
    static constexpr bool guarded(Form) noexcept { return true; }
    bool in_place() const noexcept
    {
        return std::visit(
            [](auto const& s) {
                if constexpr (requires { s.in_place(); })
                    return s.in_place();
                else
                    return runs_in_place(s.repository());
            },
            chosen_);
    }
    bool holds_in_begin() const noexcept
    {
        return std::visit([](auto const& s) { return s.holds_in_begin(); }, chosen_);
    }
    std::size_t max_waiting_operations() const noexcept
    {
        return std::visit([](auto const& s) { return s.max_waiting_operations(); }, chosen_);
    }
    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        return std::visit([&](auto const& s) { return s.unfit(keys, deadline); }, chosen_);
    }

    template <std::size_t N, Form Shape>
    using Transaction = AnyTransaction<
        ChosenSession, N, Shape, Of<OptimisticVersioning>, Of<PessimisticRowLock>, Of<SetNxLock>>;

private:
    R repository_;
    Sessions chosen_;
};

/// Stands where no store of claims was given. It is asked nothing, since such calls are refused before.
class NoIdempotencyStore {
public:
    static Capabilities capabilities() noexcept { return {.answers_in_place = true}; }
    static Outcome<Claim> carry_out(verb::Claim const&, Deadline) { return Errc::misconfigured; }
    static Outcome<void> carry_out(verb::Complete const&, Deadline) { return Errc::misconfigured; }
    static Outcome<void> carry_out(verb::GiveBack const&, Deadline) { return Errc::misconfigured; }
};

/// The requests of an `AnyPolicy`.
template <class R>
class AnyRequests : public IdempotencySession<ChosenSession<R> const&, AnyIdempotencyStore> {
public:
    AnyRequests(
        ChosenSession<R> const& chosen, std::optional<ClaimTerms<AnyIdempotencyStore>> const& keys,
        char const* misuse, Observer* observer)
        : AnyRequests::IdempotencySession(
              chosen, keys ? *keys : ClaimTerms<AnyIdempotencyStore>{NoIdempotencyStore{}, {}}, observer),
          misuse_(misuse)
    {}
    /// See `AnySession`.
    char const* misuse() const noexcept { return misuse_; }

private:
    char const* misuse_;
};

/// The session of an `AnyPolicy`: that of the policy that was chosen, and one around it for requests.
template <class R>
class AnySession : public ChosenSession<R> {
public:
    using supports_combining = AnySession;
    using requests_type = AnyRequests<R>;
    static constexpr std::string_view name = "any_policy";

    template <class Policy>
    AnySession(Policy const& policy, R repository, Observer* observer)
        : ChosenSession<R>(policy.held_, std::move(repository), observer),
          requests_(*this, policy.keys_, policy.misuse_of_requests(), observer),
          idempotent_(policy.keys_.has_value())
    {}
    AnySession(AnySession const&) = delete;  // `requests_` refers to it
    AnySession& operator=(AnySession const&) = delete;

    /// What calls with a request are made under.
    requests_type const& requests() const noexcept { return requests_; }

    /// In events: the policy that was chosen, or the one around it.
    std::string_view policy_name() const noexcept
    {
        return idempotent_
                   ? std::string_view{"idempotency_keys"}
                   : std::visit([](auto const& s) { return std::string_view{s.name}; }, this->chosen());
    }

    /// Why a call without a request, or with an operation id, is refused as `misconfigured`; null: it is not.
    /// Only at run time is it known whether the policy that was chosen is an idempotent one.
    char const* misuse() const noexcept
    {
        return idempotent_ ? "pass an IdempotentRequest first, since the policy that was chosen is idempotent"
                           : nullptr;
    }

private:
    requests_type requests_;
    bool idempotent_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_ANY_SESSION_HPP
