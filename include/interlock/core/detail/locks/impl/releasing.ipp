// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RELEASING_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RELEASING_IPP

#include <interlock/core/detail/locks/releasing.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
Step<void> Releasing<R>::poll(Waiter& waiter)
{
    if (!hold_)
        return success();
    auto& own = static_cast<Holder&>(*hold_);
    auto const& runtime = table_->runtime_;
    if (removal_ == nullptr) {
        own.gone_.store(true, std::memory_order_relaxed);
        if (table_->forked())
            return Holder::of_the_parent();
        released_at_ = runtime.now();
        deadline_ = Deadline{}.at(released_at_);
        status_ = own.status(released_at_);
        auto ended = table_->end_hold(own, status_, own.unresolved(), released_at_, released_at_);
        if (ended.done)
            return *std::move(ended.done);
        removal_ = &own.remove_record(ended.node, table_->new_removal(own.valid_until()), &waiter);
    }
    if (auto const removed = removal_->poll()) {
        removal_ = nullptr;
        return table_->released(own, status_, *removed, released_at_);
    }
    if (runtime.now() >= deadline_) {
        abandon();
        return table_->released(own, status_, Failure::unknown(Errc::deadline_exceeded), released_at_);
    }
    // A first attempt that was started ends by itself. One that needs a thread, or is repeated, may take
    // longer.
    return removal_->in_first_call() ? Step<void>::under_way() : Step<void>::pending(deadline_);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RELEASING_IPP
