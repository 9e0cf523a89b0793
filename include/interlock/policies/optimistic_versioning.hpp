// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP
#define INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP

/// @file
/// Optimistic versioning: read a value with its version, compute, write only if the version has not moved.
///
/// Use it when conflicts are rare and the operation is pure: it may run several times. With many writers on
/// one key see `pessimistic_row_lock.hpp`.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/versioning_session.hpp>

#include <boost/asio/async_result.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A policy that detects a concurrent writer at commit time and runs the operation again.
///
/// **Guarantee.** No update is lost: every accepted write consumed exactly the version it was computed from
/// (law P3). With several keys, all versions are checked in the commit: what the operation saw was one
/// moment's state. **Does not guarantee.** Fairness; progress under sustained contention; that the operation
/// runs only once. **Needs.** `VersionedRepository`; several keys: `AtomicRepository`; operation ids:
/// `OperationRepository`. **Cost.** Two round trips per attempt, none while waiting; one where `remember`
/// knows the state. A result without a change costs no write.
struct OptimisticVersioning {
    /// Attempts in total, including the first. At least 1. More raise the chance to win and the load on a hot
    /// key.
    int max_attempts{1000};
    /// Before each attempt but the first few.
    Backoff backoff{};
    /// What to do when there is no value.
    Missing missing{Missing::fail};
    /// So many states that this service saw last are kept, with their versions, and an operation on one of
    /// them begins with what is kept instead of a trip: the write goes first. If somebody else has written
    /// since, that write is refused and the operation runs again on what the store has; so it does before an
    /// exception or a result without a change is believed. After a failover that the store has noticed all
    /// are forgotten. Pays where most writes of a state go through this service. Needs `max_attempts` above
    /// 1. Stores that answer in place are asked anyhow.
    std::size_t remember{0};

    static constexpr std::string_view name = "optimistic_versioning";
    static constexpr Needs needs{.versions = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::VersioningSession<OptimisticVersioning, R>;
};

/// Writes `value` if the stored version is still `version`, and never tries again by itself: for edits whose
/// author has seen a version, a form on a screen for one. A conflict is for that author to solve.
///
/// **Outcome.** The new version; `version_conflict`, `not_found`, or what the store says.
template <VersionedRepository R>
Outcome<Version> save_if(
    R repository, Version version, typename R::value_type const& value, Deadline deadline = {})
    requires KeyedState<typename R::value_type>
{
    auto const key = make_key<typename R::value_type, typename R::key_type>(value);
    return repository.carry_out(verb::CompareAndSet<typename R::value_type>{key, version, value}, deadline);
}

/// As `save_if`, without blocking. **Completion.** `void(Outcome<Version>)`. **Cancellation.** As that of the
/// asynchronous members of repositories, see `StoreMembers`.
template <VersionedRepository R, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
    requires KeyedState<typename R::value_type> &&
             std::same_as<std::remove_cvref_t<V>, typename R::value_type>
auto async_save_if(R const& repository, Version version, V&& value, Deadline deadline, Token&& token)
{
    static_assert(detail::safe_argument<V>, INTERLOCK_NAME_IT_FIRST);
    using T = typename R::value_type;
    return detail::async_carry_out(
        repository, detail::CompareAndSetRequest<T>{make_key<T, typename R::key_type>(value), version, value},
        deadline, token);
}
template <VersionedRepository R, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
    requires KeyedState<typename R::value_type> &&
             std::same_as<std::remove_cvref_t<V>, typename R::value_type>
auto async_save_if(R const& repository, Version version, V&& value, Token&& token)
{
    return async_save_if(repository, version, std::forward<V>(value), Deadline{}, std::forward<Token>(token));
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP
