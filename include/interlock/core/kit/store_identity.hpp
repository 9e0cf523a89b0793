// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP
#define INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP

/// @file
/// For backends: what `identity()` of a repository of a distant store points to.

#include <interlock/core/runtime/immortal.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// One object per distinct store of this process, by whatever client it was reached. Lives as long as somebody has it.
inline std::shared_ptr<std::string const> intern_store(std::string name)
{
    static std::mutex mutex;
    static auto& known = detail::immortal<std::map<std::string, std::weak_ptr<std::string const>>>();
    std::lock_guard lock(mutex);
    std::erase_if(known, [](auto const& entry) { return entry.second.expired(); });
    auto& entry = known[name];
    auto store = entry.lock();
    if (!store) {
        store = std::make_shared<std::string const>(std::move(name));
        entry = store;
    }
    return store;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP
