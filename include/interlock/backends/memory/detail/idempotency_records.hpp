// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_IDEMPOTENCY_RECORDS_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_IDEMPOTENCY_RECORDS_HPP

/// @file
/// What all handles of one `memory::IdempotencyStore` share: the records by the names of their requests, and
/// the order in which their retention ends. One mutex guards everything.

#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// What is known of one request.
struct IdempotencyRecord {
    Fingerprint print;
    OwnerToken owner;  // empty: nobody works on it
    TimePoint lease_end{};
    TimePoint kept_from{};  // the retention begins here
    bool completed{false};
    bool rejected{false};
    bool inherited{false};  // what is named is a former owner's attempt
    std::string answer;
    std::string home;          // of the attempt that is named
    std::uint32_t attempt{0};  // which may have been applied
    std::vector<Waiter*> waiters;
};

/// The records of one store. Every public member may be called from several threads at once.
template <class R>
class IdempotencyRecords {
public:
    IdempotencyRecords(IdempotencyStoreOptions options, R runtime)
        : options_(checked_retention(options)), runtime_(std::move(runtime))
    {}

    IdempotencyStoreOptions const& options() const noexcept { return options_; }

    /// Makes the record of a request, takes it over, or says who has it.
    Outcome<Claim> claim(verb::Claim const& asked)
    {
        auto const& [request, owner, lease, after_lease, attempt] = asked;
        std::lock_guard lock(mutex_);
        auto const now = runtime_.now();
        purge(now);
        auto const [it, fresh] = records_.try_emplace(request.name());
        auto& record = it->second;
        if (fresh) {
            if (records_.size() > options_.max_records) {
                records_.erase(it);
                return Failure{Errc::overloaded, "idempotency records: the limit is reached"};
            }
            record.print = request.fingerprint();
            name(record, attempt);
            own(it->first, record, owner, lease, now);
            return Claim{ClaimState::claimed};
        }
        if (mismatch(record.print, request.fingerprint()))
            return Claim{ClaimState::mismatch};
        if (record.completed)
            return Claim{ClaimState::completed, record.answer, record.rejected};
        if (record.owner == owner) {
            record.lease_end = interlock::detail::add(now, lease.value());
            // A request that arrives late does not bring back an attempt that its owner has gone beyond.
            bool const late = !record.inherited && attempt.home != nullptr &&
                              record.home == attempt.home->bytes() && attempt.number < record.attempt;
            if (attempt.replaces && !late)
                name(record, attempt);
            return ours(record);
        }
        if (!record.owner && !record.inherited) {  // given back, kept for those who wait
            own(it->first, record, owner, lease, now);
            record.print = request.fingerprint();
            name(record, attempt);
            return Claim{ClaimState::claimed};
        }
        if (record.owner && now < record.lease_end)
            return Claim{ClaimState::in_progress, {}, false, record.lease_end - now};
        if (record.owner && after_lease == AfterLease::refuse)
            return Claim{ClaimState::abandoned};
        own(it->first, record, owner, lease, now);
        record.inherited = true;
        return ours(record);
    }

    /// Stores the answer of `asked.owner`, and wakes all who wait for it.
    Outcome<void> complete(verb::Complete const& asked)
    {
        std::lock_guard lock(mutex_);
        auto const it = records_.find(asked.request.name());
        if (!is_claimed_by(it, asked.owner))
            return Errc::fenced_out;
        auto& record = it->second;
        record.answer = asked.text;
        record.rejected = asked.rejected;
        record.completed = true;
        keep(it->first, record, runtime_.now());
        for (auto* const waiter : record.waiters)
            waiter->wake();
        return success();
    }

    /// Ends the claim of `asked.owner` without an answer, and wakes one who waits to claim in its place.
    Outcome<void> give_back(verb::GiveBack const& asked)
    {
        std::lock_guard lock(mutex_);
        auto const it = records_.find(asked.request.name());
        if (!is_claimed_by(it, asked.owner))
            return Errc::fenced_out;
        if (asked.settled || !it->second.inherited) {
            forget(it);
        } else {
            it->second.owner = OwnerToken{};
            if (!it->second.waiters.empty())
                it->second.waiters.front()->wake();  // one of them claims it
        }
        return success();
    }

    void subscribe(IdempotentRequest const& request, Waiter& waiter)
    {
        std::lock_guard lock(mutex_);
        auto const it = records_.find(request.name());
        if (it != records_.end())
            it->second.waiters.push_back(&waiter);
    }

    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        auto const it = records_.find(request.name());
        if (it == records_.end())
            return;
        auto& record = it->second;
        std::erase(record.waiters, &waiter);
        if (record.completed || record.owner)
            return;
        if (!record.waiters.empty())
            record.waiters.front()->wake();
        else if (!record.inherited)
            records_.erase(it);
    }

    std::size_t size()
    {
        std::lock_guard lock(mutex_);
        purge(runtime_.now());
        return records_.size();
    }

private:
    using Records = std::unordered_map<std::string, IdempotencyRecord>;

    // ---- with the mutex held

    bool is_claimed_by(typename Records::iterator it, OwnerToken owner)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(mutex_), "the mutex guards all records");
        return it != records_.end() && !it->second.completed && it->second.owner == owner;
    }

    void own(std::string const& name, IdempotencyRecord& record, OwnerToken owner, Ttl lease, TimePoint now)
    {
        record.owner = owner;
        record.lease_end = interlock::detail::add(now, lease.value());
        keep(name, record, now);
    }

    static void name(IdempotencyRecord& record, NamedAttempt const& attempt)
    {
        record.inherited = false;
        record.home = attempt.home != nullptr ? attempt.home->bytes() : std::string_view{};
        record.attempt = attempt.home != nullptr ? attempt.number : 0;
    }

    static Claim ours(IdempotencyRecord const& record)
    {
        return Claim{record.inherited ? ClaimState::taken_over : ClaimState::claimed,
                     {},
                     false,
                     {},
                     record.home,
                     record.attempt};
    }

    /// Drops a record. One that others wait for becomes empty instead, and the first of them claims it.
    void forget(typename Records::iterator it)
    {
        auto& record = it->second;
        if (record.waiters.empty()) {
            records_.erase(it);
            return;
        }
        record.completed = false;
        record.inherited = false;
        record.owner = OwnerToken{};
        record.print = Fingerprint{};
        record.waiters.front()->wake();
    }

    /// Lets the retention of a record begin now.
    void keep(std::string const& name, IdempotencyRecord& record, TimePoint now)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(mutex_), "the mutex guards the order");
        record.kept_from = now;
        order_.emplace_back(now, name);
    }

    /// Forgets what is older than the retention, exactly then and not before; a running lease is never
    /// forgotten.
    void purge(TimePoint now)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(mutex_), "the mutex guards all records");
        // Once around at most: what is kept goes to the end of the line.
        for (auto left = order_.size();
             left-- > 0 && now >= interlock::detail::add(order_.front().first, options_.retention);) {
            auto const it = records_.find(order_.front().second);
            if (it != records_.end() && it->second.kept_from == order_.front().first) {
                auto& record = it->second;
                if (!record.completed && record.owner && now < record.lease_end)
                    keep(it->first, record, now);
                else
                    forget(it);
            }
            order_.pop_front();
        }
        if (order_.size() > 2 * records_.size() + 64)  // what was given back is still in line
            std::erase_if(order_, [&](auto const& place) {
                auto const it = records_.find(place.second);
                return it == records_.end() || it->second.kept_from != place.first;
            });
    }

    std::mutex mutex_;
    IdempotencyStoreOptions const options_;
    R const runtime_;
    Records records_;
    std::deque<std::pair<TimePoint, std::string>> order_;  // in which retentions end, oldest first
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_IDEMPOTENCY_RECORDS_HPP
