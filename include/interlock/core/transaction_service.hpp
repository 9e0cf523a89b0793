// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_TRANSACTION_SERVICE_HPP
#define INTERLOCK_CORE_TRANSACTION_SERVICE_HPP

/// @file
/// Runs an operation on a state so that concurrent ones do no harm: the library's front door.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/combining/combining.hpp>
#include <interlock/core/detail/transaction/mistaken_calls.hpp>
#include <interlock/core/detail/transaction/transaction_operation.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/asio/async_result.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What a service does besides what its policy says.
struct ServiceOptions {
    /// Told what happens; must outlive the service and its pending operations. Null: nobody, at no cost.
    Observer* observer{nullptr};
    /// So many operations of this service that wait for the same state and touch nothing else (`T&` is all
    /// they take, they return without awaiting, have no id, and are not called by another operation) may run
    /// one after the other, in order, each on its own thread or executor, and be committed by one write. Each
    /// sees what the one before made of the state; each ends when that write is known to be applied, and runs
    /// again if it was not: that counts as an attempt only when somebody else changed the state. 1: every
    /// operation has a commit of its own, and does not wait for the others' turns. Stores that answer in
    /// place, policies whose commit is the user's, and those with `max_attempts = 1` have so anyhow.
    int combine{64};
    /// How long an operation that is to be committed with others waits for one of those others. Whoever takes
    /// longer runs again, first in line; an operation that itself takes longer is not shared; who makes no
    /// progress for some milliseconds more than a commit takes is waited for no longer.
    std::chrono::microseconds combine_patience{1000};
};

namespace detail {

template <class A>
struct is_keys : std::false_type {};
template <class... A>
struct is_keys<Keys<A...>> : std::true_type {};

template <class A, class T, class K>
struct all_name_states : std::bool_constant<KeyOrState<A, T, K>> {};
template <class... A, class T, class K>
struct all_name_states<Keys<A...>, T, K> : std::bool_constant<(KeyOrState<A, T, K> && ...)> {};

template <class P>
struct is_idempotent : std::false_type {};
template <class I, class S>
struct is_idempotent<IdempotencyKeys<I, S>> : std::true_type {};
template <class Policy>
    requires requires { requires Policy::idempotent; }
struct is_idempotent<Policy> : std::true_type {};

template <class Policy, class Repository>
using session_of = typename service_session<typename Policy::template Session<Repository>, Repository>::type;
template <class Policy, class Repository>
using mistaken_calls_of = MistakenCalls<
    session_of<Policy, Repository>, InAsyncCall<session_of<Policy, Repository>>,
    is_idempotent<Policy>::value>;

template <class R, bool Try, bool Idempotent>
struct completion {
    using result =
        std::conditional_t<Idempotent, Answer<std::conditional_t<std::is_void_v<R>, std::monostate, R>>, R>;
    using type = void(std::exception_ptr, std::conditional_t<std::is_void_v<result>, std::monostate, result>);
};
template <bool Idempotent>
struct completion<void, false, Idempotent> {
    using type = void(std::exception_ptr);
};
template <class R, bool Idempotent>
struct completion<R, true, Idempotent> {
    using result =
        std::conditional_t<Idempotent, Answer<std::conditional_t<std::is_void_v<R>, std::monostate, R>>, R>;
    using type = void(std::exception_ptr, Outcome<result>);
};

}  // namespace detail

/// Names the state of a call: a `T`, something that converts to the key type, a `Key`, or `keys(...)` of
/// those.
template <class A, class T, class K>
concept NamesStates = detail::all_name_states<std::remove_cvref_t<A>, T, K>::value || KeyOrState<A, T, K>;

/// The operation takes the state as `T&`, or `T const&`: what it did to a copy would be lost. Not noticed
/// where the type does not say so: `auto`.
template <class F, class Session>
concept TakesStatesByReference = !detail::takes_copy<std::remove_cvref_t<F>, typename Session::value_type>();

