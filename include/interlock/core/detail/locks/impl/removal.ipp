// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_IMPL_REMOVAL_IPP
#define INTERLOCK_CORE_DETAIL_LOCKS_IMPL_REMOVAL_IPP

#include <interlock/core/detail/locks/removal.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
void RecordRemoval<R>::start() noexcept
{
    if (!starts_)
        return this->attempt_soon();
    try {
        send();
    } catch (...) {  // no memory
        static_cast<void>(ask_again_at(add(runtime().now(), std::chrono::milliseconds{10})));
    }
}

template <Runtime R>
std::optional<Outcome<Removal>> RecordRemoval<R>::poll()
{
    std::optional<Outcome<Removal>> removed;
    {
        std::lock_guard lock(mutex_);
        if (call_) {
            removed = take_answer();
            if (!removed)
                return std::nullopt;
        }
    }
    if (removed) {
        if (!record_attempt(*removed) || !release_line(*removed, false))
            return std::nullopt;
        uncount();
        return removed;
    }
    std::lock_guard lock(waiter_mutex_);
    return std::exchange(removed_, std::nullopt);
}

template <Runtime R>
void RecordRemoval<R>::abandon() noexcept
{
    {
        std::lock_guard lock(waiter_mutex_);
        waiter_ = nullptr;
        if (removed_)
            return;
    }
    if (starts_)  // a blocking call goes on where it is
        wake();   // what the waiter was woken for last may have been this
}

template <Runtime R>
void RecordRemoval<R>::wake() noexcept
{
    {
        std::lock_guard lock(waiter_mutex_);
        if (waiter_ != nullptr)
            return waiter_->wake();
    }
    this->attempt_soon();
}

template <Runtime R>
void RecordRemoval<R>::ring() noexcept
{
    {
        std::lock_guard lock(mutex_);
        // Not when the alarm is set: whoever looks before it rings would begin an attempt.
        again_ = std::exchange(alarm_means_again_, false) || again_;
    }
    this->attempt_soon();
}

template <Runtime R>
bool RecordRemoval<R>::ask_again_at(TimePoint at) noexcept
{
    {
        std::lock_guard lock(mutex_);
        alarm_means_again_ = true;
    }
    return this->attempt_at(at);
}

template <Runtime R>
std::optional<Outcome<Removal>> RecordRemoval<R>::take_answer()
{
    INTERLOCK_ASSERT(is_locked(mutex_), "the mutex guards the call that is under way");
    auto removed = call_->poll();
    if (removed) {
        call_.reset();
        first_ = false;
    }
    return removed;
}

template <Runtime R>
void RecordRemoval<R>::attempt() noexcept
{
    std::optional<Outcome<Removal>> removed;
    try {
        std::lock_guard lock(mutex_);
        bool const again = std::exchange(again_, false);
        if (call_) {
            removed = take_answer();
            if (!removed)
                return;
        } else if (starts_ && !again) {
            return;  // woken more than once
        }
    } catch (...) {  // no memory for the answer: it may have been removed
        removed.emplace(Failure::unknown(Errc::overloaded));
    }
    if (!removed)
        removed = ask();
    if (removed && record_attempt(*removed) && release_line(*removed, true))
        report(std::move(*removed));
}

template <Runtime R>
std::optional<Outcome<Removal>> RecordRemoval<R>::ask() noexcept
{
    try {
        if (!starts_)
            return remove();
        send();
        return std::nullopt;
    } catch (...) {  // no memory
        return starts_ ? Outcome<Removal>{Errc::unavailable}
                       : Outcome<Removal>{Failure::unknown(Errc::overloaded)};
    }
}

template <Runtime R>
void RecordRemoval<R>::send()
{
    // It may end, on another thread, before it is there to be looked at.
    std::lock_guard lock(mutex_);
    call_ = table_.store_.start(verb::Remove{key_, owner_}, Deadline{}, *this);
    this->keep();
}

template <Runtime R>
bool RecordRemoval<R>::record_attempt(Outcome<Removal>& removed) noexcept
{
    if (machine_.answered(removed, runtime()) == RemovalMachine::Action::over)
        return true;
    if (ask_again_at(machine_.again_at()))
        return false;
    machine_.give_up();  // no alarm: the record ends with its lease
    return true;
}

template <Runtime R>
bool RecordRemoval<R>::release_line(Outcome<Removal>& removed, bool may_wait) noexcept
{
    this->end();
    if (node_ == nullptr)
        return true;
    auto& shard = table_.shard_of(key_);
    Wakeup wakeup;
    std::unique_lock lock(shard.mutex);
    auto& line = node_->second.line;
    WithoutCancellation const whole;
    if (!may_wait && line.renewal_under_way(owner_)) {
        try {
            boost::asio::post(executor(), [self = Ref<RecordRemoval>(this), removed]() mutable {
                if (self->release_line(removed, true))
                    self->report(std::move(removed));
            });
            return false;
        } catch (...) {  // no memory: this thread waits for the one trip
        }
    }
    shard.renewed.wait(lock, [&] { return !line.renewal_under_way(owner_); });
    auto* const node = std::exchange(node_, nullptr);
    wakeup = table_.promote_next(shard, node, line.removed());
    return true;
}

template <Runtime R>
void RecordRemoval<R>::report(Outcome<Removal> removed) noexcept
{
    if (reports_) {
        std::lock_guard lock(waiter_mutex_);
        removed_.emplace(std::move(removed));
        if (waiter_ != nullptr)
            waiter_->wake();
    } else if (!removed) {
        table_.observe_late_failure(removed.errc());
    }
    uncount();
}

template <Runtime R>
void UnconfirmedGrant<R>::take_back(
    std::shared_ptr<Table> table, Key const& key, OwnerToken owner, RemovalMachine machine) noexcept
{
    try {
        Ref<UnconfirmedGrant> const self{new UnconfirmedGrant{std::move(table), key, owner, machine}};
        self->drop_reference();  // that of `new`; from here on it keeps itself
        self->removal_.start();
    } catch (...) {
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_IMPL_REMOVAL_IPP
