// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_TABLE_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_TABLE_IPP

#include <interlock/core/detail/locks/lock_table.hpp>
#include <interlock/core/kit/assertion.hpp>

#include <algorithm>
#include <chrono>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
LockTable<R>::LockTable(LockStore& store, R runtime, LockStoreTraits traits, LockOptions options)
    : Base(store, std::move(runtime), traits, options), wrong_option_(wrong_option(options))
{
    for (auto& shard : this->lines_.shards())
        shard.alarm.table = this;
    if (options.observer != nullptr)
        place_ = store.place();
}

template <Runtime R>
LockTable<R>::~LockTable()
{
    if (this->forked())
        return;
    for (auto& shard : this->lines_.shards())
        if (shard.alarm_used)
            this->runtime_.cancel(shard.alarm);
}

template <Runtime R>
void LockTable<R>::close() noexcept
{
    if (this->forked())
        return;
    {
        std::unique_lock lock(removals_mutex_);
        auto const until = add(this->runtime_.now(), std::chrono::seconds{1});
        while (removals_ > 0 && this->runtime_.now() < until)
            this->runtime_.wait_until(removals_ended_, lock, until);
    }
    silent_.store(true);
    for (auto observing = observing_.load(); observing != 0; observing = observing_.load())
        observing_.wait(observing);
}

template <Runtime R>
std::optional<Failure> LockTable<R>::unfit(Key const& key, Deadline deadline)
{
    if (this->forked())
        return Failure{
            Errc::misconfigured, "this lock service was made before a fork; make a new one in the child"};
    if (wrong_option_ != nullptr)
        return Failure{Errc::invalid_argument, std::string{"lock options: "} + wrong_option_};
    if (auto valid = key.validate(); !valid)
        return std::move(valid).failure();
    if (this->traits_.fences == FenceCheck::required) {
        // A server that answers, and has no time just now, is asked again by whoever comes for the lock.
        if (auto failure = unverified(deadline);
            failure && (failure->errc() != Errc::unavailable || failure->store_code().empty()))
            return failure;
    } else if (this->traits_.fences == FenceCheck::reported) {
        // Asked for those who listen only: the lock is granted either way.
        auto* const observer = this->options_.observer;
        if (observer != nullptr && !verified_.exchange(true, std::memory_order_acq_rel))
            if (auto verified = this->store_.carry_out(verb::VerifyFencing{}, deadline);
                !verified && verified.errc() == Errc::misconfigured)
                observer->on_unsafe_store(verified.detail());
    }
    return std::nullopt;
}

template <Runtime R>
std::optional<Failure> LockTable<R>::unverified(Deadline deadline)
{
    if (this->traits_.fences != FenceCheck::required || verified_.load(std::memory_order_acquire)) [[likely]]
        return std::nullopt;
    if (auto verified = this->store_.carry_out(verb::VerifyFencing{}, deadline); !verified)
        return std::move(verified).failure();
    verified_.store(true, std::memory_order_release);
    return std::nullopt;
}

template <Runtime R>
void LockTable<R>::released_by_commit(Hold& hold) noexcept
{
    auto& own = static_cast<Holder&>(hold);
    hold.lose(LostReason::released);
    own.gone_.store(true, std::memory_order_relaxed);
    {
        Wakeup wakeup;
        std::unique_lock lock(own.shard_->mutex);
        if (own.node_ != nullptr) {  // else it was lost, and somebody else may hold it by now
            auto* const node = this->detach_holder(own);
            this->unschedule(*own.shard_, node);
            wakeup = this->promote_next(*own.shard_, node, node->second.line.lost());
        }
    }
    observe_release(
        Errc::ok, own, false, this->options_.observer != nullptr ? this->runtime_.now() : TimePoint{});
}

