// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in this process's memory.

#include <interlock/backends/memory/fwd.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {

/// How an idempotency store in memory keeps its records, and how many.
struct IdempotencyStoreOptions {
    /// How long an answer is kept, by the runtime's clock. Longer than anybody retries. A claim without an
    /// answer is kept as long as well, counted from the claim.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
    /// Records, claims included; beyond it `overloaded`.
    std::size_t max_records{std::size_t{1} << 22};
};

/// An `IdempotencyStore` in this process's memory.
///
/// **Lifetimes.** A shared handle. **Thread safety.** Everything: safe. **Cost.** One mutex.
template <class R>
class BasicIdempotencyStore : public IdempotencyMembers<BasicIdempotencyStore<R>> {
public:
    using runtime_type = R;
    static constexpr Capabilities capabilities() noexcept
    {
        return {.answers_in_place = true, .owns_threads = true};
    }

    /// A new, empty store. `runtime`: the clock by which leases and the retention end.
    explicit BasicIdempotencyStore(IdempotencyStoreOptions options = {}, R runtime = {})
        : shared_(std::make_shared<Shared>(options, std::move(runtime)))
    {}

    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline) const
    {
        auto const& [request, owner, lease, after_lease, attempt] = asked;
        if (auto valid = request.validate(); !valid)
            return std::move(valid).failure();
        if (!lease.valid())
            return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
        auto& s = *shared_;
        std::lock_guard lock(s.mutex);
        auto const now = s.runtime.now();
        purge(s, now);
        auto const [it, fresh] = s.records.try_emplace(request.name());
        auto& record = it->second;
        if (fresh) {
            if (s.records.size() > s.options.max_records) {
                s.records.erase(it);
                return Failure{Errc::overloaded, "idempotency records: the limit is reached"};
            }
            record.print = request.fingerprint();
            name(record, attempt);
            own(s, it->first, record, owner, lease, now);
            return Claim{ClaimState::claimed};
        }
        if (mismatch(record.print, request.fingerprint()))
            return Claim{ClaimState::mismatch};
        if (record.completed)
            return Claim{ClaimState::completed, record.answer, record.rejected};
        if (record.owner == owner) {
            record.lease_end = detail_add(now, lease);
            // A request that arrives late does not bring back an attempt that its owner has gone beyond.
            bool const late = !record.inherited && attempt.home != nullptr &&
                              record.home == attempt.home->bytes() && attempt.number < record.attempt;
            if (attempt.replaces && !late)
                name(record, attempt);
            return ours(record);
        }
        if (!record.owner && !record.inherited) {  // given back, kept for those who wait
            own(s, it->first, record, owner, lease, now);
            record.print = request.fingerprint();
            name(record, attempt);
            return Claim{ClaimState::claimed};
        }
        if (record.owner && now < record.lease_end)
            return Claim{ClaimState::in_progress, {}, false, record.lease_end - now};
        if (record.owner && after_lease == AfterLease::refuse)
            return Claim{ClaimState::abandoned};
        own(s, it->first, record, owner, lease, now);
        record.inherited = true;
        return ours(record);
    }

    Outcome<void> carry_out(verb::Complete const& asked, Deadline) const
    {
        auto const& [request, owner, answer, rejected] = asked;
        auto& s = *shared_;
        std::lock_guard lock(s.mutex);
        auto const it = s.records.find(request.name());
        if (it == s.records.end() || it->second.completed || it->second.owner != owner)
            return Errc::fenced_out;
        auto& record = it->second;
        record.answer = answer;
        record.rejected = rejected;
        record.completed = true;
        keep(s, it->first, record, s.runtime.now());
        wake(record);
        return success();
    }

    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline) const
    {
        auto const& [request, owner, settled] = asked;
        auto& s = *shared_;
        std::lock_guard lock(s.mutex);
        auto const it = s.records.find(request.name());
        if (it == s.records.end() || it->second.completed || it->second.owner != owner)
            return Errc::fenced_out;
        if (settled || !it->second.inherited) {
            forget(s, it);
        } else {
            it->second.owner = OwnerToken{};
            if (!it->second.waiters.empty())
                it->second.waiters.front()->wake();  // one of them claims it
        }
        return success();
    }

    void subscribe(IdempotentRequest const& request, Waiter& waiter) const
    {
        std::lock_guard lock(shared_->mutex);
        auto const it = shared_->records.find(request.name());
        if (it != shared_->records.end())
            it->second.waiters.push_back(&waiter);
    }

    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        auto& s = *shared_;
        std::lock_guard lock(s.mutex);
        auto const it = s.records.find(request.name());
        if (it == s.records.end())
            return;
        auto& record = it->second;
        std::erase(record.waiters, &waiter);
        if (record.completed || record.owner)
            return;
        if (!record.waiters.empty())
            record.waiters.front()->wake();
        else if (!record.inherited)
            s.records.erase(it);
    }

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept { return shared_->options.retention; }

    /// Records now, claims included.
    std::size_t size() const
    {
        std::lock_guard lock(shared_->mutex);
        purge(*shared_, shared_->runtime.now());
        return shared_->records.size();
    }

