// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP

// One caller's way to a lock: into the line of the key; then, as the driver, to the store again and again;
// and out of it with a lock, with a failure, or because the caller has given up.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/pending_call.hpp>
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

template <class R, Assurance Level>
class Acquisition : private LineMember<R, Level> {
    using T = typename R::value_type;
    using Table = LockTable<R, Level>;
    using Node = LockNode<R, Level>;
    using Line = decltype(LockEntry<R, Level>::line);
    using Holds = Step<std::shared_ptr<Hold>>;

public:
    Acquisition(std::shared_ptr<Table> table, Key const* key, Wait wait, int max_attempts, bool loads)
        : table_(std::move(table)), key_(key), wait_(wait), loads_(Table::fused && loads),
          max_attempts_(max_attempts)
    {}
    Acquisition(Acquisition const&) = delete;
    Acquisition& operator=(Acquisition const&) = delete;

    Holds poll(Waiter& waiter, TimePoint deadline)
    {
        if (phase_ == Phase::start) {
            if (auto failure = enter(waiter))
                return std::move(*failure);
            if (phase_ == Phase::queued)
                return Holds::pending();
        }
        if (phase_ == Phase::queued) {
            auto& shard = table_->shard_of(*key_);
            std::unique_lock lock(shard.mutex);
            auto& lock_received = this->received;
            // This comes so late that the lock is lost again.
            if (lock_received && lock_received->node_ == nullptr) {
                lock.unlock();
                start_over();
                return poll(waiter, deadline);
            }
            if (lock_received) {
                phase_ = Phase::done;
                lock.unlock();
                return take_handed_on();
            }
            if (!this->promoted)
                return Holds::pending();
            phase_ = Phase::driving;
            node_->second.line.begin_driving(this);
            table_->unschedule(shard, node_);
            if (observer() != nullptr)
                queued_until_ = table_->runtime_.now();
        }
        if (phase_ == Phase::driving)
            return drive(waiter, deadline);
        return Errc::cancelled;
    }

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

    std::optional<Versioned<T>> take_state() { return std::exchange(this->state, std::nullopt); }
    bool state_known() const noexcept { return state_known_; }
    bool state_cached() const noexcept { return state_cached_; }

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

    Holds take_handed_on()
    {
        // What that holder has written saves a trip, if it has written anything.
        state_known_ = state_cached_ = this->state.has_value();
        token_ = this->received->fence().token;
        report(Errc::ok, true);
        return Outcome<std::shared_ptr<Hold>>{std::shared_ptr<Hold>{std::move(this->received)}};
    }

    void start_over() noexcept
    {
        this->received->gone_.store(true, std::memory_order_relaxed);
        this->received.reset();
        this->state.reset();
        phase_ = Phase::start;
    }

    // ---- from the store -------------------------------------------------------------------------

    Holds drive(Waiter& waiter, TimePoint deadline)
    {
        auto const& runtime = table_->runtime_;
        if (!owner_) {
            owner_ = new_owner_token(runtime);
            if (this->promoted && wait_ != Wait::no)
                subscribe(waiter);  // whoever gave the lease up may have done so for somebody elsewhere
        }
        for (;;) {
            if (!asking_.under_way() && !asking_state_.under_way()) {
                sent_ = runtime.now();
                ++attempts_;
                doubt_.sent();
            }
            auto asked =
                loads_ ? ask_with_state(waiter, Deadline{deadline}) : ask(waiter, Deadline{deadline});
            if (!asked)
                return Holds::under_way();
            auto& answer = *asked;
            auto const now = runtime.now();
            store_time_ += now - sent_;
            if (answer)
                return granted(waiter, *answer);
            auto const code = answer.errc();
            // A state that cannot be decoded may have come with a grant, which is of no use then. That
            // another caller has the lock now is no answer about an earlier attempt: that one may still be on
            // its way.
            doubt_.came(loads_ && code == Errc::corrupt_state ? Errc::outcome_unknown : code, false);
            bool const busy = code == Errc::lock_busy;
            // Unknown: the record may be ours. The store recognises the owner token when it is asked again
            // with the same one.
            if (!busy && code != Errc::outcome_unknown && code != Errc::unavailable)
                return give_up(std::move(answer).failure());
            if ((busy && wait_ == Wait::no) || attempts_ >= table_->options_.max_attempts ||
                attempts_ >= max_attempts_)
                return give_up(std::move(answer).failure());
            auto const wait_for = until_next_attempt(answer.failure(), busy);
            if (busy && wakes() && subscriber_ == nullptr) {
                subscribe(waiter);  // and look again at once, so that a release in between is not missed
                continue;
            }
            return Holds::pending(add(now, wait_for));
        }
    }

    bool wakes() const noexcept
    {
        if constexpr (SubscribableRepository<R>)
            return wakes_waiters(table_->repository_);
        else
            return false;
    }

    std::chrono::nanoseconds until_next_attempt(Failure const& failure, bool busy) const
    {
        auto const& options = table_->options_;
        auto wait_for = options.poll.delay(attempts_, table_->runtime_.random_bits());
        if (busy && wakes())
            wait_for = options.poll.cap;  // the net under a lost wake-up
        auto const hint = failure.retry_after();
        return hint.count() > 0 && hint < wait_for ? hint : wait_for;
    }

