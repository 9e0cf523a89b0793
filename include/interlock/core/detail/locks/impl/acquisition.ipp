// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_ACQUISITION_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_ACQUISITION_IPP

#include <interlock/core/detail/answer_before.hpp>
#include <interlock/core/detail/locks/acquisition.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
auto Acquisition<R>::next(Waiter& waiter) -> std::optional<Holds>
{
    for (;;)
        switch (phase_) {
        case Phase::start:
            if (auto failure = enter(waiter)) {
                report(failure->errc(), false);
                return Holds{std::move(*failure)};
            }
            if (phase_ == Phase::queued)
                return Holds::pending();
            break;
        case Phase::queued:
            if (auto hold = look_for_turn())
                return Holds{std::in_place, std::move(hold)};
            if (phase_ == Phase::queued)
                return Holds::pending();
            break;
        case Phase::driving: begin_attempt(waiter); return std::nullopt;
        case Phase::done: return Holds{Errc::cancelled};
        }
}

template <Runtime R>
auto Acquisition<R>::granted(Waiter& waiter, Grant const& grant) -> Holds
{
    note_answer(table_->runtime_.now());
    unsubscribe(waiter);
    // If it throws, `abandon` gives the grant back.
    auto hold = table_->granted(node_, owner_, grant, sent_);
    doubt_.answered();
    phase_ = Phase::done;
    report(Errc::ok, false, hold->fence().token);
    return Holds{std::in_place, std::move(hold)};
}

template <Runtime R>
auto Acquisition<R>::refused(Waiter& waiter, Failure failure) -> std::optional<Holds>
{
    auto const now = table_->runtime_.now();
    note_answer(now);
    auto const code = failure.errc();
    // A state that cannot be decoded may have come with a grant, which is of no use then. That another
    // caller has the lock now is no answer about an earlier attempt: that one may still be on its way.
    doubt_.came(reads_state_ && code == Errc::corrupt_state ? Errc::outcome_unknown : code, false);
    bool const busy = code == Errc::lock_busy;
    // Unknown: the record may be ours. The store recognises the owner token when it is asked again with
    // the same one.
    bool const final = !busy && code != Errc::outcome_unknown && code != Errc::unavailable;
    if (final || (busy && wait_ == Wait::no) || attempts_ >= table_->options_.max_attempts ||
        attempts_ >= max_attempts_) {
        // Nothing was sent any more, so what the store said before is the reason; or it waited for the store,
        // and those in line hear why.
        auto const cause = failure.cause();
        auto before = code == Errc::deadline_exceeded ? reason() : Failure{Errc::ok};
        if (code == Errc::deadline_exceeded && cause != Errc::ok) {
            failure = with_answer_before(std::move(failure), before);
            note_refusal(Failure::because(cause, Failure{failure}));
        } else if (before.errc() != Errc::ok) {
            failure = Failure::because(code, std::move(before));
        }
        stop_driving();
        // What may have been granted is taken back.
        failure = std::move(failure).without_doubt();
        report(failure.errc(), false);
        return Holds{std::move(failure)};
    }
    note_refusal(failure);
    auto const wait_for = until_next_attempt(failure, busy);
    if (busy && wakes() && subscriber_ == nullptr) {
        subscribe(waiter);  // and look again at once, so that a release in between is not missed
        return std::nullopt;
    }
    return Holds::pending(add(now, wait_for));
}

template <Runtime R>
Failure Acquisition<R>::reason()
{
    if (table_->forked() || (phase_ != Phase::driving && phase_ != Phase::queued))
        return Errc::ok;
    auto& shard = table_->shard_of(*key_);
    std::lock_guard lock(shard.mutex);
    auto const& entry = node_->second;
    if (entry.refused)
        return *entry.refused;
    if (phase_ != Phase::queued)
        return Errc::ok;
    if (entry.holder != nullptr)
        return Errc::lock_busy;
    if (entry.pending)
        if (auto said = entry.pending.reason(); said.errc() != Errc::ok)
            return said;
    auto const place = table_->store_.place();
    return Failure{
        Errc::deadline_exceeded, (place.empty() ? "" : place + ": ") +
                                     "another caller of this service has asked for the lock, and the store "
                                     "has not answered"};
}

template <Runtime R>
void Acquisition<R>::let_ask(PendingReason whom) noexcept
{
    if (table_->forked() || node_ == nullptr)
        return;
    auto& shard = table_->shard_of(*key_);
    std::lock_guard lock(shard.mutex);
    node_->second.pending = whom;
}

template <Runtime R>
void Acquisition<R>::note_refusal(Failure const& failure)
{
    if (phase_ != Phase::driving)
        return;
    auto& shard = table_->shard_of(*key_);
    std::lock_guard lock(shard.mutex);
    auto& refused = node_->second.refused;
    // An attempt that the deadline cut short says less than what the store has said before.
    if (refused && failure.cause() == Errc::deadline_exceeded)
        return;
    if (refused)
        *refused = failure;
    else
        refused = std::make_unique<Failure>(failure);
}

template <Runtime R>
void Acquisition<R>::abandon() noexcept
{
    if (table_->forked())
        return;
    if (phase_ == Phase::driving) {
        stop_driving();
        return report_abandoned();
    }
    if (phase_ != Phase::queued)
        return;
    leave_queue();
    report_abandoned();
}

