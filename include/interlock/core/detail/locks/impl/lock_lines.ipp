// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_LINES_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_LINES_IPP

#include <interlock/core/detail/locks/lock_lines.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
void LockShard<R>::recycle(Node* node) noexcept
{
    INTERLOCK_ASSERT(
        node->second.holder == nullptr && !node->second.is_linked(), "an idle line has nothing planned");
    node->second.refused.reset();
    auto const it = entries_.find(node->first);
    if (spares_.size() == most_spares)
        entries_.erase(it);
    else
        spares_.push_back(entries_.extract(it));
}

template <Runtime R>
auto LockShard<R>::emplace(Key const& key) -> Node*
{
    if (spares_.empty())
        return &*entries_.try_emplace(key).first;
    if (auto const it = entries_.find(key); it != entries_.end())
        return &*it;
    auto& spare = spares_.back();
    spare.key() = key;
    auto const it = entries_.insert(std::move(spare)).position;
    spares_.pop_back();
    return &*it;
}

template <Runtime R>
Wakeup LockLines<R>::promote_next(Shard& shard, Node* node, Member* next) noexcept
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its lines");
    if (next == nullptr) {
        shard.recycle(node);
        return {};
    }
    lines_.count_out();
    next->promoted = true;
    schedule_turn(shard, node);
    return next->caller->wake_later();
}

template <Runtime R>
void LockLines<R>::pass_over(Shard& shard, Node* node) noexcept
{
    auto& line = node->second.line;
    auto* const late = line.promoted();
    auto* const next = line.pass_over();
    if (next == nullptr)
        return schedule_turn(shard, node);
    lines_.count_in_again();
    late->promoted = false;
    unschedule(shard, node);
    static_cast<void>(promote_next(shard, node, next));  // woken while the mutex is held: rare
}

template <Runtime R>
auto LockLines<R>::detach_holder(Holder& hold) noexcept -> Node*
{
    INTERLOCK_ASSERT(is_locked(hold.shard_->mutex), "the shard's mutex guards its lines");
    auto* const node = std::exchange(hold.node_, nullptr);
    node->second.holder = nullptr;
    return node;
}

template <Runtime R>
void LockLines<R>::schedule_at(Shard& shard, Node* node, TimePoint at)
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its schedule");
    auto& entry = node->second;
    if (at < shard.alarm_at) {
        shard.alarm_used = true;
        shard.alarm_at = TimePoint::max();  // should arming fail
        runtime_.arm(shard.alarm, at);
        shard.alarm_at = at;
    }
    unschedule(shard, node);
    entry.due = at;
    shard.schedule.insert(shard.schedule.end(), entry);
}

template <Runtime R>
void LockLines<R>::schedule_turn(Shard& shard, Node* node) noexcept
{
    try {
        schedule_at(shard, node, add(runtime_.now(), patience));
    } catch (...) {  // the alarm could not be set: then everybody waits for the one that is to drive
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_LINES_IPP
