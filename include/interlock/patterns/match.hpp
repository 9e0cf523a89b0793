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
///     });

#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/patterns/contract.hpp>
#include <interlock/patterns/handling.hpp>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

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

template <Fact F, class H>
Outcome<Handling> handle_fact(Event const& event, H& handler)
{
    auto fact = fact_of<F>(event);
    if (!fact)
        return std::move(fact).failure();
    using Result = std::remove_cvref_t<decltype(handler(*fact))>;
    if constexpr (std::is_void_v<Result>) {
        handler(*fact);
        return Handling::done;
    } else if constexpr (is_outcome<Result>) {
        auto outcome = handler(*fact);
        if (!outcome)
            return std::move(outcome).failure();
        if constexpr (std::convertible_to<typename Result::stored_type, Handling>)
            return static_cast<Handling>(*outcome);
        else
            return Handling::done;
    } else {
        static_assert(
            std::is_convertible_v<Result, Handling>,
            "a function for a fact returns nothing, a Handling, or an Outcome");
        return static_cast<Handling>(handler(*fact));
    }
}

/// Calls the handler if it takes the event: `exact`, one of its own version, else one of a former version.
template <class H>
bool try_handler(
    [[maybe_unused]] Event const& event, [[maybe_unused]] H& handler, [[maybe_unused]] bool exact,
    [[maybe_unused]] Outcome<Handling>& outcome)
{
    if constexpr (!says_otherwise<H>) {
        using F = fact_of_handler<H>;
        bool const same = event.version == EventType{F::event}.version;
        if (!event.is<F>() || same != exact || !can_read<F>(event.version))
            return false;
        outcome = handle_fact<F>(event, handler);
        return true;
    }
    return false;
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
/// **What nobody knows** is never passed over in silence: an event of another type, or of a version that no
/// function reads, is what `otherwise` says. Bytes that are no such fact are damaged, and not unknown: they
/// are `corrupt_state`, and `ignore` does not hide them.
template <class... H>
    requires(detail::HandlerOfFact<H> && ...)
Outcome<Handling> match(Event const& event, H&&... handlers)
{
    static_assert(
        ((detail::handlers_alike<H, H...> == 1) && ...),
        "two functions take facts of one name and version, so that one of them would never be called");
    Outcome<Handling> outcome{Handling::park};
    if ((detail::try_handler(event, handlers, true, outcome) || ...) ||
        (detail::try_handler(event, handlers, false, outcome) || ...))
        return outcome;
    auto rest = otherwise::park;
    bool name_is_known = false;
    auto const look = [&]([[maybe_unused]] auto const& handler) {
        using One = std::remove_cvref_t<decltype(handler)>;
        if constexpr (detail::says_otherwise<One>)
            rest = handler;
        else
            name_is_known = name_is_known || event.is<detail::fact_of_handler<One>>();
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

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_MATCH_HPP
