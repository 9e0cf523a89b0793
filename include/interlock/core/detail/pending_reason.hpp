// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP
#define INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP

#include <interlock/core/outcome.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One that waits for the store, and others wait behind it. They ask it why, on their own threads: under
/// the mutex of their queue, and only between the moments at which it says that they may, and that they may
/// not any more, under that mutex, too. So whatever it asks belongs to one thread at a time.
class PendingReason {
public:
    /// `ok`: nothing is known. It must not take the mutex.
    virtual Failure pending_reason() noexcept = 0;

protected:
    PendingReason() = default;
    PendingReason(PendingReason const&) = default;
    PendingReason& operator=(PendingReason const&) = default;
    ~PendingReason() = default;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_PENDING_REASON_HPP
