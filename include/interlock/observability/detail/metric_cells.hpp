// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_DETAIL_METRIC_CELLS_HPP
#define INTERLOCK_OBSERVABILITY_DETAIL_METRIC_CELLS_HPP

/// @file
/// What a sink of metrics counts in: cells that many threads add to without a mutex, and tables that find a
/// cell again by its labels. A reader may see a sum and a count that are one observation apart.

#include <interlock/core/errc.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A number that goes up, and of a gauge also down.
class Gauge {
public:
    void add(std::int64_t change) noexcept { value_.fetch_add(change, std::memory_order_relaxed); }
    void set(std::int64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
    std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_{0};
};

/// Counts observations by the bound that they do not exceed. `Bounds::values`: increasing.
template <class Bounds>
class HistogramCell {
public:
    static constexpr std::size_t size = Bounds::values.size();

    void observe(std::uint64_t value) noexcept
    {
        std::size_t i = 0;
        while (i < size && value > Bounds::values[i])
            ++i;
        counts_[i].fetch_add(1, std::memory_order_relaxed);
        sum_.fetch_add(value, std::memory_order_relaxed);
    }
    void observe(std::chrono::nanoseconds duration) noexcept
    {
        observe(static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)));
    }
    void add(HistogramCell const& other) noexcept
    {
        for (std::size_t i = 0; i <= size; ++i)
            counts_[i].fetch_add(other.count(i), std::memory_order_relaxed);
        sum_.fetch_add(other.sum(), std::memory_order_relaxed);
    }
    /// Those of one bound; the last one: of none.
    std::uint64_t count(std::size_t i) const noexcept { return counts_[i].load(std::memory_order_relaxed); }
    std::uint64_t sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
    static constexpr std::uint64_t bound(std::size_t i) noexcept { return Bounds::values[i]; }

private:
    std::array<std::atomic<std::uint64_t>, size + 1> counts_{};
    std::atomic<std::uint64_t> sum_{0};
};

/// From a call in memory to one that waited for its deadline, in nanoseconds.
struct DurationBounds {
    static constexpr std::array<std::uint64_t, 18> values{
        10'000,      50'000,      100'000,       250'000,       500'000,       1'000'000,
        2'500'000,   5'000'000,   10'000'000,    25'000'000,    50'000'000,    100'000'000,
        250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
};
struct AttemptBounds {
    static constexpr std::array<std::uint64_t, 8> values{1, 2, 3, 5, 8, 13, 21, 34};
};
using DurationCell = HistogramCell<DurationBounds>;
using AttemptsCell = HistogramCell<AttemptBounds>;

/// One slot per `Errc`, by its number.
inline constexpr std::size_t result_slots = 64;
constexpr std::size_t slot_of(Errc code) noexcept
{
    auto const number = static_cast<int>(code);
    return static_cast<std::size_t>(
        number >= 0 && number < static_cast<int>(result_slots) ? number
                                                               : static_cast<int>(Errc::outcome_unknown));
}

/// A cell for each result, and one more; each is made when it is first used.
template <class C>
class ByResult {
public:
    static constexpr std::size_t size = result_slots + 1;

    ByResult() = default;
    ByResult(ByResult const&) = delete;
    ByResult& operator=(ByResult const&) = delete;
    ~ByResult()
    {
        for (auto& cell : cells_)
            delete cell.load(std::memory_order_relaxed);
    }

    C& at(std::size_t slot)
    {
        auto* const cell = cells_[slot].load(std::memory_order_acquire);
        return cell != nullptr ? *cell : make(slot);
    }
    /// Null: it was never used.
    C const* find(std::size_t slot) const noexcept { return cells_[slot].load(std::memory_order_acquire); }

private:
    C& make(std::size_t slot)
    {
        std::lock_guard const lock(mutex_);
        if (auto* const cell = cells_[slot].load(std::memory_order_relaxed))
            return *cell;
        auto made = std::make_unique<C>();
        cells_[slot].store(made.get(), std::memory_order_release);
        return *made.release();
    }

    std::mutex mutex_;  // of those who make one
    std::array<std::atomic<C*>, size> cells_{};
};

/// Up to three labels of a series; those that it has not are empty.
struct Labels {
    std::string_view first;
    std::string_view second;
    std::string_view third;
};

/// Series by their labels. A thread finds the series that it used last without a mutex.
template <class S>
class SeriesTable {
public:
    struct Entry {
        std::string first;
        std::string second;
        std::string third;
        S series;

        bool is(Labels const& labels) const noexcept
        {
            return third == labels.third && second == labels.second && first == labels.first;
        }
    };

    SeriesTable() : id_(next_id().fetch_add(1, std::memory_order_relaxed)) {}
    SeriesTable(SeriesTable const&) = delete;
    SeriesTable& operator=(SeriesTable const&) = delete;

    /// The series of `labels`, made where there is none. When there are `most` third labels, a further one is
    /// `_other`.
    S& at(Labels const& labels, std::size_t most)
    {
        auto& last = last_used();
        if (last.table == id_ && last.entry->is(labels))
            return last.entry->series;
        auto& entry = find(labels, most);
        if (entry.is(labels))
            last = {id_, &entry};
        return entry.series;
    }

    template <class Visit>
    void for_each(Visit visit) const
    {
        std::lock_guard const lock(mutex_);
        for (auto const& [name, entry] : entries_)
            visit(*entry);
    }

private:
    struct Last {
        std::uint64_t table{0};  // of no table
        Entry* entry{nullptr};
    };
    static Last& last_used() noexcept
    {
        thread_local Last last;
        return last;
    }
    static std::atomic<std::uint64_t>& next_id() noexcept
    {
        static constinit std::atomic<std::uint64_t> next{1};
        return next;
    }

    Entry& find(Labels const& labels, std::size_t most)
    {
        std::lock_guard const lock(mutex_);
        auto name = name_of_series(labels.first, labels.second, labels.third);
        auto found = entries_.find(name);
        if (found != entries_.end())
            return *found->second;
        auto third = labels.third;
        if (!third.empty() && thirds_.find(third) == thirds_.end()) {
            if (thirds_.size() < most) {
                thirds_.emplace(third, true);
            } else {
                third = "_other";
                name = name_of_series(labels.first, labels.second, third);
                found = entries_.find(name);
                if (found != entries_.end())
                    return *found->second;
            }
        }
        auto entry = std::unique_ptr<Entry>(
            new Entry{std::string(labels.first), std::string(labels.second), std::string(third), {}});
        return *entries_.emplace(std::move(name), std::move(entry)).first->second;
    }
    static std::string name_of_series(std::string_view a, std::string_view b, std::string_view c)
    {
        std::string name;
        name.append(a).append(1, '\n').append(b).append(1, '\n').append(c);
        return name;
    }

    std::uint64_t const id_;  // of no other table, also after this one is gone
    mutable std::mutex mutex_;
    std::map<std::string, std::unique_ptr<Entry>> entries_;
    std::map<std::string, bool, std::less<>> thirds_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_DETAIL_METRIC_CELLS_HPP
