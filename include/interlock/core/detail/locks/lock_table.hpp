// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP

// The locks of one LockStateService: a queue per key, one attempt at the store per key at a time, held leases
// passed on locally, renewals.
//
// Per key: `trying` (the driver, one acquisition, talks to the store), `held` (a local holder), `leaving` (the
// record is being removed). Everybody else waits in the queue. A release hands the lease to the first of the
// queue without a trip, or removes the record and makes the first of the queue the next driver.
//
// A shard's mutex is never held across a call of the store, except `renew` of an immediate one, which keeps
// "no renewal is sent after release" (law P9) a matter of that mutex. For other stores a release waits for a
// renewal in flight.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lease_machine.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/post.hpp>
#include <boost/intrusive/set.hpp>
#include <boost/intrusive/set_hook.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// How a `LockStateService` holds and hands out locks.
struct LockOptions {
    /// Life of a lease without renewal: how long others wait for a crashed holder. 50 ms to 24 h.
    Ttl ttl{};
    /// Renew at a third of the ttl while the lock is held. Without it the lock is lost after one ttl.
    bool renew{true};
    /// By how much the rate of this clock and the store's may differ.
    double drift{0.01};
    /// Kept in hand at the end of a lease; at most a tenth of the ttl.
    std::chrono::nanoseconds margin{std::chrono::milliseconds{5}};
    /// Between attempts at the store where it cannot wake waiters, and as the net under lost wake-ups.
    Backoff poll{.initial = std::chrono::milliseconds{2}, .cap = std::chrono::milliseconds{250}, .immediate = 0};
    /// Attempts at the store for one acquire that waits.
    int max_attempts{std::numeric_limits<int>::max()};
    /// Waiters of this service, over all keys; beyond it `overloaded`.
    std::size_t max_waiters{default_max_waiters};
    /// Once somebody elsewhere waits, a lease is handed on locally that many times at most ...
    int hand_on_count{32};
    /// ... and for that long.
    std::chrono::nanoseconds hand_on_time{std::chrono::milliseconds{20}};
    Observer* observer{nullptr};
};

namespace detail {

template <class R, Assurance Level>
class LockTable : public std::enable_shared_from_this<LockTable<R, Level>> {
public:
    using T = typename R::value_type;
    using RuntimeType = typename R::runtime_type;
    static constexpr bool fused = Level == Assurance::fenced && FusedRepository<R>;

    LockTable(R repository, LockOptions options)
        : repository_(std::move(repository)), runtime_(repository_.runtime()), options_(options),
          generation_(runtime_.generation()),
          options_good_(
              options_.ttl.valid() && options_.drift >= 0 && options_.drift < 0.5 && options_.margin.count() >= 0 &&
              options_.poll.valid() && options_.max_attempts >= 1 && options_.hand_on_count >= 0)
    {
        for (auto& shard : shards_)
            shard.alarm.table = this;
    }
    LockTable(LockTable const&) = delete;
    LockTable& operator=(LockTable const&) = delete;
    ~LockTable()
    {
        if (forked())
            return;
        for (auto& shard : shards_)
            if (shard.alarm_used)
                runtime_.cancel(shard.alarm);
    }

    /// No service is left. What is being released on other threads gets a second to be done; the observer hears no more
    /// of it afterwards.
    void close() noexcept
    {
        if (forked())
            return;
        {
            std::unique_lock lock(reaping_mutex_);
            auto const until = add(runtime_.now(), std::chrono::seconds{1});
            while (reaping_ > 0 && runtime_.now() < until)
                runtime_.wait_until(reaped_, lock, until);
        }
        silent_.store(true);
        for (auto told = telling_.load(); told != 0; told = telling_.load())
            telling_.wait(told);
    }

    R const& repository() const noexcept { return repository_; }
    RuntimeType const& runtime() const noexcept { return runtime_; }
    LockOptions const& options() const noexcept { return options_; }
    /// Whether `unfit` will not ask the store.
    bool verified() const noexcept
    {
        return (Level != Assurance::fenced && options_.observer == nullptr) || verified_.load(std::memory_order_acquire);
    }

    /// Nothing when the service is fit for use.
    std::optional<Failure> unfit(Key const& key, Deadline deadline)
    {
        if (forked())
            return Failure{Errc::misconfigured, "this lock service was made before a fork; make a new one in the child"};
        if (!options_good_)
            return Failure{Errc::invalid_argument, "lock options out of range (ttl must be from 50 ms to 24 h)"};
        if (auto valid = key.validate(); !valid)
            return std::move(valid).failure();
        if constexpr (Level == Assurance::fenced) {
            if (!verified_.load(std::memory_order_acquire)) {
                if (auto verified = repository_.carry_out(verb::VerifyFencing{}, deadline); !verified)
                    return std::move(verified).failure();
                verified_.store(true, std::memory_order_release);
            }
        } else if constexpr (FencedRepository<R>) {
            // Asked for those who listen only: the lock is granted either way.
            if (options_.observer != nullptr && !verified_.exchange(true, std::memory_order_acq_rel))
                if (auto verified = repository_.carry_out(verb::VerifyFencing{}, deadline);
                    !verified && verified.error() == Errc::misconfigured)
                    options_.observer->on_unsafe_store(verified.detail());
        }
        return std::nullopt;
    }

private:
    /// In a forked child: the locks are the parent's, and so are the threads that may hold the mutexes of this copy.
    bool forked() const noexcept { return runtime_.generation() != generation_; }

    class Reaper;

    class Acquisition;
    struct Entry;
    struct Shard;
    using Entries = std::unordered_map<Key, Entry>;
    using Node = typename Entries::value_type;

    class TableHold final : public Hold, public std::enable_shared_from_this<TableHold> {
    public:
        TableHold(
            std::shared_ptr<LockTable> table, Shard& shard, Node* node, OwnerToken owner, FencingToken token,
            TimePoint valid_until, TimePoint granted_at)
            : Hold(owner, token, valid_until, granted_at), table_(std::move(table)), shard_(&shard), node_(node)
        {}
        TableHold(TableHold const&) = delete;
        TableHold& operator=(TableHold const&) = delete;
        ~TableHold() override { release(false); }  // nobody left who could
        TimePoint now() const noexcept override { return table_->runtime_.now(); }
        std::string place() const override { return place_of(table_->repository()); }
        void release(bool unresolved) noexcept override
        {
            if (!gone_.exchange(true, std::memory_order_relaxed) && !table_->forked())
                static_cast<void>(table_->release(*this, unresolved || this->unresolved(), false));
        }
        Outcome<void> release_and_report() override
        {
            gone_.store(true, std::memory_order_relaxed);
            if (table_->forked())
                return Failure{Errc::misconfigured, "this lock was acquired before a fork, by the parent"};
            return table_->release(*this, unresolved(), true);
        }
        Outcome<void> renew_now(Deadline deadline) override
        {
            if (table_->forked())
                return Failure{Errc::misconfigured, "this lock was acquired before a fork, by the parent"};
            return table_->renew_now(*this, deadline.at(now()));
        }

    private:
        friend class LockTable;
        void revive() noexcept override { table_->revive(*this); }
        std::shared_ptr<LockTable> table_;
        Shard* shard_;
        std::atomic<bool> gone_{false};  // released once; the second time is for handles that come late
        Node* node_;  // under the shard's mutex: where this is the holder; null once it is not
        std::optional<Versioned<T>> left_;
    };

