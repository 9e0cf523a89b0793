// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_CALL_HPP

/// @file
/// How a user's callable is called: which of the documented argument lists it takes, and what it returns. The
/// lists of a policy are tried in a fixed order (`Session::forms`), and the first that fits is taken.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/transaction/range_call.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/asio/awaitable.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The operation that `F` stands for in a call whose states are `T`s and named by an `A`: `F` itself, unless
/// the names say more about what it takes.
template <class A, class T, class F>
struct operation_on {
    using type = F;
};
template <class A, class T, class F>
using operation_on_t = typename operation_on<std::remove_cvref_t<A>, T, F>::type;

/// The same of a callable that stays where it is.
template <class A, class T, class F>
decltype(auto) operation_here(F& f)
{
    if constexpr (std::is_same_v<operation_on_t<A, T, F>, F>)
        return (f);
    else
        return operation_on_t<A, T, F&>{f};
}

/// Argument types as one type.
template <class... A>
struct TypeList {};

template <class, class>
struct concatenate;
template <class... A, class... B>
struct concatenate<TypeList<A...>, TypeList<B...>> {
    using type = TypeList<A..., B...>;
};

/// `A`, N times.
template <class A, std::size_t N>
struct repeat {
    using type = typename concatenate<TypeList<A>, typename repeat<A, N - 1>::type>::type;
};
template <class A>
struct repeat<A, 0> {
    using type = TypeList<>;
};

/// Stands for a session in an asynchronous call, where an operation may get other arguments
/// (`shown_transaction`). Only the type is used; there is never an object of it.
template <class Session>
struct InAsyncCall : Session {
    using session_type = Session;
};

/// The session itself, and whether the call is asynchronous.
template <class Session>
struct call_style {
    using session_type = Session;
    static constexpr bool asynchronous = false;
};
template <class Session>
struct call_style<InAsyncCall<Session>> {
    using session_type = Session;
    static constexpr bool asynchronous = true;
};

/// What an operation gets of a store's transaction. A transaction that shows operations less than it can do
/// has an `operation_type`. One that shows still less to asynchronous operations, which must not block, has
/// an `async_operation_type`. Else the operation gets the transaction itself.
template <class X, bool Async>
struct shown_transaction {
    using type = X;
};
template <class X, bool Async>
    requires(requires {
        typename X::operation_type;
    } && !(Async && requires { typename X::async_operation_type; }))
struct shown_transaction<X, Async> {
    using type = typename X::operation_type;
};
template <class X>
    requires requires { typename X::async_operation_type; }
struct shown_transaction<X, true> {
    using type = typename X::async_operation_type;
};

/// The states of a call as arguments, and its locks: one for each key, or one for all keys of a range.
template <class Session, std::size_t N, RangeAs As>
struct arguments_per_key {
    using states = typename repeat<typename Session::value_type&, N>::type;
    template <class S>
    using locks = typename repeat<typename S::lock_type&, N>::type;
};
template <class Session, RangeAs As>
struct arguments_per_key<Session, std::dynamic_extent, As> {
    using states = TypeList<typename RangeOfStates<typename Session::value_type, As>::argument&>;
    template <class S>
    using locks = TypeList<typename RangeOfPointers<typename S::lock_type, As>::argument&>;
};

/// The argument types of one form.
template <class Session, std::size_t N, Form Shape, RangeAs As = RangeAs::span>
consteval auto arguments()
{
    using Each = arguments_per_key<Session, N, As>;
    using States = typename Each::states;
    if constexpr (has_recorder(Shape))
        return typename concatenate<
            decltype(arguments<Session, N, without_recorder(Shape), As>()), TypeList<Recorder&>>::type{};
    else if constexpr (Shape == Form::states)
        return States{};
    else if constexpr (Shape == Form::states_transaction) {
        using Stored = typename Session::repository_type::transaction_type;
        using Shown = typename shown_transaction<Stored, call_style<Session>::asynchronous>::type;
        return typename concatenate<States, TypeList<Shown&>>::type{};
    } else if constexpr (Shape == Form::states_context)
        return typename concatenate<States, TypeList<TransactionContext&>>::type{};
    else if constexpr (Shape == Form::locks)
        return typename Each::template locks<Session>{};
    else if constexpr (Shape == Form::locks_context)
        return typename concatenate<
            typename Each::template locks<Session>, TypeList<TransactionContext&>>::type{};
    else
        return typename concatenate<States, typename Each::template locks<Session>>::type{};
}

/// Whether `F` can be called with these arguments.
template <class F, class... A>
consteval bool takes(TypeList<A...>)
{
    return std::invocable<F&, A...>;
}

/// What `F` returns for these arguments.
template <class F, class List>
struct result_for;
template <class F, class... A>
struct result_for<F, TypeList<A...>> : std::invoke_result<F&, A...> {};

/// The index of the first form that `F` takes, or the number of forms. A form that can be given in several
/// ways counts as so many. Later forms are never instantiated, since a generic callable may not compile with
/// them.
template <class F, class Session, std::size_t N, std::size_t I = 0>
consteval std::size_t picked_form()
{
    if constexpr (I == Session::forms.size() * ways<N>)
        return I;
    else if constexpr (takes<F>(arguments<Session, N, Session::forms[I / ways<N>], RangeAs{I % ways<N>}>()))
        return I;
    else
        return picked_form<F, Session, N, I + 1>();
}

/// A callable that takes one of the argument lists of the session's policy, for N states.
template <class F, class Session, std::size_t N>
concept Operation = picked_form<F, Session, N>() < Session::forms.size() * ways<N>;

/// The form with which an operation is called.
template <class F, class Session, std::size_t N>
inline constexpr Form form_of = Session::forms[picked_form<F, Session, N>() / ways<N>];
/// And how it gets the states of a range.
template <class F, class Session, std::size_t N>
inline constexpr RangeAs way_of = RangeAs{picked_form<F, Session, N>() % ways<N>};

/// What an operation returns, which may be an awaitable.
template <class F, class Session, std::size_t N>
using raw_result = typename result_for<
    F, decltype(arguments<Session, N, form_of<F, Session, N>, way_of<F, Session, N>>())>::type;

/// What an operation gives in the end: what an awaitable gives, or else the result itself.
template <class R>
struct awaited {
    using type = R;
    using executor_type = void;
    static constexpr bool is = false;
};
template <class R, class E>
struct awaited<boost::asio::awaitable<R, E>> {
    using type = R;
    using executor_type = E;
    static constexpr bool is = true;
};

template <class F, class Session, std::size_t N>
using operation_result = typename awaited<raw_result<F, Session, N>>::type;

// The parameters of a function that can be called in one way only.
template <class R, class... A>
TypeList<A...> parameters_of(R (*)(A...));
template <class C, class R, class... A>
TypeList<A...> parameters_of(R (C::*)(A...));
template <class C, class R, class... A>
TypeList<A...> parameters_of(R (C::*)(A...) const);

/// Whether one of the parameters is a copy of a `T`.
template <class T, class... A>
consteval bool has_copy(TypeList<A...>)
{
    return (std::same_as<std::remove_cv_t<A>, T> || ...);
}

/// Whether `F` visibly takes a copy of `T`, whose changes would be lost. A template, or a function object
/// with several ways to be called, does not show its parameters; the answer is then no.
template <class F, class T>
consteval bool takes_copy()
{
    if constexpr (requires { F::takes_copies; })
        return F::takes_copies;
    else if constexpr (requires { parameters_of(&F::operator()); })
        return has_copy<T>(decltype(parameters_of(&F::operator())){});
    else if constexpr (requires { parameters_of(std::declval<F>()); })
        return has_copy<T>(decltype(parameters_of(std::declval<F>())){});
    else
        return false;
}

/// Calls `f` with what its form names of `transaction`; `recorder` is that of the call, or none.
template <Form Shape, std::size_t N, bool Async, class F, class Transaction, class... R>
decltype(auto) call_operation(F& f, Transaction& transaction, TransactionContext& context, R&... recorder)
{
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
        if constexpr (has_recorder(Shape) && sizeof...(R) == 0)
            return call_operation<Shape, N, Async>(
                f, transaction, context, *ContextAccess::recorder(context));
        else if constexpr (without_recorder(Shape) == Form::states)
            return f(transaction.state(I)..., recorder...);
        else if constexpr (without_recorder(Shape) == Form::states_transaction)
            return f(
                transaction.state(I)...,
                static_cast<typename shown_transaction<
                    std::remove_cvref_t<decltype(transaction.store_transaction())>, Async>::type&>(
                    transaction.store_transaction()),
                recorder...);
        else if constexpr (without_recorder(Shape) == Form::states_context)
            return f(transaction.state(I)..., context, recorder...);
        else if constexpr (Shape == Form::locks)
            return f(transaction.lock(I)...);
        else if constexpr (Shape == Form::locks_context)
            return f(transaction.lock(I)..., context);
        else
            return f(transaction.state(I)..., transaction.lock(I)...);
    }(std::make_index_sequence<N>{});
}
template <class Range, class Transaction>
auto& states_in(Range& range, Transaction& transaction, std::size_t size)
{
    return range.states.fill(size, [&](std::size_t i) -> auto& { return transaction.state(i); });
}
template <class Range, class Transaction>
auto& locks_in(Range& range, Transaction& transaction, std::size_t size)
{
    return range.locks.fill(size, [&](std::size_t i) -> auto& { return transaction.lock(i); });
}
/// The same with the states of a range, which are kept in `range`.
template <Form Shape, bool Async, class F, class Transaction, class Range, class... Added>
decltype(auto) call_range_operation(
    F& f, Transaction& transaction, TransactionContext& context, Range& range, Added&... recorder)
{
    auto const size = context.keys().size();
    if constexpr (has_recorder(Shape))
        return call_range_operation<without_recorder(Shape), Async>(
            f, transaction, context, range, *ContextAccess::recorder(context));
    else if constexpr (Shape == Form::states)
        return f(states_in(range, transaction, size), recorder...);
    else if constexpr (Shape == Form::states_transaction)
        return f(
            states_in(range, transaction, size),
            static_cast<typename shown_transaction<
                std::remove_cvref_t<decltype(transaction.store_transaction())>, Async>::type&>(
                transaction.store_transaction()),
            recorder...);
    else if constexpr (Shape == Form::states_context)
        return f(states_in(range, transaction, size), context, recorder...);
    else if constexpr (Shape == Form::locks)
        return f(locks_in(range, transaction, size));
    else if constexpr (Shape == Form::locks_context)
        return f(locks_in(range, transaction, size), context);
    else
        return f(states_in(range, transaction, size), locks_in(range, transaction, size));
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_CALL_HPP
