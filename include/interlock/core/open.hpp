// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OPEN_HPP
#define INTERLOCK_CORE_OPEN_HPP

/// @file
/// Stores by their URL, so that a program chooses one when it starts:
///
///     auto const stock = interlock::open<Stock>(url, interlock::memory::backend, interlock::redis::backend);
///     interlock::TransactionService<Stock> service{interlock::OptimisticVersioning{}, stock};
///
/// The program names the backends that it was built with; there is no registry, and nothing is chosen by
/// default. The scheme of the URL, what stands before its first colon, chooses among them. What follows the
/// scheme is the store's business: see `Options` of each store for what its URL may say.
///
/// **Outcome.** Opening connects to nobody. A server that is away is noticed by the first call. Only a URL
/// that the store cannot read is refused at once, by `Error` (`invalid_argument`), and its text is never
/// quoted, since it may hold a password.

#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/state_repository.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {
/// A backend that `open` can choose.
template <class B>
concept Backend = requires(B const& b, std::string_view url) {
    { b.scheme } -> std::convertible_to<std::string_view>;
    { b.open_idempotency_store(url) } -> std::same_as<AnyIdempotencyStore>;
};

/// Calls `use(backend)` for the one whose scheme `url` has.
template <class Result, class Use, Backend... B>
Result choose_backend(std::string_view url, Use use, B const&... backends)
{
    auto const colon = url.find(':');
    // What has no colon has no scheme, and may be all password.
    auto const scheme = colon == std::string_view::npos ? std::string_view{} : url.substr(0, colon);
    std::optional<Result> result;
    std::string known;
    auto const look = [&](auto const& backend) {
        known += known.empty() ? "" : ", ";
        known += std::string(backend.scheme) + ":";
        if (!result && backend.scheme == scheme)
            result.emplace(use(backend));
    };
    (look(backends), ...);
    if (!result && scheme.empty())
        throw Error(Errc::invalid_argument, "the URL begins with no scheme; this program knows " + known);
    if (!result)  // only the scheme is named: the rest may hold a password
        throw Error(
            Errc::invalid_argument,
            "no backend for '" + std::string(scheme.substr(0, 32)) + "'; this program knows " + known);
    return *std::move(result);
}
}  // namespace detail

/// A repository at `url`, from one of `backends`: `open<Stock>("memory:", memory::backend)`. Throws
/// `Error` (`invalid_argument`, naming the scheme and what is known) when none of them has its scheme.
/// Each call makes a client of its own: a program opens a store once and copies the handle.
template <class T, class... B>
StateRepository<T> open(std::string_view url, B const&... backends)
{
    return detail::choose_backend<StateRepository<T>>(
        url, [&](auto const& backend) { return backend.template open<T>(url); }, backends...);
}

/// An idempotency store at `url`, likewise: `open_idempotency_store(url, memory::backend)`. It is a store
/// of its own, also when a repository was opened by the same URL.
template <class... B>
AnyIdempotencyStore open_idempotency_store(std::string_view url, B const&... backends)
{
    return detail::choose_backend<AnyIdempotencyStore>(
        url, [&](auto const& backend) { return backend.open_idempotency_store(url); }, backends...);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_OPEN_HPP
