// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_INTERLOCK_HPP
#define INTERLOCK_INTERLOCK_HPP

/// @file
/// Everything that needs no client library. The map of the folders:
///
/// - `core/` WHAT: the nouns and the plug shapes. Start with `contracts/store.hpp` (what a store offers),
///   `transaction_context.hpp` (what a policy offers), `transaction_service.hpp` and `lock_state_service.hpp`
///   (the two services that join them).
/// - `policies/` HOW conflicts are handled: one header per policy.
/// - `backends/` WHERE the state lives: one folder per store, the same file names in each. Only `memory/`
///   is included here; the others need a client library and are included by name.
/// - Not included are the logs of events (`backends/memory/event_repository.hpp`) and what stands on them,
///   `patterns/`.
///
/// `core/format.hpp` (fmt formatters) comes along where fmt is installed.

// IWYU pragma: begin_exports
#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/options.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/lock_info.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/open.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/fwd.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/idempotency_options.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>
#include <interlock/version.hpp>
#if __has_include(<fmt/core.h>)
#include <interlock/core/format.hpp>
#endif
// IWYU pragma: end_exports

#endif  // INTERLOCK_INTERLOCK_HPP
