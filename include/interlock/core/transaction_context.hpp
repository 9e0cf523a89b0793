// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_TRANSACTION_CONTEXT_HPP
#define INTERLOCK_CORE_TRANSACTION_CONTEXT_HPP

/// @file
/// What a running operation can ask about itself, and the options of one call. An operation that makes
/// further calls, or works with systems outside the store, passes on from here how much time is left and
/// which fence its lock has:
///
///     service.do_in_transaction(
///         "printer-1",
///         [&](Printer& printer, interlock::TransactionContext& context) {
///             device.print(printer.queue.front(), context.fencing_token(), context.deadline());
///             printer.queue.erase(printer.queue.begin());
///         },
///         {.deadline = 10s, .stop = shutdown});  // a std::stop_source

#include <interlock/core/deadline.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// The context of the operation that makes a call, as it stands in the call's options: `{.within = context}`.
/// A pointer will do as well.
class OuterContext {
public:
    constexpr OuterContext() noexcept = default;
    constexpr OuterContext(TransactionContext const& context) noexcept : context_(&context) {}
    constexpr OuterContext(TransactionContext const* context) noexcept : context_(context) {}

    /// Null when there is none.
    constexpr TransactionContext const* get() const noexcept { return context_; }

private:
    TransactionContext const* context_{nullptr};
};

/// How one call behaves. The options are trivially destructible, so that g++ 12 handles braced ones inside a
/// `co_await`.
struct CallOptions {
    /// The call ends by this time, which bounds the local queue, the store, wake-ups and retries together. It
    /// does not bound the user's callable; but no commit starts after it.
    Deadline deadline{};
    /// The context of the operation that makes this call. An operation that asks for a key which it holds
    /// itself would wait for itself until the deadline; with the context the call fails at once, as
    /// `would_deadlock`. Only asynchronous operations need to pass it, since of synchronous ones the library
    /// knows by the thread.
    OuterContext within{};
    /// A request to stop ends the call as `cancelled` while it waits: in the queue, between two attempts, or
    /// before the store was asked. If the stop was requested before the call, nothing is sent to the store. A
    /// commit that was sent is waited for. A running operation that blocks is not interrupted, but what it
    /// made is rolled back; one that awaits is cancelled.
    StopSignal stop{};
    /// Why the call is made: what its operation records says so. It must live as long as the call. Null: the
    /// cause of the operation that makes this call, if there is one.
    Cause const* cause{nullptr};
    /// What the operation is called, for an observer: `"sell"`, a text that lives as long as the call. It is
    /// a label of metrics, so a program has few of them. Null: the call has no name.
    char const* name{nullptr};
};

/// Knows when an operation's locks are lost. Policies with leases implement it; an operation asks its
/// `TransactionContext`.
class LossSource {
public:
    /// A token that is stopped when one of the operation's locks is lost.
    virtual std::stop_token stop_token() = 0;

protected:
    LossSource() = default;
    LossSource(LossSource const&) = default;
    LossSource& operator=(LossSource const&) = default;
    ~LossSource() = default;
};

/// Knows which repository a key belongs to in one that is made of several, so that a call on one of these is
/// known to ask for what an operation on the whole works on, and the other way round. A `JointRepository` has
/// one; an operation asks its `TransactionContext`.
class KeyPlaces {
public:
    /// A key, and the `identity()` of the repository that it is one of.
    struct Place {
        void const* store;
        std::string_view key;
    };
    /// Where `key` of the whole stands; it points into `key`.
    virtual Place place_of_key(Key const& key) const noexcept = 0;
    /// What the whole calls it; nothing: it stands in none of the repositories.
    virtual std::optional<Key> key_at(Place const& place) const = 0;

protected:
    KeyPlaces() = default;
    KeyPlaces(KeyPlaces const&) = default;
    KeyPlaces& operator=(KeyPlaces const&) = default;
    ~KeyPlaces() = default;
};

