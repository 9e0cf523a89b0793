// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_SCAN_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_SCAN_HPP

/// @file
/// All locks of a name space that are held, read by scanning the database: for operators.

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/lock_record.hpp>
#include <interlock/backends/redis/detail/name_scan.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/state_core.hpp>
#include <interlock/core/contracts/store.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

template <class Runtime>
class LockScan {
public:
    LockScan(ClientState<Runtime>& client, KeySpace const& keys) noexcept : client_(client), keys_(keys) {}

    /// Calls `visit` for every lock. A key of somebody else's under a name of ours is passed over.
    [[gnu::cold]] Outcome<void> show_all(VisitLock visit, Deadline deadline) const
    {
        Deadline const until{deadline.at(client_.runtime().now())};
        return show_names(
            client_, keys_, [&](std::size_t shard) { return keys_.locks(shard); }, most, until,
            [&](auto names, std::size_t prefix) { return show(names, prefix, visit, until); });
    }

private:
    // So that nobody else waits for long: a line of waiters is two kilobytes.
    static constexpr std::size_t most = 256;

    [[gnu::cold]] Outcome<void> show(
        std::span<std::string const> names, std::size_t prefix, VisitLock visit, Deadline until) const
    {
        std::vector<std::pair<Key, LockInfo>> locks;
        {
            auto const& script = inspect_script();
            auto command = evaluate(script, names.size());
            for (auto const& name : names)
                command.add(name);
            auto exchange = client_.execute(command, &script, Access::read, until);
            if (!exchange)
                return std::move(exchange).failure();
            auto const reply = exchange->reply();
            for (std::size_t i = 0; i < names.size(); ++i) {
                auto const named = key_in_name(std::string_view{names[i]}.substr(prefix));
                if (!named || !named->rest.empty())
                    continue;
                auto info = lock_info(reply[i], reply[names.size()]);
                if (info && *info)
                    locks.emplace_back(Key{named->key}, **std::move(info));
            }
        }
        // Not while holding a connection: the visitor may use the store.
        for (auto const& [key, info] : locks)
            visit(key, info);
        return success();
    }

    ClientState<Runtime>& client_;
    KeySpace const& keys_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_SCAN_HPP
