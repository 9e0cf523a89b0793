// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_TABLE_HOLD_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_TABLE_HOLD_HPP

// A grant of a lock table, with the memory for everything that its end will need, in one allocation.

#include <interlock/core/detail/locks/count_in_place.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/removal.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/lock.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One local grant. Its handles share it; when the last one goes the lock is released. The object outlives
/// its handles while its record is being removed, and is that removal's home.
template <Runtime R>
class TableHold final : public Hold, public Counted {
    using Table = LockTable<R>;
    using Shard = LockShard<R>;
    using Node = LockNode<R>;

public:
    /// The shard's mutex is held.
    static std::shared_ptr<TableHold> make(
        std::shared_ptr<Table> table, Shard& shard, Node* node, OwnerToken owner, FencingToken token,
        TimePoint valid_until, TimePoint granted_at);

    TimePoint now() const noexcept override { return table_->runtime_.now(); }
    std::string place() const override { return table_->store_.place(); }
    void release(bool unresolved) noexcept override
    {
        if (!gone_.exchange(true, std::memory_order_relaxed) && !table_->forked())
            static_cast<void>(table_->release(*this, unresolved || this->unresolved(), false));
    }
    Outcome<void> release_and_report() override;
    Outcome<void> renew_now(Deadline deadline) override
    {
        if (table_->forked())
            return of_the_parent();
        return table_->renew_now(*this, deadline.at(now()));
    }

    static Failure of_the_parent()
    {
        return Failure{Errc::misconfigured, "this lock was acquired before a fork, by the parent"};
    }

    // ---- for the table and its parts ------------------------------------------------------------

    auto& count_room() noexcept { return count_room_; }

    /// A handle, unless the last one is gone.
    std::shared_ptr<Hold> handle() const noexcept { return self_.lock(); }

    /// Begins to remove the record of `node`, which this no longer holds. Once in the life of a hold;
    /// allocates nothing.
    RecordRemoval<R>& remove_record(Node* node, RemovalMachine machine, Waiter* waiter) noexcept;

    std::shared_ptr<Table> const table_;
    Shard* const shard_;
    // Released once; a handle that comes later does nothing. Nothing is released before there are handles.
    std::atomic<bool> gone_{true};
    Node* node_;              // under the shard's mutex: where this is the holder; null once it is not
    void* written_{nullptr};  // see `LockTable::leave_state`; null: nothing was left
    std::unique_ptr<Key const> key_;  // for an observer that hears keys; else null

private:
    TableHold(
        std::shared_ptr<Table> table, Shard& shard, Node* node, OwnerToken owner, FencingToken token,
        TimePoint valid_until, TimePoint granted_at)
        : Hold(owner, token, valid_until, granted_at), table_(std::move(table)), shard_(&shard), node_(node)
    {}
    ~TableHold() override = default;

    void revive() noexcept override { table_->revive(*this); }

    /// What the handles' count does when it comes to zero.
    struct LastHandle {
        void operator()(TableHold* hold) const noexcept
        {
            hold->release(false);
            hold->self_.reset();
        }
    };

    std::weak_ptr<TableHold> self_;
    std::optional<RecordRemoval<R>> removal_;
    CountRoom<> count_room_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/table_hold.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_TABLE_HOLD_HPP
