// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP

/// @file
/// How `IdempotencyKeys` treats requests that come again:
///
///     IdempotencyKeys policy{OptimisticVersioning{}, store, {.lease = 30s, .duplicates = Duplicates::wait}};

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/deadline.hpp>

#include <chrono>

namespace interlock {
inline namespace v0 {

/// What a duplicate does while the first is being executed.
enum class Duplicates : unsigned char {
    refuse,  ///< `idempotency_in_progress` with the rest of the lease as `retry_after`
    wait,    ///< until the answer is there or the deadline comes
};

/// How `IdempotencyKeys` treats claims.
struct IdempotencyOptions {
    /// How long a claim is respected without an answer. Longer than the operation takes.
    Ttl lease{std::chrono::seconds{60}};
    Duplicates duplicates{Duplicates::refuse};
    /// About an owner whose lease is over.
    AfterLease after_lease{AfterLease::take_over};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP
