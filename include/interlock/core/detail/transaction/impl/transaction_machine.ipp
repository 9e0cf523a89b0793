// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_TRANSACTION_MACHINE_IPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_TRANSACTION_MACHINE_IPP

#include <interlock/core/detail/transaction/transaction_machine.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL Action
TransactionMachine::looked_up(bool answered, Errc code, TimePoint now, std::uint64_t random) noexcept
{
    if (answered)
        return finish_replayed();
    if (code != Errc::ok)
        return worth_beginning_again(code) ? retry(code, Action::look_up, now, random) : roll_back(code);
    if (cancelled_)
        return finish(Errc::cancelled);
    return next_attempt();
}

INTERLOCK_DECL Action
TransactionMachine::not_verified(Errc code, TimePoint now, std::uint64_t random) noexcept
{
    return worth_running_again(code) ? retry(code, Action::begin, now, random) : roll_back(code);
}

INTERLOCK_DECL Action TransactionMachine::again(TimePoint now) noexcept
{
    if (cancelled_)
        return roll_back(Errc::cancelled);
    if (now >= deadline_)
        return roll_back(Errc::deadline_exceeded);
    return Action::begin;
}

INTERLOCK_DECL Action
TransactionMachine::commit_failed(Errc code, Errc cause, TimePoint now, std::uint64_t random) noexcept
{
    if (code == Errc::outcome_unknown) {
        unknown_cause_ = cause;
        if (has_id_ != HasId::no)
            return Action::resolve;
        // Without an id it is never tried again: it may have been applied.
        return roll_back(Errc::outcome_unknown, cause);
    }
    if (!guarded_)  // the operation has run; only its record was refused
        return roll_back(Errc::outcome_unknown, code);
    if (code == Errc::lock_busy && waits_when_busy_ && !cancelled_ && now < deadline_) {
        last_error_ = code;
        return next_attempt();
    }
    if (worth_running_again(code))
        return retry(code, Action::begin, now, random);
    return roll_back(code);
}

INTERLOCK_DECL Action TransactionMachine::resolved(Resolved how, TimePoint now, std::uint64_t random) noexcept
{
    switch (how) {
    case Resolved::applied: return finish_replayed();
    case Resolved::not_applied:
        if (!guarded_)  // the operation has run; only its record was refused
            return roll_back(Errc::outcome_unknown, unknown_cause_);
        // This attempt is forbidden for good, so the same operation may run under its next attempt.
        return retry(Errc::unavailable, Action::begin, now, random);
    case Resolved::unknown: break;
    }
    Backoff const waits{.initial = initial_, .cap = cap_, .immediate = 0};
    auto const at = add(now, waits.delay(++resolutions_, random));
    if (at >= deadline_)
        return roll_back(Errc::outcome_unknown, unknown_cause_);
    wake_at_ = at;
    after_sleep_ = Action::resolve;
    return Action::sleep;
}

INTERLOCK_DECL Action TransactionMachine::slept(TimePoint now) noexcept
{
    if (after_sleep_ == Action::resolve) {
        if (now >= deadline_)
            return roll_back(Errc::outcome_unknown, unknown_cause_);
        return Action::resolve;
    }
    if (cancelled_)
        return roll_back(Errc::cancelled);
    if (now >= deadline_)
        return roll_back(Errc::deadline_exceeded);
    if (after_sleep_ == Action::begin)
        return next_attempt();
    return after_sleep_;
}

INTERLOCK_DECL Action TransactionMachine::concluded(bool answered, Errc code, Errc cause) noexcept
{
    if (code != Errc::ok) {
        result_ = code;
        cause_ = cause;
        threw_ = replayed_ = false;
    } else if (answered) {
        result_ = Errc::ok;
        threw_ = false;
        replayed_ = true;
    }
    return Action::finish;
}

INTERLOCK_DECL Action
TransactionMachine::retry(Errc code, Action again, TimePoint now, std::uint64_t random) noexcept
{
    last_error_ = code;
    ++retries_;
    if (retries_ >= max_attempts_)
        return roll_back(code);
    if (cancelled_)
        return roll_back(Errc::cancelled);
    auto const delay = limits().backoff.delay(retries_, random);
    wake_at_ = add(now, delay);
    if (wake_at_ >= deadline_)
        return roll_back(Errc::deadline_exceeded);
    after_sleep_ = again;
    if (delay.count() == 0)
        return again == Action::begin ? next_attempt() : again;
    return Action::sleep;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_TRANSACTION_MACHINE_IPP
