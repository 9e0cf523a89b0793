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
    void start() noexcept;

    // ---- for the one that waits for the report --------------------------------------------------

    /// The report, once there is one. Runs on the thread of the one that waits, so that what was woken need
    /// not go through the library's threads.
    std::optional<Outcome<Removal>> poll();

    /// Whether the first attempt is a started call that has not ended. It ends by itself, by its deadline.
    bool in_first_call() noexcept
    {
        std::lock_guard lock(mutex_);
        return call_ != nullptr && first_;
    }

    /// Nobody waits for the report any more.
    void abandon() noexcept;

    // ---- for the store, the alarm and the executor ----------------------------------------------

    void wake() noexcept override;

    void add_reference() noexcept { home_.add_reference(); }
    void drop_reference() noexcept { home_.drop_reference(); }

private:
    friend class RepeatedCall<RecordRemoval>;

    bool may_block() const noexcept override { return false; }

    auto const& runtime() const noexcept { return table_.runtime_; }
    auto executor() const { return table_.keeping_executor(); }

    void ring() noexcept override;
    /// Makes an attempt then. False: there is no alarm.
    bool ask_again_at(TimePoint at) noexcept;

    /// What the started call came to; nothing while it is under way. The mutex is held.
    std::optional<Outcome<Removal>> take_answer();

    /// On a thread of the library: begins the next attempt, or looks what the one that was started came to.
    void attempt() noexcept;

    /// One attempt; nothing when it was started and is under way.
    std::optional<Outcome<Removal>> ask() noexcept;

    Outcome<Removal> remove() { return table_.store_.carry_out(verb::Remove{key_, owner_}, Deadline{}); }

    void send();

    /// True: the removal is over, and `removed` is what it came to. False: an alarm is set for the next
    /// attempt.
    bool record_attempt(Outcome<Removal>& removed) noexcept;

    /// Lets the line go on, when no renewal of the same lease is on its way any more; the caller keeps this
    /// alive. False: another thread waits for that renewal, and reports. `may_wait`: whether this thread may.
    bool release_line(Outcome<Removal>& removed, bool may_wait) noexcept;

    void report(Outcome<Removal> removed) noexcept;

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
        std::shared_ptr<Table> table, Key const& key, OwnerToken owner, RemovalMachine machine) noexcept;

private:
    UnconfirmedGrant(std::shared_ptr<Table> table, Key const& key, OwnerToken owner, RemovalMachine machine)
        : table_(std::move(table)), key_(key),
          removal_(*this, *table_, key_, owner, machine, nullptr, nullptr)
    {
        table_->unconfirmed_.fetch_add(1, std::memory_order_relaxed);
    }
    ~UnconfirmedGrant() override { table_->unconfirmed_.fetch_sub(1, std::memory_order_relaxed); }

    std::shared_ptr<Table> table_;
    Key key_;
    RecordRemoval<R> removal_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/removal.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_REMOVAL_HPP