private:
    struct Record {
        Fingerprint print;
        OwnerToken owner;
        TimePoint lease_end{};
        TimePoint kept_from{};
        bool completed{false};
        bool rejected{false};
        bool inherited{false};  // what is named is a former owner's attempt
        std::string answer;
        std::string home;
        std::uint32_t attempt{0};
        std::vector<Waiter*> waiters;
    };
    using Records = std::unordered_map<std::string, Record>;

    struct Shared {
        Shared(IdempotencyStoreOptions o, R r) : options(o), runtime(std::move(r)) {}
        std::mutex mutex;
        IdempotencyStoreOptions options;
        R runtime;
        Records records;
        std::deque<std::pair<TimePoint, std::string>> order;  // oldest first
    };

    static TimePoint detail_add(TimePoint now, Ttl lease) noexcept
    {
        return interlock::detail::add(now, lease.value());
    }

    static void own(
        Shared& s, std::string const& name, Record& record, OwnerToken owner, Ttl lease, TimePoint now)
    {
        record.owner = owner;
        record.lease_end = detail_add(now, lease);
        keep(s, name, record, now);
    }

    static void name(Record& record, NamedAttempt const& attempt)
    {
        record.inherited = false;
        record.home = attempt.home != nullptr ? attempt.home->bytes() : std::string_view{};
        record.attempt = attempt.home != nullptr ? attempt.number : 0;
    }
    static Claim ours(Record const& record)
    {
        return Claim{record.inherited ? ClaimState::taken_over : ClaimState::claimed,
                     {},
                     false,
                     {},
                     record.home,
                     record.attempt};
    }

    /// But for those who wait: the first of them claims it.
    static void forget(Shared& s, typename Records::iterator it)
    {
        auto& record = it->second;
        if (record.waiters.empty()) {
            s.records.erase(it);
            return;
        }
        record.completed = false;
        record.inherited = false;
        record.owner = OwnerToken{};
        record.print = Fingerprint{};
        record.waiters.front()->wake();
    }

    static void keep(Shared& s, std::string const& name, Record& record, TimePoint now)
    {
        record.kept_from = now;
        s.order.emplace_back(now, name);
    }

    static void wake(Record& record) noexcept
    {
        for (auto* const waiter : record.waiters)
            waiter->wake();
    }

    /// Forgets what is older than the retention, exactly then and not before; a running lease is never
    /// forgotten.
    static void purge(Shared& s, TimePoint now)
    {
        // Once around at most: what is kept goes to the end of the line.
        for (auto left = s.order.size();
             left-- > 0 && now >= interlock::detail::add(s.order.front().first, s.options.retention);) {
            auto const it = s.records.find(s.order.front().second);
            if (it != s.records.end() && it->second.kept_from == s.order.front().first) {
                auto& record = it->second;
                if (!record.completed && record.owner && now < record.lease_end)
                    keep(s, it->first, record, now);
                else
                    forget(s, it);
            }
            s.order.pop_front();
        }
        if (s.order.size() > 2 * s.records.size() + 64)  // what was given back is still in line
            std::erase_if(s.order, [&](auto const& place) {
                auto const it = s.records.find(place.second);
                return it == s.records.end() || it->second.kept_from != place.first;
            });
    }

    std::shared_ptr<Shared> shared_;
};

/// The store for production use.
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP
