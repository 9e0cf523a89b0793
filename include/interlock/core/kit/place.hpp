// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_PLACE_HPP
#define INTERLOCK_CORE_KIT_PLACE_HPP

/// @file
/// Which store a failure came from, for the text of `Error::what()`.
///
/// A program that talks to two stores, or to two tables of one, must be able to tell from one line of its log
/// which of them had no value or was busy. A store says so by an optional member, and every call that fails
/// names it:
///
///     std::string place() const { return "redis name space \"shop\""; }
///     // what(): not_found: redis name space "shop": there is no value under this key
///
/// A place never contains a key, a value, a user name or a password.

#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What `repository` says of its place; empty when it says nothing.
template <class R>
std::string place_of(R const& repository)
{
    if constexpr (requires { repository.place(); })
        return repository.place();
    else
        return {};
}

/// What `repository` calls its store: "memory", "redis". "?" when it says nothing.
template <class R>
std::string_view kind_of([[maybe_unused]] R const& repository) noexcept
{
    if constexpr (requires { repository.store_name(); })
        return repository.store_name();
    else if constexpr (requires { R::name; })
        return R::name;
    else
        return "?";
}

/// What others call the store, see `StoreInfo::system`.
template <class R>
std::string_view system_of(R const& repository) noexcept
{
    if constexpr (requires { repository.system_name(); })
        return repository.system_name();
    else if constexpr (requires { R::system; })
        return R::system;
    else
        return kind_of(repository);
}

/// `failure` with the place and a sentence about its code, if it has no text of its own; and with the
/// place, if its text is about a store, and does not say which (`Failure::placed`).
template <class R>
[[gnu::cold]] Failure explained(Failure failure, R const& repository)
{
    return failure.has_detail() ? std::move(failure).placed(place_of(repository))
                                : std::move(failure).explained(place_of(repository));
}

/// The same for an outcome that holds a failure. Out of the way of calls that succeed.
template <class X, class R>
[[gnu::cold, gnu::noinline]] void explain(Outcome<X>& outcome, R const& repository)
{
    auto&& failure = std::move(outcome).failure();
    failure = explained(std::move(failure), repository);
}

/// Carries `verb` out for a user of the store itself: a failure without words of its own gets some.
template <class R, class Verb>
auto carry_out_explained(R const& repository, Verb const& verb, Deadline deadline)
{
    auto outcome = repository.carry_out(verb, deadline);
    if (!outcome)
        explain(outcome, repository);
    return outcome;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_PLACE_HPP
