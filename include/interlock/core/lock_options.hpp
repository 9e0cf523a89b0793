// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_LOCK_OPTIONS_HPP
#define INTERLOCK_CORE_LOCK_OPTIONS_HPP

/// @file
/// How a `LockStateService` holds and hands out locks: how long a lease lasts, how long callers wait, and
/// when somebody elsewhere gets a turn.
///
///     interlock::LockOptions options;
///     options.ttl = interlock::Ttl{10s};  // others wait that long for a crashed holder
///     options.max_waiters = 1000;         // whoever comes beyond that is told `overloaded`
///     interlock::LockStateService locks{repository, options};
///     auto lock = locks.acquire("sku-1", {.deadline = 2s});  // AcquireOptions: of this call alone

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/lock_info.hpp>
#include <interlock/core/observer.hpp>

#include <chrono>
#include <cstddef>
#include <limits>

namespace interlock {
inline namespace v0 {

/// How a `LockStateService` holds and hands out locks. The defaults suit a store in the same data centre. A
/// service that is given values out of range is made all the same, and every `acquire` of it fails with
/// `invalid_argument`.
struct LockOptions {
    /// How long a lease lasts when nobody renews it: when a holder crashes, others wait that long. 50 ms to
    /// 24 h.
    Ttl ttl{};
    /// Whether a held lock is renewed, each time a third of the ttl has passed. Without renewal a lock is
    /// lost after one ttl.
    bool renew{true};
    /// By how much the clock of this process and that of the store may differ in rate. 0.01 is one percent;
    /// less than 0.5.
    double drift{0.01};
    /// A holder stops trusting its lease this long before the lease ends, so that a check and the write after
    /// it both fall into the lease. At most a tenth of the ttl is used.
    std::chrono::nanoseconds margin{std::chrono::milliseconds{5}};
    /// How long to wait between two attempts at the store. A store that wakes waiters is asked that often all
    /// the same, at the cap, because a wake-up may be lost.
    Backoff poll{
        .initial = std::chrono::milliseconds{2}, .cap = std::chrono::milliseconds{250}, .immediate = 0};
    /// How many attempts at the store one `acquire` that waits makes at most.
    int max_attempts{std::numeric_limits<int>::max()};
    /// How many callers of this service may wait at a time, over all keys. Whoever comes beyond that is told
    /// `overloaded`.
    std::size_t max_waiters{default_max_waiters};
    /// A released lock goes to the next caller of this service without a trip to the store. Once somebody
    /// elsewhere waits for it, that happens this many times more at most ...
    int hand_on_count{32};
    /// ... and for this long at most; then the lock is released in the store.
    std::chrono::nanoseconds hand_on_time{std::chrono::milliseconds{20}};
    /// Who hears of acquired, renewed, lost and released locks; null: nobody. It must outlive the service and
    /// its locks.
    Observer* observer{nullptr};
    /// What this service calls itself in the lock records of the store, for whoever inspects them; left out:
    /// `host:pid:program`. Everybody who may read the store may read it, so it is no place for a secret.
    /// `""`: nothing, and no byte is stored.
    HolderName holder{};
};

/// How one `acquire` behaves.
struct AcquireOptions {
    /// Bounds local queue, store and wake-up together.
    Deadline deadline{};
    /// Attempts at the store; the service's `max_attempts` bounds it, too.
    int max_attempts{std::numeric_limits<int>::max()};
    /// Ends the call as `cancelled` while it waits. A stop that was requested before the call sends nothing
    /// to the store.
    StopSignal stop{};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_LOCK_OPTIONS_HPP