    enum class EntryState : unsigned char { trying, held, leaving };

    struct Entry : boost::intrusive::set_base_hook<> {
        Node* node{nullptr};  // whose value this is
        EntryState state{EntryState::trying};
        std::list<Acquisition*> queue;
        TableHold* holder{nullptr};  // kept alive by its handle; cleared by release and loss
        Acquisition* promoted{nullptr};  // the driver to be, who has not begun yet
        OwnerToken owner;
        OwnerToken sending;  // whose renewal is on its way to the store right now, on another thread
        std::uint64_t first_token{0};  // of the grant
        std::uint64_t next_token{0};
        std::uint64_t end_token{0};
        LeaseMachine lease;
        TimePoint due{};  // while it is in the schedule
        int handed_on{0};
        TimePoint wanted_since{};
    };

    struct DueEarlier {
        bool operator()(Entry const& a, Entry const& b) const noexcept { return a.due < b.due; }
    };
    // Of what comes due together, first what was planned first.
    using Schedule = boost::intrusive::multiset<
        Entry, boost::intrusive::compare<DueEarlier>, boost::intrusive::constant_time_size<false>>;

    class ShardAlarm final : public Alarm {
    public:
        void ring() noexcept override
        {
            // The table may be going away right now; then there is nothing left to renew.
            if (auto alive = table->weak_from_this().lock()) {
                try {
                    alive->keep(*shard);
                } catch (...) {  // no memory: once more soon; handles tell by the clock what was missed
                    alive->keep_later(*shard);
                }
            }
        }
        LockTable* table{nullptr};
        Shard* shard{nullptr};
    };

    struct Shard {
        static constexpr std::size_t most_spares = 32;

        Shard()
        {
            alarm.shard = this;
            spares.reserve(most_spares);
        }

        /// The entry of `key`, and whether it is new.
        std::pair<Node*, bool> enter(Key const& key)
        {
            if (spares.empty()) {
                auto const [it, fresh] = entries.try_emplace(key);
                return {&*it, fresh};
            }
            if (auto const it = entries.find(key); it != entries.end())
                return {&*it, false};
            auto& spare = spares.back();
            spare.key() = key;
            auto const it = entries.insert(std::move(spare)).position;
            spares.pop_back();
            return {&*it, true};
        }
        void leave(Node* node) noexcept
        {
            auto const it = entries.find(node->first);
            if (spares.size() == most_spares) {
                entries.erase(it);
                return;
            }
            spares.push_back(entries.extract(it));
            spares.back().mapped() = Entry{};
        }

        std::mutex mutex;
        std::condition_variable renewed;
        Entries entries;
        std::vector<typename Entries::node_type> spares;  // many acquires and releases at once are many allocations else
        Schedule schedule;
        ShardAlarm alarm;
        TimePoint alarm_at{TimePoint::max()};
        bool alarm_used{false};
    };

public:
    /// One caller's way to a lock. Poll it until it is done; then take the hold. Not to be moved while pending.
    class Ticket {
    public:
        /// `loads`: whether the state is to come with a grant of a fused repository.
        Ticket(std::shared_ptr<LockTable> table, Key const& key, Wait wait, int max_attempts, bool loads)
            : self_{std::move(table), &key, wait, max_attempts, loads}
        {}
        Ticket(Ticket const&) = delete;
        Ticket& operator=(Ticket const&) = delete;
        ~Ticket() { abandon(); }

        /// `key` given to the constructor must live until this is done.
        Step<std::shared_ptr<Hold>> poll(Waiter& waiter, TimePoint deadline) { return self_.poll(waiter, deadline); }
        /// Stops waiting. What was granted meanwhile is given back. Afterwards the waiter is not woken any more.
        void abandon() noexcept { self_.abandon(); }
        /// The state that came with a fresh grant of a fused repository, or from the holder before, once.
        std::optional<Versioned<T>> take_state() { return std::exchange(self_.state_, std::nullopt); }
        bool state_known() const noexcept { return self_.state_known_; }
        /// Known from the holder before, not read under this grant; see `leave_state`.
        bool state_cached() const noexcept { return self_.state_cached_; }

    private:
        Acquisition self_;
    };

    /// One caller's way out of a lock, without blocking. Poll it until it is done. The lock is released either way.
    class Releasing {
    public:
        Releasing(std::shared_ptr<LockTable> table, std::shared_ptr<Hold> hold) : table_(std::move(table)), hold_(std::move(hold)) {}
        Releasing(Releasing const&) = delete;
        Releasing& operator=(Releasing const&) = delete;
        ~Releasing() { abandon(); }

        /// Unknown is what is not known by the deadline that every call has; the record is then removed all the same.
        Step<void> poll(Waiter& waiter)
        {
            if (!hold_)
                return success();
            auto& own = static_cast<TableHold&>(*hold_);
            auto const& runtime = table_->runtime_;
            if (!asking_.under_way() && !reaper_) {
                own.gone_.store(true, std::memory_order_relaxed);
                if (table_->forked())
                    return Failure{Errc::misconfigured, "this lock was acquired before a fork, by the parent"};
                released_at_ = runtime.now();
                deadline_ = Deadline{}.at(released_at_);
                status_ = hold_->status(released_at_);
                auto ended = table_->end_hold(own, status_, own.unresolved(), released_at_, released_at_);
                if (ended.done)
                    return *std::move(ended.done);
                node_ = ended.node;
                // Where `close` must see that it ends, the record is a reaper's from the beginning.
                if (ends_by_itself(table_->repository_) && !hand_over(&waiter))
                    return Errc::unavailable;
            }
            if (!reaper_) {
                auto removed = ask(waiter);
                if (!removed)
                    return Step<void>::under_way();  // until `deadline_`, at the latest
                // What is not the end of it, since it must be tried again or a renewal is on its way, is a reaper's.
                if (table_->removed_for_good(*own.shard_, node_, own.fence().owner, *removed) || hand_over(&waiter, &*removed))
                    return table_->released(own, status_, *removed, released_at_);
            }
            if (auto const removed = reaper_->look_in_place()) {
                reaper_.reset();
                return table_->released(own, status_, *removed, released_at_);
            }
            if (runtime.now() >= deadline_) {
                abandon();
                return table_->released(own, status_, Failure::unknown(Errc::deadline_exceeded), released_at_);
            }
            // A first call that was started ends by itself. What needs a thread, or is tried again, may take longer.
            return reaper_->in_first_call() ? Step<void>::under_way() : Step<void>::pending(deadline_);
        }

        void abandon() noexcept
        {
            if (asking_.under_way()) {
                asking_.give_up();
                static_cast<void>(hand_over(nullptr));
            }
            if (auto const reaper = std::move(reaper_))
                reaper->abandon();
        }

    private:
        /// Nothing while the call is under way.
        std::optional<Outcome<Removal>> ask(Waiter& waiter)
        {
            auto const owner = hold_->fence().owner;
            Deadline const deadline{deadline_};
            try {
                auto asked = asking_.ask(table_->repository_, waiter, verb::Remove{node_->first, owner}, deadline);
                if (!asked)
                    return std::nullopt;
                return std::move(*asked);
            } catch (...) {  // no memory
                asking_.give_up();
                return Outcome<Removal>{Errc::unavailable};
            }
        }

        /// From here on a reaper removes the record, and wakes `waiter`. False: there is no memory for it.
        bool hand_over(Waiter* waiter) noexcept
        {
            auto& own = static_cast<TableHold&>(*hold_);
            reaper_ = table_->reap(node_->first, own.fence().owner, own.valid_until(), node_, waiter);
            if (!reaper_)
                table_->go_on(*own.shard_, node_);  // the record lapses with its lease
            return reaper_ != nullptr;
        }
        /// The same behind a first attempt, which came to `removed`. True: that is all there is to come.
        bool hand_over(Waiter* waiter, Outcome<Removal>* removed) noexcept
        {
            auto& own = static_cast<TableHold&>(*hold_);
            try {
                reaper_ = std::make_shared<Reaper>(table_, node_->first, own.fence().owner, own.valid_until(), node_, waiter);
            } catch (...) {  // no memory
                table_->go_on(*own.shard_, node_);
                return true;
            }
            if (!reaper_->settle(*removed, false))
                return false;
            reaper_.reset();
            return true;
        }

        std::shared_ptr<LockTable> table_;
        std::shared_ptr<Hold> hold_;
        [[no_unique_address]] PendingCall<R, verb::Remove> asking_;
        std::shared_ptr<Reaper> reaper_;
        Node* node_{nullptr};  // whose record is being removed
        TimePoint released_at_{};
        TimePoint deadline_{};
        LockStatus status_{};
    };

    /// What the holder has just written, for the next local one, who need not load it. Nobody has held the lock between
    /// the two, but somebody may write without it: the next one's commit names this version, and what it did without
    /// a commit must be verified.
    void leave_state(Hold& hold, Versioned<T> state) { static_cast<TableHold&>(hold).left_.emplace(std::move(state)); }

    /// Whether a local waiter is in line, so that the lease should be handed on and not removed.
    bool contended(Hold& hold)
    {
        auto& own = static_cast<TableHold&>(hold);
        std::lock_guard lock(own.shard_->mutex);
        return own.node_ != nullptr && !own.node_->second.queue.empty();
    }

    /// The record was removed together with a write: only the local side is left to do. A renewal that is being sent right
    /// now is not waited for: it names this acquisition, whose record is gone, so that it finds nothing to prolong.
    void released_by_commit(Hold& hold) noexcept
    {
        auto& own = static_cast<TableHold&>(hold);
        hold.lose(LostReason::released);
        own.gone_.store(true, std::memory_order_relaxed);
        {
            Wakeup wakeup;
            std::unique_lock lock(own.shard_->mutex);
            if (own.node_ == nullptr)
                return;
            auto* const node = part(own);
            node->second.lease.stop();
            unschedule(*own.shard_, node);
            wakeup = left(*own.shard_, node);
        }
        observe_release(Errc::ok, own, false, options_.observer != nullptr ? runtime_.now() : TimePoint{});
    }

    std::size_t waiter_count() const noexcept { return waiters_.load(std::memory_order_relaxed); }

private:
    class Acquisition {
    public:
        Acquisition(std::shared_ptr<LockTable> table, Key const* key, Wait wait, int max_attempts, bool loads)
            : table_(std::move(table)), key_(key), wait_(wait), loads_(fused && loads), max_attempts_(max_attempts)
        {}

