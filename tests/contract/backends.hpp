// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP

/// @file
/// The backends that keep the laws. A backend joins with a fixture and one line in `Backends`.
///
/// A fixture is default-constructible and fresh: each has a store of its own, with at least one minute of retention.
/// `repository()` gives a handle for `Stock`, `other()` a handle that was made separately from the same store, where
/// the store can (another client), and `idempotency_store()` an empty store of idempotency records. `row_locks` says whether
/// the store has row locks; INTERLOCK_TESTS_CONTRACT_ROW_LOCKS is defined where any has, since Catch2 refuses empty lists.

#include "support/states.hpp"

#include <tuple>
#include <type_traits>
#include <utility>

// The same suite is compiled once for each family of backends.
#ifdef INTERLOCK_TESTS_CONTRACT_REDIS
#include "contract/redis/backends.hpp"
#elif defined(INTERLOCK_TESTS_CONTRACT_POSTGRES)
#include "contract/postgres/backends.hpp"
#else

#include <interlock/backends/memory/backend.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/blocking_repository.hpp"
#include "support/started_repository.hpp"

#define INTERLOCK_TESTS_CONTRACT_ROW_LOCKS

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
    auto repository() const { return interlock::StateRepository<Stock>{interlock_test::BlockingRepository{store}}; }
    auto other() const { return repository(); }
};

/// Whose calls are started for asynchronous callers: the paths of stores that answer over a connection of their own.
struct StartedMemory : Memory {
    interlock_test::StartedRepository<interlock::memory::StateRepository<Stock>> started{store};
    auto repository() const { return started; }
    auto other() const { return interlock_test::StartedRepository{store}; }
};

struct ErasedStartedMemory : StartedMemory {
    auto repository() const { return interlock::StateRepository<Stock>{started}; }
    auto other() const { return interlock::StateRepository<Stock>{StartedMemory::other()}; }
};

using Backends = std::tuple<
    Memory,
    ErasedMemory,
    BlockingMemory,
    ErasedBlockingMemory,
    StartedMemory,
    ErasedStartedMemory>;

}  // namespace contract

#endif

namespace contract {

template <class... B>
auto with_row_locks(std::tuple<B...>)
    -> decltype(std::tuple_cat(std::declval<std::conditional_t<B::row_locks, std::tuple<B>, std::tuple<>>>()...));
using RowLockingBackends = decltype(with_row_locks(std::declval<Backends>()));

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
