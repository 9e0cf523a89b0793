// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_WRAPPING_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_WRAPPING_SESSION_HPP

/// @file
/// What the policies have in common that run an operation under another policy: `IdempotencyKeys` and
/// `IdempotencyInTransaction` wrap one, `AnyPolicy` chooses one of three. They hand on to it whatever they do
/// not decide themselves.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_context.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Hands on the lock type of a session that has one.
template <class Session>
struct lock_type_of {};
template <class Session>
    requires requires { typename Session::lock_type; }
struct lock_type_of<Session> {
    using lock_type = typename Session::lock_type;
};

/// The session of a policy that makes another one's operations idempotent. `Inner`: the other one's session,
/// or a reference to one that lives elsewhere, and longer.
template <class Inner>
class WrappingSession : public lock_type_of<std::remove_cvref_t<Inner>> {
public:
    using inner_type = std::remove_cvref_t<Inner>;
    using repository_type = typename inner_type::repository_type;
    using value_type = typename inner_type::value_type;
    static constexpr auto forms = inner_type::forms;

    repository_type const& repository() const noexcept { return inner_.repository(); }
    RetryLimits retry_limits() const noexcept { return inner_.retry_limits(); }
    static constexpr bool guarded(Form form) noexcept { return inner_type::guarded(form); }
    inner_type const& inner() const noexcept { return inner_; }
    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        return inner_.unfit(keys, deadline);
    }
    /// See `AnySession`. The inner session is misused if it has idempotency keys of its own.
    char const* misuse() const noexcept
    {
        if constexpr (requires { inner_.misuse(); })
            if (inner_.misuse() != nullptr)
                return "wrap a policy in IdempotencyKeys once: the inner one is idempotent already";
        return nullptr;
    }
    Observer* observer() const noexcept { return observer_; }

protected:
    template <class... A>
    explicit WrappingSession(Observer* observer, A&&... inner)
        : inner_(std::forward<A>(inner)...), observer_(observer)
    {}

private:
    Inner inner_;
    Observer* observer_;
};

/// The one transaction of a wrapped session.
template <class X>
class OnlyTransaction {
public:
    static constexpr bool verifies = can_verify<X>;
    template <class... A>
    explicit OnlyTransaction(A&&... arguments) : only_(std::forward<A>(arguments)...)
    {}
    template <class F>
    decltype(auto) visit(F f)
    {
        return f(only_);
    }

private:
    X only_;
};

/// The transaction of the session that was chosen of three.
template <class A, class B, class C>
class ChosenTransaction {
public:
    static constexpr bool verifies = can_verify<A> || can_verify<B> || can_verify<C>;
    /// `make(held)` puts the transaction into the variant.
    template <class Make>
    explicit ChosenTransaction(Make make)
    {
        make(held_);
    }
    template <class F>
    decltype(auto) visit(F f)
    {
        switch (held_.index()) {
        case 1: return f(*std::get_if<1>(&held_));
        case 2: return f(*std::get_if<2>(&held_));
        default: return f(*std::get_if<3>(&held_));
        }
    }

private:
    std::variant<std::monostate, A, B, C> held_;  // never empty once it was made
};

/// What a transaction hands on to the one inside. `Held`: one of the two above.
template <class Held>
class ForwardingTransaction {
public:
    ForwardingTransaction(ForwardingTransaction const&) = delete;
    ForwardingTransaction& operator=(ForwardingTransaction const&) = delete;

    std::optional<Failure> refusal() const
    {
        return inner([](auto const& t) { return t.refusal(); });
    }
    /// A policy without a `verify` has loaded its states in one moment, under locks, and nobody could change
    /// them since: there is nothing to verify.
    Step<CommitResult> verify(Waiter& waiter)
        requires Held::verifies
    {
        return inner([&](auto& t) -> Step<CommitResult> {
            if constexpr (can_verify<std::remove_cvref_t<decltype(t)>>)
                return verify_step(t, waiter);
            else
                return Step<CommitResult>{std::in_place, std::in_place};
        });
    }
    void rollback(bool unresolved) noexcept
    {
        inner([&](auto& t) { t.rollback(unresolved); });
    }
    void abandon() noexcept
    {
        inner([](auto& t) { t.abandon(); });
    }
    Failure reason()
    {
        return inner([](auto& t) { return reason_of(t); });
    }
    bool lost() const noexcept
    {
        return inner([](auto const& t) {
            if constexpr (requires { t.lost(); })
                return t.lost();
            else
                return false;
        });
    }
    void listen(Waiter* waiter) noexcept
    {
        inner([&](auto& t) {
            if constexpr (requires { t.listen(waiter); })
                t.listen(waiter);
        });
    }
    decltype(auto) state(std::size_t i) noexcept
    {
        return inner([&](auto& t) -> decltype(auto) { return t.state(i); });
    }
    decltype(auto) lock(std::size_t i) noexcept
    {
        return inner([&](auto& t) -> decltype(auto) { return t.lock(i); });
    }
    decltype(auto) store_transaction() noexcept
    {
        return inner([](auto& t) -> decltype(auto) { return t.store_transaction(); });
    }

protected:
    template <class... A>
    explicit ForwardingTransaction(A&&... arguments) : held_(std::forward<A>(arguments)...)
    {}
    ~ForwardingTransaction() = default;

    template <class F>
    decltype(auto) inner(F f)
    {
        return held_.visit(std::move(f));
    }
    template <class F>
    decltype(auto) inner(F f) const
    {
        return const_cast<Held&>(held_).visit([&](auto const& t) -> decltype(auto) { return f(t); });
    }

private:
    Held held_;
};

/// What the transactions of idempotent policies do alike. `Session` derives from `WrappingSession`.
template <class Session, std::size_t N, Form Shape>
class IdempotentTransaction
    : public ForwardingTransaction<
          OnlyTransaction<typename Session::inner_type::template Transaction<N, Shape>>> {
protected:
    using T = typename Session::value_type;

    IdempotentTransaction(
        Session const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        std::span<std::optional<T> const, N> named, TransactionContext& context)
        : IdempotentTransaction::ForwardingTransaction(session.inner(), keys, order, named, context),
          session_(session), context_(context)
    {}

    Session const& session() const noexcept { return session_; }
    Deadline deadline() const noexcept { return Deadline{context_.deadline()}; }
    IdempotentRequest const& request() const noexcept { return *ContextAccess::request(context_); }

private:
    Session const& session_;
    TransactionContext& context_;
};

/// Tells an observer; null: nobody.
inline void observe(Observer* observer, IdempotencyEvent event) noexcept
{
    if (observer != nullptr)
        observer->on_idempotency(event);
}

/// `store`: the one that keeps the request.
template <class S>
[[gnu::cold]] Failure mismatched_request(S const& store)
{
    Failure failure{Errc::idempotency_mismatch, "the idempotency key was used for a different request"};
    return std::move(failure).placed(place_of(store));
}

/// The effect was undone, but that it was rejected for good could not be stored, or is not known to be.
inline Failure not_rejected(Failure const& why)
{
    auto const code = why.errc() == Errc::outcome_unknown ? Errc::unavailable : why.errc();
    return Failure{code, "the rejection could not be stored: " + why.detail()};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_WRAPPING_SESSION_HPP
