// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_COMBINER_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_COMBINER_HPP

// What the operations of one service share that are committed together: their groups, in shards with a mutex
// each, and the values that go round.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/combining/sharing_line.hpp>
#include <interlock/core/detail/keyed_lines.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class T>
class Combiner {
public:
    struct Shard {
        std::mutex mutex;  // of the other two, of the groups' members, and of their batches
        std::unordered_map<Key, SharingGroup> groups;  // one for each state that has members
        SharingLedger ledger;
    };
    using Line = SharingLine<KeyedLines<Shard>>;

    struct Batch : SharingBatch {
        /// Memory for one more that has run, so that `tell` needs none.
        void make_room()
        {
            wakeups.reserve(ran.size() + 1);
            ran.reserve(ran.size() + 1);
        }

        /// Memory for the events of one more. False: one commit may not bring as many.
        bool make_room_for(std::size_t more)
        {
            auto const all = events.size() + more;
            if (all > events.capacity())
                events.reserve(std::max(all, 2 * events.capacity()));
            return all <= max_events_of_commit;
        }
        /// Takes over what one that hands in has recorded. There is room, see `make_room_for`.
        void add_events(std::vector<NewEvent>& recorded) noexcept
        {
            for (auto& event : recorded)
                events.push_back(std::move(event));
            recorded.clear();
        }

        std::shared_ptr<T const> value;  // what those that have run made of the state
        std::vector<NewEvent> events;    // what they have recorded, and the leader, in their order
        std::vector<Wakeup> wakeups;     // to be fired when the mutex is free
    };

    Combiner(int most, std::chrono::nanoseconds patience, std::size_t max_waiting_operations)
        : terms_{most, std::min(patience, longest_patience)}, lines_(max_waiting_operations),
          nobody_waits_(max_waiting_operations == 0)
    {}

    /// A longer patience is cut to this. The bounds of a batch are multiples of the patience that would
    /// overflow, and nobody means to wait an hour for another caller's operation.
    static constexpr std::chrono::nanoseconds longest_patience{std::chrono::hours{1}};

    bool off() const noexcept { return terms_.most <= 1 || nobody_waits_ || terms_.patience.count() <= 0; }

    /// Whom a step wakes. It is declared before the lock, so that it is destroyed, and wakes, when the mutex
    /// is free. One of each kind per step.
    class Wakings {
    public:
        void add(SharingMember* member) noexcept
        {
            if (member != nullptr)
                one_ = member->waiter->wake_later();
        }
        /// Those that were told what became of `batch`.
        void add_told(SharingBatch* batch) noexcept
        {
            if (batch == nullptr)
                return;
            auto& own = static_cast<Batch&>(*batch);
            for (auto* const member : own.told)
                own.wakeups.push_back(member->waiter->wake_later());  // there is room, see `make_room`
            own.told.clear();
            many_.swap(own.wakeups);
        }

    private:
        std::vector<Wakeup> many_;
        Wakeup one_;  // woken first: it goes on, the others only hear what became of them
    };

    /// One step of the line of `key`, with the mutex held: `step(line, wakings)`. Whom it wakes is woken
    /// afterwards. A group is there as long as it has members; only `Make`, for those that come, makes one,
    /// so that all others cannot fail.
    template <bool Make, class F>
    decltype(auto) in_line(Key const& key, TimePoint now, F step)
    {
        auto& shard = lines_.shard_of(key);
        Wakings wakings;
        std::lock_guard lock(shard.mutex);
        auto group = Make ? shard.groups.try_emplace(key).first : shard.groups.find(key);
        SharingGroup nobody;
        bool const there = group != shard.groups.end();
        Line line{there ? group->second : nobody, terms_, shard.ledger, lines_, now};
        Forgetting const forgetting{shard, line, group, there};
        return step(line, wakings);
    }

private:
    using Groups = std::unordered_map<Key, SharingGroup>;

    /// At the end of a step: a group in which nobody is left is no group.
    struct Forgetting {
        Shard& shard;
        Line const& line;
        typename Groups::iterator group;
        bool there;
        ~Forgetting()
        {
            if (there && line.forgotten())
                shard.groups.erase(group);
        }
    };

    SharingTerms terms_;
    KeyedLines<Shard> lines_;
    bool nobody_waits_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_COMBINER_HPP
