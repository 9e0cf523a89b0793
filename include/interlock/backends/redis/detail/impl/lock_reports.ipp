// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_LOCK_REPORTS_IPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_LOCK_REPORTS_IPP

#include <interlock/backends/redis/detail/lock_record.hpp>
#include <interlock/backends/redis/detail/lock_reports.hpp>
#include <interlock/backends/redis/detail/lock_scan.hpp>

#include <optional>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What `inspect_script` says of one lock.
inline constexpr auto read_lock = [](ReplyView reply) { return lock_info(reply[0], reply[1]); };

template <class R>
Request<Command> StateCore<R>::inspect_request(Key const& key) const
{
    auto const& script = inspect_script();
    Request<Command> request{evaluate(script, 1, keys_.name("lock", key.bytes())), &script, Access::read};
    if (!key.valid())
        request.refused = key.validate().failure();
    return request;
}

template <class R>
Request<Command> StateCore<R>::break_request(verb::BreakLock const& broken) const
{
    auto const& script = break_script();
    auto const bytes = broken.key.bytes();
    Request<Command> request{
        evaluate(
            script, 2, keys_.counter(keys_.shard_of(bytes)), keys_.name("lock", bytes),
            PaddedNumber<16>{broken.seen.value()}),
        &script, Access::write};
    if (!broken.key.valid())
        request.refused = broken.key.validate().failure();
    return request;
}

template <class R>
Outcome<std::optional<LockInfo>> StateCore<R>::carry_out(verb::Inspect const& inspect, Deadline until) const
{
    return ask<std::optional<LockInfo>>(*client_, inspect_request(inspect.key), until, read_lock);
}

template <class R>
StartedCall<std::optional<LockInfo>> StateCore<R>::start(
    verb::Inspect const& inspect, Deadline deadline, Waiter& waiter) const
{
    return detail::start<std::optional<LockInfo>>(
        *client_, inspect_request(inspect.key), deadline, waiter, read_lock);
}

template <class R>
Outcome<Removal> StateCore<R>::carry_out(verb::BreakLock const& broken, Deadline deadline) const
{
    return ask<Removal>(*client_, break_request(broken), deadline, read_removal);
}

template <class R>
StartedCall<Removal> StateCore<R>::start(
    verb::BreakLock const& broken, Deadline deadline, Waiter& waiter) const
{
    return detail::start<Removal>(*client_, break_request(broken), deadline, waiter, read_removal);
}

template <class R>
Outcome<void> StateCore<R>::for_each_lock(VisitLock visit, Deadline deadline) const
{
    return LockScan<R>{*client_, keys_}.show_all(visit, deadline);
}

template <class R>
Outcome<Removal> StateCore<R>::force_release(Key const& key, Deadline deadline) const
{
    return ask<Removal>(*client_, remove_request(key, {}), deadline, read_removal);
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_LOCK_REPORTS_IPP
