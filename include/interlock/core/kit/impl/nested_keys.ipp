// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_NESTED_KEYS_IPP
#define INTERLOCK_CORE_KIT_IMPL_NESTED_KEYS_IPP

#include <interlock/core/errc.hpp>
#include <interlock/core/kit/nested_keys.hpp>
#include <interlock/core/kit/per_key.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL NestedKeys::NestedKeys(
    TransactionContext const& outer, void const* store, KeyPlaces const* places, std::span<Key const> keys)
    : all(ContextAccess::keys_around(outer, store, places)), around(all.size())
{
    if (around > 0)
        all.insert(all.end(), keys.begin(), keys.end());
}

INTERLOCK_DECL std::optional<Failure> NestedKeys::refusal(
    Outcome<std::optional<std::pair<std::size_t, std::size_t>>> const& same) const
{
    if (!same && same.errc() == Errc::overloaded)
        return same.failure();  // the operation around this call has what this call would need, too
    if (!same || !*same || (*same)->second < around)
        return std::nullopt;
    auto const [first, second] = **same;
    if (first >= around)
        return key_named_twice(first - around, second - around, all.size() - around);
    return Failure{
        Errc::would_deadlock, "an operation around this one works on the same key, by another spelling: " +
                                  printable_key(all[first].bytes())};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_NESTED_KEYS_IPP
