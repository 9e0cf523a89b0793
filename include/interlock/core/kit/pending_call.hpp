// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_PENDING_CALL_HPP
#define INTERLOCK_CORE_KIT_PENDING_CALL_HPP

/// @file
/// One call of a store, made so that its caller need not know how: blocking where the caller has a thread to spare, else
/// started and looked at.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>

#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The outcome of a call that has returned, in the shape of one that may be under way.
template <class X>
struct Returned {
    Outcome<X> outcome;
    constexpr explicit operator bool() const noexcept { return true; }
    Outcome<X>& operator*() noexcept { return outcome; }
};

/// For stores that only block: nothing to remember.
template <class R, class X>
class PendingCall {
public:
    static constexpr bool under_way() noexcept { return false; }
    void give_up() noexcept {}

    /// The outcome of `block(repository)`, or of the call begun by `start(repository)`; nothing while there is none: ask
    /// again when `waiter` was woken.
    template <class Block, class Start>
    Returned<X> ask(R& repository, Waiter&, Block block, Start)
    {
        return {block(repository)};
    }
};

template <NonblockingRepository R, class X>
class PendingCall<R, X> {
public:
    bool under_way() const noexcept { return call_ != nullptr; }
    void give_up() noexcept { call_.reset(); }

    template <class Block, class Start>
    std::optional<Outcome<X>> ask(R& repository, Waiter& waiter, Block block, Start start)
    {
        if (!call_) {
            if (waiter.may_block() || !starts_calls(repository))
                return block(repository);
            call_ = start(repository);
        }
        auto outcome = call_->poll();
        if (outcome)
            call_.reset();
        return outcome;
    }

private:
    StartedCall<X> call_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_PENDING_CALL_HPP
