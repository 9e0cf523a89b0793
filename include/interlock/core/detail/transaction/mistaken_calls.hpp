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
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

enum class Mistake : unsigned char {
    none,
    names_no_state,
    lacks_a_key,
    lacks_an_operation,
    has_an_id_without_its_type,
    names_several_without_keys,
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
    has_more_than_options,
    lacks_a_token,
    has_options_behind_the_token,
};

/// What one kind of call asks of its arguments: of the operation's result, and whether a completion token
/// stands at the end.
struct CallNeeds {
    bool no_awaitable;
    bool storable;
    bool default_made;
    bool token;
};

/// Options in braces, by the names that other libraries have for them; one struct each, since no call that is
/// right may fit any of them: not `{}`, since `Given` has no default, and not `{1s}`, since `Nothing` is made
/// of nothing.
struct MisnamedOptions {
    struct Nothing {
        explicit Nothing() = default;
    };
    struct Given {
        template <class X>
        Given(X&&) noexcept;  // NOLINT: whatever stands behind the name
    };
    struct Timeout {
        Nothing nothing = Nothing();
        Given timeout;
    };
    struct Ttl {
        Nothing nothing = Nothing();
        Given ttl;
    };
    struct Retries {
        Nothing nothing = Nothing();
        Given retries;
    };
    struct Attempts {
        Nothing nothing = Nothing();
        Given attempts;
    };
    struct MaxAttempts {
        Nothing nothing = Nothing();
        Given max_attempts;
    };
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

template <class Session, CallNeeds Needs, std::size_t N, class F>
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

template <class Session, class A>
using named_by = named_states<
    std::remove_cvref_t<A>, typename Session::value_type, typename Session::repository_type::key_type>;

/// Whether `F` is an operation on as many states as `A` names.
template <class Session, class A, class F>
consteval bool operates_on()
{
    if constexpr (named_by<Session, A>::valid)
        return Operation<
            operation_on_t<A, typename Session::value_type, std::remove_cvref_t<F>>, Session,
            named_by<Session, A>::count>;
    else
        return false;
}
/// Whether `F` is an operation on a few states or on a range of them.
template <class F, class Session>
consteval bool is_an_operation()
{
    return takes_another_number<std::remove_cvref_t<F>, Session>(std::make_index_sequence<3>{}) ||
           Operation<std::remove_cvref_t<F>, Session, std::dynamic_extent>;
}
/// Whether it may be meant as an id or a key.
template <class Session, class A>
inline constexpr bool is_a_name = named_by<Session, A>::valid || std::is_convertible_v<A, std::string_view> ||
                                  std::is_arithmetic_v<std::remove_cvref_t<A>>;

/// The mistake in a call that begins with two names, neither of them an id, and perhaps goes on with `F`.
template <class Session, class, class>
consteval Mistake mistake_in_names()
{
    return Mistake::none;
}
template <class Session, class A, class B, class F, class...>
consteval Mistake mistake_in_names()
{
    if constexpr (!is_a_name<Session, A> || !is_a_name<Session, B>)
        return Mistake::none;
    else if constexpr (operates_on<Session, A, F>() || operates_on<Session, B, F>())
        return Mistake::has_an_id_without_its_type;
    else if constexpr (named_by<Session, A>::valid && named_by<Session, B>::valid)
        return is_an_operation<F, Session>() ? Mistake::names_several_without_keys : Mistake::none;
    else
        return Mistake::none;
}

/// The mistake in what stands behind an operation that is right.
template <bool Token>
consteval Mistake mistake_behind_operation()
{
    return Token ? Mistake::lacks_a_token : Mistake::none;
}
template <bool Token, class First, class... Rest>
consteval Mistake mistake_behind_operation()
{
    constexpr bool options = std::is_convertible_v<First, CallOptions>;
    if constexpr (!Token)
        return options && sizeof...(Rest) == 0 ? Mistake::none : Mistake::has_more_than_options;
    else if constexpr (options)
        return sizeof...(Rest) == 0 ? Mistake::lacks_a_token : Mistake::none;
    else
        return (std::is_convertible_v<Rest, CallOptions> || ...) ? Mistake::has_options_behind_the_token
                                                                 : Mistake::none;
}

/// The mistake in a call with the arguments key, operation, and whatever else. `Once`: an id or a request
/// stands in front of them.
template <class Session, CallNeeds Needs, bool Once, class A, class F, class... Rest>
consteval Mistake mistake_in_rest()
{
    using Named = named_by<Session, A>;
    constexpr auto in_names = Once ? Mistake::none : mistake_in_names<Session, A, F, Rest...>();
    if constexpr (in_names != Mistake::none)
        return in_names;
    else if constexpr (!Named::valid)
        return Once && is_an_operation<A, Session>() ? Mistake::lacks_a_key : Mistake::names_no_state;
    else if constexpr (Named::count > 1 && !AtomicRepository<typename Session::repository_type>)
        return Mistake::none;  // the notes name what the repository lacks
    else if constexpr ((is_deadline<Rest> || ...))
        return Mistake::has_a_bare_deadline;
    else {
        constexpr auto in_operation = mistake_in_operation<
            Session, Needs, Named::count,
            operation_on_t<A, typename Session::value_type, std::remove_cvref_t<F>>>();
        return in_operation != Mistake::none ? in_operation
                                             : mistake_behind_operation<Needs.token, Rest...>();
    }
}

/// The first mistake in a call with these arguments.
template <class Session, bool Idempotent, bool TakesRequests, CallNeeds Needs>
consteval Mistake mistake_in()
{
    return Mistake::none;
}
template <class Session, bool Idempotent, bool TakesRequests, CallNeeds Needs, class First>
consteval Mistake mistake_in()
{
    return is_an_operation<First, Session>() ? Mistake::names_no_state : Mistake::lacks_an_operation;
}
template <
    class Session, bool Idempotent, bool TakesRequests, CallNeeds Needs, class First, class Second,
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
        return mistake_in_rest<Session, Needs, false, First, Second, Rest...>();
    else if constexpr (sizeof...(Rest) > 0)
        return mistake_in_rest<
            Session, CallNeeds{Needs.no_awaitable, true, Needs.default_made, Needs.token}, true, Second,
            Rest...>();
    else
        return is_an_operation<Second, Session>() ? Mistake::lacks_a_key : Mistake::lacks_an_operation;
}

