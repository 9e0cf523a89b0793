// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP

/// @file
/// A client that got no answer sends its request again. The policy `IdempotencyKeys` asks an idempotency
/// store whether the request was carried out already, and replays the stored answer. This store keeps its
/// records in this process's memory: for tests, and for programs whose clients reconnect to the same
/// process.
///
///     interlock::memory::IdempotencyStore const keys;
///     interlock::TransactionService const service{
///         interlock::IdempotencyKeys{interlock::OptimisticVersioning{}, keys}, accounts};
///     interlock::IdempotentRequest const request{"order-17", interlock::Scope{"customer-4"}};
///     auto const charge = [](Account& a) { return a.balance -= 5; };
///     service.do_in_transaction(request, "account-4", charge);
///     service.do_in_transaction(request, "account-4", charge);  // the same answer; nothing is charged again

#include <interlock/backends/memory/detail/idempotency_records.hpp>
#include <interlock/backends/memory/fwd.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace memory {

/// An `IdempotencyStore` in this process's memory.
///
/// **Guarantee.** One owner at a time has the claim of a request. An answer is stored by the owner of the
/// claim only, and is kept, unchanged, for the retention (law P4). Those who wait for an answer are woken
/// when it is stored or the claim is given back. **Does not guarantee.** Anything across processes or
/// restarts: after a restart every request is new. The effect and its answer are two steps;
/// `IdempotencyKeys` names the attempt in the claim, so that whoever takes a claim over can find out what
/// became of the effect. **Failures.** `overloaded` beyond `max_records`; `invalid_argument` for a request
/// or a lease out of range; `fenced_out` for a completion by somebody else than the owner. Nothing is ever
/// unknown. **Lifetimes.** A shared handle: copies are handles to the same records, which live as long as
/// any of them. **Thread safety.** Everything: safe. **Cost.** One mutex per call, no round trip; deadlines
/// are not needed.
///
/// `R` is the runtime, whose clock ends leases and the retention. Users write `memory::IdempotencyStore`.
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
        : records_(std::make_shared<detail::IdempotencyRecords<R>>(options, std::move(runtime)))
    {}

    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline) const
    {
        if (auto valid = asked.request.validate(); !valid)
            return std::move(valid).failure();
        if (!asked.lease.valid())
            return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
        return records_->claim(asked);
    }
    Outcome<void> carry_out(verb::Complete const& asked, Deadline) const { return records_->complete(asked); }
    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline) const
    {
        return records_->give_back(asked);
    }

    void subscribe(IdempotentRequest const& request, Waiter& waiter) const
    {
        records_->subscribe(request, waiter);
    }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        records_->unsubscribe(request, waiter);
    }

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept { return records_->options().retention; }

    /// How many records there are now, claims included. Records behind their retention do not count.
    std::size_t size() const { return records_->size(); }

private:
    std::shared_ptr<detail::IdempotencyRecords<R>> records_;
};

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_IDEMPOTENCY_STORE_HPP
