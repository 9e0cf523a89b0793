// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_HPP

// Removes a lock record that nobody holds any more, lets the line of its key go on, and says what that came
// to. What decides is a `RemovalMachine`; this carries it out where the caller of the release does not block:
// in started calls of the store, or in blocking ones on the library's threads, with an alarm between two
// attempts.
//
// The memory for this is part of the hold, which the grant has allocated (see table_hold.hpp). So a release
// cannot fail for want of memory: at worst its first attempt comes a little later.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/removal_machine.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/kit/repeated_call.hpp>

#include <boost/asio/post.hpp>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One removal. Where it lives is counted: by whoever may look at it, by each task of an executor, and, while
/// it waits for an alarm or for a started call, by itself.
///
/// It is a waiter to the store for its started calls. Whom it wakes then is the caller that waits for its
/// report; without one, a thread of the library looks.
template <Runtime R>
class RecordRemoval final : public RepeatedCall<RecordRemoval<R>>, public Waiter {
    using Table = LockTable<R>;
    using Node = LockNode<R>;

public:
    /// `home`: the object that this is a part of, and that has the table, too. `node`: whose line waits for
    /// this; null: nobody's. `waiter`: who waits for the report; null: nobody, and a failure is the
    /// observer's.
    RecordRemoval(
        Counted& home, Table& table, Key const& key, OwnerToken owner, RemovalMachine machine, Node* node,
        Waiter* waiter)
        : home_(home), table_(table), key_(key), owner_(owner), node_(node), reports_(waiter != nullptr),
          counted_(!table.traits_.can.starts_calls || table.traits_.can.owns_threads),
          starts_(table.traits_.can.starts_calls), machine_(machine), waiter_(waiter)
    {
        if (counted_)
            table_.removal_begins();
    }
    RecordRemoval(RecordRemoval const&) = delete;
    RecordRemoval& operator=(RecordRemoval const&) = delete;
    ~RecordRemoval() { uncount(); }

    /// The first attempt.
    void start() noexcept
    {
        if (!starts_)
            return this->attempt_soon();
        try {
            send();
        } catch (...) {  // no memory
            static_cast<void>(ask_again_at(add(runtime().now(), std::chrono::milliseconds{10})));
        }
    }

    // ---- for the one that waits for the report --------------------------------------------------

    /// The report, once there is one. Runs on the thread of the one that waits, so that what was woken need
    /// not go through the library's threads.
    std::optional<Outcome<Removal>> poll()
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

    /// Whether the first attempt is a started call that has not ended. It ends by itself, by its deadline.
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
        if (starts_)  // a blocking call goes on where it is
            wake();   // what the waiter was woken for last may have been this
    }

    // ---- for the store, the alarm and the executor ----------------------------------------------

    void wake() noexcept override
    {
        {
            std::lock_guard lock(waiter_mutex_);
            if (waiter_ != nullptr)
                return waiter_->wake();
        }
        this->attempt_soon();
    }

    void add_reference() noexcept { home_.add_reference(); }
    void drop_reference() noexcept { home_.drop_reference(); }

private:
    friend class RepeatedCall<RecordRemoval>;

    bool may_block() const noexcept override { return false; }

    auto const& runtime() const noexcept { return table_.runtime_; }
    auto executor() const { return table_.keeping_executor(); }

    void ring() noexcept override
    {
        {
            std::lock_guard lock(mutex_);
            // Not when the alarm is set: whoever looks before it rings would begin an attempt.
            again_ = std::exchange(alarm_means_again_, false) || again_;
        }
        this->attempt_soon();
    }
    /// Makes an attempt then. False: there is no alarm.
    bool ask_again_at(TimePoint at) noexcept
    {
        {
            std::lock_guard lock(mutex_);
            alarm_means_again_ = true;
        }
        return this->attempt_at(at);
    }

    /// What the started call came to; nothing while it is under way. The mutex is held.
    std::optional<Outcome<Removal>> take_answer()
    {
        auto removed = call_->poll();
        if (removed) {
            call_.reset();
            first_ = false;
        }
        return removed;
    }

    /// On a thread of the library: begins the next attempt, or looks what the one that was started came to.
    void attempt() noexcept
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

    /// One attempt; nothing when it was started and is under way.
    std::optional<Outcome<Removal>> ask() noexcept
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

    Outcome<Removal> remove() { return table_.store_.carry_out(verb::Remove{key_, owner_}, Deadline{}); }

    void send()
    {
        // It may end, on another thread, before it is there to be looked at.
        std::lock_guard lock(mutex_);
        call_ = table_.store_.start(verb::Remove{key_, owner_}, Deadline{}, *this);
        this->keep();
    }

    /// True: the removal is over, and `removed` is what it came to. False: an alarm is set for the next
    /// attempt.
    bool record_attempt(Outcome<Removal>& removed) noexcept
    {
        if (machine_.answered(removed, runtime()) == RemovalMachine::Action::over)
            return true;
        if (ask_again_at(machine_.again_at()))
            return false;
        machine_.give_up();  // no alarm: the record ends with its lease
        return true;
    }

    /// Lets the line go on, when no renewal of the same lease is on its way any more; the caller keeps this
    /// alive. False: another thread waits for that renewal, and reports. `may_wait`: whether this thread may.
    bool release_line(Outcome<Removal>& removed, bool may_wait) noexcept
    {
        this->end();
        if (node_ == nullptr)
            return true;
        auto& shard = table_.shard_of(key_);
        Wakeup wakeup;
        std::unique_lock lock(shard.mutex);
        auto& line = node_->second.line;
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

    void report(Outcome<Removal> removed) noexcept
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

    void uncount() noexcept
    {
        if (std::exchange(counted_, false))
            table_.removal_ends();
    }

    Counted& home_;
    Table& table_;
    Key const& key_;  // the line's, or that of the home
    OwnerToken owner_;
    Node* node_;
    bool reports_;
    // The table's end waits for this; not if it needs an executor that only the waiting caller may run.
    bool counted_;
    bool const starts_;
    RemovalMachine machine_;
    std::mutex mutex_;  // of the next four
    StartedCall<Removal> call_;
    bool alarm_means_again_{false};  // the alarm is set for an attempt, not for a look at `call_`
    bool again_{false};              // and it has rung
    bool first_{true};               // `call_` is the first attempt
    std::mutex waiter_mutex_;  // of the next two; taken last, for the store wakes under a mutex of its own
    Waiter* waiter_;
    std::optional<Outcome<Removal>> removed_;  // the report of another thread
};

/// The removal of a record that may have been granted to a caller which has given up, and for which nobody
/// waits.
template <Runtime R>
class UnconfirmedGrant final : public Counted {
    using Table = LockTable<R>;

public:
    /// Without memory the record stays until its lease is over.
    static void take_back(
        std::shared_ptr<Table> table, Key const& key, OwnerToken owner, RemovalMachine machine) noexcept
    {
        try {
            Ref<UnconfirmedGrant> const self{new UnconfirmedGrant{std::move(table), key, owner, machine}};
            self->drop_reference();  // that of `new`; from here on it keeps itself
            self->removal_.start();
        } catch (...) {
        }
    }

private:
    UnconfirmedGrant(std::shared_ptr<Table> table, Key const& key, OwnerToken owner, RemovalMachine machine)
        : table_(std::move(table)), key_(key),
          removal_(*this, *table_, key_, owner, machine, nullptr, nullptr)
    {}

    std::shared_ptr<Table> table_;
    Key key_;
    RecordRemoval<R> removal_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_HPP
