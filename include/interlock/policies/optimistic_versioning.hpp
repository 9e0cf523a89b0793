// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP
#define INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP

/// @file
/// Optimistic versioning: read a value with its version, compute, write only if the version has not moved.
///
/// Use it when conflicts are rare and the operation is pure, since it may run several times. With many
/// writers on one key see `pessimistic_row_lock.hpp`.
///
///     interlock::TransactionService service{interlock::OptimisticVersioning{.max_attempts = 20}, stock};
///     service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
///
///     auto const seen = stock.load("sku-1").value();  // for a form on a screen, whose author decides
///     auto const saved = interlock::save_if(stock, seen.version, Stock{"sku-1", 40});

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
/// **Guarantee.** No update is lost: every accepted write consumed exactly the version that it was computed
/// from (law P3). With several keys the commit checks all versions, so that what the operation saw was the
/// state of one moment. So it is before what the operation throws about several keys is believed: one round
/// trip, and where the store does not answer the call ends by that failure.
/// **Does not guarantee.** Fairness; progress under sustained contention; that the operation runs only once.
/// **Needs.** `VersionedRepository`; for several keys `AtomicRepository`; for operation ids
/// `OperationRepository`.
/// **Cost.** Two round trips per attempt, and none while waiting; one round trip where `remember` knows the
/// state. A result without a change costs no write.
struct OptimisticVersioning {
    /// Attempts in total, including the first. At least 1. More attempts raise both the chance to win and the
    /// load on a hot key.
    int max_attempts{1000};
    /// How long to wait before each attempt but the first few.
    Backoff backoff{};
    /// What to do when there is no value.
    Missing missing{Missing::fail};
    /// How many recently seen states are cached, with their versions; 0: none. An operation on a cached state
    /// skips the load and sends its write at once. If the cache was stale, the store refuses the write and
    /// the operation runs again on a fresh load. An exception, or a result that changes nothing, is never
    /// reported from a cached value: the operation is repeated on a loaded one first. When the store notices
    /// a failover, the whole cache is forgotten. Worth it where this service makes most of the writes. Needs
    /// `max_attempts` above 1; ignored by stores that answer in place.
    std::size_t remember{0};

    static constexpr std::string_view name = "optimistic_versioning";
    static constexpr Needs needs{.versions = true};
    using policy_concept = transaction_policy_tag;

    /// What a service keeps for a repository `R`; see `TransactionPolicy`.
    template <class R>
    using Session = detail::VersioningSession<OptimisticVersioning, R>;
};

/// Writes `value` if the stored version is still `version`, and never tries again by itself. It is for edits
/// whose author has seen a version, such as a form on a screen: a conflict is for that author to solve.
///
/// **Outcome.** The new version. `version_conflict` when somebody else has written since, `not_found` when
/// the value was erased, or what the store says.
/// **Cost.** One round trip.
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
