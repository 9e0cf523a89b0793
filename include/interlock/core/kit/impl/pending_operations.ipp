// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_PENDING_OPERATIONS_IPP
#define INTERLOCK_CORE_KIT_IMPL_PENDING_OPERATIONS_IPP

#include <interlock/core/kit/pending_operations.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL std::shared_ptr<PendingOperations::List> PendingOperations::list_of(
    boost::asio::execution_context& context)
{
    thread_local Last last;
    if (Last::ended)  // the thread is on its way out
        return boost::asio::use_service<PendingOperations>(context).list_;
    if (last.context != &context || last.list->gone) {
        last.list = boost::asio::use_service<PendingOperations>(context).list_;
        last.context = &context;
    }
    return last.list;
}

INTERLOCK_DECL void PendingOperations::shutdown() noexcept
{
    Members members;
    {
        std::lock_guard lock(list_->mutex);
        list_->gone = true;
        members.swap(list_->members);
    }
    while (!members.empty()) {
        auto& member = members.front();
        members.pop_front();
        member.abandon();
    }
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_PENDING_OPERATIONS_IPP
