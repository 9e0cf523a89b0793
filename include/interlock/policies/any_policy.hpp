// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_ANY_POLICY_HPP
#define INTERLOCK_POLICIES_ANY_POLICY_HPP

/// @file
/// A policy that is chosen at run time. `TransactionService<T>` holds one, together with a repository that is
/// chosen at run time.
///
///     interlock::AnyPolicy policy = interlock::OptimisticVersioning{};
///     if (config.pessimistic)
///         policy = interlock::PessimisticRowLock{};
///     auto const accounts = interlock::open<Account>(config.url, interlock::memory::backend);
///     interlock::TransactionService<Account> service{policy, accounts};
///     service.do_in_transaction("alice", [](Account& account) { account.balance -= 5; });

#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {

namespace detail {
template <class R>
class AnySession;
}  // namespace detail

/// One of `OptimisticVersioning`, `PessimisticRowLock` and `SetNxLock`, from each of which it converts.
///
/// **Guarantee.** That of the policy that it holds.
/// **Operations** take `T&`, and after it a `TransactionContext&` if they want one. A lock or a store's
/// transaction is not passed, since their types depend on the choice.
/// **Misuse.** With a fixed policy, a combination of policy and store that does not fit fails to compile.
/// Here the store is known only at run time, so the call fails with `misconfigured`.
/// **Cost.** That of the policy, and one branch at each step of a transaction.
class AnyPolicy {
public:
    AnyPolicy(OptimisticVersioning policy) : held_(std::move(policy)) {}  // NOLINT
    AnyPolicy(PessimisticRowLock policy) : held_(std::move(policy)) {}    // NOLINT
    AnyPolicy(SetNxLock policy) : held_(std::move(policy)) {}             // NOLINT

    static constexpr std::string_view name = "any_policy";
    static constexpr Needs needs{
        .versions = true, .row_locks = true, .leases = true, .fences = true, .operations = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::AnySession<R>;

private:
    template <class R>
    friend class detail::AnySession;
    std::variant<OptimisticVersioning, PessimisticRowLock, SetNxLock> held_;
};

namespace detail {

/// The session of whichever policy was chosen.
template <class R>
class AnySession {
    using Sessions =
        std::variant<OptimisticVersioning::Session<R>, PessimisticRowLock::Session<R>, SetNxLock::Session<R>>;

public:
    using supports_combining = AnySession;
    using repository_type = R;
    using value_type = typename R::value_type;
    static constexpr std::array forms{Form::states, Form::states_context};
    static constexpr std::string_view name = AnyPolicy::name;

    AnySession(AnyPolicy policy, R repository, Observer* observer)
        : repository_(repository), session_(std::visit(
                                       [&](auto const& held) -> Sessions {
                                           using P = std::remove_cvref_t<decltype(held)>;
                                           return Sessions{
                                               std::in_place_type<typename P::template Session<R>>, held,
                                               std::move(repository), observer};
                                       },
                                       policy.held_))
    {}

    R const& repository() const noexcept { return repository_; }
    /// The members of the session below are those of the chosen policy's session.
    RetryLimits retry_limits() const noexcept
    {
        return std::visit([](auto const& s) { return s.retry_limits(); }, session_);
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
            session_);
    }
    bool holds_in_begin() const noexcept
    {
        return std::visit([](auto const& s) { return s.holds_in_begin(); }, session_);
    }
    std::size_t max_waiting_operations() const noexcept
    {
        return std::visit([](auto const& s) { return s.max_waiting_operations(); }, session_);
    }
    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        return std::visit([&](auto const& s) { return s.unfit(keys, deadline); }, session_);
    }

    /// The transaction of whichever policy was chosen.
    template <std::size_t N, Form Shape>
    class Transaction {
        template <class S>
        using Of = typename S::template Transaction<N, Shape>;
        using Held = std::variant<
            std::monostate, Of<OptimisticVersioning::Session<R>>, Of<PessimisticRowLock::Session<R>>,
            Of<SetNxLock::Session<R>>>;

    public:
        Transaction(
            AnySession const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
            std::span<std::optional<value_type> const, N> named, TransactionContext& context)
        {
            std::visit(
                [&](auto const& s) {
                    held_.template emplace<Of<std::remove_cvref_t<decltype(s)>>>(
                        s, keys, order, named, context);
                },
                session.session_);
        }

        Step<Begun> begin(Waiter& waiter)
        {
            return visit([&](auto& t) { return t.begin(waiter); });
        }
        std::optional<Failure> refusal() const
        {
            return const_cast<Transaction*>(this)->visit([](auto& t) { return t.refusal(); });
        }
        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            return visit([&](auto& t) { return commit_step(t, operation, waiter); });
        }
        /// A policy without a `verify` has loaded its states in one moment, under locks, and nobody could
        /// change them since: there is nothing to verify.
        Step<CommitResult> verify(Waiter& waiter)
            requires AtomicRepository<R>
        {
            return visit([&](auto& t) -> Step<CommitResult> {
                if constexpr (can_verify<std::remove_cvref_t<decltype(t)>>)
                    return verify_step(t, waiter);
                else
                    return Step<CommitResult>{std::in_place, std::in_place};
            });
        }
        void rollback(bool unresolved) noexcept
        {
            visit([&](auto& t) { t.rollback(unresolved); });
        }
        void abandon() noexcept
        {
            visit([](auto& t) { t.abandon(); });
        }
        bool lost() const noexcept
        {
            return const_cast<Transaction*>(this)->visit([](auto& t) {
                if constexpr (requires { t.lost(); })
                    return t.lost();
                else
                    return false;
            });
        }
        void listen(Waiter* waiter) noexcept
        {
            visit([&](auto& t) {
                if constexpr (requires { t.listen(waiter); })
                    t.listen(waiter);
            });
        }
        value_type& state(std::size_t i) noexcept
        {
            return visit([&](auto& t) -> value_type& { return t.state(i); });
        }

    private:
        // Calls `f` with the transaction that the constructor has made.
        template <class F>
        decltype(auto) visit(F f)
        {
            switch (held_.index()) {
            case 1: return f(*std::get_if<1>(&held_));
            case 2: return f(*std::get_if<2>(&held_));
            default: return f(*std::get_if<3>(&held_));
            }
        }
        Held held_;
    };

private:
    R repository_;
    Sessions session_;
};

}  // namespace detail

/// A service for idempotent requests whose policy, repository and idempotency store are chosen at run time:
///
///     interlock::IdempotentTransactionService<Account> payments{
///         interlock::IdempotencyKeys{
///             interlock::SetNxLock{}, interlock::open_idempotency_store(url, backends...)},
///         interlock::open<Account>(url, backends...)};
///
/// What only one store has (`IdempotencyInTransaction`, which needs that store's own transactions) is chosen
/// when the program is compiled.
template <class T>
using IdempotentTransactionService = TransactionService<T, IdempotencyKeys<AnyPolicy, AnyIdempotencyStore>>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_ANY_POLICY_HPP
