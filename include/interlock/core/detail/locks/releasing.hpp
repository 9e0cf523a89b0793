// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_RELEASING_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_RELEASING_HPP

// One caller's way out of a lock, without blocking, with a report.

#include <interlock/core/detail/locks/removal.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/transaction_context.hpp>

#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Poll it until it is done. The lock is released either way.
template <Runtime R>
class Releasing {
    using Table = LockTable<R>;
    using Holder = TableHold<R>;

public:
    Releasing(std::shared_ptr<Table> table, std::shared_ptr<Hold> hold)
        : table_(std::move(table)), hold_(std::move(hold))
    {}
    Releasing(Releasing const&) = delete;
    Releasing& operator=(Releasing const&) = delete;
    ~Releasing() { abandon(); }

    /// What is not known by the deadline that every call has is unknown; the record is removed all the same.
    Step<void> poll(Waiter& waiter)
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

    void abandon() noexcept
    {
        if (auto* const removal = std::exchange(removal_, nullptr))
            removal->abandon();
    }

private:
    std::shared_ptr<Table> table_;
    std::shared_ptr<Hold> hold_;
    // A part of the hold; null once it is over, or nobody waits for it.
    RecordRemoval<R>* removal_{nullptr};
    TimePoint released_at_{};
    TimePoint deadline_{};
    LockStatus status_{};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_RELEASING_HPP
