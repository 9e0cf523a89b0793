// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_TRANSACTION_SERVICE_HPP
#define INTERLOCK_CORE_TRANSACTION_SERVICE_HPP

/// @file
/// Several threads, processes and machines change the same state, and each change is computed from what the
/// state was before. `TransactionService` runs such a change as one operation, so that no change is lost: the
/// library's front door. The policy says how conflicts are handled, and the repository where the state lives:
///
///     interlock::memory::StateRepository<Stock> const stock;
///     stock.insert(Stock{"sku-1", 400}).value();
///     interlock::TransactionService const service{interlock::OptimisticVersioning{}, stock};
///     int const left = service.do_in_transaction("sku-1", [](Stock& s) { return s.quantity -= 1; });

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/transaction/blocking_call.hpp>
#include <interlock/core/detail/transaction/mistaken_calls.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/detail/transaction/service_core.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What a service does besides what its policy says.
struct ServiceOptions {
    /// Told what happens. The observer must outlive the service and its pending operations. Null: nobody is
    /// told, at no cost.
    Observer* observer{nullptr};
    /// How many operations may share one commit. Operations of this service that wait for the same state run
    /// in order of arrival on one loaded value, each on its own caller's thread or executor, and one write
    /// commits them all. Each sees what the one before it did. A call returns when the shared write is known
    /// to be applied; otherwise its operation runs again, which counts as an attempt only when somebody else
    /// has changed the state. Only operations take part that take nothing but `T&`, do not suspend, have no
    /// operation id and no request, and are not called by another operation. 1 switches sharing off: then no
    /// operation waits for another one's turn. Stores that answer in place, policies whose commit is the
    /// user's, and policies with `max_attempts = 1` share nothing anyhow.
    int combine{64};
    /// How long an operation that shares its commit waits for another one to run. The operation that takes
    /// longer is left out and runs again, first in line; an operation that itself takes longer than this
    /// shares with nobody. A call that makes no progress for some milliseconds more than a commit takes is
    /// waited for no longer.
    std::chrono::microseconds combine_patience{1000};
};

/// Names the state of a call: a `T`, something that converts to the key type, a `Key`, or `keys(...)` of
/// those, or a range of them. An argument of exactly the type `T` is a state; anything else is a key.
template <class A, class T, class K>
concept NamesStates = detail::named_states<std::remove_cvref_t<A>, T, K>::valid || KeyOrState<A, T, K>;

/// The operation takes the state as `T&`, or `T const&`: what it did to a copy would be lost. This is not
/// noticed where the type does not say what the operation takes, as that of a lambda with `auto` does not.
template <class F, class Session>
concept TakesStatesByReference = !detail::takes_copy<std::remove_cvref_t<F>, typename Session::value_type>();

/// A callable that accepts one of the argument lists which the policy offers (see `Form`): a `T&` per key, or
/// what `keys(range)` says for a range (`N` is then `std::dynamic_extent`), and what the policy adds.
template <class F, class Session, std::size_t N>
concept OperationFor =
    TakesStatesByReference<F, Session> && detail::Operation<std::remove_cvref_t<F>, Session, N>;

/// The operation returns a value or nothing: what a reference refers to would be gone.
template <class F, class Session, std::size_t N>
concept ReturnsAValue = !std::is_reference_v<detail::raw_result<std::remove_cvref_t<F>, Session, N>>;

/// The operation does not return an awaitable, which a synchronous call would never run. Use
/// `async_do_in_transaction` for it.
template <class F, class Session, std::size_t N>
concept ReturnsNoAwaitable = !detail::awaited<detail::raw_result<std::remove_cvref_t<F>, Session, N>>::is;

/// The operation's result can be stored and given again, since whoever comes with the same operation id or
/// request gets it: see `StateTraits`.
template <class F, class Session, std::size_t N>
concept ReturnsAStorable = StorableState<detail::operation_result<std::remove_cvref_t<F>, Session, N>>;

