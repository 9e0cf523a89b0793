// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP

/// @file
/// The PostgreSQL fixtures of the contract suite: see contract/backends.hpp. Each has tables of its own on
/// one real server.

#include <interlock/backends/postgres/backend.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <tuple>

#define INTERLOCK_TESTS_CONTRACT_ROW_LOCKS

namespace contract {

using interlock_test::Stock;

struct Postgres {
    static constexpr bool row_locks = true;
    interlock::postgres::Pool pool{interlock_test::fresh_pool()};
    interlock::postgres::StateRepository<Stock> store{pool};
    interlock::postgres::IdempotencyStore keys{pool};
    auto repository() const { return store; }
    /// Another pool: connections of its own.
    auto other() const
    {
        return interlock::postgres::StateRepository<Stock>{interlock::postgres::Pool{pool.options()}};
    }
    auto idempotency_store() const { return keys; }
};

/// Behind `StateRepository<Stock>`, as `open` gives it.
struct ErasedPostgres : Postgres {
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{Postgres::other()}; }
    auto idempotency_store() const { return interlock::AnyIdempotencyStore{keys}; }
};

using Backends = std::tuple<Postgres, ErasedPostgres>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP
