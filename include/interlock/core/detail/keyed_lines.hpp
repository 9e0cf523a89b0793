// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_KEYED_LINES_HPP
#define INTERLOCK_CORE_DETAIL_KEYED_LINES_HPP

// Callers of one service that wait in line for the same key. The locks of a `LockStateService` and the
// operations that share a commit use the same three things: a queue that needs no memory, shards by key, and
// a bound on how many wait.

#include <interlock/core/key.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <array>
#include <atomic>
#include <cstddef>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a caller is derived from that can stand in an `IntrusiveQueue`. One that still stands there must not
/// be destroyed.
using QueueHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

/// Callers in the order in which they came. Each caller is its own place in the queue, so that no call here
/// can fail. A machine takes this as its `Queue`; an explorer puts a queue in its place that can be copied
/// and compared.
template <class X>
class IntrusiveQueue {
public:
    /// How a queue names a caller; null: nobody.
    using Member = X*;

    bool empty() const noexcept { return list_.empty(); }
    Member front() noexcept { return &list_.front(); }
    Member pop_front() noexcept
    {
        auto* const first = &list_.front();
        list_.pop_front();
        return first;
    }
    void push_back(Member member) noexcept { list_.push_back(*member); }
    void push_front(Member member) noexcept { list_.push_front(*member); }
    void remove(Member member) noexcept { list_.erase(list_.iterator_to(*member)); }
    /// The first that `fits`, which stays where it is; nobody if there is none.
    template <class Fits>
    Member find(Fits fits) noexcept
    {
        for (auto& member : list_)
            if (fits(&member))
                return &member;
        return nullptr;
    }

private:
    boost::intrusive::list<X, boost::intrusive::constant_time_size<false>> list_;
};

/// The lines of one service. A `Shard` has a mutex and the lines of the keys that fall into it.
template <class Shard>
class KeyedLines {
public:
    static constexpr std::size_t shard_count = 16;

    /// `most`: how many callers may wait, over all keys.
    explicit KeyedLines(std::size_t most) noexcept : most_(most) {}

    Shard& shard_of(Key const& key) noexcept
    {
        return shards_[(key.hash() ^ key.hash() >> 13) % shard_count];
    }
    std::array<Shard, shard_count>& shards() noexcept { return shards_; }

    /// Counts one more caller that waits. False: too many do already; the caller is not counted.
    bool count_in() noexcept
    {
        if (waiting_.fetch_add(1, std::memory_order_relaxed) < most_)
            return true;
        count_out();
        return false;
    }
    /// Counts one more caller that waits, for one that has waited before and is not to be turned away.
    void count_in_again() noexcept { waiting_.fetch_add(1, std::memory_order_relaxed); }
    void count_out() noexcept { waiting_.fetch_sub(1, std::memory_order_relaxed); }
    std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

private:
    std::size_t most_;
    std::atomic<std::size_t> waiting_{0};
    std::array<Shard, shard_count> shards_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_KEYED_LINES_HPP