/// One call of `do_in_transaction`, as the operation sees it. An operation that wants the context takes it as
/// its last parameter: `[](Stock& s, interlock::TransactionContext& context) {...}`.
///
/// **Lifetimes.** Valid while the operation runs.
/// **Thread safety.** To be used by the operation only, on the thread or executor that runs it.
/// **Cost.** No member asks the store.
class TransactionContext {
public:
    /// For drivers, and for tests of an operation: `keys` must outlive the context.
    TransactionContext(void const* store, std::span<Key const> keys, TimePoint deadline) noexcept
        : store_(store), keys_(keys), deadline_(deadline)
    {}
    TransactionContext(TransactionContext const&) = delete;
    TransactionContext& operator=(TransactionContext const&) = delete;

    /// Which run of this operation this is, counted from 1.
    int attempt() const noexcept { return attempt_; }
    /// The deadline of the call: no commit starts after it. Pass it on to what the operation calls.
    TimePoint deadline() const noexcept { return deadline_; }
    /// The fence of the i-th key's lock, in the order in which the call named the keys. Give the token to
    /// other systems that can refuse a lower one than they have seen. Under policies without locks there is
    /// none, and the token is the empty one.
    FencingToken fencing_token(std::size_t i = 0) const noexcept
    {
        return fences_ != nullptr && i < keys_.size() ? fences_[i].token : FencingToken{};
    }
    /// A token that is stopped when a lock of this operation is lost, so that a long operation can give up:
    /// what it makes from then on will not be committed. Under policies without leases it is never stopped.
    std::stop_token stop_token() const { return loss_ != nullptr ? loss_->stop_token() : std::stop_token{}; }
    /// The operation id of the call; null when it has none. Of an idempotent request, the id that its policy
    /// made of it.
    OperationId const* operation_id() const noexcept { return operation_id_; }

    /// Why the call was made: what its `CallOptions` say, or those of an operation around it; null when
    /// nobody said so.
    Cause const* cause() const noexcept
    {
        for (auto const* c = this; c != nullptr; c = c->outer_)
            if (c->cause_ != nullptr)
                return c->cause_;
        return nullptr;
    }

    /// Whether this operation, or one around it, works on `key` of the store whose `identity()` is `store`,
    /// by itself or among states of several repositories.
    bool holds(void const* store, Key const& key) const noexcept { return holds({store, key.bytes()}); }

    /// The keys of the states that the call works on, in the order in which the call named them.
    std::span<Key const> keys() const noexcept { return keys_; }

private:
    friend class ContextAccess;

    bool holds(KeyPlaces::Place const& asked) const noexcept
    {
        for (auto const* c = this; c != nullptr; c = c->outer_)
            if (c->places_ != nullptr || c->store_ == asked.store)
                for (auto const& key : c->keys_) {
                    auto const place = c->store_ == asked.store ? KeyPlaces::Place{asked.store, key.bytes()}
                                                                : c->places_->place_of_key(key);
                    if (place.store == asked.store && place.key == asked.key)
                        return true;
                }
        return false;
    }
    /// Where a key of this call stands.
    KeyPlaces::Place place_of(Key const& key) const noexcept
    {
        return places_ != nullptr ? places_->place_of_key(key) : KeyPlaces::Place{store_, key.bytes()};
    }

    void const* store_;  // its identity
    std::span<Key const> keys_;
    TimePoint deadline_;
    TransactionContext const* outer_{nullptr};  // of the operation that made this call
    OperationId const* operation_id_{nullptr};
    KeyPlaces const* places_{nullptr};           // of a store that is made of several
    Fence const* fences_{nullptr};               // of the locks, for each key; set by a policy with locks
    LossSource* loss_{nullptr};                  // set by a policy with leases
    IdempotentRequest const* request_{nullptr};  // for an idempotent policy
    Recorder* recorder_{nullptr};                // of an operation that records
    Cause const* cause_{nullptr};                // as the call itself said
    int attempt_{0};
    bool tries_once_{false};  // nobody is waited for, see `Deadline::tries_once`
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
