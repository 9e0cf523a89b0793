// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_HANDLING_HPP
#define INTERLOCK_PATTERNS_HANDLING_HPP

/// @file
/// What a handler of events answers to the subscription that called it. A handler that returns nothing, and
/// does not throw, has done its work; one that can fail returns an `Outcome`; one that meets events it does
/// not know says what is to become of them:
///
///     subscription.run([&](interlock::Event const& event) {
///         if (auto const sold = event.as<Sold>()) {
///             ship(*sold);
///             return interlock::Handling::done;
///         }
///         return interlock::Handling::park;  // whoever knows it may go on with it later
///     }, stop);

#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <concepts>
#include <cstddef>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What became of an event that a handler was given.
enum class Handling : unsigned char {
    done,    ///< it was handled
    ignore,  ///< the handler has no use for it: it is passed over, and the observer is told
    /// It cannot be handled now, and trying again would not help: its stream is parked at once.
    park,
};

/// What a handler is told about the delivery of an event, if it takes it as a second parameter.
struct Delivery {
    /// Which attempt of this process this is, counted from 1. It says nothing about attempts of others, or of
    /// a process that died: an event is delivered at least once.
    int attempt{1};
    /// When the attempt is to have ended. A coroutine is cancelled then. A handler that blocks is not
    /// interrupted: pass the deadline on to what it calls.
    TimePoint deadline{TimePoint::max()};
    /// Stops when the lease of the partition is lost: somebody else may be delivering the event by now.
    std::stop_token lost{};
};

namespace detail {

/// What an attempt to handle an event came to.
struct Attempt {
    enum class End : unsigned char { done, ignored, parked, failed };

    End end{End::done};
    Errc code{Errc::ok};  // of a failure
    std::string error{};  // of a failure, or why it was parked

    static Attempt failed(Errc code, std::string error) { return {End::failed, code, std::move(error)}; }
};

inline Attempt attempt_of(Handling handling)
{
    switch (handling) {
    case Handling::done: return {};
    case Handling::ignore: return {Attempt::End::ignored, Errc::ok, {}};
    case Handling::park: break;
    }
    return {Attempt::End::parked, Errc::ok, "the handler asked for it"};
}

/// Whether a handler may answer an `R`.
template <class R>
inline constexpr bool is_outcome = false;
template <class R>
inline constexpr bool is_outcome<Outcome<R>> = true;

/// What a handler returned. An outcome that failed is a failure. A number or a truth value is refused: nobody
/// could tell what it means.
template <class R>
Attempt attempt_of_result(R&& result)
{
    using Result = std::remove_cvref_t<R>;
    if constexpr (is_outcome<Result>) {
        if (!result)
            return Attempt::failed(result.errc(), result.message());
        if constexpr (std::convertible_to<typename Result::stored_type, Handling>)
            return attempt_of(static_cast<Handling>(*result));
        else
            return {};
    } else {
        static_assert(
            std::convertible_to<Result, Handling>,
            "a handler of events returns nothing, a Handling, or an Outcome");
        return attempt_of(static_cast<Handling>(result));
    }
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_HANDLING_HPP
