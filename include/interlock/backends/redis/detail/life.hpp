// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_LIFE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_LIFE_HPP

// Whether the server that answers now still has the data of the server that answered before.

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

/// The value of the field `name` in the reply to INFO; empty where there is no such field.
[[gnu::cold]] inline std::string_view info_field(std::string_view info, std::string_view name) noexcept
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

/// Counts the lives of a server. A client reads a version; then a failover loses writes; then the version may
/// stand for another value. After such a failover another process answers (`run_id`), or one that has become
/// a primary meanwhile (`master_replid`), and it answers over a new connection. Therefore every new
/// connection asks once who the server is, and a commit that names versions of an earlier life is not sent.
///
/// **Thread safety.** Everything: safe.
class Life {
public:
    static Command question() { return Command{"INFO", "server", "replication"}; }

    /// The number of the present life, from 1 on. It rises when another server, or another history, answers.
    std::uint64_t number() const noexcept { return number_.load(std::memory_order_acquire); }

    /// Takes the server's reply to `question`. Where the user may not ask, failovers go unnoticed.
    [[gnu::cold]] void heard(ReplyView reply)
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