template <Runtime R>
void Acquisition<R>::leave_queue() noexcept
{
    phase_ = Phase::done;
    auto& shard = table_->shard_of(*key_);
    Wakeup wakeup;
    std::unique_lock lock(shard.mutex);
    if (this->received) {
        auto const hold = std::move(this->received);
        lock.unlock();
        report(Errc::ok, true, hold->fence().token);  // granted, and given back
        return hold->release(false);
    }
    auto& line = node_->second.line;
    if (line.leave(this) == Line::Left::turn) {
        table_->unschedule(shard, node_);
        wakeup = table_->promote_next(shard, node_, line.gave_up());
    } else {
        table_->lines_.count_out();
    }
}

template <Runtime R>
std::optional<Failure> Acquisition<R>::enter(Waiter& waiter)
{
    if (observer() != nullptr)
        report_begin();
    auto& shard = table_->shard_of(*key_);
    std::lock_guard lock(shard.mutex);
    node_ = shard.find_or_make(*key_);
    switch (node_->second.line.enter(this, wait_, [&] { return table_->lines_.count_in(); })) {
    case Line::Entered::drive: phase_ = Phase::driving; break;
    case Line::Entered::queue:
        this->caller = &waiter;
        phase_ = Phase::queued;
        break;
    case Line::Entered::busy:
        phase_ = Phase::done;
        return Failure::busy(Errc::lock_busy, std::chrono::nanoseconds{0});
    case Line::Entered::overloaded:
        phase_ = Phase::done;
        return Failure{Errc::overloaded, "waiters for locks: the limit is reached"};
    }
    return std::nullopt;
}

template <Runtime R>
void Acquisition<R>::report_begin() noexcept
{
    if (std::exchange(told_, true))
        return;
    entered_ = queued_until_ = table_->runtime_.now();
    observer()->on_acquire_begin(table_->lock_info(key_));
}

template <Runtime R>
void Acquisition<R>::report_end(Errc code, bool handed_on, FencingToken token) noexcept
{
    told_ = false;
    auto const now = table_->runtime_.now();
    bool const never_asked = handed_on || attempts_ == 0;
    auto const queue = (never_asked ? now : queued_until_) - entered_;
    observer()->on_acquire(
        {code, token, handed_on, attempts_, queue, store_time_,
         never_asked ? std::chrono::nanoseconds{0} : now - queued_until_ - store_time_,
         table_->lock_info(key_)});
}

template <Runtime R>
void Acquisition<R>::report_abandoned() noexcept
{
    if (told_) [[unlikely]]
        report_end(table_->runtime_.now() >= until_ ? Errc::deadline_exceeded : Errc::cancelled, false, {});
}

template <Runtime R>
std::shared_ptr<Hold> Acquisition<R>::look_for_turn()
{
    auto& shard = table_->shard_of(*key_);
    std::unique_lock lock(shard.mutex);
    if (this->received) {
        bool const lost_again = this->received->node_ == nullptr;  // this comes so late
        lock.unlock();
        if (lost_again)
            return start_over();
        phase_ = Phase::done;
        report(Errc::ok, true, this->received->fence().token);
        return std::move(this->received);
    }
    if (!this->promoted)
        return nullptr;
    phase_ = Phase::driving;
    node_->second.line.begin_driving(this);
    table_->unschedule(shard, node_);
    if (observer() != nullptr)
        queued_until_ = table_->runtime_.now();
    return nullptr;
}

template <Runtime R>
std::shared_ptr<Hold> Acquisition<R>::start_over() noexcept
{
    this->received->gone_.store(true, std::memory_order_relaxed);
    this->received.reset();
    this->source = StateSource::none;
    phase_ = Phase::start;
    return nullptr;
}

template <Runtime R>
void Acquisition<R>::begin_attempt(Waiter& waiter)
{
    if (!owner_) {
        owner_ = new_owner_token(table_->runtime_);
        if (this->promoted && wait_ != Wait::no)
            subscribe(waiter);  // whoever gave the lease up may have done so for somebody elsewhere
    }
    if (asking_)
        return;
    sent_ = table_->runtime_.now();
    ++attempts_;
    doubt_.sent();
}

template <Runtime R>
std::chrono::nanoseconds Acquisition<R>::until_next_attempt(Failure const& failure, bool busy) const
{
    auto const& options = table_->options_;
    auto wait_for = options.poll.delay(attempts_, table_->runtime_.random_bits());
    if (busy && wakes())
        wait_for = options.poll.cap;  // the net under a lost wake-up
    auto const hint = failure.retry_after();
    return hint.count() > 0 && hint < wait_for ? hint : wait_for;
}

template <Runtime R>
void Acquisition<R>::stop_driving() noexcept
{
    phase_ = Phase::done;
    bool const in_line = subscriber_ != nullptr && attempts_ > 0;
    if (subscriber_ != nullptr)
        unsubscribe(*subscriber_);
    if (doubt_.open() || in_line)
        table_->take_back_unconfirmed(*key_, owner_, doubt_);  // a grant that arrives late is given back
    auto& shard = table_->shard_of(*key_);
    Wakeup wakeup;
    std::lock_guard lock(shard.mutex);
    wakeup = table_->promote_next(shard, node_, node_->second.line.gave_up());
}

template <Runtime R>
void Acquisition<R>::subscribe(Waiter& waiter)
{
    if (!wakes())
        return;
    table_->store_.subscribe(*key_, owner_, waiter);
    subscriber_ = &waiter;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_ACQUISITION_IPP