/// A callable that accepts one of the argument lists which the policy offers (see `Form`): a `T&` per key,
/// and what the policy adds.
template <class F, class Session, std::size_t N>
concept OperationFor =
    TakesStatesByReference<F, Session> && detail::Operation<std::remove_cvref_t<F>, Session, N>;

/// The operation returns a value or nothing: what it refers to would be gone.
template <class F, class Session, std::size_t N>
concept ReturnsAValue = !std::is_reference_v<detail::raw_result<std::remove_cvref_t<F>, Session, N>>;

/// The operation does not return an awaitable: a synchronous call would never run it. Use
/// `async_do_in_transaction`.
template <class F, class Session, std::size_t N>
concept ReturnsNoAwaitable = !detail::awaited<detail::raw_result<std::remove_cvref_t<F>, Session, N>>::is;

/// The operation's result can be stored and given again: see `StateTraits`.
template <class F, class Session, std::size_t N>
concept ReturnsAStorable = StorableState<detail::operation_result<std::remove_cvref_t<F>, Session, N>>;

/// Asio hands a default-constructed result to the handler along with an exception. For other results use
/// `async_try_do_in_transaction`, whose `Outcome` has no such need.
template <class F, class Session, std::size_t N>
concept ReturnsADefaultConstructible =
    std::is_void_v<detail::operation_result<std::remove_cvref_t<F>, Session, N>> ||
    std::default_initializable<detail::operation_result<std::remove_cvref_t<F>, Session, N>>;

/// The article's `TransactionService`: begin, run, commit or roll back, release.
///
/// `T` is the state, `Policy` how conflicts are handled, `Repository` where the state lives; with `T` alone
/// both are chosen at run time. Policy and repository that do not fit do not compile.
///
/// **Guarantee.** Each call ends as exactly one of *applied*, *not applied*, *unknown* (law P5), by its
/// deadline plus the time the operation itself takes (P7). What the operation throws rolls back and reaches
/// the caller unchanged. What else is promised is the policy's to say. **Does not guarantee.** That the
/// operation runs exactly once: policies with retries run it again. **Lifetimes.** A shared handle. Pending
/// operations keep what they need; the service may go first. **Thread safety.** Everything: safe.
///
/// An operation is called with the first argument list it accepts; see `Form`. It may return a value, not a
/// reference.
template <class T, class Policy, class Repository>
class TransactionService : private detail::mistaken_calls_of<Policy, Repository> {
    using Mistaken = detail::mistaken_calls_of<Policy, Repository>;
    using PolicySession = typename Policy::template Session<Repository>;
    using Session = detail::session_of<Policy, Repository>;
    using Async = detail::InAsyncCall<Session>;
    using K = typename Repository::key_type;
    template <class A>
    static constexpr std::size_t count = detail::keys_size<std::remove_cvref_t<A>>::value;
    static constexpr bool idempotent = detail::is_idempotent<Policy>::value;
    template <class A>
    static constexpr bool named = NamesStates<A, T, K>;

public:
    using value_type = T;
    using key_type = K;
    using policy_type = Policy;
    using repository_type = Repository;
    using session_type = PolicySession;

    /// Asks the store nothing yet. A policy that needs what the repository lacks does not compile.
    TransactionService(Policy policy, Repository repository, ServiceOptions options = {})
        requires PolicyFor<Policy, Repository>
        : session_(make_session(std::move(policy), std::move(repository), options)),
          observer_(options.observer), generation_(session_->repository().runtime().generation())
    {}

    /// Shares the queue and the options of `locks`.
    template <Assurance Level>
    TransactionService(
        Policy policy, LockStateService<T, Repository, Level> locks, ServiceOptions options = {})
        requires PolicyFor<Policy, Repository> &&
                     std::constructible_from<
                         PolicySession, Policy, LockStateService<T, Repository, Level>, Observer*>
        : session_(make_session(std::move(policy), std::move(locks), options)), observer_(options.observer),
          generation_(session_->repository().runtime().generation())
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
    Repository const& repository() const noexcept { return session_->repository(); }
    /// What the policy keeps for this service and its copies.
    session_type const& session() const noexcept { return *session_; }

    // ---- on the calling thread ------------------------------------------------------------------

    /// Runs `operation` on the state that `key` names, and returns what it returned.
    ///
    /// **Outcome.** Returned: applied. Threw what the operation threw: not applied. Threw `Error`: see its
    /// `effect()`. **Cost.** The policy's; no thread, no `io_context`.
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto do_in_transaction(A const& key, F&& operation, CallOptions options = {}) const
    {
        return blocking<detail::Once::no>(key, operation, nullptr, nullptr, options).value();
    }

    /// The same without `Error`: an `Outcome`. Still throws what the operation throws.
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto try_do_in_transaction(A const& key, F&& operation, CallOptions options = {}) const
    {
        return blocking<detail::Once::no>(key, operation, nullptr, nullptr, options);
    }

