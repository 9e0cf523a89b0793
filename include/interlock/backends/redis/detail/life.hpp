// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_LIFE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_LIFE_HPP

// Which of several servers, and which history of its data, a client has got to.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/reply.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The value of `name` in what INFO says; empty where there is none.
inline std::string_view info_field(std::string_view info, std::string_view name) noexcept
{
    for (std::size_t at = 0; at < info.size();) {
        auto const end = std::min(info.find('\n', at), info.size());
        auto line = info.substr(at, end - at);
        at = end + 1;
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        if (line.starts_with(name) && line.substr(name.size()).starts_with(':'))
            return line.substr(name.size() + 1);
    }
    return {};
}

/// A failover that loses writes leads to another process (`run_id`), or to one that has become a primary
/// (`master_replid`), and so over a new connection: each asks once. Versions that were read before it may be
/// those of other values now.
///
/// **Thread safety.** Everything: safe.
class Life {
public:
    static Command question() { return Command{"INFO", "server", "replication"}; }

    /// From 1 on; greater once another server, or history, has answered.
    std::uint64_t number() const noexcept { return number_.load(std::memory_order_acquire); }

    /// What a new connection has been told. A user who may not ask learns nothing of failovers.
    void heard(ReplyView reply)
    {
        if (!reply.is(ReplyType::string))
            return;
        auto const info = reply.text();
        std::string who(info_field(info, "run_id"));
        who.append("/").append(info_field(info, "master_replid"));
        std::lock_guard lock(mutex_);
        if (!who_.empty() && who_ != who)
            number_.fetch_add(1, std::memory_order_release);
        who_ = std::move(who);
    }

private:
    std::mutex mutex_;
    std::string who_;
    std::atomic<std::uint64_t> number_{1};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_LIFE_HPP
