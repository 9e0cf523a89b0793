// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_ROW_LOCK_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_ROW_LOCK_SESSION_HPP

/// @file
/// What `PessimisticRowLock` keeps for a repository, and one call under it: lock the rows, run, commit.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/same_keys.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class Policy, class R>
class RowLockSession : public PolicySession<Policy, R> {
public:
    using supports_combining = RowLockSession;
    using value_type = typename R::value_type;
    static constexpr auto forms =
        with_recorder<R, std::array{Form::states, Form::states_transaction, Form::states_context}>();
    using PolicySession<Policy, R>::PolicySession;

    template <std::size_t N, Form Shape>
    class Transaction {
        using T = value_type;
        using RowTx = typename R::transaction_type;
        using Slot = StateSlot<T, typename R::key_type>;

    public:
        Transaction(
            RowLockSession const& session, std::span<Key const, N> keys,
            std::span<std::size_t const, N> order, std::span<std::optional<T> const, N> named,
            TransactionContext& context)
            : session_(session), keys_(keys), order_(order), named_(named), context_(context)
        {}

        Step<Begun> begin(Waiter& waiter)
        {
            if (auto locked = lock_rows(waiter); !locked.done() || !locked.outcome()) {
                if (!locked.done())
                    return Step<Begun>::pending(locked.wake_at());
                rows_.reset();
                return std::move(locked.outcome()).failure();
            }
            for (std::size_t j = 0; j < keys_.size(); ++j) {
                auto const i = order_[j];
                auto& row = rows_->state(j);
                if (row) {
                    slots_[i].load(*row);
                } else if (session_.policy().missing == Missing::create) {
                    if (auto made = slots_[i].create(keys_[i], named_[i]); !made)
                        return failed(std::move(made).failure());
                } else {
                    return failed(missing_state(Errc::not_found, session_, keys_, i));
                }
            }
            return Step<Begun>{std::in_place, std::in_place};
        }

        std::optional<Failure> refusal() const { return changed_key(slots_, keys_); }

        Outcome<CommitResult> commit(OperationCommit const* operation)
        {
            PerKey<Change<T>, N> changes{keys_.size()};
            bool nothing = operation == nullptr && !has_recorded<Shape>(context_) &&
                           without_recorder(Shape) != Form::states_transaction;
            RecordedEvents<Shape> const recorded{context_, session_.store().runtime()};
            for (std::size_t j = 0; j < keys_.size(); ++j) {
                changes[j] = slots_[order_[j]].change(keys_[order_[j]]);
                changes[j].events = recorded.of(order_[j]);
                nothing = nothing && changes[j].kind == ChangeKind::verify;
            }
            if constexpr (requires { rows_->writes_more(); })
                nothing = nothing && !rows_->writes_more();
            if (nothing) {
                rows_.reset();
                return Outcome<CommitResult>{std::in_place};
            }
            auto result = rows_->commit(changes, operation, Deadline{context_.deadline()});
            rows_.reset();
            SameKeys<R, N>{}.judge(result, session_.store(), keys_, Deadline{context_.deadline()});
            return result;
        }

        /// The store's answer to a statement of the operation's own, where it can have any: asked before what
        /// the operation threw is believed, since a conflict means that it must run again. Of another one the
        /// operation was told, and what it threw is its answer to that.
        Outcome<CommitResult> verify()
            requires requires(RowTx const& tx) { tx.failure(); }
        {
            if (rows_ && rows_->failure() && is_conflict(rows_->failure()->errc()))
                return *rows_->failure();
            return Outcome<CommitResult>{std::in_place};
        }

        void rollback(bool) noexcept { rows_.reset(); }

        void abandon() noexcept
        {
            if constexpr (polls)
                if (rows_)
                    rows_->abandon();
        }

        T& state(std::size_t i) noexcept { return slots_[i].value(); }
        RowTx& store_transaction() noexcept { return *rows_; }
        /// Done with the next begin, and with all that come after it.
        void do_before_locks(verb::BeforeLocks* before) noexcept
            requires verb::DoesBeforeLocks<R>
        {
            before_ = before;
        }

    private:
        // Where the store can, wait without blocking; else its blocking call does the waiting.
        static constexpr bool polls = polls_rows<R>;

        /// Becomes a transaction where it is wanted.
        struct Opening {
            R& store;
            std::span<Key const* const> keys;
            Deadline deadline;
            operator RowTx() const  // NOLINT
            {
                // With the deadline where the store wants it: one that cannot wait without blocking waits in
                // there.
                if constexpr (requires { store.open_transaction(keys, deadline); })
                    return store.open_transaction(keys, deadline);
                else
                    return store.open_transaction(keys);
            }
        };

        Step<void> lock_rows(Waiter& waiter)
        {
            if constexpr (polls) {
                if (!rows_) {
                    set_sorted();
                    rows_.emplace(Opening{session_.store(), sorted_, Deadline{context_.deadline()}});
                }
                return rows_->poll(ContextAccess::wait(context_, session_.policy().wait), waiter);
            } else {
                rows_.reset();
                set_sorted();
                auto& repository = session_.store();
                auto opened = repository.carry_out(
                    verb::LoadForUpdate<typename R::transaction_type>{
                        sorted_, ContextAccess::wait(context_, session_.policy().wait), before_},
                    Deadline{context_.deadline()});
                if (!opened)
                    return std::move(opened).failure();
                rows_.emplace(*std::move(opened));
                return success();
            }
        }

        void set_sorted() noexcept
        {
            for (std::size_t j = 0; j < keys_.size(); ++j)
                sorted_[j] = &keys_[order_[j]];
        }

        Step<Begun> failed(Failure failure)
        {
            rows_.reset();
            return failure;
        }

        RowLockSession const& session_;
        std::span<Key const, N> keys_;
        std::span<std::size_t const, N> order_;
        std::span<std::optional<T> const, N> named_;
        TransactionContext& context_;
        PerKey<Key const*, N> sorted_{keys_.size()};
        PerKey<Slot, N> slots_{keys_.size()};
        std::optional<RowTx> rows_;
        verb::BeforeLocks* before_{nullptr};
    };
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_ROW_LOCK_SESSION_HPP
