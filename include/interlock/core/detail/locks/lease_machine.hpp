// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LEASE_MACHINE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LEASE_MACHINE_HPP

// Decides when a lease is renewed and until when it may be believed. No I/O, no clock, no thread.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/observer.hpp>

#include <algorithm>
#include <chrono>

namespace interlock {
inline namespace v0 {
namespace detail {

struct LeaseTerms {
    std::chrono::nanoseconds ttl{0};
    /// By how much clock rates may differ: 0.01 is one percent.
    double drift{0.01};
    /// Kept in hand for what happens between the last check and the write.
    std::chrono::nanoseconds margin{std::chrono::milliseconds{5}};
    bool renew{true};
};

class LeaseMachine {
public:
    enum class Action : unsigned char {
        none,
        renew,  ///< send a renewal now, then call `renewed` or `renewal_failed`
        lost,   ///< the lease can no longer be believed
    };

    LeaseMachine() = default;
    explicit LeaseMachine(LeaseTerms terms) noexcept : terms_(terms) {}

    /// `sent`: before the request left. Counting from the reply would trust the slowest packet (law P6).
    void granted(TimePoint sent, std::chrono::nanoseconds ttl) noexcept
    {
        in_doubt_ = false;
        renewing_ = false;
        stopped_ = false;
        extend(sent, ttl);
    }

    /// At `now`, and again at `next()`. `early`: what comes due so soon is renewed along with others.
    Action tick(TimePoint now, std::chrono::nanoseconds early = {}) noexcept
    {
        if (stopped_)
            return Action::none;
        if (now >= valid_until_) {
            stopped_ = true;
            return Action::lost;
        }
        if (terms_.renew && !renewing_ && now + early >= renew_at_) {
            renewing_ = true;
            return Action::renew;
        }
        return Action::none;
    }

    /// A renewal out of turn. True: send it now. False: the lease is over.
    bool renew_early(TimePoint now) noexcept
    {
        if (stopped_ || now >= valid_until_)
            return false;
        renewing_ = true;
        return true;
    }

    void renewed(TimePoint sent, std::chrono::nanoseconds ttl) noexcept
    {
        renewing_ = false;
        if (stopped_)
            return;
        in_doubt_ = false;
        extend(sent, ttl);
    }

    /// The old end of the lease stands; only a confirmed later one may replace it.
    Action renewal_failed(Errc code, TimePoint now) noexcept
    {
        renewing_ = false;
        if (stopped_)
            return Action::none;
        if (code == Errc::lock_lost || code == Errc::fenced_out) {
            stopped_ = true;
            return Action::lost;
        }
        in_doubt_ = true;
        renew_at_ =
            add(now, std::max<std::chrono::nanoseconds>(terms_.ttl / 20, std::chrono::milliseconds{2}));
        return Action::none;
    }

    /// Whether it is renewed at all from now on.
    void set_renewed(bool renew) noexcept { terms_.renew = renew; }
    bool renewed() const noexcept { return terms_.renew; }
    /// Released: no renewal from now on (law P9).
    void stop() noexcept { stopped_ = true; }

    TimePoint valid_until() const noexcept { return valid_until_; }
    TimePoint next() const noexcept
    {
        return terms_.renew && !renewing_ ? std::min(renew_at_, valid_until_) : valid_until_;
    }
    TimePoint renew_at() const noexcept { return renew_at_; }
    bool in_doubt() const noexcept { return in_doubt_; }
    bool renewing() const noexcept { return renewing_; }
    bool stopped() const noexcept { return stopped_; }

private:
    void extend(TimePoint sent, std::chrono::nanoseconds ttl) noexcept
    {
        auto const usable = std::chrono::nanoseconds{static_cast<std::chrono::nanoseconds::rep>(
                                static_cast<double>(ttl.count()) * (1.0 - terms_.drift))} -
                            std::min(terms_.margin, ttl / 10);
        valid_until_ = std::max(valid_until_, add(sent, usable));
        renew_at_ = add(sent, ttl / 3);
    }

    LeaseTerms terms_{};
    TimePoint valid_until_{};
    TimePoint renew_at_{};
    bool in_doubt_{false};
    bool renewing_{false};
    bool stopped_{true};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LEASE_MACHINE_HPP
