// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_LEADER_BEGINS_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_LEADER_BEGINS_HPP

#include <interlock/core/contracts/waiter.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What wakes a leader that begins, and notes when that was.
template <class Call>
class LeaderBegins final : public Waiter {
public:
    explicit LeaderBegins(Call& call) noexcept : call_(call) {}
    void wake() noexcept override
    {
        call_.is_due();
        wakes->wake();
    }
    Wakeup wake_later() noexcept override
    {
        call_.is_due();
        return wakes->wake_later();
    }
    bool may_block() const noexcept override { return wakes->may_block(); }

    Waiter* wakes{nullptr};

private:
    Call& call_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_LEADER_BEGINS_HPP