/// What a mistaken call returns. Incomplete, so that a concept that asks whether such a call is valid is told
/// that it is not.
struct SeeTheErrorAbove;

/// The base of a service: the overloads that a mistake chooses. `Idempotent`: every call needs a request;
/// `TakesRequests`: a call may have one.
template <class Session, class Async, bool Idempotent, bool TakesRequests>
class MistakenCalls {
    static constexpr CallNeeds blocking{
        .no_awaitable = true, .storable = false, .default_made = false, .token = false};
    static constexpr CallNeeds starting{
        .no_awaitable = false, .storable = false, .default_made = true, .token = true};
    static constexpr CallNeeds trying{
        .no_awaitable = false, .storable = false, .default_made = false, .token = true};

    template <class Of, CallNeeds Needs, class... A>
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
#define INTERLOCK_MISTAKEN_BLOCKING_CALLS(mistake, words)                         \
    INTERLOCK_MISTAKEN_CALL(do_in_transaction, Session, blocking, mistake, words) \
    INTERLOCK_MISTAKEN_CALL(try_do_in_transaction, Session, blocking, mistake, words)
#define INTERLOCK_MISTAKEN_ASYNC_CALLS(mistake, words)                                \
    INTERLOCK_MISTAKEN_CALL(async_do_in_transaction, Async, starting, mistake, words) \
    INTERLOCK_MISTAKEN_CALL(async_try_do_in_transaction, Async, trying, mistake, words)
#define INTERLOCK_MISTAKEN_CALLS(mistake, words)      \
    INTERLOCK_MISTAKEN_BLOCKING_CALLS(mistake, words) \
    INTERLOCK_MISTAKEN_ASYNC_CALLS(mistake, words)
// Behind the token of a call with an id there is no other overload that has a place for braces.
#define INTERLOCK_OPTIONS_BEHIND_THE_TOKEN(function, words) \
    template <class O, class A, class F, class Token>       \
        requires(is_operation_id<O> || is_request<O>)       \
    INTERLOCK_WRITE_INSTEAD(words)                          \
    SeeTheErrorAbove function(O&&, A&&, F&&, Token&&, CallOptions) const;
#define INTERLOCK_MISNAMED_OPTION(function, option, words)                          \
    template <class A, class F, class... Token>                                     \
    INTERLOCK_WRITE_INSTEAD(words)                                                  \
    SeeTheErrorAbove function(A&&, F&&, MisnamedOptions::option, Token&&...) const; \
    template <class O, class A, class F, class... Token>                            \
    INTERLOCK_WRITE_INSTEAD(words)                                                  \
    SeeTheErrorAbove function(O&&, A&&, F&&, MisnamedOptions::option, Token&&...) const;
#define INTERLOCK_MISNAMED_OPTIONS(option, words)                     \
    INTERLOCK_MISNAMED_OPTION(do_in_transaction, option, words)       \
    INTERLOCK_MISNAMED_OPTION(try_do_in_transaction, option, words)   \
    INTERLOCK_MISNAMED_OPTION(async_do_in_transaction, option, words) \
    INTERLOCK_MISNAMED_OPTION(async_try_do_in_transaction, option, words)

protected:
    INTERLOCK_MISTAKEN_CALLS(
        names_no_state,
        "name the state first: pass its key, of the repository's key_type, or a T, or keys(a, b), or "
        "keys(range) of those; of a JointRepository in(repository, key), or keys(in(...), in(...))")
    INTERLOCK_MISTAKEN_CALLS(
        lacks_a_key, "name the state behind the operation id or the request: (id, key, operation)")
    INTERLOCK_MISTAKEN_CALLS(
        lacks_an_operation, "pass an operation behind the key: (key, [](T& state) {...})")
    INTERLOCK_MISTAKEN_CALLS(
        has_an_id_without_its_type,
        "make the id an OperationId, in front of the key: (OperationId{\"order-17\"}, key, operation)")
    INTERLOCK_MISTAKEN_CALLS(
        names_several_without_keys, "name several states by keys(...): (keys(a, b), operation)")
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
    INTERLOCK_MISTAKEN_BLOCKING_CALLS(
        has_more_than_options,
        "pass nothing but options behind the operation: (key, operation, {.deadline = 200ms}); with a "
        "completion token call async_do_in_transaction")
    INTERLOCK_MISTAKEN_ASYNC_CALLS(
        lacks_a_token,
        "pass a completion token last, since the call is asynchronous: (key, operation, use_awaitable)")
    INTERLOCK_MISTAKEN_ASYNC_CALLS(
        has_options_behind_the_token,
        "pass the options in front of the completion token: (key, operation, {.deadline = 200ms}, "
        "use_awaitable)")
    INTERLOCK_OPTIONS_BEHIND_THE_TOKEN(
        async_do_in_transaction,
        "pass the options in front of the completion token: (id, key, operation, {.deadline = 200ms}, "
        "use_awaitable)")
    INTERLOCK_OPTIONS_BEHIND_THE_TOKEN(
        async_try_do_in_transaction,
        "pass the options in front of the completion token: (id, key, operation, {.deadline = 200ms}, "
        "use_awaitable)")
    INTERLOCK_MISNAMED_OPTIONS(
        Timeout, "name the deadline, by which the call ends: (key, operation, {.deadline = 200ms})")
    INTERLOCK_MISNAMED_OPTIONS(
        Ttl,
        "give a lock's lease to the policy, as in SetNxLock{.lock = {.ttl = 5s}}; how long a call may take "
        "is its deadline: (key, operation, {.deadline = 200ms})")
    INTERLOCK_MISNAMED_OPTIONS(
        Retries, "give the number of attempts to the policy, as in OptimisticVersioning{.max_attempts = 5}")
    INTERLOCK_MISNAMED_OPTIONS(
        Attempts, "give the number of attempts to the policy, as in OptimisticVersioning{.max_attempts = 5}")
    INTERLOCK_MISNAMED_OPTIONS(
        MaxAttempts,
        "give the number of attempts to the policy, as in OptimisticVersioning{.max_attempts = 5}")

#undef INTERLOCK_MISNAMED_OPTIONS
#undef INTERLOCK_MISNAMED_OPTION
#undef INTERLOCK_OPTIONS_BEHIND_THE_TOKEN
#undef INTERLOCK_MISTAKEN_CALLS
#undef INTERLOCK_MISTAKEN_ASYNC_CALLS
#undef INTERLOCK_MISTAKEN_BLOCKING_CALLS
#undef INTERLOCK_MISTAKEN_CALL
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_MISTAKEN_CALLS_HPP
