// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP

/// @file
/// The fixtures of the memory store in the contract suite: see contract/backends.hpp.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/contracts/any_event_repository.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/blocking_repository.hpp"
#include "support/started_repository.hpp"
#include "support/states.hpp"

#include <tuple>
#include <type_traits>

#define INTERLOCK_TESTS_CONTRACT_ROW_LOCKS
#define INTERLOCK_TESTS_CONTRACT_CUSTOM_BACKEND
#define INTERLOCK_TESTS_CONTRACT_EVENTS
#define INTERLOCK_TESTS_CONTRACT_JOINT

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

/// With a log beside the states, of `Partitions` parts.
template <unsigned Partitions>
struct MemoryEvents {
    static constexpr bool row_locks = true;
    interlock::memory::EventRepository log{{.partitions = Partitions, .writer = "contract"}};
    interlock::memory::StateRepository<Stock> store{{.events = log}};
    interlock::memory::IdempotencyStore keys;
    auto repository() const { return store; }
    auto other() const { return store; }
    /// States of another type, in the same store.
    template <class T>
    auto states() const
    {
        return interlock::memory::StateRepository<T>{};
    }
    auto idempotency_store() const { return keys; }
    auto events() const { return log; }
    auto other_events() const { return log; }
    auto without_events() const { return interlock::memory::StateRepository<Stock>{}; }
};

struct ErasedMemoryEvents : MemoryEvents<1> {
    auto events() const { return interlock::AnyEventRepository{log}; }
    auto other_events() const { return interlock::AnyEventRepository{log}; }
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{store}; }
    auto without_events() const
    {
        return interlock::StateRepository<Stock>{MemoryEvents<1>::without_events()};
    }
};

struct BlockingMemoryEvents : MemoryEvents<1> {
    auto repository() const { return interlock_test::BlockingRepository{store}; }
    auto other() const { return interlock_test::BlockingRepository{store}; }
    auto without_events() const
    {
        return interlock_test::BlockingRepository{MemoryEvents<1>::without_events()};
    }
};

struct StartedMemoryEvents : MemoryEvents<1> {
    auto repository() const { return interlock_test::StartedRepository{store}; }
    auto other() const { return interlock_test::StartedRepository{store}; }
    auto without_events() const
    {
        return interlock_test::StartedRepository{MemoryEvents<1>::without_events()};
    }
};

using RecordingBackends = std::tuple<MemoryEvents<1>, BlockingMemoryEvents, StartedMemoryEvents>;
using EventBackends = std::tuple<
    MemoryEvents<1>, MemoryEvents<3>, ErasedMemoryEvents, BlockingMemoryEvents, StartedMemoryEvents>;

/// Two repositories whose states change together.
struct JointMemory {
    static constexpr bool has_elsewhere = false;
    static constexpr bool row_locks = true;
    static constexpr bool has_events = true;
    interlock::memory::EventRepository log;
    interlock::memory::StateRepository<Stock> stock{{.events = log}};
    interlock::memory::StateRepository<interlock_test::Account> accounts{{.events = log}};
    interlock::memory::IdempotencyStore keys;
    template <class T>
    auto events_of() const
    {
        return log;
    }
    auto idempotency_store() const { return keys; }
    template <class T>
    auto states() const
    {
        if constexpr (std::is_same_v<T, Stock>)
            return stock;
        else
            return accounts;
    }
    template <class T>
    auto other_states() const
    {
        return states<T>();
    }
};
using JointBackends = std::tuple<JointMemory>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_MEMORY_BACKENDS_HPP
