// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP

/// @file
/// The backends that keep the laws. A backend joins with a fixture and one line in `Backends`.
///
/// A fixture is default-constructible and fresh: each has a store of its own, with at least one minute of retention.
/// `repository()` gives a handle for `Stock`, `other()` a handle that was made separately from the same store, where
/// the store can (another client), and `idempotency_store()` an empty store of idempotency records.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/blocking_repository.hpp"
#include "support/states.hpp"

#include <tuple>

namespace contract {

using interlock_test::Stock;

struct Memory {
    interlock::memory::StateRepository<Stock> store;
    interlock::memory::IdempotencyStore keys;
    auto repository() const { return store; }
    auto other() const { return store; }
    auto idempotency_store() const { return keys; }
};

/// Behind `StateRepository<Stock>`, as `open` gives it.
struct ErasedMemory : Memory {
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{store}; }
    auto idempotency_store() const { return interlock::AnyIdempotencyStore{keys}; }
};

/// With the members that the concepts state and no other: the paths of stores behind a network.
struct BlockingMemory : Memory {
    auto repository() const { return interlock_test::BlockingRepository{store}; }
    auto other() const { return interlock_test::BlockingRepository{store}; }
};

struct ErasedBlockingMemory : Memory {
    auto repository() const { return interlock::StateRepository<Stock>{interlock_test::BlockingRepository{store}}; }
    auto other() const { return repository(); }
};

using Backends = std::tuple<
    Memory,
    ErasedMemory,
    BlockingMemory,
    ErasedBlockingMemory>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
