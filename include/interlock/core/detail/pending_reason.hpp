// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP
#define INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP

#include <interlock/core/outcome.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One that waits for the store, and others wait behind it. They ask it why, on their own threads: under
/// the mutex of their queue, and only between the moments at which it says that they may, and that they may
/// not any more, under that mutex, too. So whatever it asks belongs to one thread at a time. The queue
/// keeps this, and not each of those that wait, of whom there may be many.
struct PendingReason {
    void* whom{nullptr};  ///< null: nobody may be asked
    Failure (*ask)(void* whom) noexcept {nullptr};

    explicit operator bool() const noexcept { return whom != nullptr; }
    /// `ok`: nothing is known.
    Failure reason() const noexcept { return ask(whom); }
};

/// That asks `whom.pending_reason()`, which must not take the mutex.
template <class Whom>
PendingReason pending_reason_of(Whom& whom) noexcept
{
    return {&whom, [](void* w) noexcept { return static_cast<Whom*>(w)->pending_reason(); }};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP
