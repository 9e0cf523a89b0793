// SPDX-License-Identifier: BSL-1.0

// The table of policies and stores in policies/README.md, held against the concept checks.

#include <interlock/interlock.hpp>
#if __has_include(<libpq-fe.h>) && __has_include(<pqxx/version>)
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#endif
#if __has_include(<hiredis/hiredis.h>)
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#endif

#include <string>

namespace {

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

template <class Repository, class Store>
struct Row {
    static constexpr bool optimistic = il::PolicyFor<il::OptimisticVersioning, Repository>;
    static constexpr bool row_lock = il::PolicyFor<il::PessimisticRowLock, Repository>;
    static constexpr bool lease = il::PolicyFor<il::SetNxLock, Repository>;
    static constexpr bool efficiency = il::PolicyFor<il::EfficiencySetNxLock, Repository>;
    static constexpr bool idempotency =
        il::IdempotencyStore<Store> &&
        il::PolicyFor<il::IdempotencyKeys<il::OptimisticVersioning, Store>, Repository>;
    static constexpr bool operation_id = il::OperationRepository<Repository>;
    static constexpr bool several_keys = il::AtomicRepository<Repository>;
};

// memory: yes, yes, yes, yes, yes, yes, yes
using Memory = Row<il::memory::StateRepository<Stock>, il::memory::IdempotencyStore>;
static_assert(Memory::optimistic && Memory::row_lock && Memory::lease && Memory::efficiency);
static_assert(Memory::idempotency && Memory::operation_id && Memory::several_keys);

#if __has_include(<hiredis/hiredis.h>)
// redis: yes, no, yes, yes, yes, yes, yes
using Redis = Row<il::redis::StateRepository<Stock>, il::redis::IdempotencyStore>;
static_assert(Redis::optimistic && !Redis::row_lock && Redis::lease && Redis::efficiency);
static_assert(Redis::idempotency && Redis::operation_id && Redis::several_keys);
#endif

#if __has_include(<libpq-fe.h>) && __has_include(<pqxx/version>)
// postgres: yes, yes, yes, yes, yes, yes, yes
using Postgres = Row<il::postgres::StateRepository<Stock>, il::postgres::IdempotencyStore>;
static_assert(Postgres::optimistic && Postgres::row_lock && Postgres::lease && Postgres::efficiency);
static_assert(Postgres::idempotency && Postgres::operation_id && Postgres::several_keys);
#endif

// Chosen at run time: all of them compile; what the store lacks is `misconfigured` when it is used.
using Any = Row<il::StateRepository<Stock>, il::AnyIdempotencyStore>;
static_assert(Any::optimistic && Any::row_lock && Any::lease && Any::efficiency);
static_assert(Any::idempotency && Any::operation_id && Any::several_keys);

}  // namespace