    /// The same, at most once per `id`: whoever comes with the same id gets the first one's result, see
    /// `OperationId`. A result that was stored before has `Outcome::replayed()`. Needs a result that
    /// `StateTraits` can store.
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                ReturnsAStorable<F, Session, count<A>> && OperationRepository<Repository>
    auto do_in_transaction(OperationId const& id, A const& key, F&& operation, CallOptions options = {}) const
    {
        return blocking<detail::Once::operation_id>(key, operation, &id, nullptr, options).value();
    }
    template <class A, class F>
        requires(named<A> && !idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                ReturnsAStorable<F, Session, count<A>> && OperationRepository<Repository>
    auto try_do_in_transaction(
        OperationId const& id, A const& key, F&& operation, CallOptions options = {}) const
    {
        return blocking<detail::Once::operation_id>(key, operation, &id, nullptr, options);
    }

    /// The same under `IdempotencyKeys`: one execution per request, see there. Returns an `Answer<R>`.
    template <class A, class F>
        requires(named<A> && idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                ReturnsAStorable<F, Session, count<A>>
    auto do_in_transaction(
        IdempotentRequest const& request, A const& key, F&& operation, CallOptions options = {}) const
    {
        return try_do_in_transaction(request, key, operation, options).value();
    }
    template <class A, class F>
        requires(named<A> && idempotent) && OperationFor<F, Session, count<A>> &&
                ReturnsAValue<F, Session, count<A>> && ReturnsNoAwaitable<F, Session, count<A>> &&
                ReturnsAStorable<F, Session, count<A>>
    auto try_do_in_transaction(
        IdempotentRequest const& request, A const& key, F&& operation, CallOptions options = {}) const
    {
        auto const id = session_->operation_id(request);
        auto outcome = blocking<detail::Once::idempotent>(key, operation, &id, &request, options);
        using R = typename decltype(outcome)::stored_type;
        using Result = Outcome<Answer<R>>;
        return outcome ? Result{Answer<R>{*std::move(outcome), outcome.replayed()}}
                       : Result{std::move(outcome).failure()};
    }

    // ---- without blocking -----------------------------------------------------------------------

    /// As `do_in_transaction`. The operation may be a coroutine (return `boost::asio::awaitable<R>`).
    ///
    /// **Completion.** `void(std::exception_ptr, R)`, or `void(std::exception_ptr)` when the operation
    /// returns nothing, on the handler's associated executor, exactly once, never from within this call. The
    /// operation runs on that executor as well (a coroutine on a strand of it). **Cancellation.** All types.
    /// Before the commit is sent: the running operation is cancelled and awaited, everything is rolled back,
    /// the call ends as `cancelled`. Once the commit was sent, cancellation waits for its outcome.
    /// **Lifetimes.** `operation` is moved or copied; what it refers to must outlive the call.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto async_do_in_transaction(A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return initiate<detail::Once::no, false>(
            std::forward<A>(key), std::forward<F>(operation), {}, options, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                (count<A> == 1 || AtomicRepository<Repository>)
    auto async_do_in_transaction(A&& key, F&& operation, CompletionToken&& token) const
    {
        return initiate<detail::Once::no, false>(
            std::forward<A>(key), std::forward<F>(operation), {}, CallOptions{}, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                ReturnsAStorable<F, Async, count<A>> && OperationRepository<Repository>
    auto async_do_in_transaction(
        OperationId id, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return initiate<detail::Once::operation_id, false>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id)}, options, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                ReturnsAStorable<F, Async, count<A>> && OperationRepository<Repository>
    auto async_do_in_transaction(OperationId id, A&& key, F&& operation, CompletionToken&& token) const
    {
        return initiate<detail::Once::operation_id, false>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id)}, CallOptions{}, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                ReturnsAStorable<F, Async, count<A>>
    auto async_do_in_transaction(
        IdempotentRequest request, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        auto id = session_->operation_id(request);
        return initiate<detail::Once::idempotent, false>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id), std::move(request)}, options,
            token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsADefaultConstructible<F, Async, count<A>> &&
                ReturnsAStorable<F, Async, count<A>>
    auto async_do_in_transaction(
        IdempotentRequest request, A&& key, F&& operation, CompletionToken&& token) const
    {
        auto id = session_->operation_id(request);
        return initiate<detail::Once::idempotent, false>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id), std::move(request)},
            CallOptions{}, token);
    }

    /// As `async_do_in_transaction`, with an `Outcome` for everything but what the operation throws.
    ///
    /// **Completion.** `void(std::exception_ptr, Outcome<R>)`: with `use_awaitable` the result is the
    /// `Outcome<R>`.
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && (count<A> == 1 || AtomicRepository<Repository>)
    auto async_try_do_in_transaction(
        A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return initiate<detail::Once::no, true>(
            std::forward<A>(key), std::forward<F>(operation), {}, options, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && (count<A> == 1 || AtomicRepository<Repository>)
    auto async_try_do_in_transaction(A&& key, F&& operation, CompletionToken&& token) const
    {
        return initiate<detail::Once::no, true>(
            std::forward<A>(key), std::forward<F>(operation), {}, CallOptions{}, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsAStorable<F, Async, count<A>> &&
                OperationRepository<Repository>
    auto async_try_do_in_transaction(
        OperationId id, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        return initiate<detail::Once::operation_id, true>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id)}, options, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && !idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsAStorable<F, Async, count<A>> &&
                OperationRepository<Repository>
    auto async_try_do_in_transaction(OperationId id, A&& key, F&& operation, CompletionToken&& token) const
    {
        return initiate<detail::Once::operation_id, true>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id)}, CallOptions{}, token);
    }
    template <class A, class F, class CompletionToken>
        requires(named<A> && idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsAStorable<F, Async, count<A>>
    auto async_try_do_in_transaction(
        IdempotentRequest request, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        auto id = session_->operation_id(request);
        return initiate<detail::Once::idempotent, true>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id), std::move(request)}, options,
            token);
    }

    /// The same with the default options.
    template <class A, class F, class CompletionToken>
        requires(named<A> && idempotent) && OperationFor<F, Async, count<A>> &&
                ReturnsAValue<F, Async, count<A>> && ReturnsAStorable<F, Async, count<A>>
    auto async_try_do_in_transaction(
        IdempotentRequest request, A&& key, F&& operation, CompletionToken&& token) const
    {
        auto id = session_->operation_id(request);
        return initiate<detail::Once::idempotent, true>(
            std::forward<A>(key), std::forward<F>(operation), {std::move(id), std::move(request)},
            CallOptions{}, token);
    }

