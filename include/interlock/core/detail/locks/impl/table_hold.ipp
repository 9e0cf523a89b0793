// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_TABLE_HOLD_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_TABLE_HOLD_IPP

#include <interlock/core/detail/locks/table_hold.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
std::shared_ptr<TableHold<R>> TableHold<R>::make(
    std::shared_ptr<Table> table, Shard& shard, Node* node, OwnerToken owner, FencingToken token,
    TimePoint valid_until, TimePoint granted_at)
{
    auto* const hold = new TableHold(std::move(table), shard, node, owner, token, valid_until, granted_at);
    std::shared_ptr<TableHold> first;
    try {
        first = {hold, LastHandle{}, CountInPlace<TableHold, std::byte>{hold}};
    } catch (...) {  // no memory for the count, where it has no room in the hold
        hold->drop_reference();
        throw;
    }
    hold->gone_.store(false, std::memory_order_relaxed);
    hold->self_ = first;
    return first;
}

template <Runtime R>
Outcome<void> TableHold<R>::release_and_report()
{
    gone_.store(true, std::memory_order_relaxed);
    if (table_->forked())
        return of_the_parent();
    return table_->release(*this, unresolved(), true);
}

template <Runtime R>
RecordRemoval<R>& TableHold<R>::remove_record(Node* node, RemovalMachine machine, Waiter* waiter) noexcept
{
    INTERLOCK_ASSERT(!removal_, "a record is removed once");
    removal_.emplace(*this, *table_, node->first, fence().owner, machine, node, waiter);
    removal_->start();
    return *removal_;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_TABLE_HOLD_IPP
