// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_STORE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_STORE_HPP

// The door of a lock table to its store. A table knows keys, owners and leases, but neither the type of the
// states nor that of the repository, so that its code is compiled once and not once per state. Renewals and
// removals go through this door. The attempts to get a lock do not: each caller asks for itself, see
// `Acquisition`.

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/detail/erased_verbs.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a table does before it gives out the first lock of its store.
enum class FenceCheck : unsigned char {
    none,      ///< nothing: the store has no fences
    reported,  ///< asks whether the fences hold, for the observer; the lock is granted either way
    required,  ///< asks whether the fences hold, and grants nothing until they do
};

/// What a table asks about its store once, when it is made.
struct LockStoreTraits {
    /// As of a repository; `starts_calls` and `wakes_waiters` are true only where the store has such members.
    Capabilities can;
    /// Whether the store renews several leases in fewer trips.
    bool renews_together{false};
    FenceCheck fences{FenceCheck::none};
};

/// What a lock table needs of its store besides verbs. Each function does what that of the repository does.
class LockStoreBase {
public:
    virtual ~LockStoreBase() = default;
    virtual void const* identity() const noexcept = 0;
    virtual std::string place() const = 0;
    virtual std::string_view kind() const noexcept = 0;
    virtual std::string_view system() const noexcept = 0;
    virtual void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const = 0;
    virtual void unsubscribe(Key const& key, Waiter& waiter) const noexcept = 0;
    virtual bool wanted(Key const& key, OwnerToken owner) const = 0;
    /// Moves a state from one holder to the next. `from` points to a `Versioned<T>` of the repository's `T`,
    /// `to` to a `std::optional` of that. False: it could not be moved, and `to` holds nothing.
    virtual bool move_state(void* from, void* to) const noexcept = 0;
};

/// The store of one lock table.
using LockStore = Starting<Carrying<LockStoreBase, verb::LockVerbs>, verb::StartedLockVerbs>;

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_STORE_HPP
