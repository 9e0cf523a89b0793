// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_CONTEXT_ACCESS_IPP
#define INTERLOCK_CORE_KIT_IMPL_CONTEXT_ACCESS_IPP

#include <interlock/core/kit/context_access.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL std::vector<Key> ContextAccess::keys_around(
    TransactionContext const& context, void const* store, KeyPlaces const* places)
{
    std::vector<Key> keys;
    for (auto const* c = &context; c != nullptr; c = c->outer_)
        for (auto const& key : c->keys_) {
            auto const place = c->place_of(key);
            if (place.store == store)
                keys.emplace_back(std::string(place.key));
            else if (auto known = places != nullptr ? places->key_at(place) : std::nullopt)
                keys.push_back(*std::move(known));
        }
    return keys;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_CONTEXT_ACCESS_IPP
