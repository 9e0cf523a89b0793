// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_ROWS_OF_LEASES_HPP
#define INTERLOCK_POLICIES_DETAIL_ROWS_OF_LEASES_HPP

/// @file
/// The rows under leases, in a store that locks rows as well.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/per_key.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The rows that a lease holder writes, where somebody who knows nothing of leases may have locked them: once
/// a write was refused for that, they are waited for and kept until the end.
template <class R, std::size_t N>
class RowsOfLeases {
public:
    static constexpr bool possible = false;
    static constexpr bool locked() noexcept { return false; }
    static constexpr bool wanted() noexcept { return false; }
    void give_up() noexcept {}
    void abandon() noexcept {}
};
template <RowLockingRepository R, std::size_t N>
class RowsOfLeases<R, N> {
    using RowTx = typename R::transaction_type;

public:
    static constexpr bool possible = true;
    bool locked() const noexcept { return locked_; }
    bool wanted() const noexcept { return wanted_; }
    void want() noexcept { wanted_ = true; }

    /// `keys` in the order of `order`.
    Step<void> lock(
        R const& store, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        Deadline deadline, Waiter& waiter)
    {
        if (!rows_)
            rows_ = std::make_unique<Rows>(keys, order);
        auto step = poll(store, deadline, waiter);
        if (step.done()) {
            locked_ = static_cast<bool>(step.outcome());
            wanted_ = false;
            if (!locked_)
                rows_.reset();
        }
        return step;
    }
    template <class T>
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline)
    {
        auto result = rows_->transaction->commit(changes, operation, deadline);
        if (result)
            result->version = changes[0].version;
        give_up();
        return result;
    }
    void abandon() noexcept
    {
        if constexpr (polls_rows<R>)
            if (rows_ && rows_->transaction)
                rows_->transaction->abandon();
    }
    void give_up() noexcept
    {
        rows_.reset();
        locked_ = wanted_ = false;
    }

private:
    /// The keys as the store is asked for them, and its transaction, which refers to them.
    struct Rows {
        Rows(std::span<Key const, N> keys, std::span<std::size_t const, N> order) : sorted(keys.size())
        {
            for (std::size_t j = 0; j < keys.size(); ++j)
                sorted[j] = &keys[order[j]];
        }
        PerKey<Key const*, N> sorted;
        std::optional<RowTx> transaction;
    };

    Step<void> poll(R const& store, Deadline deadline, Waiter& waiter)
    {
        auto& transaction = rows_->transaction;
        auto const& sorted = rows_->sorted;
        if constexpr (polls_rows<R>) {
            if (!transaction) {
                if constexpr (requires { store.open_transaction(sorted, deadline); })
                    transaction.emplace(store.open_transaction(sorted, deadline));
                else
                    transaction.emplace(store.open_transaction(sorted));
            }
            return transaction->poll(Wait::until_deadline, waiter);
        } else {
            auto opened = store.carry_out(verb::LoadForUpdate<RowTx>{sorted, Wait::until_deadline}, deadline);
            if (!opened)
                return std::move(opened).failure();
            transaction.emplace(*std::move(opened));
            return success();
        }
    }

    std::unique_ptr<Rows> rows_;  // made when they are wanted, which is rare
    bool wanted_{false};
    bool locked_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_ROWS_OF_LEASES_HPP
