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
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The keys of operations around a call, and behind them those of the call.
struct NestedKeys {
    std::vector<Key> all;
    std::size_t around{0};  // how many of them are not the call's own

    /// Without the call's own when none is around it. See `ContextAccess::keys_around`.
    NestedKeys(
        TransactionContext const& outer, void const* store, KeyPlaces const* places,
        std::span<Key const> keys);

    /// What the call is refused with, now that the store has said which two of `all` are one.
    std::optional<Failure> refusal(
        Outcome<std::optional<std::pair<std::size_t, std::size_t>>> const& same) const;
};

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
    if constexpr (CarriesOut<R, verb::FindSameKeys>)
        if (outer != nullptr) {
            NestedKeys const nested{*outer, store.identity(), ContextAccess::key_places_of(store), keys};
            if (nested.around > 0)
                return nested.refusal(store.carry_out(verb::FindSameKeys{nested.all}, deadline));
        }
    return std::nullopt;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/nested_keys.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NESTED_KEYS_HPP
