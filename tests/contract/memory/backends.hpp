// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP

/// @file
/// The fixtures of the memory store in the contract suite: see contract/backends.hpp.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/blocking_repository.hpp"
#include "support/started_repository.hpp"
#include "support/states.hpp"

#include <tuple>

#define INTERLOCK_TESTS_CONTRACT_ROW_LOCKS
#define INTERLOCK_TESTS_CONTRACT_CUSTOM_BACKEND

namespace contract {

using interlock_test::Stock;

struct Memory {
    static constexpr bool row_locks = true;
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
    auto repository() const
    {
        return interlock::StateRepository<Stock>{interlock_test::BlockingRepository{store}};
    }
    auto other() const { return repository(); }
};

/// Whose calls are started for asynchronous callers: the paths of stores that answer over a connection of
/// their own.
struct StartedMemory : Memory {
    interlock_test::StartedRepository<interlock::memory::StateRepository<Stock>> started{store};
    auto repository() const { return started; }
    auto other() const { return interlock_test::StartedRepository{store}; }
};

using Backends = std::tuple<Memory, ErasedMemory, BlockingMemory, ErasedBlockingMemory, StartedMemory>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP
