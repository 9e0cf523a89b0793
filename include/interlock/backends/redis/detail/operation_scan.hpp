// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_OPERATION_SCAN_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_OPERATION_SCAN_HPP

/// @file
/// All operation records of a name space, read by scanning the database: for reports and audits.

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/name_scan.hpp>
#include <interlock/backends/redis/detail/state_core.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/core/contracts/store.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

template <class Runtime>
class OperationScan {
public:
    OperationScan(ClientState<Runtime>& client, KeySpace const& keys) noexcept : client_(client), keys_(keys)
    {}

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer.
    [[gnu::cold]] Outcome<void> show_all(VisitOperation visit, Deadline deadline) const
    {
        // A command asks for no more records than fit into one reply, since an answer may have a mebibyte.
        constexpr std::size_t largest = interlock::detail::max_answer_bytes + (std::size_t{1} << 10);
        auto const most = std::max<std::size_t>(client_.options().max_reply_bytes / largest, 1);
        Deadline const until = deadline.at(client_.runtime().now());
        return show_names(
            client_, keys_, [&](std::size_t shard) { return keys_.operations(shard); }, most, until,
            [&](auto names, std::size_t prefix) { return show(names, prefix, visit, until); });
    }

private:
    /// Reads the records called `names` and shows the answered ones; what expired meanwhile is left out.
    [[gnu::cold]] Outcome<void> show(
        std::span<std::string const> names, std::size_t prefix, VisitOperation visit, Deadline deadline) const
    {
        std::vector<std::tuple<Key, OperationId, OperationRecord>> records;
        {
            Command command{"MGET"};
            for (auto const& record : names)
                command.add(record);
            auto exchange = client_.execute(command, nullptr, Access::read, deadline);
            if (!exchange)
                return std::move(exchange).failure();
            auto const reply = exchange->reply();
            for (std::size_t i = 0; i < names.size(); ++i) {
                auto record = operation_record(reply[i].text());
                if (!record || !record->answered)
                    continue;
                auto const named = key_in_name(std::string_view{names[i]}.substr(prefix));
                if (named)
                    records.emplace_back(Key{named->key}, OperationId{named->rest}, *std::move(record));
            }
        }
        // Not while holding a connection: the visitor may use the store.
        for (auto const& [key, id, record] : records)
            visit(key, id, record);
        return success();
    }

    ClientState<Runtime>& client_;
    KeySpace const& keys_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_OPERATION_SCAN_HPP
