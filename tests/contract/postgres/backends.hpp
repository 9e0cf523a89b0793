// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP

/// @file
/// The PostgreSQL fixtures of the contract suite: see contract/backends.hpp. Each has tables of its own on
/// one real server.

#include <interlock/backends/postgres/backend.hpp>
#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/states.hpp"

#include <string>
#include <tuple>
#include <type_traits>

#define INTERLOCK_TESTS_CONTRACT_ROW_LOCKS
#define INTERLOCK_TESTS_CONTRACT_EVENTS
#define INTERLOCK_TESTS_CONTRACT_JOINT

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

/// With a log beside the states, of `Partitions` parts.
template <unsigned Partitions>
struct PostgresEvents {
    static constexpr bool row_locks = true;
    interlock::postgres::Pool pool{interlock_test::fresh_pool()};
    interlock::postgres::EventRepository log{log_of(pool)};
    interlock::postgres::StateRepository<Stock> store{pool, {.events = log}};
    interlock::postgres::IdempotencyStore keys{pool};
    PostgresEvents() { log.create_schema().value(); }
    static interlock::postgres::EventRepository log_of(interlock::postgres::Pool const& of)
    {
        return interlock::postgres::EventRepository{of, {.partitions = Partitions, .writer = "contract"}};
    }
    auto repository() const { return store; }
    /// Another pool, with a log of its own that is the same one.
    auto other() const
    {
        interlock::postgres::Pool const another{pool.options()};
        return interlock::postgres::StateRepository<Stock>{another, {.events = log_of(another)}};
    }
    /// States of another type, in the same store.
    template <class T>
    auto states() const
    {
        return interlock::postgres::StateRepository<T>{pool};
    }
    auto idempotency_store() const { return keys; }
    auto transactional_store() const { return interlock::postgres::TransactionalIdempotencyStore{pool}; }
    auto events() const { return log; }
    auto other_events() const { return log_of(interlock::postgres::Pool{pool.options()}); }
    auto without_events() const { return interlock::postgres::StateRepository<Stock>{pool}; }
};

struct ErasedPostgresEvents : PostgresEvents<1> {
    auto repository() const { return interlock::StateRepository<Stock>{store}; }
    auto other() const { return interlock::StateRepository<Stock>{PostgresEvents<1>::other()}; }
    auto without_events() const
    {
        return interlock::StateRepository<Stock>{PostgresEvents<1>::without_events()};
    }
};

using RecordingBackends = std::tuple<PostgresEvents<1>>;
using EventBackends = std::tuple<PostgresEvents<1>, PostgresEvents<3>, ErasedPostgresEvents>;

/// Two tables whose states change together.
struct JointPostgres {
    static constexpr bool has_elsewhere = true;
    static constexpr bool row_locks = true;
    static constexpr bool has_events = true;
    interlock::postgres::Pool pool{interlock_test::fresh_pool()};
    interlock::postgres::Pool other{pool.options()};
    std::string prefix{pool.options().name_space};
    interlock::postgres::EventRepository log{pool, {.writer = "contract"}};
    JointPostgres()
    {
        log.create_schema().value();
        interlock_test::sql(
            {"CREATE TABLE " + prefix +
                 "_stock (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL)",
             "CREATE TABLE " + prefix +
                 "_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL, "
                 "version bigint NOT NULL)"});
    }
    template <class T>
    auto states_by(interlock::postgres::Pool const& of) const
    {
        bool const stock = std::is_same_v<T, Stock>;
        return interlock::postgres::StateRepository<T>{
            of,
            {.table = prefix + (stock ? "_stock" : "_accounts"),
             .key = stock ? "sku" : "id",
             .events = interlock::postgres::EventRepository{of, {.writer = "contract"}}}};
    }
    template <class T>
    auto events_of() const
    {
        return log;
    }
    auto idempotency_store() const { return interlock::postgres::IdempotencyStore{pool}; }
    template <class T>
    auto states() const
    {
        return states_by<T>(pool);
    }
    /// Another pool: connections of its own.
    template <class T>
    auto other_states() const
    {
        return states_by<T>(other);
    }
    template <class T>
    auto elsewhere() const
    {
        return states_by<T>(other);
    }
};
using JointBackends = std::tuple<JointPostgres>;

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_POSTGRES_BACKENDS_HPP
