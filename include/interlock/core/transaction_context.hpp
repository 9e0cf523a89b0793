// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_TRANSACTION_CONTEXT_HPP
#define INTERLOCK_CORE_TRANSACTION_CONTEXT_HPP

/// @file
/// What a running operation can ask about itself, and the options of one call.

#include <interlock/core/deadline.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>

#include <cstddef>
#include <span>
#include <stop_token>

namespace interlock {
inline namespace v0 {

/// How one call behaves. Trivially destructible, so that g++ 12 handles a braced one inside a `co_await`.
struct CallOptions {
    /// Bounds local queue, store, wake-up and retries together; not the user's callable.
    Deadline deadline{};
    /// The context of the operation that makes this call. Only asynchronous operations need it, so that
    /// asking for a key they already hold is `would_deadlock` at once instead of a wait until the deadline;
    /// for synchronous ones the thread tells.
    TransactionContext const* within{nullptr};
    /// Ends the call as `cancelled` while it waits: in the queue, between two attempts, or before the store
    /// was asked. A stop that was requested before the call sends nothing to the store. A commit that was
    /// sent is waited for. A blocking operation that runs is not interrupted, but what it made is rolled
    /// back; one that awaits is cancelled.
    StopSignal stop{};
};

/// Knows when an operation's locks are lost. Implemented by policies with leases.
class LossSource {
public:
    /// Fires when one of the operation's locks is lost.
    virtual std::stop_token stop_token() = 0;

protected:
    LossSource() = default;
    LossSource(LossSource const&) = default;
    LossSource& operator=(LossSource const&) = default;
    ~LossSource() = default;
};

/// One call of `do_in_transaction`, as the operation sees it. Take it as the last parameter:
/// `[](Stock& s, interlock::TransactionContext& context) {...}`. Valid while the operation runs.
///
/// **Thread safety.** To be used by the operation only.
class TransactionContext {
public:
    /// For drivers, and for tests of an operation: `keys` must outlive the context.
    TransactionContext(void const* store, std::span<Key const> keys, TimePoint deadline) noexcept
        : store_(store), keys_(keys), deadline_(deadline)
    {}
    TransactionContext(TransactionContext const&) = delete;
    TransactionContext& operator=(TransactionContext const&) = delete;

    /// Counts the runs of this operation, from 1.
    int attempt() const noexcept { return attempt_; }
    /// No commit starts after it.
    TimePoint deadline() const noexcept { return deadline_; }
    /// The fence of the i-th key's lock, in the order given to the call; no token under policies without
    /// locks.
    FencingToken fencing_token(std::size_t i = 0) const noexcept
    {
        return i < fences_.size() ? fences_[i].token : FencingToken{};
    }
    /// Fires when a lock of this operation is lost. Never fires under policies without leases.
    std::stop_token stop_token() const { return loss_ != nullptr ? loss_->stop_token() : std::stop_token{}; }
    /// Null when the call has none.
    OperationId const* operation_id() const noexcept { return operation_id_; }

    /// Whether this operation, or one around it, works on `key` of the store `store`.
    bool holds(void const* store, Key const& key) const noexcept
    {
        for (auto const* c = this; c != nullptr; c = c->outer_)
            if (c->store_ == store)
                for (auto const& k : c->keys_)
                    if (k == key)
                        return true;
        return false;
    }

    /// What the call works on, in the order given to it.
    std::span<Key const> keys() const noexcept { return keys_; }

private:
    friend class ContextAccess;

    void const* store_;
    std::span<Key const> keys_;
    TimePoint deadline_;
    TransactionContext const* outer_{nullptr};
    OperationId const* operation_id_{nullptr};
    std::span<Fence const> fences_;
    LossSource* loss_{nullptr};
    IdempotentRequest const* request_{nullptr};
    int attempt_{0};
};

namespace detail {
/// The innermost synchronous operation of this thread.
inline constinit thread_local TransactionContext const* current_context = nullptr;

/// Makes `context` the innermost one of this thread for a scope.
class CurrentContext {
public:
    explicit CurrentContext(TransactionContext const& context) noexcept : before_(current_context)
    {
        current_context = &context;
    }
    CurrentContext(CurrentContext const&) = delete;
    CurrentContext& operator=(CurrentContext const&) = delete;
    ~CurrentContext() { current_context = before_; }

private:
    TransactionContext const* before_;
};
}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_TRANSACTION_CONTEXT_HPP