        Step<std::shared_ptr<Hold>> poll(Waiter& waiter, TimePoint deadline)
        {
            if (phase_ == Phase::start) {
                if (auto failure = enter(waiter))
                    return std::move(*failure);
                if (phase_ == Phase::queued)
                    return Step<std::shared_ptr<Hold>>::pending();
            }
            if (phase_ == Phase::queued) {
                auto& shard = table_->shard_of(*key_);
                std::unique_lock lock(shard.mutex);
                if (granted_ && granted_->node_ == nullptr) {  // this came so late that it is lost again
                    lock.unlock();
                    start_over();
                    return poll(waiter, deadline);
                }
                if (granted_) {
                    phase_ = Phase::done;
                    lock.unlock();
                    report(Errc::ok, true);
                    return Outcome<std::shared_ptr<Hold>>{std::shared_ptr<Hold>{std::move(granted_)}};
                }
                if (!promoted_)
                    return Step<std::shared_ptr<Hold>>::pending();
                phase_ = Phase::driving;
                node_->second.promoted = nullptr;
                table_->unschedule(shard, node_);
                if (table_->options_.observer != nullptr)
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
            if (phase_ == Phase::queued) {
                auto& shard = table_->shard_of(*key_);
                Wakeup wakeup;
                std::unique_lock lock(shard.mutex);
                phase_ = Phase::done;
                if (granted_) {
                    auto const hold = std::move(granted_);
                    lock.unlock();
                    hold->release(false);
                } else if (promoted_) {
                    node_->second.promoted = nullptr;
                    table_->unschedule(shard, node_);
                    wakeup = table_->left(shard, node_);
                } else {
                    node_->second.queue.erase(place_);
                    table_->waiters_.fetch_sub(1, std::memory_order_relaxed);
                }
            } else if (phase_ == Phase::driving) {
                stop_driving();
            }
        }

        std::optional<Versioned<T>> state_;
        bool state_known_{false};
        bool state_cached_{false};

    private:
        friend class LockTable;
        enum class Phase : unsigned char { start, queued, driving, done };

        std::optional<Failure> enter(Waiter& waiter)
        {
            if (table_->options_.observer != nullptr)
                entered_ = queued_until_ = table_->runtime_.now();
            auto& shard = table_->shard_of(*key_);
            std::lock_guard lock(shard.mutex);
            auto const [node, fresh] = shard.enter(*key_);
            auto& entry = node->second;
            node_ = node;
            if (fresh) {
                entry.node = node;
                phase_ = Phase::driving;
                return std::nullopt;
            }
            // One that is being removed is nobody's: the first who comes waits for that trip, even if it only tries.
            bool const leaving = entry.state == EntryState::leaving && entry.queue.empty();
            if (wait_ == Wait::no && !leaving) {
                phase_ = Phase::done;
                return Failure::busy(Errc::lock_busy, std::chrono::nanoseconds{0});
            }
            if (table_->waiters_.fetch_add(1, std::memory_order_relaxed) >= table_->options_.max_waiters) {
                table_->waiters_.fetch_sub(1, std::memory_order_relaxed);
                phase_ = Phase::done;
                return Failure{Errc::overloaded, "waiters for locks: the limit is reached"};
            }
            waiter_ = &waiter;
            place_ = entry.queue.insert(entry.queue.end(), this);
            phase_ = Phase::queued;
            return std::nullopt;
        }

        Step<std::shared_ptr<Hold>> drive(Waiter& waiter, TimePoint deadline)
        {
            [[maybe_unused]] auto& repository = table_->repository_;
            auto const& runtime = table_->runtime_;
            if (!owner_) {
                owner_ = new_owner_token(runtime);
                if (promoted_ && wait_ != Wait::no)
                    subscribe(waiter);  // whoever gave the lease up may have done so for somebody elsewhere
            }
            for (;;) {
                if (!asking_.under_way() && !asking_state_.under_way()) {
                    sent_ = runtime.now();
                    ++attempts_;
                    doubt_.sent();
                }
                auto asked = ask(waiter, Deadline{deadline});
                if (!asked)
                    return Step<std::shared_ptr<Hold>>::under_way();
                auto& answer = *asked;
                auto const now = runtime.now();
                store_time_ += now - sent_;
                if (answer) {
                    unsubscribe(waiter);
                    auto hold = table_->granted(node_, owner_, *answer, sent_);  // if it throws, all is given back
                    doubt_.answered();
                    phase_ = Phase::done;
                    token_ = hold->fence().token;
                    report(Errc::ok, false);
                    return Outcome<std::shared_ptr<Hold>>{std::move(hold)};
                }
                auto const code = answer.error();
                // A state that cannot be decoded may have come with a grant that is of no use. That another one has the lock
                // now is no answer about an attempt before: it may still be on its way.
                doubt_.came(loads_ && code == Errc::corrupt_state ? Errc::outcome_unknown : code, false);
                bool const busy = code == Errc::lock_busy;
                // Unknown: the record may be ours. Asking again with the same owner token recognises it.
                if (!busy && code != Errc::outcome_unknown && code != Errc::unavailable)
                    return give_up(std::move(answer).failure());
                if ((busy && wait_ == Wait::no) || attempts_ >= table_->options_.max_attempts || attempts_ >= max_attempts_)
                    return give_up(std::move(answer).failure());
                auto wait_for = table_->options_.poll.delay(attempts_, runtime.random_bits());
                if constexpr (SubscribableRepository<R>) {
                    bool const woken = busy && wakes_waiters(repository);
                    if (woken && subscriber_ == nullptr) {
                        subscribe(waiter);  // and look again: a release in between is not missed
                        continue;
                    }
                    if (woken)
                        wait_for = table_->options_.poll.cap;  // the net under a lost wake-up
                }
                if (auto const hint = answer.failure().retry_after(); hint.count() > 0 && hint < wait_for)
                    wait_for = hint;
                return Step<std::shared_ptr<Hold>>::pending(add(now, wait_for));
            }
        }

        /// Nothing while the call is under way.
        std::optional<Outcome<Grant>> ask(Waiter& waiter, Deadline deadline)
        {
            auto const ttl = table_->options_.ttl;
            if constexpr (fused) {
                if (loads_) {
                    auto asked = asking_state_.ask(
                        table_->repository_, waiter, verb::CreateAndLoad<T>{*key_, owner_, ttl}, deadline);
                    if (!asked)
                        return std::nullopt;
                    if (!*asked)
                        return std::move(*asked).failure();
                    state_ = std::move((*asked)->state);
                    state_known_ = true;
                    return (*asked)->grant;
                }
            }
            auto asked = asking_.ask(table_->repository_, waiter, verb::Create{*key_, owner_, ttl}, deadline);
            if (!asked)
                return std::nullopt;
            return std::move(*asked);
        }

        Step<std::shared_ptr<Hold>> give_up(Failure failure)
        {
            auto const code = failure.code();
            stop_driving();
            report(code, false);
            return failure;
        }

        void start_over() noexcept
        {
            granted_->gone_.store(true, std::memory_order_relaxed);
            granted_.reset();
            state_.reset();
            state_known_ = state_cached_ = false;
            phase_ = Phase::start;
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
                table_->forget(*key_, owner_);  // a grant that arrives late is given back
            auto& shard = table_->shard_of(*key_);
            Wakeup wakeup;
            std::lock_guard lock(shard.mutex);
            wakeup = table_->left(shard, node_);
        }

        void subscribe(Waiter& waiter)
        {
            if constexpr (SubscribableRepository<R>) {
                if (!wakes_waiters(table_->repository_))
                    return;
                table_->repository_.subscribe(*key_, owner_, waiter);
                subscriber_ = &waiter;
            }
        }

        void unsubscribe(Waiter& waiter) noexcept
        {
            if constexpr (SubscribableRepository<R>) {
                if (std::exchange(subscriber_, nullptr) != nullptr)
                    table_->repository_.unsubscribe(*key_, waiter);
            }
        }

        void report(Errc code, bool handed_on) noexcept
        {
            auto* const observer = table_->options_.observer;
            if (observer == nullptr)
                return;
            auto const now = table_->runtime_.now();
            auto const queue = handed_on ? now - entered_ : queued_until_ - entered_;
            observer->on_acquire(
                {code, token_, handed_on, attempts_, queue, store_time_,
                 handed_on ? std::chrono::nanoseconds{0} : now - queued_until_ - store_time_});
        }

        std::shared_ptr<LockTable> table_;
        Key const* key_;
        Node* node_{nullptr};
        Waiter* waiter_{nullptr};
        Waiter* subscriber_{nullptr};
        std::shared_ptr<TableHold> granted_;
        typename std::list<Acquisition*>::iterator place_{};
        [[no_unique_address]] PendingCall<R, verb::Create> asking_;
        [[no_unique_address]] PendingCall<R, verb::CreateAndLoad<T>> asking_state_;
        TimePoint sent_{};
        OwnerToken owner_;
        FencingToken token_;
        TimePoint entered_{};
        TimePoint queued_until_{};
        std::chrono::nanoseconds store_time_{0};
        Wait wait_;
        bool loads_;
        int max_attempts_;
        int attempts_{0};
        Phase phase_{Phase::start};
        bool promoted_{false};
        Doubt doubt_;  // whether the record may be ours although nobody has said so
    };

    static constexpr std::size_t shard_count = 16;
    Shard& shard_of(Key const& key) noexcept { return shards_[(key.hash() ^ key.hash() >> 13) % shard_count]; }

    // ---- grants ---------------------------------------------------------------------------------------------

    std::shared_ptr<TableHold> make_hold(Shard& shard, Node* node, TimePoint now)
    {
        auto& entry = node->second;
        auto hold = std::make_shared<TableHold>(
            this->shared_from_this(), shard, node, entry.owner, FencingToken{entry.next_token++},
            entry.lease.valid_until(), now);
        hold->set_in_doubt(entry.lease.in_doubt());
        entry.holder = hold.get();
        entry.state = EntryState::held;
        return hold;
    }

    /// Holder and entry know each other no more. The shard's mutex is held.
    Node* part(TableHold& hold) noexcept
    {
        auto* const node = std::exchange(hold.node_, nullptr);
        node->second.holder = nullptr;
        return node;
    }

    std::shared_ptr<Hold> granted(Node* node, OwnerToken owner, Grant const& grant, TimePoint sent)
    {
        auto& shard = shard_of(node->first);
        std::lock_guard lock(shard.mutex);
        auto& entry = node->second;
        entry.owner = owner;
        entry.first_token = entry.next_token = grant.first.value();
        entry.end_token = grant.first.value() + grant.count;
        entry.handed_on = 0;
        entry.wanted_since = TimePoint{};
        entry.lease = LeaseMachine{{grant.ttl, options_.drift, options_.margin, options_.renew}};
        entry.lease.granted(sent, grant.ttl);
        schedule(shard, node);
        try {
            return make_hold(shard, node, sent);
        } catch (...) {
            entry.lease.stop();
            unschedule(shard, node);
            throw;
        }
    }