template <Runtime R>
auto LockTable<R>::make_hold(Shard& shard, Node* node, TimePoint now) -> std::shared_ptr<Holder>
{
    INTERLOCK_ASSERT(is_locked(shard.mutex), "the shard's mutex guards its lines");
    auto& entry = node->second;
    auto& line = entry.line;
    // Its memory first: a hold that is made must not go before it is the holder.
    std::unique_ptr<Key const> key;
    if (this->options_.observer != nullptr && this->options_.observer->hears_keys())
        key = std::make_unique<Key const>(node->first);
    auto const token = line.hold();
    auto hold = Holder::make(
        this->shared_from_this(), shard, node, line.owner(), token, line.lease().valid_until(), now);
    hold->set_in_doubt(line.lease().in_doubt());
    hold->key_ = std::move(key);
    entry.holder = hold.get();
    return hold;
}

template <Runtime R>
std::shared_ptr<Hold> LockTable<R>::granted(Node* node, OwnerToken owner, Grant const& grant, TimePoint sent)
{
    auto& shard = this->shard_of(node->first);
    std::lock_guard lock(shard.mutex);
    auto& line = node->second.line;
    line.granted(owner, grant, sent, this->options_);
    node->second.refused.reset();
    try {
        this->schedule(shard, node);
        return make_hold(shard, node, sent);
    } catch (...) {
        line.not_held();
        this->unschedule(shard, node);
        throw;
    }
}

template <Runtime R>
void LockTable<R>::take_back_unconfirmed(Key const& key, OwnerToken owner, Doubt doubt) noexcept
{
    if (this->in_place() && !was_in_vain(this->store_.carry_out(verb::Remove{key, owner}, Deadline{})))
        return;
    bool const may_come = doubt.open() && !this->in_place() && may_take_back_long();
    std::chrono::nanoseconds const lease = this->options_.ttl.value();
    auto const until = add(
        this->runtime_.now(), may_come ? std::max<std::chrono::nanoseconds>(lease, take_back_time) : lease);
    RemovalMachine const machine{
        this->options_.poll, until, {}, static_cast<unsigned char>(may_come ? 2 : 0)};
    UnconfirmedGrant<R>::take_back(this->shared_from_this(), key, owner, machine);
}

template <Runtime R>
Outcome<void> LockTable<R>::release(Holder& hold, bool unresolved, bool report)
{
    auto const now = this->runtime_.now();
    auto const deadline = Deadline{}.at(now);
    auto const until = report ? deadline : now;
    auto const status = hold.status(now);
    auto ended = end_hold(hold, status, unresolved, until, now);
    if (ended.done)
        return *std::move(ended.done);
    auto* const node = ended.node;
    auto removal = new_removal(hold.valid_until());
    if (!this->in_place() && !report) {
        // A destructor must not block. Later acquires of this process queue behind the removal.
        hold.remove_record(node, removal, nullptr);
        observe_release(Errc::ok, hold, false, now);
        return success();
    }
    for (;;) {
        auto removed = remove(node, hold.fence().owner, Deadline{deadline});
        auto const action = removal.answered(removed, this->runtime_);
        if (action == RemovalMachine::Action::over && go_on(hold, node, removed))
            return released(hold, status, removed, now);
        if (action == RemovalMachine::Action::ask_again && removal.again_at() < until) {
            this->runtime_.sleep_until(removal.again_at());
            continue;
        }
        // What was done so far did not finish the removal: it has to be repeated, or a renewal of this
        // lease is still on its way, behind which the record is removed once more. The hold's
        // `RecordRemoval` takes over from here.
        if (action == RemovalMachine::Action::over) {
            hold.remove_record(node, new_removal(hold.valid_until()), nullptr);
        } else {
            hold.remove_record(node, new_removal(hold.valid_until(), removal.doubt()), nullptr);
            removed = std::move(removed).failure().in_doubt();  // the attempts that follow may be applied
        }
        return released(hold, status, removed, now);
    }
}

