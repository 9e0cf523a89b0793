// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP
#define INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP

/// @file
/// How `IdempotencyKeys` treats requests that come again. A client that waits for an answer is served best by
/// `wait`; a server that must not keep connections open refuses, and tells when to come again:
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
    /// How long a claim is respected without an answer, from 50 ms to 24 h. Choose it longer than the
    /// operation takes: after it the next duplicate takes the claim over.
    Ttl lease{std::chrono::seconds{60}};
    /// What a duplicate does while the first is being executed.
    Duplicates duplicates{Duplicates::refuse};
    /// What a duplicate does about an owner whose lease is over without an answer.
    AfterLease after_lease{AfterLease::take_over};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_IDEMPOTENCY_OPTIONS_HPP
