// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP

// One caller's way to a lock: into the line of the key; then, as the driver, to the store again and again;
// and out of it with a lock, with a failure, or because the caller has given up.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/lock_store.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_context.hpp>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What one caller's way to a lock has come to, and what is next; the caller itself asks the store:
///
///     for (;;) {
///         if (auto step = next(waiter))
///             return *std::move(step);                    // a lock, a failure, or not yet
///         ...                                             // asks the store for the lock
///         return under_way();                             // or one of these two, by what the store said:
///         return granted(waiter, grant);
///         if (auto step = refused(waiter, failure))       // nothing: asks again at once
///             return *std::move(step);
///     }
///
/// It must not be moved while it is pending.
template <Runtime R>
class Acquisition : private LineMember<R> {
    using Table = LockTable<R>;
    using Node = LockNode<R>;
    using Line = decltype(LockEntry<R>::line);

protected:
    using Holds = Step<std::shared_ptr<Hold>>;

    /// `key` and `slot` must live until this is done. `slot`: see `LineMember`. `reads_state`: whether the
    /// caller reads the state when it asks for the lock.
    Acquisition(
        std::shared_ptr<Table> table, Key const& key, Wait wait, int max_attempts, void* slot = nullptr,
        bool reads_state = false)
        : table_(std::move(table)), key_(&key), wait_(wait), reads_state_(reads_state),
          max_attempts_(max_attempts)
    {
        this->slot = slot;
    }
    Acquisition(Acquisition const&) = delete;
    Acquisition& operator=(Acquisition const&) = delete;
    ~Acquisition() = default;

    /// Nothing: the store is to be asked for the lock, or what it was asked for is under way.
    std::optional<Holds> next(Waiter& waiter)
    {
        for (;;)
            switch (phase_) {
            case Phase::start:
                if (auto failure = enter(waiter))
                    return Holds{std::move(*failure)};
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

    Key const& key() const noexcept { return *key_; }
    LockStore const& store() const noexcept { return table_->store_; }
    /// The same for all attempts.
    OwnerToken owner() const noexcept { return owner_; }
    Ttl ttl() const noexcept { return table_->options_.ttl; }

    Holds under_way() noexcept
    {
        asking_ = true;
        return Holds::under_way();
    }

    Holds granted(Waiter& waiter, Grant const& grant)
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

    /// Nothing: it asks again at once.
    std::optional<Holds> refused(Waiter& waiter, Failure failure)
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
            stop_driving();
            report(code, false);
            return Holds{std::move(failure)};
        }
        auto const wait_for = until_next_attempt(failure, busy);
        if (busy && wakes() && subscriber_ == nullptr) {
            subscribe(waiter);  // and look again at once, so that a release in between is not missed
            return std::nullopt;
        }
        return Holds::pending(add(now, wait_for));
    }

    /// The slot, into which the caller has read the state together with a grant.
    template <class Slot>
    Slot& state_read() noexcept
    {
        this->source = StateSource::store;
        return *static_cast<Slot*>(this->slot);
    }
    StateSource state_source() const noexcept { return this->source; }

    /// Stops waiting. What was granted meanwhile is given back. Afterwards the waiter is not woken any more.
    /// A call that is under way has been given up before.
    void abandon() noexcept
    {
        if (table_->forked())
            return;
        if (phase_ == Phase::driving)
            return stop_driving();
        if (phase_ != Phase::queued)
            return;
        phase_ = Phase::done;
        auto& shard = table_->shard_of(*key_);
        Wakeup wakeup;
        std::unique_lock lock(shard.mutex);
        if (this->received) {
            auto const hold = std::move(this->received);
            lock.unlock();
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

private:
    enum class Phase : unsigned char {
        start,
        queued,   ///< in the line, or what it waited for lies there for it
        driving,  ///< asks the store, or is about to ask again
        done,
    };

    Observer* observer() const noexcept { return table_->options_.observer; }

    std::optional<Failure> enter(Waiter& waiter)
    {
        if (observer() != nullptr)
            entered_ = queued_until_ = table_->runtime_.now();
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

    // ---- handed on by the holder before ---------------------------------------------------------

    /// The lock, from the holder before. Nothing: it was not handed on; this still waits, or drives, or comes
    /// anew.
    std::shared_ptr<Hold> look_for_turn()
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

    std::shared_ptr<Hold> start_over() noexcept
    {
        this->received->gone_.store(true, std::memory_order_relaxed);
        this->received.reset();
        this->source = StateSource::none;
        phase_ = Phase::start;
        return nullptr;
    }

    // ---- from the store -------------------------------------------------------------------------

    void begin_attempt(Waiter& waiter)
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

    /// The store has answered an attempt.
    void note_answer(TimePoint now) noexcept
    {
        asking_ = false;
        store_time_ += now - sent_;
    }

    bool wakes() const noexcept { return table_->traits_.can.wakes_waiters; }

    std::chrono::nanoseconds until_next_attempt(Failure const& failure, bool busy) const
    {
        auto const& options = table_->options_;
        auto wait_for = options.poll.delay(attempts_, table_->runtime_.random_bits());
        if (busy && wakes())
            wait_for = options.poll.cap;  // the net under a lost wake-up
        auto const hint = failure.retry_after();
        return hint.count() > 0 && hint < wait_for ? hint : wait_for;
    }

    void stop_driving() noexcept
    {
        phase_ = Phase::done;
        bool const in_line = subscriber_ != nullptr && attempts_ > 0;
        if (subscriber_ != nullptr)
            unsubscribe(*subscriber_);
        if (doubt_.open() || in_line)
            table_->take_back_unconfirmed(*key_, owner_);  // a grant that arrives late is given back
        auto& shard = table_->shard_of(*key_);
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        wakeup = table_->promote_next(shard, node_, node_->second.line.gave_up());
    }

    void subscribe(Waiter& waiter)
    {
        if (!wakes())
            return;
        table_->store_.subscribe(*key_, owner_, waiter);
        subscriber_ = &waiter;
    }

    void unsubscribe(Waiter& waiter) noexcept
    {
        if (std::exchange(subscriber_, nullptr) != nullptr)
            table_->store_.unsubscribe(*key_, waiter);
    }

    void report(Errc code, bool handed_on, FencingToken token = {}) noexcept
    {
        if (observer() == nullptr)
            return;
        auto const now = table_->runtime_.now();
        auto const queue = handed_on ? now - entered_ : queued_until_ - entered_;
        observer()->on_acquire(
            {code, token, handed_on, attempts_, queue, store_time_,
             handed_on ? std::chrono::nanoseconds{0} : now - queued_until_ - store_time_});
    }

    std::shared_ptr<Table> table_;
    Key const* key_;
    Node* node_{nullptr};          // whose line this is in, from `enter` until it is done
    Waiter* subscriber_{nullptr};  // whom the store wakes
    TimePoint sent_{};             // before the last attempt left
    OwnerToken owner_;             // the same for all attempts
    TimePoint entered_{};          // these three are for the observer
    TimePoint queued_until_{};
    std::chrono::nanoseconds store_time_{0};
    Wait wait_;
    bool const reads_state_;
    int max_attempts_;
    int attempts_{0};
    Phase phase_{Phase::start};
    bool asking_{false};  // an attempt is under way
    Doubt doubt_;         // whether the record may be ours although the store has not said so
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
