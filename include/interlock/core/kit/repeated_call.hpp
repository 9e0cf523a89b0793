// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_REPEATED_CALL_HPP
#define INTERLOCK_CORE_KIT_REPEATED_CALL_HPP

/// @file
/// A call of a store that nobody waits for and that is repeated until the store has answered, or until a
/// time: the removal of a lock record whose holder has gone, and the end of an idempotency claim whose call
/// has gone.
///
///     class Removal final : public Counted, public RepeatedCall<Removal> {
///         void attempt() noexcept                     // on a thread of `executor()`
///         {
///             auto const removed = repository_.carry_out(verb::Remove{key_, owner_}, until_);
///             is_no_answer(removed.errc()) ? again() : end();
///         }
///     };
///
/// Nobody waits for such a call, so nobody may be hurt by it: it occupies no thread between two attempts,
/// and it cannot fail for want of memory.

#include <interlock/core/backoff.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <boost/asio/post.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether a failure with this code says nothing about what was asked for, so that it is worth asking again.
inline bool is_no_answer(Errc code) noexcept
{
    switch (code) {
    case Errc::unavailable:
    case Errc::outcome_unknown:
    case Errc::deadline_exceeded:
    case Errc::overloaded: return true;
    default: return false;
    }
}

/// When to ask again. No clock and no randomness of its own.
class Repetition {
public:
    /// `polls`: how long to wait between attempts. `until`: no attempt is made at that time or later.
    Repetition(Backoff const& polls, TimePoint until) noexcept : polls_(polls), until_(until) {}

    /// An attempt came to nothing. Returns when to make the next one; `TimePoint::max()`: never.
    TimePoint next(TimePoint now, std::uint64_t random_bits) noexcept
    {
        auto const at = add(now, polls_.delay(++attempts_, random_bits));
        return at < until_ ? at : TimePoint::max();
    }

private:
    Backoff polls_;
    TimePoint until_;
    int attempts_{0};
};

/// Makes the attempts: each on a thread of an executor, the next one when an alarm rings. A store that is
/// away for a while therefore occupies no thread. Neither of the two can fail for want of memory: when there
/// is none for the executor's task, an alarm rings a little later and it is tried again.
///
/// `Derived` has `runtime()`, `executor()`, the two members that `Ref` needs, and `attempt()`, which is
/// `noexcept` and runs on a thread of that executor. It calls `end` once there is nothing more to do, while
/// somebody still has a reference to it.
template <class Derived>
class RepeatedCall : public Alarm {
protected:
    RepeatedCall() = default;
    ~RepeatedCall() = default;

    void attempt_soon() noexcept
    {
        WithoutCancellation const whole;
        try {
            boost::asio::post(derived().executor(), [self = Ref<Derived>(&derived())] { self->attempt(); });
        } catch (...) {
            static_cast<void>(attempt_at(add(derived().runtime().now(), std::chrono::milliseconds{10})));
        }
    }

    /// False: there is no alarm, since the process could not start the thread that rings.
    bool attempt_at(TimePoint at) noexcept
    {
        keep();
        alarm_used_.store(true, std::memory_order_relaxed);
        try {
            derived().runtime().arm(*this, at);
            return true;
        } catch (...) {
            return false;
        }
    }

    /// The alarm has rung.
    void ring() noexcept override { attempt_soon(); }

    /// Whoever will ring or call back holds no reference, so this keeps itself from now on, until `end`.
    void keep() noexcept
    {
        if (!kept_.exchange(true, std::memory_order_acq_rel))
            derived().add_reference();
    }
    void end() noexcept
    {
        if (alarm_used_.load(std::memory_order_relaxed))
            derived().runtime().cancel(*this);
        if (kept_.exchange(false, std::memory_order_acq_rel))
            derived().drop_reference();
    }

private:
    Derived& derived() noexcept { return static_cast<Derived&>(*this); }

    std::atomic<bool> kept_{false};
    std::atomic<bool> alarm_used_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_REPEATED_CALL_HPP
