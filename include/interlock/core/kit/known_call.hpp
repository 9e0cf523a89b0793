// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_KNOWN_CALL_HPP
#define INTERLOCK_CORE_KIT_KNOWN_CALL_HPP

/// @file
/// For authors of stores that start calls: a call that was refused, or answered, before anything was sent.
///
///     if (!key.valid())
///         return std::make_unique<KnownCall<Version>>(key.validate().failure());

#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/outcome.hpp>

#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A call whose outcome was known at once.
template <class X>
class KnownCall final : public StoreCall<X> {
public:
    /// `outcome` is what the first `poll` gives.
    explicit KnownCall(Outcome<X> outcome) : outcome_(std::move(outcome)) {}
    std::optional<Outcome<X>> poll() override { return std::move(outcome_); }

private:
    Outcome<X> outcome_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_KNOWN_CALL_HPP
