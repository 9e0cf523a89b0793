// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINES_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINES_HPP

// What all parts of a lock table share: the lines of its keys, in shards with a mutex each, the schedule of
// each shard, and the few steps that a line needs whoever moves it on.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/keyed_lines.hpp>
#include <interlock/core/detail/locks/lock_line.hpp>
#include <interlock/core/detail/locks/lock_store.hpp>
#include <interlock/core/detail/pending_reason.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/intrusive/set.hpp>
#include <boost/intrusive/set_hook.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
class LockTable;
template <Runtime R>
class TableHold;

/// How the slot of a caller got what it holds.
enum class StateSource : unsigned char {
    none,    ///< it holds nothing that belongs to this lock: the state is still to be loaded
    store,   ///< it was read under this grant; an empty slot means that the key has no value
    holder,  ///< the holder before has written it; somebody without a lock may have written since
};

/// A caller in the line of a key, and what others leave for it there. The shard's mutex guards all members.
template <Runtime R>
struct LineMember : QueueHook {
    Waiter* caller{nullptr};                 // to be woken when it is handed the lock, or is to drive
    std::shared_ptr<TableHold<R>> received;  // the lock, from the holder before
    // Where the state goes that comes with the lock, see `LockStoreBase::move_state`; null: not wanted.
    void* slot{nullptr};
    StateSource source{StateSource::none};  // of what is in the slot
    bool promoted{false};                   // drives next
};

template <Runtime R>
struct LockEntry;
template <Runtime R>
using LockNode = std::pair<Key const, LockEntry<R>>;

/// What is known of one key while somebody waits for its lock, holds it, or removes its record. The shard's
/// mutex guards it.
template <Runtime R>
struct LockEntry : boost::intrusive::set_base_hook<> {
    LockNode<R>* node{nullptr};  // whose value this is
    LockLine<IntrusiveQueue<LineMember<R>>> line;
    // Its handle keeps it alive; null unless the line's state is `held`.
    TableHold<R>* holder{nullptr};
    TimePoint due{};  // when to look at it, while it is in the schedule
    // Why there was no lock when the store was asked last; null since a grant. Whoever ends by the deadline,
    // at the store or in line, says so.
    std::unique_ptr<Failure> refused;
    // Who asks the store, while its call is under way and others may ask it why.
    PendingReason pending{};
};

/// The keys of one shard.
template <Runtime R>
class LockShard {
public:
    using Entry = LockEntry<R>;
    using Node = LockNode<R>;

    LockShard()
    {
        alarm.shard = this;
        spares_.reserve(most_spares);
    }

    /// The entry of `key`; a new one is idle.
    Node* find_or_make(Key const& key)
    {
        auto* const node = emplace(key);
        node->second.node = node;
        return node;
    }
    Node* find(Key const& key) noexcept
    {
        auto const it = entries_.find(key);
        return it != entries_.end() ? &*it : nullptr;
    }
    /// Nobody has to do with the key any more. Its memory is kept for another key, within limits: an
    /// allocation per acquire would be the larger part of an uncontended one.
    void recycle(Node* node) noexcept;

    struct DueEarlier {
        bool operator()(Entry const& a, Entry const& b) const noexcept { return a.due < b.due; }
    };
    /// Of entries that are due together, the one that was planned first comes first.
    using Schedule = boost::intrusive::multiset<
        Entry, boost::intrusive::compare<DueEarlier>, boost::intrusive::constant_time_size<false>>;

    class RenewalAlarm final : public Alarm {
    public:
        void ring() noexcept override
        {
            // The table may be going away right now; then there is nothing left to renew.
            if (auto alive = table->weak_from_this().lock()) {
                try {
                    alive->renew_due(*shard);
                    // No memory: once more soon; until then handles tell by the clock what was missed.
                } catch (...) {
                    alive->renew_due_soon(*shard);
                }
            }
        }
        LockTable<R>* table{nullptr};
        LockShard* shard{nullptr};
    };

    std::mutex mutex;                 // of everything below, and of the entries
    std::condition_variable renewed;  // a renewal that was under way without the mutex has returned
    Schedule schedule;
    RenewalAlarm alarm;
    TimePoint alarm_at{TimePoint::max()};  // when the alarm rings
    bool alarm_used{false};                // so that it must be cancelled at the end

private:
    using Entries = std::unordered_map<Key, Entry>;
    static constexpr std::size_t most_spares = 32;

    Node* emplace(Key const& key);

    Entries entries_;
    std::vector<typename Entries::node_type> spares_;
};

/// The lines of one table, and the steps that every part of it takes. All but the constructor, `forked` and
/// `count_out` are called with the shard's mutex held.
template <Runtime R>
class LockLines {
public:
    using Shard = LockShard<R>;
    using Node = typename Shard::Node;
    using Member = LineMember<R>;
    using Holder = TableHold<R>;

    LockLines(LockStore& store, R runtime, LockStoreTraits traits, LockOptions options)
        : store_(store), traits_(traits), runtime_(std::move(runtime)), options_(named(options, runtime_)),
          generation_(runtime_.generation()), lines_(options.max_waiters)
    {}

    /// In a forked child: the locks are the parent's, and so are the threads that may hold the mutexes of
    /// this copy.
    bool forked() const noexcept { return runtime_.generation() != generation_; }

    Shard& shard_of(Key const& key) noexcept { return lines_.shard_of(key); }

    /// For what keeps locks: renewals and removals. No call of a user's has these threads, nor has another
    /// store.
    auto keeping_executor() const { return store_executor(runtime_, BlockingCalls::keeping, store_); }

    /// Whether no call of the store waits for I/O.
    bool in_place() const noexcept { return traits_.can.answers_in_place; }

    /// How long whoever is to drive next, or was granted a lock, may take to come for it. Its executor may
    /// stand still until something that waits for this very lock has been done.
    static constexpr std::chrono::nanoseconds patience = std::chrono::seconds{1};

    // ---- the line moves on ----------------------------------------------------------------------

    /// The line told who is next (null: nobody, and the line is idle). To be fired when the mutex is free.
    [[nodiscard]] Wakeup promote_next(Shard& shard, Node* node, Member* next) noexcept;

    /// Whoever is to drive next has not come: the one behind it drives, and it goes to the end of the queue.
    void pass_over(Shard& shard, Node* node) noexcept;

    /// Holder and entry know each other no more.
    Node* detach_holder(Holder& hold) noexcept;

    // ---- the schedule of a shard ----------------------------------------------------------------

    /// Looks at `node` again when its lease needs it. Costs a system call only when the alarm must ring
    /// earlier than planned, and hardly a search: the grants of one service come due in the order in which
    /// they were made.
    void schedule(Shard& shard, Node* node) { schedule_at(shard, node, node->second.line.lease().next()); }

    void schedule_at(Shard& shard, Node* node, TimePoint at);

    void schedule_turn(Shard& shard, Node* node) noexcept;

    void unschedule(Shard& shard, Node* node) noexcept
    {
        if (node->second.is_linked())
            shard.schedule.erase(shard.schedule.iterator_to(node->second));
    }

    // Whoever does not say what holders are called leaves it to the runtime, which may have no name, either.
    static LockOptions named(LockOptions options, [[maybe_unused]] R const& runtime)
    {
        if constexpr (requires { runtime.process_name(); })
            if (!options.holder.given())
                options.holder = runtime.process_name();
        return options;
    }

    LockStore& store_;  // a part of the same object, see `LockTableOf`
    LockStoreTraits const traits_;
    R runtime_;
    LockOptions options_;
    std::uint64_t generation_;  // of the process that made this
    KeyedLines<Shard> lines_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/lock_lines.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_LINES_HPP
