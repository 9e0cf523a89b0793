// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_MISTAKEN_CALLS_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_MISTAKEN_CALLS_HPP

// What the compiler says to a call of `do_in_transaction` that fits nothing. A constraint that is not
// satisfied makes thirty lines of notes; an overload for each mistake, which no correct call can choose,
// makes one line, at the caller's line, that says what to write. `mistake_in` finds out which mistake it was.
// A call in which it finds none is left to the real overloads.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/detail/transaction/operation_call.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

enum class Mistake : unsigned char {
    none,
    names_no_state,
    comes_in_another_order,
    takes_a_copy,
    takes_other_arguments,
    takes_not_one_per_key,
    takes_no_range,
    records_where_nothing_is_kept,
    has_no_request,
    has_a_request,
    has_an_id,
    returns_a_reference,
    returns_an_awaitable,
    returns_what_is_not_storable,
    returns_what_has_no_default,
    has_a_bare_deadline,
};

/// What is asked of the operation's result by one kind of call.
struct ResultNeeds {
    bool no_awaitable;
    bool storable;
    bool default_made;
};

template <class A>
inline constexpr bool is_operation_id = std::same_as<std::remove_cvref_t<A>, OperationId>;
template <class A>
inline constexpr bool is_request = std::same_as<std::remove_cvref_t<A>, IdempotentRequest>;

/// Whether it is a time alone, where options belong.
template <class A>
inline constexpr bool is_deadline = std::convertible_to<A, Deadline>;

template <class... A>
inline constexpr bool has_options = (std::same_as<std::remove_cvref_t<A>, CallOptions> || ...);

template <class... A>
inline constexpr bool has_once = ((is_operation_id<A> || is_request<A>) || ...);

/// Whether `F` takes what the policy offers for one state: then it was the number of states that was wrong.
template <class F, class Session, std::size_t... N>
consteval bool takes_another_number(std::index_sequence<N...>)
{
    return (Operation<F, Session, N + 1> || ...);
}

/// Whether `F` records, and would be an operation if the store kept what is recorded.
template <class F, class T, std::size_t... N>
consteval bool takes_recorder(std::index_sequence<N...>)
{
    return std::is_invocable_v<F&, std::enable_if_t<(N + 1 > 0), T&>..., Recorder&> ||
           std::is_invocable_v<F&, std::enable_if_t<(N + 1 > 0), T&>..., TransactionContext&, Recorder&>;
}
template <class F, class Session, std::size_t N>
consteval bool records_in_vain()
{
    if constexpr (N == std::dynamic_extent || RecordingRepository<typename Session::repository_type>)
        return false;
    else
        return takes_recorder<F, typename Session::value_type>(std::make_index_sequence<N>{});
}

template <class Session, ResultNeeds Needs, std::size_t N, class F>
consteval Mistake mistake_in_operation()
{
    using T = typename Session::value_type;
    if constexpr (takes_copy<F, T>())
        return Mistake::takes_a_copy;
    else if constexpr (!Operation<F, Session, N>)
        return records_in_vain<F, Session, N>() ? Mistake::records_where_nothing_is_kept
               : N == std::dynamic_extent       ? Mistake::takes_no_range
               : takes_another_number<F, Session>(std::make_index_sequence<3>{})
                   ? Mistake::takes_not_one_per_key
                   : Mistake::takes_other_arguments;
    else {
        using Result = raw_result<F, Session, N>;
        if constexpr (std::is_reference_v<Result>)
            return Mistake::returns_a_reference;
        else if constexpr (Needs.no_awaitable && awaited<Result>::is)
            return Mistake::returns_an_awaitable;
        else if constexpr (Needs.storable && !StorableState<typename awaited<Result>::type>)
            return Mistake::returns_what_is_not_storable;
        else if constexpr (
            Needs.default_made && !std::is_void_v<typename awaited<Result>::type> &&
            !std::default_initializable<typename awaited<Result>::type>)
            return Mistake::returns_what_has_no_default;
        else
            return Mistake::none;
    }
}

/// The mistake in a call with the arguments key, operation, and whatever else.
template <class Session, ResultNeeds Needs, class A, class F, class... Rest>
consteval Mistake mistake_in_rest()
{
    using Named = named_states<
        std::remove_cvref_t<A>, typename Session::value_type, typename Session::repository_type::key_type>;
    if constexpr (!Named::valid)
        return Mistake::names_no_state;
    else if constexpr (Named::count > 1 && !AtomicRepository<typename Session::repository_type>)
        return Mistake::none;  // the notes name what the repository lacks
    else if constexpr ((is_deadline<Rest> || ...))
        return Mistake::has_a_bare_deadline;
    else
        return mistake_in_operation<
            Session, Needs, Named::count,
            operation_on_t<A, typename Session::value_type, std::remove_cvref_t<F>>>();
}

/// The first mistake in a call with these arguments. Calls with fewer than two are left to the compiler's own
/// words.
template <class Session, bool Idempotent, bool TakesRequests, ResultNeeds Needs>
consteval Mistake mistake_in()
{
    return Mistake::none;
}
template <class Session, bool Idempotent, bool TakesRequests, ResultNeeds Needs, class First>
consteval Mistake mistake_in()
{
    return Mistake::none;
}
template <
    class Session, bool Idempotent, bool TakesRequests, ResultNeeds Needs, class First, class Second,
    class... Rest>
consteval Mistake mistake_in()
{
    constexpr bool once = is_operation_id<First> || is_request<First>;
    if constexpr (!once && has_once<Second, Rest...>)
        return Mistake::comes_in_another_order;
    else if constexpr (is_request<First> && !TakesRequests)
        return Mistake::has_a_request;
    else if constexpr (is_operation_id<First> && Idempotent)
        return Mistake::has_an_id;
    else if constexpr (!once && Idempotent)
        return Mistake::has_no_request;
    else if constexpr (is_operation_id<First> && !OperationRepository<typename Session::repository_type>)
        return Mistake::none;  // the notes name what the repository lacks
    else if constexpr (!once)
        return mistake_in_rest<Session, Needs, First, Second, Rest...>();
    else if constexpr (sizeof...(Rest) > 0)
        return mistake_in_rest<
            Session, ResultNeeds{Needs.no_awaitable, true, Needs.default_made}, Second, Rest...>();
    else
        return Mistake::none;
}

/// What a mistaken call returns. Incomplete, so that a concept that asks whether such a call is valid is told
/// that it is not.
struct SeeTheErrorAbove;

/// The base of a service: the overloads that a mistake chooses. `Idempotent`: every call needs a request;
/// `TakesRequests`: a call may have one.
template <class Session, class Async, bool Idempotent, bool TakesRequests>
class MistakenCalls {
    static constexpr ResultNeeds blocking{.no_awaitable = true, .storable = false, .default_made = false};
    static constexpr ResultNeeds starting{.no_awaitable = false, .storable = false, .default_made = true};
    static constexpr ResultNeeds trying{.no_awaitable = false, .storable = false, .default_made = false};

