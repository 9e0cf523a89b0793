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
    Step<void> poll(Waiter& waiter);

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

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/releasing.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_RELEASING_HPP
