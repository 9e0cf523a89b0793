// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RENEWALS_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RENEWALS_IPP

#include <interlock/core/detail/locks/renewals.hpp>
#include <interlock/core/kit/assertion.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
void LockRenewals<R>::renew_due(Shard& shard)
{
    Round round;
    {
        std::lock_guard lock(shard.mutex);
        shard.alarm_at = TimePoint::max();
        auto const now = this->runtime_.now();
        // What comes due a little later comes along: fewer alarms and fewer, larger trips.
        auto const early = this->in_place() ? std::chrono::nanoseconds{0} : this->options_.ttl.value() / 32;
        // All memory first: what fails half-way would lose leases.
        for (auto it = shard.schedule.begin(); it != shard.schedule.end() && it->due <= now + early; ++it)
            round.nodes.push_back(it->node);
        round.losses.reserve(round.nodes.size());
        round.answers.reserve(this->in_place() ? round.nodes.size() : 0);
        round.due.reserve(this->in_place() ? 0 : round.nodes.size());
        for (auto* const node : round.nodes)
            look_at(shard, node, now, early, round);
        if (!shard.schedule.empty() && shard.schedule.begin()->due < shard.alarm_at) {
            shard.alarm_at = shard.schedule.begin()->due;
            this->runtime_.arm(shard.alarm, shard.alarm_at);
        }
    }
    tell(round.losses);
    if (!round.due.empty())
        send_later(shard, std::move(round.due));
    if (this->options_.observer != nullptr)
        for (auto const& [code, lag] : round.answers)
            observe_renewal(code, lag);
}

template <Runtime R>
void LockRenewals<R>::renew_due_soon(Shard& shard) noexcept
{
    try {
        std::lock_guard lock(shard.mutex);
        auto const at = add(this->runtime_.now(), std::chrono::milliseconds{10});
        this->runtime_.arm(shard.alarm, at);
        shard.alarm_at = at;
    } catch (...) {
    }
}

template <Runtime R>
Outcome<void> LockRenewals<R>::renew_now(Holder& hold, TimePoint deadline)
{
    auto& shard = *hold.shard_;
    std::vector<LossNotice> losses;
    Outcome<std::chrono::nanoseconds> answer = Errc::lock_lost;
    {
        std::unique_lock lock(shard.mutex);
        await_renewal(hold, lock, deadline);
        auto const owner = hold.fence().owner;
        auto* const node = hold.node_;
        if (node != nullptr && node->second.line.renewal_under_way(owner))
            return Errc::deadline_exceeded;
        if (node == nullptr || !node->second.line.lease().renew_early(this->runtime_.now()))
            return Errc::lock_lost;
        auto const key = node->first;  // the node may belong to somebody else while the mutex is free
        if (!this->in_place()) {
            node->second.line.renewal_left();
            lock.unlock();
        }
        auto const sent = this->runtime_.now();
        answer = ask_to_renew(key, owner, Deadline{deadline});
        if (!this->in_place()) {
            lock.lock();
            returned(shard, key, owner);
        }
        if (hold.node_ != nullptr)
            apply_renewal(shard, hold.node_, sent, answer, losses);
    }
    shard.renewed.notify_all();
    tell(losses);
    return answer ? success() : Outcome<void>{std::move(answer).failure()};
}

template <Runtime R>
void LockRenewals<R>::revive(Holder& hold) noexcept
{
    std::lock_guard lock(hold.shard_->mutex);
    if (hold.node_ == nullptr)
        return;
    hold.node_->second.line.lease().set_renewed(this->options_.renew);
    try {
        this->schedule(*hold.shard_, hold.node_);
    } catch (...) {  // no alarm: it is lost when its lease is over
    }
}

template <Runtime R>
void LockRenewals<R>::await_renewal(Holder& hold, std::unique_lock<std::mutex>& lock, TimePoint until)
{
    INTERLOCK_ASSERT(lock.owns_lock() && lock.mutex() == &hold.shard_->mutex, "the shard's mutex is held");
    while (hold.node_ != nullptr && hold.node_->second.line.renewal_under_way(hold.fence().owner) &&
           this->runtime_.now() < until)
        this->runtime_.wait_until(hold.shard_->renewed, lock, until);
}

template <Runtime R>
void LockRenewals<R>::look_at(
    Shard& shard, Node* node, TimePoint now, std::chrono::nanoseconds early, Round& round)
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its lines");
    auto& line = node->second.line;
    if (line.promoted() != nullptr)
        return this->pass_over(shard, node);
    auto& lease = line.lease();
    if (lease.stopped())
        return this->unschedule(shard, node);
    std::optional<DueRenewal> due;
    if (!this->in_place())
        // Allocates: before anything changes.
        due.emplace(DueRenewal{node->first, line.owner(), lease.renew_at()});
    if (auto* const holder = node->second.holder;
        holder != nullptr && now - holder->granted_at() >= this->patience)
        if (holder->neglect())
            lease.set_renewed(false);
    auto const planned = lease.renew_at();
    switch (lease.tick(now, early)) {
    case LeaseMachine::Action::lost: return lose(shard, node, LostReason::expired, round.losses);
    case LeaseMachine::Action::renew:
        if (this->in_place()) {
            auto const answer = ask_to_renew(node->first, line.owner(), Deadline{});
            round.answers.push_back({answer.errc(), now - planned});
            return apply_renewal(shard, node, now, answer, round.losses);
        }
        round.due.push_back(*std::move(due));
        break;
    case LeaseMachine::Action::none: break;
    }
    this->schedule(shard, node);
}

template <Runtime R>
void LockRenewals<R>::send_later(Shard& shard, std::vector<DueRenewal> due)
{
    boost::asio::post(
        this->keeping_executor(),
        [weak = table().weak_from_this(), where = &shard, due = std::move(due)]() mutable {
            auto const self = weak.lock();
            if (!self)
                return;
            if (self->traits_.renews_together)
                return self->renew_together(*where, due);
            for (auto const& one : due)
                self->renew_together(*where, {&one, 1});
        });
}

template <Runtime R>
void LockRenewals<R>::renew_together(Shard& shard, std::span<DueRenewal const> due)
{
    std::vector<DueRenewal const*> sending;
    std::vector<Renewal> renewals;
    sending.reserve(due.size());
    renewals.reserve(due.size());
    {
        // A release waits for what is being sent, never for what is only queued: it may itself occupy the
        // thread that would send it.
        std::lock_guard lock(shard.mutex);
        for (auto const& one : due)
            if (auto* const node = still_wanted(shard, one.key, one.owner)) {
                node->second.line.renewal_left();
                sending.push_back(&one);
                renewals.push_back({&one.key, one.owner});
            }
    }
    if (sending.empty())
        return;
    auto const sent = this->runtime_.now();
    Deadline const deadline{std::min(add(sent, this->options_.ttl.value() / 3), Deadline{}.at(sent))};
    if (this->traits_.renews_together)
        settle_renewals(renewals, [&] {
            return this->store_.carry_out(verb::RenewAll{renewals, this->options_.ttl}, deadline);
        });
    else
        renewals[0].granted = ask_to_renew(*renewals[0].key, renewals[0].owner, deadline);
    std::vector<LossNotice> losses;
    {
        std::lock_guard lock(shard.mutex);
        for (auto const& renewal : renewals) {
            returned(shard, *renewal.key, renewal.owner);
            if (auto* const node = still_wanted(shard, *renewal.key, renewal.owner))
                apply_renewal(shard, node, sent, renewal.granted, losses);
        }
    }
    shard.renewed.notify_all();
    if (this->options_.observer != nullptr)
        for (std::size_t i = 0; i < sending.size(); ++i)
            observe_renewal(renewals[i].granted.errc(), sent - sending[i]->planned);
    tell(losses);
}

template <Runtime R>
void LockRenewals<R>::apply_renewal(
    Shard& shard, Node* node, TimePoint sent, Outcome<std::chrono::nanoseconds> const& answer,
    std::vector<LossNotice>& losses)
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its lines");
    auto& entry = node->second;
    auto& lease = entry.line.lease();
    auto const now = this->runtime_.now();
    if (answer && now >= lease.valid_until())  // its handle may have said so already: lost stays lost
        return lose(shard, node, LostReason::expired, losses);
    if (answer) {
        lease.renewed(sent, *answer);
    } else if (lease.renewal_failed(answer.errc(), now) == LeaseMachine::Action::lost) {
        return lose(
            shard, node, answer.cause() == Errc::not_found ? LostReason::removed : LostReason::taken, losses);
    } else if (entry.holder != nullptr) {
        losses.push_back({entry.holder->handle(), LostReason::none});
    }
    if (entry.holder != nullptr) {
        entry.holder->extend(lease.valid_until());
        entry.holder->set_in_doubt(lease.in_doubt());
    }
    if (!lease.stopped())
        this->schedule(shard, node);
}

template <Runtime R>
void LockRenewals<R>::lose(Shard& shard, Node* node, LostReason reason, std::vector<LossNotice>& losses)
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its lines");
    this->unschedule(shard, node);
    auto* const holder = node->second.holder;
    if (holder == nullptr) {  // it is being released
        node->second.line.lease().stop();
        return;
    }
    losses.push_back({holder->handle(), reason});
    this->detach_holder(*holder);
    // Woken under the mutex: rare.
    static_cast<void>(this->promote_next(shard, node, node->second.line.lost()));
}

template <Runtime R>
void LockRenewals<R>::observe_renewal(Errc code, std::chrono::nanoseconds lag) noexcept
{
    this->options_.observer->on_lock(
        {.kind = LockEvent::Kind::renewal, .result = code, .lag = lag, .lock = table().lock_info(nullptr)});
}

template <Runtime R>
void LockRenewals<R>::tell(std::vector<LossNotice> const& losses) noexcept
{
    auto* const observer = this->options_.observer;
    for (auto const& [hold, reason] : losses) {
        if (!hold)
            continue;
        if (reason != LostReason::none)
            hold->lose(reason);
        if (observer == nullptr)
            continue;
        observer->on_lock(
            {.kind = reason == LostReason::none ? LockEvent::Kind::in_doubt : LockEvent::Kind::lost,
             .token = hold->fence().token,
             .reason = reason,
             .lock = table().lock_info(static_cast<Holder const&>(*hold).key_.get())});
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_RENEWALS_IPP
