// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_MATCH_HPP
#define INTERLOCK_PATTERNS_MATCH_HPP

/// @file
/// A handler of events as one function for each fact that it knows, and a word about the rest:
///
///     subscription.run([&](interlock::Event const& event) {
///         return interlock::match(
///             event, [&](Sold const& sold) { return ship(sold); },  // versions 1 and 2, see contract.hpp
///             [&](Reordered const&) {}, interlock::otherwise::park);
///     }, stop);

#include <interlock/core/event.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/patterns/contract.hpp>
#include <interlock/patterns/detail/awaited_handler.hpp>
#include <interlock/patterns/detail/coroutine_frames.hpp>
#include <interlock/patterns/handling.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

INTERLOCK_COROUTINES_BEGIN

namespace interlock {
inline namespace v0 {

/// What becomes of an event for which there is no function.
enum class otherwise : unsigned char {
    park,    ///< `Handling::park`: the stream waits until somebody knows the event
    ignore,  ///< `Handling::ignore`: it is passed over, and the observer of the subscription is told
    refuse,  ///< a failure that names the event: the subscription tries again, and parks the stream at last
};

namespace detail {

template <class M>
struct FirstParameter {};
template <class R, class A>
struct FirstParameter<R (*)(A)> {
    using type = A;
};
template <class R, class A>
struct FirstParameter<R (*)(A) noexcept> {
    using type = A;
};
template <class R, class C, class A>
struct FirstParameter<R (C::*)(A)> {
    using type = A;
};
template <class R, class C, class A>
struct FirstParameter<R (C::*)(A) const> {
    using type = A;
};
template <class R, class C, class A>
struct FirstParameter<R (C::*)(A) noexcept> {
    using type = A;
};
template <class R, class C, class A>
struct FirstParameter<R (C::*)(A) const noexcept> {
    using type = A;
};

/// The fact that `H` takes; void: it takes none, or many.
template <class H>
consteval auto fact_taken_by()
{
    if constexpr (requires { typename FirstParameter<H>::type; })
        return std::type_identity<std::remove_cvref_t<typename FirstParameter<H>::type>>{};
    else if constexpr (requires { typename FirstParameter<decltype(&H::operator())>::type; })
        return std::type_identity<
            std::remove_cvref_t<typename FirstParameter<decltype(&H::operator())>::type>>{};
    else
        return std::type_identity<void>{};
}
template <class H>
using fact_of_handler = typename decltype(fact_taken_by<std::decay_t<H>>())::type;

template <class H>
inline constexpr bool says_otherwise = std::is_same_v<std::remove_cvref_t<H>, otherwise>;
template <class H>
concept HandlerOfFact = says_otherwise<H> || Fact<fact_of_handler<H>>;

/// Whether an event of `version` can be read as an `F`.
template <Fact F>
bool can_read(int version) noexcept
{
    if (version == EventType{F::event}.version)
        return true;
    if constexpr (HasFormer<F>)
        return version < EventType{F::event}.version && can_read<former_of<F>>(version);
    else
        return false;
}

/// Whether two of the functions take facts of one name and version, so that one of them is never called.
template <class A, class B>
consteval bool are_alike()
{
    if constexpr (says_otherwise<A> || says_otherwise<B>)
        return says_otherwise<A> && says_otherwise<B>;
    else
        return same_event<fact_of_handler<A>, fact_of_handler<B>>;
}
template <class One, class... H>
inline constexpr std::size_t handlers_alike = (std::size_t{are_alike<One, H>()} + ... + 0);

/// What a function for a fact answers, as a `Handling`.
template <class R>
Outcome<Handling> handling_of(R result)
{
    if constexpr (is_outcome<R>) {
        if (!result)
            return std::move(result).failure();
        if constexpr (std::convertible_to<typename R::stored_type, Handling>)
            return static_cast<Handling>(*result);
        else
            return Handling::done;
    } else {
        static_assert(
            std::is_convertible_v<R, Handling>,
            "a function for a fact returns nothing, a Handling, or an Outcome");
        return static_cast<Handling>(result);
    }
}

/// What `H` returns for its fact: an `AwaitedHandler` if it is a coroutine.
template <class H>
consteval auto result_for_fact()
{
    if constexpr (says_otherwise<H>)
        return std::type_identity<void>{};
    else
        return std::type_identity<decltype(std::declval<std::remove_reference_t<H>&>()(
            std::declval<fact_of_handler<H>&>()))>{};
}
template <class H>
using AwaitedResult = AwaitedHandler<typename decltype(result_for_fact<H>())::type>;

template <Fact F, class H>
Outcome<Handling> handle_fact(Event const& event, H& handler)
{
    auto fact = fact_of<F>(event);
    if (!fact)
        return std::move(fact).failure();
    if constexpr (std::is_void_v<decltype(handler(*fact))>) {
        handler(*fact);
        return Handling::done;
    } else {
        return handling_of(handler(*fact));
    }
}

/// The same with a function that may be a coroutine. Event and handler outlive it.
template <Fact F, class Executor, class H>
boost::asio::awaitable<Outcome<Handling>, Executor> await_fact(Event const& event, H& handler)
{
    if constexpr (AwaitedResult<H>::value) {
        auto fact = fact_of<F>(event);
        if (!fact)
            co_return std::move(fact).failure();
        auto awaitable = handler(*fact);
        if constexpr (std::is_void_v<typename AwaitedResult<H>::result_type>) {
            co_await std::move(awaitable);
            co_return Handling::done;
        } else {
            auto result = co_await std::move(awaitable);
            co_return handling_of(std::move(result));
        }
    } else {
        co_return handle_fact<F>(event, handler);
    }
}

/// Calls `call(handler)` if the handler takes the event: `exact`, one of its own version, else one of a
/// former version. Whether it was called.
template <class H, class Call>
bool try_handler(
    [[maybe_unused]] Event const& event, [[maybe_unused]] H& handler, [[maybe_unused]] bool exact,
    [[maybe_unused]] Call& call)
{
    if constexpr (!says_otherwise<H>) {
        using F = fact_of_handler<H>;
        bool const same = event.version == EventType{F::event}.version;
        if (!event.is<F>() || same != exact || !can_read<F>(event.version))
            return false;
        call(handler);
        return true;
    }
    return false;
}
template <class Call, class... H>
bool try_handlers(Event const& event, Call& call, H&... handlers)
{
    return (try_handler(event, handlers, true, call) || ...) ||
           (try_handler(event, handlers, false, call) || ...);
}

/// What becomes of an event that none of `handlers` takes.
template <class... H>
Outcome<Handling> handle_otherwise(Event const& event, H const&... handlers)
{
    auto rest = otherwise::park;
    bool name_is_known = false;
    auto const look = [&]([[maybe_unused]] auto const& handler) {
        using One = std::remove_cvref_t<decltype(handler)>;
        if constexpr (says_otherwise<One>)
            rest = handler;
        else
            name_is_known = name_is_known || event.is<fact_of_handler<One>>();
    };
    (look(handlers), ...);
    if (rest == otherwise::ignore)
        return Handling::ignore;
    if (rest == otherwise::refuse)
        return Failure{
            name_is_known ? Errc::corrupt_state : Errc::invalid_argument,
            "no function takes an event '" + event.type + "' of version " + std::to_string(event.version)};
    return Handling::park;
}

/// The executor of the first function that is a coroutine; void: none is.
template <class... H>
struct ExecutorOf {
    using type = void;
};
template <class H, class... Rest>
struct ExecutorOf<H, Rest...> : ExecutorOf<Rest...> {};
template <class H, class... Rest>
    requires AwaitedResult<H>::value
struct ExecutorOf<H, Rest...> {
    using type = typename AwaitedResult<H>::executor_type;
};

/// `match` with coroutines. `H`: a reference to a handler that was named, or the handler itself.
template <class Executor, class... H>
boost::asio::awaitable<Outcome<Handling>, Executor> match_awaiting(
    Event const& event, std::tuple<H...> handlers)
{
    std::optional<boost::asio::awaitable<Outcome<Handling>, Executor>> chosen;
    auto call = [&]<class One>(One& handler) {
        chosen.emplace(await_fact<fact_of_handler<One>, Executor>(event, handler));
    };
    std::apply([&](auto&... all) { try_handlers(event, call, all...); }, handlers);
    if (chosen)
        co_return co_await std::move(*chosen);
    co_return std::apply([&](auto const&... all) { return handle_otherwise(event, all...); }, handlers);
}

}  // namespace detail

/// Calls the one of `handlers` that takes the fact of `event`; the last argument may be an `otherwise`,
/// which is `park` where nobody says it. A function takes one fact, by value or by reference to const.
///
/// **Which.** One for the name and the version of the event, else the first for a later version of the name
/// to which `upcast`s lead (`contract.hpp`); the order of the arguments does not matter else. Two for one
/// name and version do not compile.
/// **Result.** What the function returns: nothing is `done`; a `Handling` is that; an `Outcome` that failed
/// is its failure. What it throws is thrown.
/// **Coroutines.** When a function returns an `awaitable`, so does `match`: of an `Outcome<Handling>`, for a
/// handler of `Subscription::async_run` to return, or to be awaited. Other functions may stand beside it.
/// Functions that are temporaries are moved into the coroutine; those that have a name, and the event, must
/// outlive it.
/// **What nobody knows** is never passed over in silence: an event of another type, or of a version that no
/// function reads, is what `otherwise` says. Bytes that are no such fact are damaged, and not unknown: they
/// are `corrupt_state`, and `ignore` does not hide them.
template <class... H>
    requires(detail::HandlerOfFact<H> && ...)
auto match(Event const& event, H&&... handlers)
{
    static_assert(
        ((detail::handlers_alike<H, H...> == 1) && ...),
        "two functions take facts of one name and version, so that one of them would never be called");
    using Executor = typename detail::ExecutorOf<H...>::type;
    if constexpr (std::is_void_v<Executor>) {
        Outcome<Handling> outcome{Handling::park};
        auto call = [&]<class One>(One& handler) {
            outcome = detail::handle_fact<detail::fact_of_handler<One>>(event, handler);
        };
        return detail::try_handlers(event, call, handlers...) ? outcome
                                                              : detail::handle_otherwise(event, handlers...);
    } else {
        static_assert(
            (detail::safe_operation<H> && ...),
            "name it first: g++ 12 destroys a closure written inside a co_await expression twice");
        return detail::match_awaiting<Executor, H...>(event, std::tuple<H...>(std::forward<H>(handlers)...));
    }
}

}  // namespace v0
}  // namespace interlock

INTERLOCK_COROUTINES_END

#endif  // INTERLOCK_PATTERNS_MATCH_HPP
