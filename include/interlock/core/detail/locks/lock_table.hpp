// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP

// The locks of one `LockStateService`. Callers that want the same key stand in one line; one of them at a
// time asks the store; a lease that the store has granted is handed from one local holder to the next; and
// held leases are renewed.
//
// | file | its one idea |
// |---|---|
// | lock_store.hpp | the doors to the store and to the caller: a table knows neither states nor repositories |
// | lock_line.hpp | who is next: a machine without mutex, clock or store |
// | lease_machine.hpp | until when a lease may be believed, and when it is renewed: likewise |
// | removal_machine.hpp | when a record has been removed, and when to ask again: likewise |
// | lock_lines.hpp | the lines of all keys in shards, and each shard's schedule |
// | table_hold.hpp | one grant, with the memory that its end needs |
// | acquisition.hpp, releasing.hpp | one caller's way in and out |
// | removal.hpp | carries out the removal of a record |
// | renewals.hpp | carries out renewals, and tells holders what they have lost |
// | this file | carries out what the line says about grants and releases |
// | store_of_locks.hpp | what is compiled per repository: its calls, behind the doors |
//
// The mutex of a shard is never held across a call of the store, except `renew` of a store that answers in
// place.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/acquisition.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/releasing.hpp>
#include <interlock/core/detail/locks/removal.hpp>
#include <interlock/core/detail/locks/renewals.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/lock_options.hpp>
#include <interlock/core/observer.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
class LockTable : public std::enable_shared_from_this<LockTable<R>>, private LockRenewals<R> {
    using Base = LockRenewals<R>;
    using Holder = TableHold<R>;
    using typename Base::Node;
    using typename Base::Shard;

public:
    /// `store` must live as long as the table.
    LockTable(LockStore& store, R runtime, LockStoreTraits traits, LockOptions options)
        : Base(store, std::move(runtime), traits, options),
          options_good_(
              options.ttl.valid() && options.drift >= 0 && options.drift < 0.5 &&
              options.margin.count() >= 0 && options.poll.valid() && options.max_attempts >= 1 &&
              options.hand_on_count >= 0)
    {
        for (auto& shard : this->lines_.shards())
            shard.alarm.table = this;
    }
    LockTable(LockTable const&) = delete;
    LockTable& operator=(LockTable const&) = delete;
    ~LockTable()
    {
        if (this->forked())
            return;
        for (auto& shard : this->lines_.shards())
            if (shard.alarm_used)
                this->runtime_.cancel(shard.alarm);
    }

    /// No service is left. What is being released on other threads gets a second to be done; the observer
    /// hears no more of it afterwards.
    void close() noexcept
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

    R const& runtime() const noexcept { return this->runtime_; }
    LockOptions const& options() const noexcept { return this->options_; }
    std::size_t waiter_count() const noexcept { return this->lines_.waiting(); }
    /// Whether `unfit` will not ask the store.
    bool verified() const noexcept
    {
        return this->traits_.fences == FenceCheck::none ||
               (this->traits_.fences == FenceCheck::reported && this->options_.observer == nullptr) ||
               verified_.load(std::memory_order_acquire);
    }