private:
    template <class Where>
    static auto make_session(Policy policy, Where where, ServiceOptions const& options)
    {
        if constexpr (std::same_as<Session, PolicySession>)
            return std::make_shared<Session const>(std::move(policy), std::move(where), options.observer);
        else
            return std::make_shared<Session const>(
                std::move(policy), std::move(where), options.observer, options.combine,
                options.combine_patience);
    }

    template <class A>
    static auto target(A const& key)
    {
        if constexpr (detail::is_keys<A>::value)
            return std::apply([](auto const&... part) { return target_of(part...); }, key.parts());
        else
            return target_of(key);
    }

    template <class... A>
    static auto target_of(A const&... part)
    {
        if constexpr (((std::same_as<A, T> && KeyedState<T>) || ...))
            return detail::CallTarget<T, sizeof...(A), true>{
                {make_key<T, K>(part)...}, {state_given(part)...}};
        else
            return detail::CallTarget<T, sizeof...(A), false>{{make_key<T, K>(part)...}};
    }

    template <class A>
    static std::optional<T> state_given(A const& argument)
    {
        if constexpr (std::same_as<A, T> && KeyedState<T>)
            return argument;
        else
            return std::nullopt;
    }

    template <detail::Once Mode, class A, class F>
    auto blocking(
        A const& key, F& operation, OperationId const* id, IdempotentRequest const* request,
        CallOptions const& options) const
    {
        auto const& runtime = session_->repository().runtime();
        auto const where = target(key);
        auto const stop = options.stop.token();
        BlockingWaiter<typename Repository::runtime_type> waiter{runtime};
        detail::TransactionCall<Session, count<A>, F, Mode> call{
            *session_,     where.keys, where.named(),
            operation,     id,         request,
            options,       stop,       options.within != nullptr ? options.within : detail::current_context,
            runtime.now(), observer_,  generation_};
        return detail::drive_blocking(call, waiter, runtime, stop);
    }

    template <detail::Once Mode, bool Try, class A, class F, class CompletionToken>
    auto initiate(
        A&& key, F&& operation, detail::OnceArguments<Mode> once, CallOptions options,
        CompletionToken& token) const
    {
        static_assert(
            detail::safe_operation<F>,
            "name it first: g++ 12 destroys a capturing lambda written inside a co_await expression twice. "
            "auto operation = [...](...) {...}; co_await service.async_do_in_transaction(key, operation, "
            "token);");
        static_assert(
            detail::safe_argument<A>,
            "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. "
            "Pass a named state, or its key.");
        using Function = std::decay_t<F>;
        constexpr auto n = count<A>;
        using R = detail::operation_result<Function, Async, n>;
        using Signature = typename detail::completion<R, Try, Mode == detail::Once::idempotent>::type;
        // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
        using Target = decltype(target(key));
        struct Start {
            decltype(session_) session;
            Target where;
            Function function;
            detail::OnceArguments<Mode> once;
            CallOptions options;
            std::stop_token stop;  // of its own: `options.stop` refers to the caller's
            Observer* observer;
            std::uint64_t generation;
        };
        return boost::asio::async_initiate<CompletionToken, Signature>(
            [](auto handler, std::unique_ptr<Start> start) {
                using Handler = decltype(handler);
                detail::start_operation<detail::TransactionOperation<
                    Handler, Session, n, Target::has_states, Function, Mode, Try>>(
                    std::move(handler), std::move(start->session), std::move(start->where),
                    std::move(start->function), std::move(start->once), start->options, start->stop,
                    start->observer, start->generation);
            },
            token,
            std::unique_ptr<Start>(new Start{
                session_, target(key), std::forward<F>(operation), std::move(once), options,
                options.stop.token(), observer_, generation_}));
    }

    std::shared_ptr<Session const> session_;  // shared with pending operations, which stay small
    Observer* observer_;
    std::uint64_t generation_;
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
