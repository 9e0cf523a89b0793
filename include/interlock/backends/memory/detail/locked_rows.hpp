// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCKED_ROWS_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCKED_ROWS_HPP

/// @file
/// The rows that one row transaction of the store in memory has locked, or waits for. The rows are locked one
/// after the other, in the order of the caller's keys; a row that is taken has a line of those who wait.

#include <interlock/backends/memory/detail/store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// What `memory::Transaction` does, which says what it guarantees.
template <class T, class R>
class LockedRows {
public:
    using Store = detail::Store<T, R>;

    LockedRows(Store* store, std::span<Key const* const> keys) : store_(store)
    {
        first_.key = keys[0];
        for (auto const* key : keys.subspan(1))
            more_.emplace_back().key = key;
    }
    /// Takes the locked rows over; the other one then holds nothing.
    LockedRows(LockedRows&& other) noexcept
        : owner_(std::move(other.owner_)), store_(other.store_), id_(std::exchange(other.id_, 0)),
          first_(std::move(other.first_)), more_(std::move(other.more_))
    {
        other.first_.where = RowState::open;
        other.more_.clear();
    }
    LockedRows& operator=(LockedRows&& other) noexcept
    {
        if (this != &other) {
            rollback();
            owner_ = std::move(other.owner_);
            store_ = other.store_;
            id_ = std::exchange(other.id_, 0);
            first_ = std::move(other.first_);
            other.first_.where = RowState::open;
            more_ = std::move(other.more_);
            other.more_.clear();
        }
        return *this;
    }
    ~LockedRows() { rollback(); }

    /// From now on the rows keep the store alive.
    void keep(std::shared_ptr<Store> store) noexcept { owner_ = std::move(store); }

    /// By which the store knows them; 0: nothing is locked.
    TransactionId id() const noexcept { return id_; }
    std::optional<Versioned<T>>& state(std::size_t i) { return row(i).state; }

    Outcome<CommitResult> commit(std::span<Change<T>> changes, OperationCommit const* operation)
    {
        for (auto const& change : changes)
            if (change.kind == ChangeKind::write)
                if (auto checked = store_->check_value(*change.value); !checked) {
                    rollback();
                    return std::move(checked).failure();
                }
        if (changes.size() == 1 && operation == nullptr && changes[0].events.empty() && more_.empty() &&
            first_.where == RowState::locked &&
            *changes[0].key == first_.node->first) {  // the common case: write and unlock in one step
            first_.where = RowState::open;
            auto version =
                store_->change_and_unlock(*first_.shard, first_.node, changes[0], std::exchange(id_, 0));
            if (!version)
                return std::move(version).failure();
            changes[0].version = *version;
            return Outcome<CommitResult>{std::in_place};
        }
        auto result = store_->commit(changes, operation, id_);
        rollback();  // unlocks the rows, whatever became of the changes
        return result;
    }

    void rollback() noexcept
    {
        abandon();
        if (id_ == 0)
            return;
        unlock(first_);
        for (auto& row : more_)
            unlock(row);
        id_ = 0;
    }

    Step<void> poll(Wait wait, Waiter& waiter)
    {
        if (auto done = poll(first_, wait, waiter); !done.done() || !done.outcome())
            return done;
        for (auto& row : more_)
            if (auto done = poll(row, wait, waiter); !done.done() || !done.outcome())
                return done;
        return success();
    }

    void abandon() noexcept
    {
        abandon(first_);
        for (auto& row : more_)
            abandon(row);
    }

private:
    enum class RowState : unsigned char { open, queued, locked };
    struct Row {
        Key const* key{nullptr};  // the caller's, needed until the row is locked
        typename Store::Shard* shard{nullptr};
        typename Store::Node* node{nullptr};
        std::list<RowWaiter>::iterator place{};
        RowState where{RowState::open};
        std::optional<Versioned<T>> state{};
    };

    Row& row(std::size_t i) { return i == 0 ? first_ : more_[i - 1]; }

    Step<void> poll(Row& row, Wait wait, Waiter& waiter)
    {
        auto polled = try_poll(row, wait, waiter);
        if (polled.done() && polled.outcome().errc() == Errc::overloaded && store_->make_room()) [[unlikely]]
            return try_poll(row, wait, waiter);
        return polled;
    }

    Step<void> try_poll(Row& row, Wait wait, Waiter& waiter)
    {
        if (row.where == RowState::locked)
            return success();
        if (row.shard == nullptr)
            row.shard = &store_->shard_of(*row.key);
        std::lock_guard lock(row.shard->mutex);
        if (id_ == 0)
            id_ = store_->new_transaction(*row.shard);
        if (row.where == RowState::queued) {
            if (row.node->second.row_owner != id_)
                return Step<void>::pending();
        } else {
            row.node = store_->find_or_make(*row.shard, *row.key);
            if (row.node == nullptr)
                return Failure{Errc::overloaded, "keys: the limit is reached"};
            auto& entry = row.node->second;
            if (entry.row_owner != 0) {
                if (wait == Wait::no)
                    return Errc::lock_busy;
                if (!store_->count_waiter())
                    return Failure{Errc::overloaded, "waiters for row locks: the limit is reached"};
                row.place = entry.row_waiters.insert(entry.row_waiters.end(), {id_, &waiter});
                row.where = RowState::queued;
                return Step<void>::pending();
            }
            entry.row_owner = id_;
        }
        row.where = RowState::locked;
        if (row.node->second.value)
            row.state.emplace(typename Store::Snapshot{row.node->second});
        return success();
    }

    void abandon(Row& row) noexcept
    {
        if (row.where != RowState::queued)
            return;
        std::lock_guard lock(row.shard->mutex);
        if (row.node->second.row_owner == id_) {  // it became ours while we were leaving
            row.where = RowState::locked;
            return;
        }
        row.node->second.row_waiters.erase(row.place);
        store_->uncount_waiter();
        row.where = RowState::open;
    }

    void unlock(Row& row) noexcept
    {
        if (row.where != RowState::locked)
            return;
        Wakeup wakeup;
        std::lock_guard lock(row.shard->mutex);
        store_->unlock_row(*row.shard, row.node, wakeup);
        row.where = RowState::open;
    }

    std::shared_ptr<Store> owner_;  // empty when the repository is known to live
    Store* store_;
    TransactionId id_{0};    // 0: nothing is locked, and nothing waited for
    Row first_;              // most transactions have one row, which then needs no allocation
    std::vector<Row> more_;  // the others
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_LOCKED_ROWS_HPP