    /// Nothing when the service is fit for use.
    std::optional<Failure> unfit(Key const& key, Deadline deadline)
    {
        if (this->forked())
            return Failure{
                Errc::misconfigured, "this lock service was made before a fork; make a new one in the child"};
        if (!options_good_)
            return Failure{
                Errc::invalid_argument, "lock options out of range (ttl must be from 50 ms to 24 h)"};
        if (auto valid = key.validate(); !valid)
            return std::move(valid).failure();
        if (this->traits_.fences == FenceCheck::required) {
            if (!verified_.load(std::memory_order_acquire)) {
                if (auto verified = this->store_.carry_out(verb::VerifyFencing{}, deadline); !verified)
                    return std::move(verified).failure();
                verified_.store(true, std::memory_order_release);
            }
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

    // ---- for policies that commit under a lock --------------------------------------------------

    /// What the holder has just written, for the next local one, which then need not load it. Nobody has held
    /// the lock between the two, but somebody may write without the lock: so the next holder's commit names
    /// this version, and what it did without a commit must be verified. `state`: a `Versioned<T>` of the
    /// repository's `T`, which must live until `hold` has been released. It is moved from if somebody wants
    /// it.
    void leave_state(Hold& hold, void* state) noexcept { static_cast<Holder&>(hold).written_ = state; }

    /// Whether a caller of this service is in line, so that the lease should be handed on and its record not
    /// removed.
    bool contended(Hold& hold)
    {
        auto& own = static_cast<Holder&>(hold);
        std::lock_guard lock(own.shard_->mutex);
        return own.node_ != nullptr && own.node_->second.line.somebody_queues();
    }

    /// The record was removed together with a write: only the local side is left to do. A renewal that is
    /// being sent right now is not waited for. It names this acquisition, whose record is gone, so that it
    /// finds nothing to prolong.
    void released_by_commit(Hold& hold) noexcept
    {
        auto& own = static_cast<Holder&>(hold);
        hold.lose(LostReason::released);
        own.gone_.store(true, std::memory_order_relaxed);
        {
            Wakeup wakeup;
            std::unique_lock lock(own.shard_->mutex);
            if (own.node_ == nullptr)
                return;
            auto* const node = this->detach_holder(own);
            this->unschedule(*own.shard_, node);
            wakeup = this->promote_next(*own.shard_, node, node->second.line.lost());
        }
        observe_release(
            Errc::ok, own, false, this->options_.observer != nullptr ? this->runtime_.now() : TimePoint{});
    }

private:
    friend class LockShard<R>;
    friend class LockRenewals<R>;
    friend class TableHold<R>;
    friend class RecordRemoval<R>;
    friend class Acquisition<R>;
    friend detail::Releasing<R>;

    // ---- grants ---------------------------------------------------------------------------------

    /// The next holder of `node`, under the next token. The shard's mutex is held. If this throws, nobody
    /// holds it.
    std::shared_ptr<Holder> make_hold(Shard& shard, Node* node, TimePoint now)
    {
        auto& entry = node->second;
        auto& line = entry.line;
        auto const token = line.hold();
        auto hold = Holder::make(
            this->shared_from_this(), shard, node, line.owner(), token, line.lease().valid_until(), now);
        hold->set_in_doubt(line.lease().in_doubt());
        entry.holder = hold.get();
        return hold;
    }

    /// The store granted `grant` to the driver of `node`.
    std::shared_ptr<Hold> granted(Node* node, OwnerToken owner, Grant const& grant, TimePoint sent)
    {
        auto& shard = this->shard_of(node->first);
        std::lock_guard lock(shard.mutex);
        auto& line = node->second.line;
        line.granted(owner, grant, sent, this->options_);
        try {
            this->schedule(shard, node);
            return make_hold(shard, node, sent);
        } catch (...) {
            line.not_held();
            this->unschedule(shard, node);
            throw;
        }
    }

    /// Compares and deletes a record that may have been granted to `owner`, who has given up.
    void take_back_unconfirmed(Key const& key, OwnerToken owner) noexcept
    {
        if (this->in_place() && !was_in_vain(this->store_.carry_out(verb::Remove{key, owner}, Deadline{})))
            return;
        auto const lease_end = add(this->runtime_.now(), this->options_.ttl.value());
        UnconfirmedGrant<R>::take_back(this->shared_from_this(), key, owner, new_removal(lease_end));
    }

    // ---- releases -------------------------------------------------------------------------------

    /// `report`: for a caller that waits, until the deadline that every call has. What is not done by then
    /// goes on without it.
    Outcome<void> release(Holder& hold, bool unresolved, bool report)
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

    RemovalMachine new_removal(TimePoint lease_end, Doubt doubt = {}) const noexcept
    {
        return {this->options_.poll, lease_end, doubt};
    }

    /// `node` is left to this call.
    Outcome<Removal> remove(Node* node, OwnerToken owner, Deadline deadline)
    {
        return this->store_.carry_out(
            verb::Remove{node->first, owner, node->second.line.first_token()}, deadline);
    }

    /// The removal is over: the line goes on. False: it must not yet, since a renewal of the record is on its
    /// way.
    bool go_on(Holder const& hold, Node* node, Outcome<Removal> const& removed) noexcept
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

    /// How the local side of a hold ended.
    struct HoldEnd {
        std::optional<Outcome<void>> done;  // the release is over: handed on, released before, or lost
        Node* node{nullptr};                // otherwise: whose record is still to be removed
    };

    /// Hands the lock on, or leaves its record to be removed. `until`: how long this may wait for a renewal
    /// that is being sent.
    HoldEnd end_hold(Holder& hold, LockStatus status, bool unresolved, TimePoint until, TimePoint now)
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
            auto const code =
                !lost && hold.lost_reason() == LostReason::released ? Errc::ok : Errc::lock_lost;
            observe_release(code, hold, false, now);
            return {code == Errc::ok ? success() : Outcome<void>{code}};
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

    /// Whether a caller of another service waits for what `owner` has.
    bool wanted_elsewhere(Key const& key, OwnerToken owner) { return this->store_.wanted(key, owner); }

    /// The first of the queue holds from now on. Nothing: there is no memory for its hold; then it asks the
    /// store later.
    std::optional<Wakeup> hand_on(Holder& before, Node* node, TimePoint now)
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
        if (auto* const state = std::exchange(before.written_, nullptr); state != nullptr && next->slot) {
            this->store_.move_state(state, next->slot);
            next->source = StateSource::holder;
        }
        return next->caller->wake_later();
    }

    // ---- what observers hear --------------------------------------------------------------------

    /// What a release came to, for its caller and for the observer.
    Outcome<void> released(
        Holder const& hold, LockStatus status, Outcome<Removal> const& removed, TimePoint now)
    {
        Errc code = removed.errc();
        if (removed && (*removed == Removal::taken || status == LockStatus::lost))
            code = Errc::lock_lost;
        observe_release(code, hold, false, now);
        if (!removed)
            return removed.failure();
        return code == Errc::ok ? success() : Outcome<void>{code};
    }

    void observe_release(Errc code, Holder const& hold, bool handed_on, TimePoint now) const noexcept
    {
        if (auto* const observer = this->options_.observer)
            observer->on_release({code, hold.fence().token, handed_on, now - hold.granted_at()});
    }

    /// A removal that nobody waits for has failed in the end.
    void observe_late_failure(Errc code) noexcept
    {
        auto* const observer = this->options_.observer;
        if (observer == nullptr)
            return;
        observing_.fetch_add(1);
        if (!silent_.load())
            observer->on_release({code, {}, false, {}});
        observing_.fetch_sub(1);
        observing_.notify_all();
    }

    void removal_begins() noexcept
    {
        std::lock_guard lock(removals_mutex_);
        ++removals_;
    }
    void removal_ends() noexcept
    {
        {
            std::lock_guard lock(removals_mutex_);
            --removals_;
        }
        removals_ended_.notify_all();
    }

    bool const options_good_;
    std::atomic<bool> verified_{false};
    std::mutex removals_mutex_;  // of the next two
    std::condition_variable removals_ended_;
    std::size_t removals_{0};          // under way on other threads
    std::atomic<bool> silent_{false};  // the observer may be gone
    std::atomic<int> observing_{0};    // threads that may be calling it
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP
