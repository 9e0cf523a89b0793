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
#include <interlock/core/detail/locks/wrong_options.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/observer.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
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
    LockTable(LockStore& store, R runtime, LockStoreTraits traits, LockOptions options);
    LockTable(LockTable const&) = delete;
    LockTable& operator=(LockTable const&) = delete;
    ~LockTable();

    /// No service is left. What is being released on other threads gets a second to be done; the observer
    /// hears no more of it afterwards.
    void close() noexcept;

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
    std::optional<Failure> unfit(Key const& key, Deadline deadline);
    /// Nothing when the store is known to keep fences, or need not. Else it is asked, before the first grant.
    std::optional<Failure> unverified(Deadline deadline);

    // ---- for those who tell the observer --------------------------------------------------------

    /// There is an observer. `key`: null where nobody knows it any more.
    ObservedLock lock_info(Key const* key) const noexcept
    {
        auto const* const observer = this->options_.observer;
        return {
            {this->store_.kind(), place_, this->store_.system()},
            observer->hears_keys() ? key : nullptr,
            observer->current_call()};
    }
    /// A guarded write of `fence` was refused. Does nothing without an observer.
    void observe_fenced_out(Key const& key, FencingToken token) const noexcept
    {
        if (auto* const observer = this->options_.observer)
            observer->on_lock({.kind = LockEvent::Kind::fenced_out, .token = token, .lock = lock_info(&key)});
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

    /// Why a call that is to lock `key` and has not asked for it yet would wait; `ok`: nobody knows.
    Failure reason(Key const& key)
    {
        auto& shard = this->shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto* const node = shard.find(key);
        if (node == nullptr)
            return Errc::ok;
        if (auto const& refused = node->second.refused)
            return *refused;
        return node->second.holder != nullptr ? Errc::lock_busy : Errc::ok;
    }

    /// The record was removed together with a write: only the local side is left to do. A renewal that is
    /// being sent right now is not waited for. It names this acquisition, whose record is gone, so that it
    /// finds nothing to prolong.
    void released_by_commit(Hold& hold) noexcept;

private:
    friend class LockShard<R>;
    friend class LockRenewals<R>;
    friend class TableHold<R>;
    friend class RecordRemoval<R>;
    friend class UnconfirmedGrant<R>;
    friend class Acquisition<R>;
    friend detail::Releasing<R>;

    // ---- grants ---------------------------------------------------------------------------------

    /// The next holder of `node`, under the next token. The shard's mutex is held. If this throws, nobody
    /// holds it.
    std::shared_ptr<Holder> make_hold(Shard& shard, Node* node, TimePoint now);

    /// The store granted `grant` to the driver of `node`.
    std::shared_ptr<Hold> granted(Node* node, OwnerToken owner, Grant const& grant, TimePoint sent);

    /// Compares and deletes a record that may have been granted to `owner`, who has given up, and leaves the
    /// line of those who wait at the store. `doubt`: whether a grant may be on its way.
    void take_back_unconfirmed(Key const& key, OwnerToken owner, Doubt doubt) noexcept;

    /// For so long a store that stands still is asked to take a late grant back. One that goes on even later
    /// has the record for a lease.
    static constexpr std::chrono::minutes take_back_time{2};
    /// How many takings back may last that long: as many as callers may wait. Whoever comes beyond that asks
    /// for the time of a lease.
    bool may_take_back_long() const noexcept
    {
        return unconfirmed_.load(std::memory_order_relaxed) < this->options_.max_waiters;
    }

    // ---- releases -------------------------------------------------------------------------------

    /// `report`: for a caller that waits, until the deadline that every call has. What is not done by then
    /// goes on without it.
    Outcome<void> release(Holder& hold, bool unresolved, bool report);

    RemovalMachine new_removal(TimePoint lease_end, Doubt doubt = {}) const noexcept
    {
        return {this->options_.poll, lease_end, doubt};
    }

    /// `node` is left to this call.
    Outcome<Removal> remove(Node* node, OwnerToken owner, Deadline deadline)
    {
        return this->store_.carry_out(
            verb::Remove{node->first, owner, node->second.line.first_token(), this->options_.holder.text()},
            deadline);
    }

    /// The removal is over: the line goes on. False: it must not yet, since a renewal of the record is on its
    /// way.
    bool go_on(Holder const& hold, Node* node, Outcome<Removal> const& removed) noexcept;

    /// How the local side of a hold ended.
    struct HoldEnd {
        std::optional<Outcome<void>> done;  // the release is over: handed on, released before, or lost
        Node* node{nullptr};                // otherwise: whose record is still to be removed
    };

    /// Hands the lock on, or leaves its record to be removed. `until`: how long this may wait for a renewal
    /// that is being sent.
    HoldEnd end_hold(Holder& hold, LockStatus status, bool unresolved, TimePoint until, TimePoint now);

    /// Whether a caller of another service waits for what `owner` has.
    bool wanted_elsewhere(Key const& key, OwnerToken owner) { return this->store_.wanted(key, owner); }

    /// The first of the queue holds from now on. Nothing: there is no memory for its hold; then it asks the
    /// store later.
    std::optional<Wakeup> hand_on(Holder& before, Node* node, TimePoint now);

    // ---- what observers hear --------------------------------------------------------------------

    /// What a release came to, for its caller and for the observer.
    Outcome<void> released(
        Holder const& hold, LockStatus status, Outcome<Removal> const& removed, TimePoint now);

    void observe_release(Errc code, Holder const& hold, bool handed_on, TimePoint now) const noexcept
    {
        if (auto* const observer = this->options_.observer)
            observer->on_release(
                {code, hold.fence().token, handed_on, now - hold.granted_at(), lock_info(hold.key_.get())});
    }

    /// A removal that nobody waits for has failed in the end.
    void observe_late_failure(Errc code) noexcept;

    void removal_begins() noexcept
    {
        std::lock_guard lock(removals_mutex_);
        ++removals_;
    }
    void removal_ends() noexcept;

    char const* const wrong_option_;  // null: none is
    std::string place_;               // of the store, for the observer
    std::atomic<bool> verified_{false};
    std::mutex removals_mutex_;  // of the next two
    std::condition_variable removals_ended_;
    std::size_t removals_{0};                  // under way on other threads
    std::atomic<std::size_t> unconfirmed_{0};  // grants that are being taken back
    std::atomic<bool> silent_{false};          // the observer may be gone
    std::atomic<int> observing_{0};            // threads that may be calling it
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/lock_table.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP
