// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_CALLS_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_CALLS_HPP

// What a `LockStateService` does on the thread of its caller: waiting for a lock, and a write under it.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/store_of_locks.hpp>
#include <interlock/core/detail/locks/wrong_options.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/nested_keys.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>

#include <algorithm>
#include <concepts>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The lock on `key`, which the caller has taken.
template <class R, Assurance Level>
Outcome<std::shared_ptr<Hold>> acquire_blocking(
    std::shared_ptr<LockTableOf<R, Level>> const& table, Key const& key, Wait wait,
    AcquireOptions const& options)
{
    auto const& runtime = table->runtime();
    if (auto const* const wrong = wrong_option(options.deadline, options.max_attempts))
        return Failure{Errc::invalid_argument, wrong};
    auto const deadline = options.deadline.end_of_call(runtime.now());
    bool const once = options.deadline.tries_once();
    if (auto failure = table->unfit(key, Deadline{deadline}))
        return std::move(*failure);
    auto const* const context = current_context;
    if (context != nullptr && context->holds(table->repository().identity(), key))
        return Failure{Errc::would_deadlock, "an operation of this thread works on the same key"};
    if (auto failure = names_outer_key(table->repository(), {&key, 1}, context, Deadline{deadline}))
        return *std::move(failure);
    BlockingWaiter<typename R::runtime_type> waiter{runtime};
    auto const stop = options.stop.token();
    if (stop.stop_requested())
        return Failure{Errc::cancelled, "cancelled before anything was sent"};
    WakeOnStop const wakes{stop, waiter};
    Ticket<R, false> ticket{table, key, once ? Wait::no : wait, once ? 1 : options.max_attempts};
    for (;;) {
        auto step = ticket.poll(waiter, deadline);
        if (step.done()) {
            if (step.outcome())
                (*step.outcome())->take();
            return std::move(step.outcome());
        }
        waiter.wait_until(std::min(step.wake_at(), deadline));
        bool const stopped = stop.stop_requested();
        if (stopped || runtime.now() >= deadline) {
            auto reason = ticket.reason();
            ticket.abandon();
            return stopped ? Failure{Errc::cancelled}
                           : Failure::because(Errc::deadline_exceeded, std::move(reason));
        }
    }
}

/// Stores `value` under the fence of `lock`; its new version.
template <class R, class L, class T>
Outcome<Version> guarded_write(
    R const& repository, L const& lock, Key const& key, Version version, T const& value)
{
    if (lock.status() == LockStatus::lost)
        return LockAccess::lost(lock);
    auto const fence = lock.fence();
    Change<T> change{.key = &key, .version = version, .value = &value, .fence = &fence};
    auto& hold = *LockAccess::hold(lock);
    auto committed = repository.carry_out(
        verb::Commit<T>{std::span<Change<T>>{&change, 1}, nullptr},
        Deadline{std::min(hold.valid_until(), Deadline{}.at(hold.now()))});
    if (!committed) {
        if (committed.errc() == Errc::outcome_unknown)
            hold.set_unresolved();
        return std::move(committed).failure();
    }
    return change.version;
}

/// The state that a lock on `argument` shows: the one given, or a fresh one with the key given.
template <class T, class K, class A>
T shown_state(A const& argument)
{
    if constexpr (std::same_as<std::remove_cvref_t<A>, T>) {
        return argument;
    } else {
        static_assert(
            requires(K k) { StateTraits<T>::from_key(std::move(k)); },
            "a lock shows a state: name it by a T, or give StateTraits<T> a from_key");
        if constexpr (std::same_as<std::remove_cvref_t<A>, Key>)
            return StateTraits<T>::from_key(KeyTraits<K>::decode(argument.bytes()));
        else
            return StateTraits<T>::from_key(static_cast<K>(argument));
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_CALLS_HPP
