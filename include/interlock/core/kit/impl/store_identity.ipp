// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_STORE_IDENTITY_IPP
#define INTERLOCK_CORE_KIT_IMPL_STORE_IDENTITY_IPP

#include <interlock/core/kit/store_identity.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

/// The stores of this process, by their names.
struct KnownStores {
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<std::string const>> stores;
};

}  // namespace detail

INTERLOCK_DECL std::shared_ptr<std::string const> intern_store(std::string name)
{
    auto& known = detail::immortal_of_process<detail::KnownStores>();
    std::lock_guard lock(known.mutex);
    std::erase_if(known.stores, [](auto const& entry) { return entry.second.expired(); });
    auto& entry = known.stores[name];
    auto store = entry.lock();
    if (!store) {
        store = std::make_shared<std::string const>(std::move(name));
        entry = store;
    }
    return store;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_STORE_IDENTITY_IPP
