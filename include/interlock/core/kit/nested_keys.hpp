// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NESTED_KEYS_HPP
#define INTERLOCK_CORE_KIT_NESTED_KEYS_HPP

/// @file
/// A call within an operation on the same key, by another spelling: the operation works on "A1", and what it
/// calls names "a1", which the store takes for the same. Such a call would wait for its own caller.
///
///     if (auto failure = names_outer_key(store, keys, &context, deadline))
///         return *std::move(failure);

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `outer` is the operation that makes the call, null if there is none: those around it count, too. The
/// failure of a call that names one of their keys, or a key twice; nothing if it does not, or if the store
/// could not say. That the keys are not the same by their bytes has been seen before.
///
/// **Cost.** Nothing without an operation around the call that works on this store; then one trip, where the
/// store takes several spellings of a key for one.
template <class R>
std::optional<Failure> names_outer_key(
    R const& store, std::span<Key const> keys, TransactionContext const* outer, Deadline deadline)
{
    if constexpr (CarriesOut<R, verb::FindSameKeys>) {
        if (outer == nullptr)
            return std::nullopt;
        auto all = ContextAccess::keys_around(*outer, store.identity(), ContextAccess::key_places_of(store));
        auto const around = all.size();
        if (around == 0)
            return std::nullopt;
        all.insert(all.end(), keys.begin(), keys.end());
        auto const same = store.carry_out(verb::FindSameKeys{all}, deadline);
        if (!same && same.errc() == Errc::overloaded)
            return same.failure();  // the operation around this call has what this call would need, too
        if (!same || !*same || (*same)->second < around)
            return std::nullopt;
        auto const [first, second] = **same;
        if (first >= around)
            return key_named_twice(first - around, second - around, keys.size());
        return Failure{
            Errc::would_deadlock,
            "an operation around this one works on the same key, by another spelling: " +
                printable_key(all[first].bytes())};
    }
    return std::nullopt;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NESTED_KEYS_HPP