    template <class Of, ResultNeeds Needs, class... A>
    static constexpr Mistake in_call = mistake_in<Of, Idempotent, TakesRequests, Needs, A...>();

// Options in braces have no type of their own to deduce, so that they need overloads that name it: behind the
// operation, and in front of the completion token where there is one.
#define INTERLOCK_MISTAKEN_CALL(function, session, needs, mistake, words)                     \
    template <class... A>                                                                     \
        requires(!has_options<A...> && in_call<session, needs, A...> == Mistake::mistake)     \
    INTERLOCK_WRITE_INSTEAD(words)                                                            \
    SeeTheErrorAbove function(A&&...) const;                                                  \
    template <class A, class F, class... Token>                                               \
        requires(in_call<session, needs, A, F, CallOptions, Token...> == Mistake::mistake)    \
    INTERLOCK_WRITE_INSTEAD(words)                                                            \
    SeeTheErrorAbove function(A&&, F&&, CallOptions, Token&&...) const;                       \
    template <class O, class A, class F, class... Token>                                      \
        requires(in_call<session, needs, O, A, F, CallOptions, Token...> == Mistake::mistake) \
    INTERLOCK_WRITE_INSTEAD(words)                                                            \
    SeeTheErrorAbove function(O&&, A&&, F&&, CallOptions, Token&&...) const;
#define INTERLOCK_MISTAKEN_CALLS(mistake, words)                                      \
    INTERLOCK_MISTAKEN_CALL(do_in_transaction, Session, blocking, mistake, words)     \
    INTERLOCK_MISTAKEN_CALL(try_do_in_transaction, Session, blocking, mistake, words) \
    INTERLOCK_MISTAKEN_CALL(async_do_in_transaction, Async, starting, mistake, words) \
    INTERLOCK_MISTAKEN_CALL(async_try_do_in_transaction, Async, trying, mistake, words)

protected:
    INTERLOCK_MISTAKEN_CALLS(
        names_no_state,
        "name the state first: pass its key, of the repository's key_type, or a T, or keys(a, b), or "
        "keys(range) of those; of a JointRepository in(repository, key), or keys(in(...), in(...))")
    INTERLOCK_MISTAKEN_CALLS(
        comes_in_another_order, "pass the operation id or the request first: (id, key, operation)")
    INTERLOCK_MISTAKEN_CALLS(
        takes_a_copy, "take the state by reference, `T&`: what an operation does to a copy is lost")
    INTERLOCK_MISTAKEN_CALLS(
        takes_other_arguments,
        "write an operation that takes what the policy offers: `T&`, or `Lock<T>&` under a policy with locks "
        "that is named in the service's type, perhaps followed by `TransactionContext&` or the store's "
        "transaction, and behind states by `Recorder&`")
    INTERLOCK_MISTAKEN_CALLS(
        takes_not_one_per_key,
        "write an operation that takes one state per key: [](T& a, T& b) {...} for keys(a, b)")
    INTERLOCK_MISTAKEN_CALLS(
        takes_no_range,
        "write an operation that takes the states of a range at once: [](std::span<T> states) {...}, or "
        "std::span<T* const>, or std::vector<T*>, perhaps followed by what the policy offers besides")
    INTERLOCK_MISTAKEN_CALLS(
        records_where_nothing_is_kept,
        "choose a repository whose store keeps events, since the operation takes a Recorder: this one's "
        "keeps "
        "none that are stored with a commit")
    INTERLOCK_MISTAKEN_CALLS(
        has_no_request, "pass the request first, since the policy is idempotent: (request, key, operation)")
    INTERLOCK_MISTAKEN_CALLS(
        has_a_request,
        "wrap the policy, since a request needs an idempotent one: IdempotencyKeys{policy, store}; or pass "
        "an OperationId")
    INTERLOCK_MISTAKEN_CALLS(
        has_an_id, "pass an IdempotentRequest instead of the OperationId, since the policy is idempotent")
    INTERLOCK_MISTAKEN_CALLS(returns_a_reference, "return a value: what a reference refers to would be gone")
    INTERLOCK_MISTAKEN_CALLS(
        returns_an_awaitable,
        "call async_do_in_transaction: a blocking call would never run the awaitable that is returned")
    INTERLOCK_MISTAKEN_CALLS(
        returns_what_is_not_storable,
        "return what can be stored, since whoever comes with the same id gets it again: a number, a string, "
        "a struct "
        "with BOOST_DESCRIBE_STRUCT, or specialise StateTraits")
    INTERLOCK_MISTAKEN_CALLS(
        returns_what_has_no_default,
        "call async_try_do_in_transaction, or return a type with a default: Asio makes one beside an "
        "exception")
    INTERLOCK_MISTAKEN_CALLS(
        has_a_bare_deadline, "name the deadline, in braces: (key, operation, {.deadline = 200ms})")

#undef INTERLOCK_MISTAKEN_CALLS
#undef INTERLOCK_MISTAKEN_CALL
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_MISTAKEN_CALLS_HPP
