// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_WAITER_HPP
#define INTERLOCK_CORE_CONTRACTS_WAITER_HPP

/// @file
/// How a store tells those who wait that it is time to look again, and how a call is held that is under way
/// meanwhile. For authors of stores and of policies; who only uses interlock never meets these.
///
/// A queue of a store, which wakes the first in line when the lock is free:
///
///     interlock::Wakeup wakeup;            // before the guard: fires after the mutex is unlocked
///     std::lock_guard const lock(mutex_);
///     free_ = true;
///     if (!line_.empty())
///         wakeup = line_.front()->wake_later();

#include <interlock/core/outcome.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Something that waits in a queue of a store; see below.
class Waiter;

/// A wake-up that is still to be given: `fire`, or the destructor, gives it. A wake-up keeps alive what it
/// needs.
///
/// Declare a `Wakeup` before the `lock_guard` of the queue's mutex. The wake-up is then destroyed, and wakes
/// its waiter, after that mutex is unlocked. A waiter woken earlier would run into the locked mutex and go
/// back to sleep.
class Wakeup {
public:
    Wakeup() = default;
    explicit Wakeup(std::shared_ptr<Waiter> waiter) noexcept : waiter_(std::move(waiter)) {}
    Wakeup(Wakeup&&) noexcept = default;
    Wakeup& operator=(Wakeup&& other) noexcept
    {
        fire();
        waiter_ = std::move(other.waiter_);
        return *this;
    }
    ~Wakeup() { fire(); }
    /// Wakes the waiter now, if there is one and it was not woken yet.
    void fire() noexcept
    {
        if (waiter_)
            fire_now();
    }

private:
    void fire_now() noexcept;
    std::shared_ptr<Waiter> waiter_;
};

/// Something that waits in a queue of a store. `wake` is a hint: the waiter looks again, and may find
/// nothing. A queue may call `wake` while it holds its mutex, so `wake` must neither block nor call back.
///
/// **Lifetimes.** A queue keeps a pointer, between the `subscribe` and the return of the `unsubscribe` that
/// name the waiter; the waiter must live that long. **Thread safety.** Any thread may call `wake`, and
/// several may at once. **Does not guarantee.** That every hint of a remote store comes: a lost one costs
/// time only, since services also look again by themselves.
class Waiter {
public:
    /// It is time to look again.
    virtual void wake() noexcept = 0;
    /// For queues that wake when their mutex is free: called while they hold it, as long as the waiter is
    /// known to live.
    virtual Wakeup wake_later() noexcept
    {
        wake();
        return {};
    }
    /// False for a waiter whose thread must go on: a store that can, starts its calls for that waiter and
    /// does not block.
    virtual bool may_block() const noexcept { return true; }

protected:
    Waiter() = default;
    Waiter(Waiter const&) = default;
    Waiter& operator=(Waiter const&) = default;
    ~Waiter() = default;
};

inline void Wakeup::fire_now() noexcept
{
    auto const waiter = std::move(waiter_);
    waiter->wake();
}

/// A call of a store that is under way while nobody blocks: what `start(verb, deadline, waiter)` returns.
/// The store wakes the call's waiter, perhaps more than once, when it is time to look. Destroying the object
/// gives the call up: what was not sent is not sent any more, what was sent may still happen, and the waiter
/// is not woken any more once the destructor has returned. One thread at a time.
template <class X>
class StoreCall {
public:
    StoreCall() = default;
    StoreCall(StoreCall const&) = delete;
    StoreCall& operator=(StoreCall const&) = delete;
    virtual ~StoreCall() = default;
    /// The outcome, once; nothing while there is none.
    virtual std::optional<Outcome<X>> poll() = 0;
    /// Why there is no outcome yet, where the store knows more than that: it cannot be reached, say. `ok`: it
    /// does not. For a caller that gives the call up at its deadline.
    virtual Failure reason() { return Errc::ok; }
};
/// Owns such a call.
template <class X>
using StartedCall = std::unique_ptr<StoreCall<X>>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_WAITER_HPP
