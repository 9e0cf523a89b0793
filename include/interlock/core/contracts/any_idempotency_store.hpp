// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_ANY_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_CORE_CONTRACTS_ANY_IDEMPOTENCY_STORE_HPP

/// @file
/// An idempotency store that is chosen at run time.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/detail/erasure.hpp>

#include <chrono>
#include <concepts>
#include <memory>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Holds any idempotency store, with the same meaning. Make one from a store, or by
/// `open_idempotency_store(url, backends...)`.
///
/// **Lifetimes and thread safety.** Those of what it holds: a shared handle, safe.
/// **Cost.** One virtual call per member.
class AnyIdempotencyStore : public IdempotencyMembers<AnyIdempotencyStore> {
public:
    /// Holds `store`, a shared handle like this one.
    template <class S>
        requires(!std::same_as<S, AnyIdempotencyStore>) && IdempotencyStore<S>
    AnyIdempotencyStore(S store)  // NOLINT: any store is one
        : held_(std::make_shared<detail::IdempotencyStoreModel<S>>(std::move(store)))
    {}

    /// How long an answer is kept; zero: the store does not say.
    std::chrono::nanoseconds retention() const noexcept { return held_->retention(); }
    /// Where records are kept, for texts; empty: the store does not say.
    std::string place() const { return held_->place(); }
    Capabilities capabilities() const noexcept { return held_->capabilities(); }
    void subscribe(IdempotentRequest const& request, Waiter& waiter) const
    {
        held_->subscribe(request, waiter);
    }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        held_->unsubscribe(request, waiter);
    }
    Outcome<Claim> carry_out(verb::Claim const& claim, Deadline deadline) const
    {
        return held_->carry_out(claim, deadline);
    }
    Outcome<void> carry_out(verb::Complete const& complete, Deadline deadline) const
    {
        return held_->carry_out(complete, deadline);
    }
    Outcome<void> carry_out(verb::GiveBack const& give_back, Deadline deadline) const
    {
        return held_->carry_out(give_back, deadline);
    }

private:
    std::shared_ptr<detail::ErasedIdempotencyStore const> held_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_ANY_IDEMPOTENCY_STORE_HPP