    /// The driver, or the holder, is gone and so is the record: the next of the queue drives, or nobody is left.
    [[nodiscard]] Wakeup left(Shard& shard, Node* node) noexcept
    {
        auto& entry = node->second;
        if (entry.queue.empty()) {
            shard.leave(node);
            return {};
        }
        entry.state = EntryState::trying;
        auto* const next = entry.queue.front();
        entry.queue.pop_front();
        waiters_.fetch_sub(1, std::memory_order_relaxed);
        next->promoted_ = true;
        entry.promoted = next;
        schedule_turn(shard, node);
        return next->waiter_->wake_later();
    }

    /// How long whoever's turn it is, or who was granted a lock, may take to come for it: not before somebody else's
    /// executor, which stands still, has done something.
    static constexpr std::chrono::nanoseconds patience = std::chrono::seconds{1};

    void schedule_turn(Shard& shard, Node* node) noexcept
    {
        try {
            schedule_at(shard, node, add(runtime_.now(), patience));
        } catch (...) {  // no memory: then everybody waits for the one
        }
    }

    /// Who was to drive has not come: the next may, and it is last in line. The shard's mutex is held.
    void pass_over(Shard& shard, Node* node)
    {
        auto& entry = node->second;
        auto* const late = entry.promoted;
        if (entry.queue.empty())
            return schedule_turn(shard, node);
        late->place_ = entry.queue.insert(entry.queue.end(), late);
        waiters_.fetch_add(1, std::memory_order_relaxed);
        late->promoted_ = false;
        entry.promoted = nullptr;
        unschedule(shard, node);
        static_cast<void>(left(shard, node));  // fires under the mutex: rare
    }

    /// A grant that was neglected is taken after all.
    void revive(TableHold& hold) noexcept
    {
        std::lock_guard lock(hold.shard_->mutex);
        if (hold.node_ == nullptr)
            return;
        hold.node_->second.lease.set_renewed(options_.renew);
        try {
            schedule(*hold.shard_, hold.node_);
        } catch (...) {  // no memory: it is lost when its lease is over
        }
    }

    /// True when the lease may go to the first of the queue. The shard's mutex is held.
    bool may_hand_on(Node* node, TimePoint now)
    {
        auto& entry = node->second;
        if (entry.queue.empty() || entry.next_token >= entry.end_token || entry.lease.stopped())
            return false;
        if (entry.lease.renewed() != options_.renew)  // one that nobody came for
            return false;
        // A waiter should get a lock it can use: at least half of a lease is left, or was just renewed.
        if (entry.lease.valid_until() - now < options_.ttl.value() / 2)
            return false;
        if constexpr (SubscribableRepository<R>) {
            if (repository_.wanted(node->first, entry.owner)) {
                if (entry.wanted_since == TimePoint{}) {
                    entry.wanted_since = now;
                    entry.handed_on = 0;
                }
                if (++entry.handed_on > options_.hand_on_count || now - entry.wanted_since > options_.hand_on_time)
                    return false;
            }
        }
        return true;
    }

    /// `report`: for somebody who waits, until the deadline that every call has. What is not done by then goes on without him.
    Outcome<void> release(TableHold& hold, bool unresolved, bool report)
    {
        auto const now = runtime_.now();
        auto const deadline = Deadline{}.at(now);
        auto const until = report ? deadline : now;
        auto const status = hold.status(now);
        auto ended = end_hold(hold, status, unresolved, until, now);
        if (ended.done)
            return *std::move(ended.done);
        auto* const node = ended.node;
        auto const owner = hold.fence().owner;
        if (!runs_in_place(repository_) && !report) {
            // A destructor must not block. Later acquires of this process queue behind the reaper.
            if (reap(node->first, owner, hold.valid_until(), node)) {
                observe_release(Errc::ok, hold, false, now);
                return success();
            }
        }
        Doubt doubt;
        for (int attempt = 1;; ++attempt) {
            auto removed = remove(node, owner, Deadline{deadline});
            settle(removed, doubt);
            if (removed_for_good(*hold.shard_, node, owner, removed))
                return released(hold, status, removed, now);
            auto const again = retry_removal_at(removed, attempt, hold.valid_until());
            if (again < until) {
                runtime_.sleep_until(again);
                continue;
            }
            bool const moot = again == TimePoint::max() && !removed;  // the lease is over
            if (moot || !reap(node->first, owner, hold.valid_until(), node, nullptr, doubt))
                go_on(*hold.shard_, node);
            else if (!removed)
                removed = std::move(removed).failure().in_doubt();  // the reaper's attempts may be applied
            return released(hold, status, removed, now);
        }
    }

    /// `node` is left to this call.
    Outcome<Removal> remove(Node* node, OwnerToken owner, Deadline deadline)
    {
        return repository_.carry_out(
            verb::Remove{node->first, owner, FencingToken{node->second.first_token}}, deadline);
    }

    /// Whether that was the end of it, so that the queue went on. Else it is to be tried again, or a renewal is on its way.
    bool removed_for_good(Shard& shard, Node* node, OwnerToken owner, Outcome<Removal> const& removed) noexcept
    {
        if (removed_in_vain(removed))
            return false;
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        if (node->second.sending == owner)
            return false;
        wakeup = left(shard, node);
        return true;
    }

    void go_on(Shard& shard, Node* node) noexcept
    {
        Wakeup wakeup;
        std::lock_guard lock(shard.mutex);
        wakeup = left(shard, node);
    }

    struct Ended {
        std::optional<Outcome<void>> done;
        Node* node{nullptr};  // otherwise: whose record is still to be removed
    };

    /// The local end of a hold: handed on, or its record is left to be removed.
    /// `until`: how long it may wait for a renewal that is being sent.
    Ended end_hold(TableHold& hold, LockStatus status, bool unresolved, TimePoint until, TimePoint now)
    {
        // By the clock: the alarm that says so may be on its way.
        bool const lost = status == LockStatus::lost && hold.lost_reason() != LostReason::released;
        hold.lose(LostReason::released);
        auto& shard = *hold.shard_;
        std::unique_lock lock(shard.mutex);
        if (until > now)
            await_renewal(hold, lock, until);
        if (hold.node_ == nullptr) {  // lost, and somebody else may hold it by now
            lock.unlock();
            auto const code = !lost && hold.lost_reason() == LostReason::released ? Errc::ok : Errc::lock_lost;
            observe_release(code, hold, false, now);
            return {code == Errc::ok ? success() : Outcome<void>{code}};
        }
        auto* const node = part(hold);
        auto& entry = node->second;
        std::shared_ptr<TableHold> handed_on;
        if (!unresolved && may_hand_on(node, now)) {
            try {
                handed_on = make_hold(shard, node, now);
            } catch (std::bad_alloc const&) {  // then the next of the queue asks the store
            }
        }
        if (handed_on) {
            auto* const next = entry.queue.front();
            entry.queue.pop_front();
            waiters_.fetch_sub(1, std::memory_order_relaxed);
            next->token_ = handed_on->fence().token;
            next->granted_ = std::move(handed_on);
            next->state_known_ = next->state_cached_ = hold.left_.has_value();
            next->state_ = std::move(hold.left_);
            auto wakeup = next->waiter_->wake_later();
            lock.unlock();
            wakeup.fire();
            observe_release(Errc::ok, hold, true, now);
            return {success()};
        }
        entry.lease.stop();
        entry.state = EntryState::leaving;
        unschedule(shard, node);
        return {std::nullopt, node};
    }

    /// Waits until no renewal of this hold is being sent, or until then. `lock` is that of its shard's mutex.
    void await_renewal(TableHold& hold, std::unique_lock<std::mutex>& lock, TimePoint until)
    {
        while (hold.node_ != nullptr && hold.node_->second.sending == hold.fence().owner && runtime_.now() < until)
            runtime_.wait_until(hold.shard_->renewed, lock, until);
    }

    Outcome<void> released(TableHold const& hold, LockStatus status, Outcome<Removal> const& removed, TimePoint now)
    {
        Errc code = removed.error();
        if (removed && (*removed == Removal::taken || status == LockStatus::lost))
            code = Errc::lock_lost;
        observe_release(code, hold, false, now);
        if (!removed)
            return removed.failure();
        return code == Errc::ok ? success() : Outcome<void>{code};
    }

    void observe_release(Errc code, TableHold const& hold, bool handed_on, TimePoint now) const noexcept
    {
        if (options_.observer != nullptr)
            options_.observer->on_release({code, hold.fence().token, handed_on, now - hold.granted_at()});
    }

    /// Makes what one attempt came to the outcome of all of them. Another's record, behind an attempt that may have been
    /// applied, does not tell whether that was so or the lock had been lost before.
    static void settle(Outcome<Removal>& removed, Doubt& doubt) noexcept
    {
        if (doubt.open() && removed && *removed == Removal::taken)
            removed = Failure::unknown(Errc::lock_lost);
        else
            doubt.settle(removed);
    }
    static bool removed_in_vain(Outcome<Removal> const& removed) noexcept
    {
        switch (removed.error()) {
        case Errc::unavailable:
        case Errc::overloaded:
        case Errc::deadline_exceeded: return true;
        case Errc::outcome_unknown: return removed.cause() != Errc::lock_lost;
        default: return false;
        }
    }
    /// When to try a failed removal again; never, if it need not be. Removing is idempotent for its owner, so unknown
    /// is simply asked again; after the lease it is moot.
    TimePoint retry_removal_at(Outcome<Removal> const& removed, int attempt, TimePoint until) const
    {
        if (!removed_in_vain(removed))
            return TimePoint::max();
        auto const at = add(runtime_.now(), options_.poll.delay(attempt, runtime_.random_bits()));
        return at < until ? at : TimePoint::max();
    }

    /// Removes a record that nobody holds any more, and tells whoever waits for that. Between attempts it is an alarm:
    /// a store that is away for a while occupies no thread of the pool.
    class Reaper final : public Alarm, public Waiter, public std::enable_shared_from_this<Reaper> {
    public:
        Reaper(
            std::shared_ptr<LockTable> table, Key key, OwnerToken owner, TimePoint until, Node* node, Waiter* waiter,
            Doubt doubt = {})
            : table_(std::move(table)), key_(std::move(key)), owner_(owner), until_(until), node_(node),
              reports_(waiter != nullptr), counted_(ends_by_itself(table_->repository_)),
              starts_(starts_calls(table_->repository_)), doubt_(doubt), waiter_(waiter)
        {
            if (counted_) {
                std::lock_guard lock(table_->reaping_mutex_);
                ++table_->reaping_;
            }
        }
        Reaper(Reaper const&) = delete;
        Reaper& operator=(Reaper const&) = delete;
        ~Reaper() { uncount(); }

        void send()
        {
            if constexpr (NonblockingRepository<R>) {
                if (starts_calls(table_->repository_)) {
                    std::lock_guard lock(mutex_);  // it may end, on another thread, before it is there to be looked at
                    call_ = table_->repository_.start(verb::Remove{key_, owner_}, Deadline{}, *this);
                    keep_ = this->shared_from_this();
                    return;
                }
            }
            post();
        }

        /// The report, once there is one. On the thread of whoever waits for it: what was woken need not go through the
        /// pool.
        std::optional<Outcome<Removal>> look_in_place()
        {
            std::optional<Outcome<Removal>> removed;
            {
                std::lock_guard lock(mutex_);
                if (call_) {
                    removed = call_->poll();
                    if (!removed)
                        return std::nullopt;
                    call_.reset();
                    first_ = false;
                }
            }
            if (removed) {
                if (!settle(*removed, false))
                    return std::nullopt;
                uncount();
                return removed;
            }
            std::lock_guard lock(waiter_mutex_);
            return removed_;
        }

        bool in_first_call() noexcept
        {
            std::lock_guard lock(mutex_);
            return call_ != nullptr && first_;
        }

        /// Nobody waits for the report any more.
        void abandon() noexcept
        {
            {
                std::lock_guard lock(waiter_mutex_);
                waiter_ = nullptr;
                if (removed_)
                    return;
            }
            if (starts_)  // what blocks a thread of the pool goes on there
                wake();  // it may have been for this that the waiter was to look
        }

        /// The waiter looks, on a thread of its own choice; without one, a thread of the pool does.
        void wake() noexcept override
        {
            {
                std::lock_guard lock(waiter_mutex_);
                if (waiter_ != nullptr)
                    return waiter_->wake();
            }
            try {
                post();
            } catch (...) {
                ring_soon();
            }
        }

        /// True: done, and told to nobody yet. What `removed` is to be taken for is in it then.
        bool settle(Outcome<Removal>& removed, bool may_wait) noexcept
        {
            LockTable::settle(removed, doubt_);
            try {
                auto const again = table_->retry_removal_at(removed, ++attempts_, until_);
                if (again != TimePoint::max()) {
                    keep_ = this->shared_from_this();
                    table_->runtime_.arm(*this, again);
                    return false;
                }
            } catch (...) {  // no memory: the record lapses with its lease
            }
            return done(removed, may_wait);
        }

    private:
        bool may_block() const noexcept override { return false; }
        void ring_soon() noexcept
        {
            try {
                table_->runtime_.arm(*this, add(table_->runtime_.now(), std::chrono::milliseconds{10}));
            } catch (...) {  // no memory at all: the record lapses with its lease, who waits here goes on by its deadline
            }
        }
        void ring() noexcept override
        {
            {
                std::lock_guard lock(mutex_);
                again_ = true;  // not before: who looks earlier would end this while it is armed
            }
            try {
                post();
            } catch (...) {
                ring_soon();
            }
        }

        void post()
        {
            boost::asio::post(
                table_->keeping_executor(), [self = this->shared_from_this()] { self->look(); });
        }

        /// On a thread of the pool.
        void look()
        {
            std::optional<Outcome<Removal>> removed;
            {
                std::lock_guard lock(mutex_);
                bool const again = std::exchange(again_, false);
                if (call_) {
                    removed = call_->poll();
                    if (!removed)
                        return;
                    call_.reset();
                    first_ = false;
                } else if (starts_ && !again) {
                    return;  // woken more than once
                }
            }
            if (!removed) {
                if (starts_)
                    return start_again();
                removed.emplace(table_->repository_.carry_out(verb::Remove{key_, owner_}, Deadline{}));
            }
            if (settle(*removed, true))
                tell(*removed);
        }

        void start_again()
        {
            try {
                send();
            } catch (...) {  // no memory: the record lapses with its lease
                Outcome<Removal> removed{Errc::unavailable};
                LockTable::settle(removed, doubt_);
                finish(removed);
            }
        }

        void finish(Outcome<Removal> const& removed) noexcept
        {
            if (done(removed, true))
                tell(removed);
        }

        /// Lets the queue go on. Whoever calls this keeps it alive. False: on another thread, which tells.
        /// `may_wait`: for a renewal of the same lease that is on its way.
        bool done(Outcome<Removal> const& removed, bool may_wait) noexcept
        {
            keep_.reset();
            if (node_ == nullptr)
                return true;
            auto& shard = table_->shard_of(key_);
            Wakeup wakeup;
            std::unique_lock lock(shard.mutex);
            if (!may_wait && node_->second.sending == owner_) {
                try {
                    boost::asio::post(
                        table_->keeping_executor(),
                        [self = this->shared_from_this(), removed] { self->finish(removed); });
                    return false;
                } catch (...) {  // no memory: it is one trip
                }
            }
            shard.renewed.wait(lock, [&] { return node_->second.sending != owner_; });
            wakeup = table_->left(shard, std::exchange(node_, nullptr));
            return true;
        }

        void tell(Outcome<Removal> const& removed) noexcept
        {
            if (reports_) {
                std::lock_guard lock(waiter_mutex_);
                removed_.emplace(removed);
                if (waiter_ != nullptr)
                    waiter_->wake();
            } else if (!removed && table_->options_.observer != nullptr) {
                table_->telling_.fetch_add(1);
                if (!table_->silent_.load())
                    table_->options_.observer->on_release({removed.error(), {}, false, {}});
                table_->telling_.fetch_sub(1);
                table_->telling_.notify_all();
            }
            uncount();
        }

        void uncount() noexcept
        {
            if (!std::exchange(counted_, false))
                return;
            {
                std::lock_guard lock(table_->reaping_mutex_);
                --table_->reaping_;
            }
            table_->reaped_.notify_all();
        }

        std::shared_ptr<LockTable> table_;
        Key key_;
        OwnerToken owner_;
        TimePoint until_;
        Node* node_;  // whose queue goes on when this is done; null: nobody's
        bool reports_;
        bool counted_;  // `close` waits for it: not when it needs an executor that its caller may be running
        bool const starts_;
        std::mutex mutex_;  // of what follows
        StartedCall<Removal> call_;
        bool again_{false};
        bool first_{true};  // call_, where there is one
        int attempts_{0};
        Doubt doubt_;
        std::shared_ptr<Reaper> keep_;  // itself, while nobody else knows it
        std::mutex waiter_mutex_;       // of what follows; taken last, for the store wakes under its own
        Waiter* waiter_;
        std::optional<Outcome<Removal>> removed_;  // told by another thread
    };

    /// Nothing when there is no memory for it.
    std::shared_ptr<Reaper> reap(
        Key const& key, OwnerToken owner, TimePoint until, Node* node, Waiter* waiter = nullptr, Doubt doubt = {}) noexcept
    {
        try {
            // What is posted in vain is dropped, and must not let the queue go on: the caller does.
            auto reaper = std::make_shared<Reaper>(this->shared_from_this(), key, owner, until, node, waiter, doubt);
            reaper->send();
            return reaper;
        } catch (...) {
            return nullptr;
        }
    }

    /// Compare-and-deletes a record that may or may not have been granted.
    void forget(Key const& key, OwnerToken owner) noexcept
    {
        if (!runs_in_place(repository_) || removed_in_vain(repository_.carry_out(verb::Remove{key, owner}, Deadline{})))
            reap(key, owner, add(runtime_.now(), options_.ttl.value()), nullptr);
    }

    // ---- renewals -------------------------------------------------------------------------------------------

    /// The shard's mutex is held. Costs a system call only when the alarm must ring earlier than planned, and hardly a
    /// search: grants of one service come due in the order they were made.
    void schedule(Shard& shard, Node* node) { schedule_at(shard, node, node->second.lease.next()); }

    void schedule_at(Shard& shard, Node* node, TimePoint at)
    {
        auto& entry = node->second;
        if (at < shard.alarm_at) {
            shard.alarm_used = true;
            shard.alarm_at = TimePoint::max();  // should it fail
            runtime_.arm(shard.alarm, at);
            shard.alarm_at = at;
        }
        unschedule(shard, node);
        entry.due = at;
        shard.schedule.insert(shard.schedule.end(), entry);
    }

    void unschedule(Shard& shard, Node* node) noexcept
    {
        if (node->second.is_linked())
            shard.schedule.erase(shard.schedule.iterator_to(node->second));
    }

    /// For what keeps locks. No call of a user's, and no other store's, has these threads.
    auto keeping_executor() const { return store_executor(runtime_, BlockingCalls::keeping, repository_); }

    struct Due {
        Key key;
        OwnerToken owner;
        TimePoint planned;
    };

    /// What to tell once the mutex is free.
    struct News {
        std::shared_ptr<Hold> hold;
        LostReason lost;
    };

    /// Rung by the alarm: what is due in one shard, in one go.
    void keep(Shard& shard)
    {
        std::vector<Due> due;
        std::vector<News> news;
        std::vector<std::pair<Errc, std::chrono::nanoseconds>> renewals;
        {
            std::lock_guard lock(shard.mutex);
            shard.alarm_at = TimePoint::max();
            auto const now = runtime_.now();
            // What comes due a little later comes along: fewer alarms and fewer, larger trips.
            auto const early = runs_in_place(repository_) ? std::chrono::nanoseconds{0} : options_.ttl.value() / 32;
            // All memory first: what fails half-way would lose leases.
            std::vector<Node*> nodes;
            for (auto it = shard.schedule.begin(); it != shard.schedule.end() && it->due <= now + early; ++it)
                nodes.push_back(it->node);
            news.reserve(nodes.size());
            if (runs_in_place(repository_))
                renewals.reserve(nodes.size());
            else
                due.reserve(nodes.size());
            for (auto* const node : nodes) {
                std::optional<Due> one;
                if (!runs_in_place(repository_))
                    one.emplace(Due{node->first, node->second.owner, {}});
                if (node->second.promoted != nullptr) {
                    pass_over(shard, node);
                    continue;
                }
                auto& lease = node->second.lease;
                if (lease.stopped()) {
                    unschedule(shard, node);
                    continue;
                }
                if (auto* const holder = node->second.holder; holder != nullptr && now - holder->granted_at() >= patience)
                    if (holder->neglect())
                        lease.set_renewed(false);
                auto const planned = lease.renew_at();
                switch (lease.tick(now, early)) {
                case LeaseMachine::Action::lost: lose(shard, node, LostReason::expired, news); continue;
                case LeaseMachine::Action::renew:
                    if (runs_in_place(repository_)) {
                        auto const answer = repository_.carry_out(
                            verb::Renew{node->first, node->second.owner, options_.ttl}, Deadline{});
                        renewals.push_back({answer.error(), now - planned});
                        apply_renewal(shard, node, now, answer, news);
                        continue;
                    } else {
                        one->planned = planned;
                        due.push_back(*std::move(one));
                    }
                    break;
                case LeaseMachine::Action::none: break;
                }
                schedule(shard, node);
            }
            if (!shard.schedule.empty() && shard.schedule.begin()->due < shard.alarm_at) {
                shard.alarm_at = shard.schedule.begin()->due;
                runtime_.arm(shard.alarm, shard.alarm_at);
            }
        }
        tell(news);
        if (!runs_in_place(repository_)) {
            if (!due.empty())
                boost::asio::post(
                    keeping_executor(),
                    [weak = this->weak_from_this(), where = &shard, due = std::move(due)]() mutable {
                        auto const self = weak.lock();
                        if (!self)
                            return;
                        if constexpr (CarriesOut<R, verb::RenewAll>)
                            return self->renew_together(*where, due);
                        for (auto const& one : due)
                            self->renew_together(*where, {&one, 1});
                    });
        }
        if (options_.observer != nullptr)
            for (auto const& [code, lag] : renewals)
                options_.observer->on_renewal(code, lag);
    }

    void keep_later(Shard& shard) noexcept
    {
        try {
            std::lock_guard lock(shard.mutex);
            auto const at = add(runtime_.now(), std::chrono::milliseconds{10});
            runtime_.arm(shard.alarm, at);
            shard.alarm_at = at;
        } catch (...) {
        }
    }

    void renew_together(Shard& shard, std::span<Due const> due)
    {
        // What was queued here may have been released meanwhile. A release waits for what is being sent, never for
        // what is only queued: it may itself occupy the thread that would send it.
        auto const still_wanted = [&](Due const& one) -> Node* {
            auto const it = shard.entries.find(one.key);
            return it != shard.entries.end() && it->second.owner == one.owner && it->second.lease.renewing() &&
                           !it->second.lease.stopped()
                       ? &*it
                       : nullptr;
        };
        std::vector<Due const*> sending;
        std::vector<Renewal> renewals;
        sending.reserve(due.size());
        renewals.reserve(due.size());
        {
            std::lock_guard lock(shard.mutex);
            for (auto const& one : due)
                if (auto* const node = still_wanted(one)) {
                    node->second.sending = one.owner;
                    sending.push_back(&one);
                    renewals.push_back({&one.key, one.owner});
                }
        }
        if (sending.empty())
            return;
        auto const sent = runtime_.now();
        Deadline const deadline{std::min(add(sent, options_.ttl.value() / 3), Deadline{}.at(sent))};
        if constexpr (CarriesOut<R, verb::RenewAll>)
            static_cast<void>(repository_.carry_out(verb::RenewAll{renewals, options_.ttl}, deadline));
        else
            renewals[0].granted = repository_.carry_out(
                verb::Renew{*renewals[0].key, renewals[0].owner, options_.ttl}, deadline);
        std::vector<News> news;
        {
            std::lock_guard lock(shard.mutex);
            for (auto const& renewal : renewals) {
                auto const it = shard.entries.find(*renewal.key);
                if (it != shard.entries.end() && it->second.sending == renewal.owner)
                    it->second.sending = OwnerToken{};
                if (auto* const node = still_wanted({*renewal.key, renewal.owner, {}}))
                    apply_renewal(shard, node, sent, renewal.granted, news);
            }
        }
        shard.renewed.notify_all();
        if (options_.observer != nullptr)
            for (std::size_t i = 0; i < sending.size(); ++i)
                options_.observer->on_renewal(renewals[i].granted.error(), sent - sending[i]->planned);
        tell(news);
    }

    /// The shard's mutex is held.
    void apply_renewal(
        Shard& shard, Node* node, TimePoint sent, Outcome<std::chrono::nanoseconds> const& answer, std::vector<News>& news)
    {
        auto& entry = node->second;
        if (answer && runtime_.now() >= entry.lease.valid_until()) {
            lose(shard, node, LostReason::expired, news);  // its handle may have said so already: lost stays lost
            return;
        }
        if (answer) {
            entry.lease.renewed(sent, *answer);
        } else if (entry.lease.renewal_failed(answer.error(), runtime_.now()) == LeaseMachine::Action::lost) {
            lose(
                shard, node, answer.cause() == Errc::not_found ? LostReason::removed : LostReason::taken, news);
            return;
        } else if (entry.holder != nullptr) {
            news.push_back({entry.holder->weak_from_this().lock(), LostReason::none});
        }
        if (entry.holder != nullptr) {
            entry.holder->extend(entry.lease.valid_until());
            entry.holder->set_in_doubt(entry.lease.in_doubt());
        }
        if (!entry.lease.stopped())
            schedule(shard, node);
    }

    /// The holder has lost it; the next of the queue may try. The shard's mutex is held.
    void lose(Shard& shard, Node* node, LostReason reason, std::vector<News>& news)
    {
        unschedule(shard, node);
        node->second.lease.stop();
        if (auto* const holder = node->second.holder) {
            news.push_back({holder->weak_from_this().lock(), reason});
            part(*holder);
            static_cast<void>(left(shard, node));  // fires under the mutex: rare
        }
    }

    void tell(std::vector<News> const& news) noexcept
    {
        for (auto const& [hold, reason] : news) {
            if (!hold)
                continue;
            if (reason != LostReason::none)
                hold->lose(reason);
            if (options_.observer != nullptr) {
                if (reason == LostReason::none)
                    options_.observer->on_in_doubt(hold->fence().token);
                else
                    options_.observer->on_lost(hold->fence().token, reason);
            }
        }
    }

    Outcome<void> renew_now(TableHold& hold, TimePoint deadline)
    {
        auto& shard = *hold.shard_;
        std::vector<News> news;
        Outcome<std::chrono::nanoseconds> answer = Errc::lock_lost;
        {
            std::unique_lock lock(shard.mutex);
            await_renewal(hold, lock, deadline);
            if (hold.node_ != nullptr && hold.node_->second.sending == hold.fence().owner)
                return Errc::deadline_exceeded;
            if (hold.node_ == nullptr || !hold.node_->second.lease.renew_early(runtime_.now()))
                return Errc::lock_lost;
            Due const due{hold.node_->first, hold.fence().owner, {}};
            auto* const node = hold.node_;
            if (!runs_in_place(repository_)) {
                node->second.sending = due.owner;
                lock.unlock();
            }
            auto const sent = runtime_.now();
            answer = repository_.carry_out(verb::Renew{due.key, due.owner, options_.ttl}, Deadline{deadline});
            if (!runs_in_place(repository_)) {
                lock.lock();
                auto const it = shard.entries.find(due.key);
                if (it != shard.entries.end() && it->second.sending == due.owner)
                    it->second.sending = OwnerToken{};
            }
            if (hold.node_ != nullptr)
                apply_renewal(shard, hold.node_, sent, answer, news);
        }
        shard.renewed.notify_all();
        tell(news);
        return answer ? success() : Outcome<void>{std::move(answer).failure()};
    }

    R repository_;
    RuntimeType runtime_;
    LockOptions options_;
    std::uint64_t generation_;
    bool options_good_;
    std::atomic<bool> verified_{false};
    std::atomic<std::size_t> waiters_{0};
    std::mutex reaping_mutex_;
    std::condition_variable reaped_;
    std::size_t reaping_{0};
    std::atomic<bool> silent_{false};
    std::atomic<int> telling_{0};
    std::array<Shard, shard_count> shards_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_TABLE_HPP