template <Runtime R>
bool LockTable<R>::go_on(Holder const& hold, Node* node, Outcome<Removal> const& removed) noexcept
{
    auto& shard = *hold.shard_;
    Wakeup wakeup;
    std::lock_guard lock(shard.mutex);
    auto& line = node->second.line;
    if (!removed)  // nobody will ask again
        wakeup = this->promote_next(shard, node, line.lapsed());
    else if (line.renewal_under_way(hold.fence().owner))
        return false;
    else
        wakeup = this->promote_next(shard, node, line.removed());
    return true;
}

template <Runtime R>
auto LockTable<R>::end_hold(Holder& hold, LockStatus status, bool unresolved, TimePoint until, TimePoint now)
    -> HoldEnd
{
    // By the clock: the alarm that says so may be on its way.
    bool const lost = status == LockStatus::lost && hold.lost_reason() != LostReason::released;
    hold.lose(LostReason::released);
    auto& shard = *hold.shard_;
    std::unique_lock lock(shard.mutex);
    if (until > now)
        this->await_renewal(hold, lock, until);
    if (hold.node_ == nullptr) {  // lost, and somebody else may hold it by now
        lock.unlock();
        auto const code = !lost && hold.lost_reason() == LostReason::released ? Errc::ok : Errc::lock_lost;
        observe_release(code, hold, false, now);
        return {code == Errc::ok ? success() : Outcome<void>{Failure{code}.explained(this->store_.place())}};
    }
    auto* const node = this->detach_holder(hold);
    auto& line = node->second.line;
    auto const action = line.released(
        now, unresolved, this->options_, [&] { return wanted_elsewhere(node->first, line.owner()); });
    if (action == std::remove_reference_t<decltype(line)>::Released::hand_on) {
        if (auto wakeup = hand_on(hold, node, now)) {
            lock.unlock();
            wakeup->fire();
            observe_release(Errc::ok, hold, true, now);
            return {success()};
        }
        line.not_handed_on();
    }
    this->unschedule(shard, node);
    return {std::nullopt, node};
}

template <Runtime R>
std::optional<Wakeup> LockTable<R>::hand_on(Holder& before, Node* node, TimePoint now)
{
    std::shared_ptr<Holder> hold;
    try {
        hold = make_hold(*before.shard_, node, now);
    } catch (std::bad_alloc const&) {
        return std::nullopt;
    }
    auto* const next = node->second.line.take_next();
    this->lines_.count_out();
    next->received = std::move(hold);
    if (auto* const state = std::exchange(before.written_, nullptr); state != nullptr && next->slot)
        if (this->store_.move_state(state, next->slot))
            next->source = StateSource::holder;
    return next->caller->wake_later();
}

template <Runtime R>
Outcome<void> LockTable<R>::released(
    Holder const& hold, LockStatus status, Outcome<Removal> const& removed, TimePoint now)
{
    Errc code = removed.errc();
    // No record while the lease runs: somebody else has removed it, an operator or the store.
    bool const broken = removed && *removed == Removal::gone && this->runtime_.now() < hold.valid_until();
    if (removed && (broken || *removed == Removal::taken || status == LockStatus::lost))
        code = Errc::lock_lost;
    observe_release(code, hold, false, now);
    if (!removed)
        return removed.failure();
    return code == Errc::ok ? success() : Outcome<void>{Failure{code}.explained(this->store_.place())};
}

template <Runtime R>
void LockTable<R>::observe_late_failure(Errc code) noexcept
{
    auto* const observer = this->options_.observer;
    if (observer == nullptr)
        return;
    observing_.fetch_add(1);
    if (!silent_.load())
        observer->on_release({code, {}, false, {}, lock_info(nullptr)});
    observing_.fetch_sub(1);
    observing_.notify_all();
}

template <Runtime R>
void LockTable<R>::removal_ends() noexcept
{
    {
        std::lock_guard lock(removals_mutex_);
        --removals_;
    }
    removals_ended_.notify_all();
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_LOCK_TABLE_IPP