    /// Nothing while the call is under way.
    std::optional<Outcome<Grant>> ask(Waiter& waiter, Deadline deadline)
    {
        auto const ttl = table_->options_.ttl;
        auto asked = asking_.ask(table_->repository_, waiter, verb::Create{*key_, owner_, ttl}, deadline);
        if (!asked)
            return std::nullopt;
        return std::move(*asked);
    }

    /// Likewise, together with the state.
    std::optional<Outcome<Grant>> ask_with_state(Waiter& waiter, Deadline deadline)
    {
        if constexpr (Table::fused) {
            auto const ttl = table_->options_.ttl;
            auto asked = asking_state_.ask(
                table_->repository_, waiter, verb::CreateAndLoad<T>{*key_, owner_, ttl}, deadline);
            if (!asked)
                return std::nullopt;
            if (!*asked)
                return std::move(*asked).failure();
            this->state = std::move((*asked)->state);
            state_known_ = true;
            return (*asked)->grant;
        } else {
            return ask(waiter, deadline);
        }
    }

    Holds granted(Waiter& waiter, Grant const& grant)
    {
        unsubscribe(waiter);
        // If it throws, `abandon` gives the grant back.
        auto hold = table_->granted(node_, owner_, grant, sent_);
        doubt_.answered();
        phase_ = Phase::done;
        token_ = hold->fence().token;
        report(Errc::ok, false);
        return Outcome<std::shared_ptr<Hold>>{std::move(hold)};
    }

    Holds give_up(Failure failure)
    {
        auto const code = failure.errc();
        stop_driving();
        report(code, false);
        return failure;
    }

    void stop_driving() noexcept
    {
        phase_ = Phase::done;
        asking_.give_up();
        asking_state_.give_up();
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

    void subscribe([[maybe_unused]] Waiter& waiter)
    {
        if constexpr (SubscribableRepository<R>) {
            if (!wakes())
                return;
            table_->repository_.subscribe(*key_, owner_, waiter);
            subscriber_ = &waiter;
        }
    }

    void unsubscribe([[maybe_unused]] Waiter& waiter) noexcept
    {
        if constexpr (SubscribableRepository<R>)
            if (std::exchange(subscriber_, nullptr) != nullptr)
                table_->repository_.unsubscribe(*key_, waiter);
    }

    void report(Errc code, bool handed_on) noexcept
    {
        if (observer() == nullptr)
            return;
        auto const now = table_->runtime_.now();
        auto const queue = handed_on ? now - entered_ : queued_until_ - entered_;
        observer()->on_acquire(
            {code, token_, handed_on, attempts_, queue, store_time_,
             handed_on ? std::chrono::nanoseconds{0} : now - queued_until_ - store_time_});
    }

    std::shared_ptr<Table> table_;
    Key const* key_;
    Node* node_{nullptr};          // whose line this is in, from `enter` until it is done
    Waiter* subscriber_{nullptr};  // whom the store wakes
    [[no_unique_address]] PendingCall<R, verb::Create> asking_;
    [[no_unique_address]] PendingCall<R, verb::CreateAndLoad<T>> asking_state_;
    TimePoint sent_{};  // before the last attempt left
    OwnerToken owner_;  // the same for all attempts
    FencingToken token_;
    TimePoint entered_{};  // these three are for the observer
    TimePoint queued_until_{};
    std::chrono::nanoseconds store_time_{0};
    Wait wait_;
    bool loads_;
    int max_attempts_;
    int attempts_{0};
    Phase phase_{Phase::start};
    bool state_known_{false};
    bool state_cached_{false};
    Doubt doubt_;  // whether the record may be ours although the store has not said so
};

/// One caller's way to a lock, for services and policies. Poll it until it is done; then take the hold. It
/// must not be moved while it is pending.
template <class R, Assurance Level>
class Ticket {
    using Table = LockTable<R, Level>;

public:
    /// `key` must live until this is done. `loads`: whether the state is to come with a grant of a fused
    /// repository.
    Ticket(std::shared_ptr<Table> table, Key const& key, Wait wait, int max_attempts, bool loads)
        : acquisition_{std::move(table), &key, wait, max_attempts, loads}
    {}
    Ticket(Ticket const&) = delete;
    Ticket& operator=(Ticket const&) = delete;
    ~Ticket() { abandon(); }

    Step<std::shared_ptr<Hold>> poll(Waiter& waiter, TimePoint deadline)
    {
        return acquisition_.poll(waiter, deadline);
    }
    /// Stops waiting. What was granted meanwhile is given back. Afterwards the waiter is not woken any more.
    void abandon() noexcept { acquisition_.abandon(); }
    /// The state that came with a fresh grant of a fused repository, or from the holder before; once.
    std::optional<Versioned<typename R::value_type>> take_state() { return acquisition_.take_state(); }
    bool state_known() const noexcept { return acquisition_.state_known(); }
    /// Whether the state is what the holder before has written, and was not read under this grant; see
    /// `LockTable::leave_state`.
    bool state_cached() const noexcept { return acquisition_.state_cached(); }

private:
    Acquisition<R, Level> acquisition_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
