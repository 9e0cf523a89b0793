// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_LOCK_ACCESS_HPP
#define INTERLOCK_CORE_KIT_LOCK_ACCESS_HPP

/// @file
/// What locks and their service keep from a user, and show to the authors of policies.
///
/// A policy with leases waits for a lock in steps, so that an asynchronous call blocks no thread, and may
/// commit a write that ends the lock in the same trip. It needs the service's queue and the lock's inside for
/// that:
///
///     std::optional<LockAccess::Ticket<Locks>> ticket;                    // a place in the queue
///     ticket.emplace(LockAccess::table(locks), key, Wait::until_deadline, attempts);
///     auto step = ticket->poll(waiter, deadline);                         // again when woken, until it is
///                                                                         done

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/lock.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The only way to what `Lock`, `EfficiencyLock` and `LockStateService` keep private.
class LockAccess {
public:
    /// Null when the lock is empty.
    template <class L>
    static std::shared_ptr<detail::Hold> const& hold(L const& lock) noexcept
    {
        return lock.hold_;
    }
    /// What a call is told under a lock that is lost: the reason, in words.
    template <class L>
    static Failure lost(L const& lock)
    {
        return lock.lost();
    }
    /// Empties the handle without giving the lock back.
    template <class L>
    static std::shared_ptr<detail::Hold> detach(L& lock) noexcept
    {
        return std::move(lock.hold_);
    }

    /// All that copies of a service share: queue, renewals, releases.
    template <class Service>
    static auto const& table(Service const& service) noexcept
    {
        return service.table();
    }
    /// One caller's way to a lock of `Service`, and its way out of one. A `StateTicket` is made with one
    /// argument more, a `std::optional<Versioned<T>>&`: there the state is put that comes with the lock.
    template <class Service>
    using Ticket = typename std::remove_cvref_t<decltype(*table(std::declval<Service const&>()))>::Ticket;
    template <class Service>
    using StateTicket =
        typename std::remove_cvref_t<decltype(*table(std::declval<Service const&>()))>::StateTicket;
    template <class Service>
    using Releasing =
        typename std::remove_cvref_t<decltype(*table(std::declval<Service const&>()))>::Releasing;

    /// Nothing when locks on `key` can be had at all.
    template <class Service>
    static std::optional<Failure> unfit(Service const& service, Key const& key, Deadline deadline)
    {
        return service.table()->unfit(key, deadline);
    }
    /// Whether polling a ticket never blocks when its waiter says that it must not. The first call for a
    /// store asks whether it is fit, which may block.
    template <class Service>
    static bool in_place(Service const& service) noexcept
    {
        auto const& repository = service.repository();
        return runs_in_place(repository) || (starts_calls(repository) && service.table()->verified());
    }
    /// The state that a lock on `argument` shows.
    template <class Service, class A>
    static auto state_of(Service const&, A const& argument)
    {
        return Service::state_of(argument);
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_LOCK_ACCESS_HPP