/// The operation's result has a default: Asio hands a default-constructed result to the handler along with an
/// exception. For other results use `async_try_do_in_transaction`, whose `Outcome` has no such need.
template <class F, class Session, std::size_t N>
concept ReturnsADefaultConstructible =
    std::is_void_v<detail::operation_result<std::remove_cvref_t<F>, Session, N>> ||
    std::default_initializable<detail::operation_result<std::remove_cvref_t<F>, Session, N>>;

/// The first argument of a call that happens at most once: an `OperationId`, or, under an idempotent policy,
/// an `IdempotentRequest`. A policy that is chosen at run time (`AnyPolicy`) takes both; which of them fits
/// is known only when the call is made, and the one that does not fit is refused as `misconfigured`.
template <class O, class Policy>
concept OnceFor = (std::same_as<O, OperationId> && !detail::is_idempotent<Policy>) ||
                  (std::same_as<O, IdempotentRequest> && detail::takes_requests<Policy>);

/// The article's `TransactionService`: begin, run, commit or roll back, release.
///
/// `T` is the state, `Policy` how conflicts are handled, `Repository` where the state lives; with `T` alone
/// both are chosen at run time. A policy and a repository that do not fit each other do not compile.
///
/// **Guarantee.** Each call ends as exactly one of *applied*, *not applied*, *unknown* (law P5), by its
/// deadline plus the time that the operation itself takes (P7). An exception of the operation rolls back and
/// reaches the caller unchanged. What else is promised is the policy's to say.
/// **Does not guarantee.** That the operation runs exactly once: policies with retries run it again, each
/// time on the state as it is then.
/// **Lifetimes.** A shared handle. Pending operations keep what they need, so that the service may go first.
/// **Thread safety.** All members may be called from any thread at any time.
///
/// **Operations.** A service calls an operation with the first argument list that the operation accepts; see
/// `Form`. The operation may return a value, but no reference. With `keys(a, b)` it takes a `T&` per key;
/// with `keys(range)`, where their number is known at run time, it takes all states in a `std::span<T>`.
/// States of several types change together by a service on a `JointRepository`, where `in(orders, "o-1")`
/// names a state: see `contracts/joint_repository.hpp`.
///
/// **Calls.** There are four: `do_in_transaction`, `try_do_in_transaction`, and their twins that do not
/// block, `async_do_in_transaction` and `async_try_do_in_transaction`. Each has a second form, whose first
/// argument makes the call happen at most once.
template <class T, class Policy, class Repository>
class TransactionService
    : private detail::MistakenCalls<
          detail::session_of<Policy, Repository>, detail::InAsyncCall<detail::session_of<Policy, Repository>>,
          detail::is_idempotent<Policy>, detail::takes_requests<Policy>> {
    using Session = detail::session_of<Policy, Repository>;
    using Async = detail::InAsyncCall<Session>;
    using Mistaken =
        detail::MistakenCalls<Session, Async, detail::is_idempotent<Policy>, detail::takes_requests<Policy>>;
    using PolicySession = typename Policy::template Session<Repository>;
    using K = typename Repository::key_type;
    template <class A>
    static constexpr std::size_t count = detail::named_states<std::remove_cvref_t<A>, T, K>::count;
    static constexpr bool idempotent = detail::is_idempotent<Policy>;
    template <class A>
    static constexpr bool named = NamesStates<A, T, K>;
    template <class A, class F>
    using Op = detail::operation_on_t<A, T, std::remove_cvref_t<F>>;
    static_assert(
        !detail::looks_like_a_repository<T>,
        "name the state first: TransactionService<T, Policy, Repository>, TransactionServiceFor<Policy, "
        "Repository>, or TransactionService<T>, whose policy and repository are chosen at run time");

public:
    using value_type = T;
    using key_type = K;
    using policy_type = Policy;
    using repository_type = Repository;
    using session_type = PolicySession;

    /// Makes a service without asking the store anything. Its transactions have a queue of their own.
    TransactionService(Policy policy, Repository repository, ServiceOptions options = {})
        requires PolicyFor<Policy, Repository>
        : core_(
              std::move(policy), std::move(repository), options.observer, options.combine,
              detail::saturate(options.combine_patience).value)
    {}

    /// Makes a service whose transactions share the queue and the options of `locks`.
    template <Assurance Level>
    TransactionService(
        Policy policy, LockStateService<T, Repository, Level> locks, ServiceOptions options = {})
        requires PolicyFor<Policy, Repository> &&
                 std::constructible_from<
                     PolicySession, Policy, LockStateService<T, Repository, Level>, Observer*>
        : core_(
              std::move(policy), std::move(locks), options.observer, options.combine,
              detail::saturate(options.combine_patience).value)
    {}

    /// A mistake, told at its line.
    template <class R>
        requires std::same_as<R, Repository>
    INTERLOCK_WRITE_INSTEAD(
        "pass the repository itself instead of a pointer: it is a handle, and its copies share one store")
    TransactionService(Policy policy, R* repository, ServiceOptions options = {});

    // What a call that fits nothing is told.
    using Mistaken::async_do_in_transaction;
    using Mistaken::async_try_do_in_transaction;
    using Mistaken::do_in_transaction;
    using Mistaken::try_do_in_transaction;

    /// The store that the states live in.
    Repository const& repository() const noexcept { return core_.session().repository(); }
    /// What the policy keeps for this service and its copies.
    session_type const& session() const noexcept { return core_.session(); }

    // ---- On the calling thread ------------------------------------------------------------------

    /// Runs `operation` on the state that `key` names, and returns what it returned.
    ///
    ///     service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }, {.deadline = 2s});
    ///
    /// **Outcome.** Returned: applied. Threw what the operation threw: not applied. Threw `Error`: its
    /// `effect()` says whether the change was not applied, or whether that is unknown.
    /// **Cost.** The round trips of the policy. Needs no other thread and no `io_context`.
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Session, count<A>> &&
                ReturnsAValue<Op<A, F>, Session, count<A>> &&
                ReturnsNoAwaitable<Op<A, F>, Session, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto do_in_transaction(A const& key, F&& operation, CallOptions options = {}) const
    {
        auto&& run = detail::operation_here<A, T>(operation);
        return detail::call_blocking<detail::Once::no>(
                   core_.session(), core_.target(key), run, core_.terms(), options)
            .value();
    }

    /// As `do_in_transaction`, but returns an `Outcome` instead of throwing `Error`. What the operation
    /// throws, it still throws.
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Session, count<A>> &&
                ReturnsAValue<Op<A, F>, Session, count<A>> &&
                ReturnsNoAwaitable<Op<A, F>, Session, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto try_do_in_transaction(A const& key, F&& operation, CallOptions options = {}) const
    {
        auto&& run = detail::operation_here<A, T>(operation);
        return detail::call_blocking<detail::Once::no>(
            core_.session(), core_.target(key), run, core_.terms(), options);
    }

    /// As `do_in_transaction`, at most once per `once`: whoever comes with the same operation id, or the same
    /// request, gets the first one's result. The result must be one that `StateTraits` can store.
    ///
    ///     service.do_in_transaction(OperationId{"order-17"}, "sku-1", [](Stock& s) { --s.quantity; });
    ///     payments.do_in_transaction(request, "alice", [](Account& a) { return a.balance -= 5; });
    ///
    /// **Guarantee.** That of `OperationId`; of a request, that of the idempotent policy.
    /// **Outcome.** As above. With a request the result is an `Answer<R>`, whose `replayed()` says whether it
    /// was stored before.
    /// **Cost.** With an id one round trip more than without. With a request, what its policy says.
    template <class O, class A, class F>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Session, count<A>> &&
                 ReturnsAValue<Op<A, F>, Session, count<A>> &&
                 ReturnsNoAwaitable<Op<A, F>, Session, count<A>> &&
                 ReturnsAStorable<Op<A, F>, Session, count<A>> && OperationRepository<Repository>
    auto do_in_transaction(O const& once, A const& key, F&& operation, CallOptions options = {}) const
    {
        return try_do_in_transaction(once, key, operation, options).value();
    }

    /// The same with an `Outcome`, whose `replayed()` says whether the result was stored before.
    template <class O, class A, class F>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Session, count<A>> &&
                 ReturnsAValue<Op<A, F>, Session, count<A>> &&
                 ReturnsNoAwaitable<Op<A, F>, Session, count<A>> &&
                 ReturnsAStorable<Op<A, F>, Session, count<A>> && OperationRepository<Repository>
    auto try_do_in_transaction(O const& once, A const& key, F&& operation, CallOptions options = {}) const
    {
        auto&& run = detail::operation_here<A, T>(operation);
        if constexpr (std::same_as<O, OperationId>) {
            return detail::call_blocking<detail::Once::operation_id>(
                core_.session(), core_.target(key), run, core_.terms(&once), options);
        } else {
            auto const id = core_.requests().operation_id(once);
            return detail::answer_of(detail::call_blocking<detail::Once::idempotent>(
                core_.requests(), core_.target(key), run, core_.terms(&id, &once), options));
        }
    }

    // ---- Without blocking -----------------------------------------------------------------------

    /// As `do_in_transaction`, without blocking the calling thread. The operation may be a coroutine, that
    /// is, return `boost::asio::awaitable<R>`.
    ///
    ///     int const left = co_await service.async_do_in_transaction("sku-1", take_one, use_awaitable);
    ///
    /// **Completion.** `void(std::exception_ptr, R)`, or `void(std::exception_ptr)` when the operation
    /// returns nothing, on the handler's associated executor, exactly once, never from within this call. The
    /// operation runs on that executor as well, and a coroutine on a strand of it.
    /// **Cancellation.** All types. Before the commit is sent, the running operation is cancelled and
    /// awaited, everything is rolled back, and the call ends as `cancelled`. Once the commit was sent,
    /// cancellation waits for its outcome.
    /// **Lifetimes.** `operation` is moved or copied. What it refers to must outlive the call.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Async, count<A>> &&
                ReturnsAValue<Op<A, F>, Async, count<A>> &&
                ReturnsADefaultConstructible<Op<A, F>, Async, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto async_do_in_transaction(A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return core_.template initiate<false, count<A>>(
            detail::OnceArguments<detail::Once::no>{}, std::forward<A>(key), std::forward<F>(operation),
            options, token);
    }

    /// The same with the default options.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Async, count<A>> &&
                ReturnsAValue<Op<A, F>, Async, count<A>> &&
                ReturnsADefaultConstructible<Op<A, F>, Async, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto async_do_in_transaction(A&& key, F&& operation, CompletionToken&& token) const
    {
        return core_.template initiate<false, count<A>>(
            detail::OnceArguments<detail::Once::no>{}, std::forward<A>(key), std::forward<F>(operation),
            CallOptions{}, token);
    }

    /// As `async_do_in_transaction`, at most once per `once`: see the form of `do_in_transaction` with it.
    /// With a request the result is an `Answer<R>`.
    template <class O, class A, class F, class CompletionToken>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Async, count<A>> &&
                 ReturnsAValue<Op<A, F>, Async, count<A>> &&
                 ReturnsADefaultConstructible<Op<A, F>, Async, count<A>> &&
                 ReturnsAStorable<Op<A, F>, Async, count<A>> && OperationRepository<Repository>
    auto async_do_in_transaction(
        O once, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return core_.template initiate<false, count<A>>(
            core_.kept(std::move(once)), std::forward<A>(key), std::forward<F>(operation), options, token);
    }

    /// The same with the default options.
    template <class O, class A, class F, class CompletionToken>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Async, count<A>> &&
                 ReturnsAValue<Op<A, F>, Async, count<A>> &&
                 ReturnsADefaultConstructible<Op<A, F>, Async, count<A>> &&
                 ReturnsAStorable<Op<A, F>, Async, count<A>> && OperationRepository<Repository>
    auto async_do_in_transaction(O once, A&& key, F&& operation, CompletionToken&& token) const
    {
        return core_.template initiate<false, count<A>>(
            core_.kept(std::move(once)), std::forward<A>(key), std::forward<F>(operation), CallOptions{},
            token);
    }

    /// As `async_do_in_transaction`, with an `Outcome` for everything but what the operation throws.
    ///
    /// **Completion.** `void(std::exception_ptr, Outcome<R>)`: with `use_awaitable` the result is the
    /// `Outcome<R>`, and only an exception of the operation is thrown.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Async, count<A>> &&
                ReturnsAValue<Op<A, F>, Async, count<A>> && (count<A> == 1 || AtomicRepository<Repository>)
    auto async_try_do_in_transaction(
        A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return core_.template initiate<true, count<A>>(
            detail::OnceArguments<detail::Once::no>{}, std::forward<A>(key), std::forward<F>(operation),
            options, token);
    }

    /// The same with the default options.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<Op<A, F>, Async, count<A>> &&
                ReturnsAValue<Op<A, F>, Async, count<A>> && (count<A> == 1 || AtomicRepository<Repository>)
    auto async_try_do_in_transaction(A&& key, F&& operation, CompletionToken&& token) const
    {
        return core_.template initiate<true, count<A>>(
            detail::OnceArguments<detail::Once::no>{}, std::forward<A>(key), std::forward<F>(operation),
            CallOptions{}, token);
    }

    /// As `async_try_do_in_transaction`, at most once per `once`: see the form of `do_in_transaction` with
    /// it. With a request the result is an `Outcome<Answer<R>>`.
    template <class O, class A, class F, class CompletionToken>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Async, count<A>> &&
                 ReturnsAValue<Op<A, F>, Async, count<A>> && ReturnsAStorable<Op<A, F>, Async, count<A>> &&
                 OperationRepository<Repository>
    auto async_try_do_in_transaction(
        O once, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return core_.template initiate<true, count<A>>(
            core_.kept(std::move(once)), std::forward<A>(key), std::forward<F>(operation), options, token);
    }

    /// The same with the default options.
    template <class O, class A, class F, class CompletionToken>
        requires OnceFor<O, Policy> && named<A> && OperationFor<Op<A, F>, Async, count<A>> &&
                 ReturnsAValue<Op<A, F>, Async, count<A>> && ReturnsAStorable<Op<A, F>, Async, count<A>> &&
                 OperationRepository<Repository>
    auto async_try_do_in_transaction(O once, A&& key, F&& operation, CompletionToken&& token) const
    {
        return core_.template initiate<true, count<A>>(
            core_.kept(std::move(once)), std::forward<A>(key), std::forward<F>(operation), CallOptions{},
            token);
    }

private:
    detail::ServiceCore<T, Policy, Repository> core_;
};

/// The service of a policy and a repository, as the type of a data member, where nothing can be deduced:
///
///     class Shop {
///         interlock::memory::StateRepository<Stock> stock_;
///         interlock::TransactionServiceFor<interlock::OptimisticVersioning, decltype(stock_)>
///             service_{{}, stock_};
///     };
template <class Policy, class Repository>
using TransactionServiceFor = TransactionService<typename Repository::value_type, Policy, Repository>;

template <class P, class R>
    requires PolicyFor<P, R>
TransactionService(P, R, ServiceOptions = {}) -> TransactionService<typename R::value_type, P, R>;
template <class P, class T, class R, Assurance Level>
TransactionService(P, LockStateService<T, R, Level>, ServiceOptions = {}) -> TransactionService<T, P, R>;
template <class P, class R>
    requires PolicyFor<P, R>
TransactionService(P, R*, ServiceOptions = {}) -> TransactionService<typename R::value_type, P, R>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_TRANSACTION_SERVICE_HPP
