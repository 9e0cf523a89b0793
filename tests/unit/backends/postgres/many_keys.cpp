// SPDX-License-Identifier: BSL-1.0

// Operations on a number of states that is known at run time, in PostgreSQL: see support/many_keys.hpp.

#include "support/many_keys.hpp"

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/postgres_server.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace postgres_many_keys_test {

using namespace interlock;
using namespace interlock_test;

TEST_CASE("a range under every policy in PostgreSQL", "[postgres][many_keys]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const repository{pool};
    postgres::IdempotencyStore const store{pool};
    TransactionService const optimistic{OptimisticVersioning{.max_attempts = 1000}, repository};
    check_ranges(optimistic, repository, 20);
    check_ways_to_call(optimistic, repository);
    check_wrong_ranges(optimistic, repository);
    check_runs_again(optimistic, repository);
    check_requests(
        TransactionService{IdempotencyKeys{OptimisticVersioning{}, store}, repository}, repository);
    check_ranges(TransactionService{PessimisticRowLock{}, repository}, repository, 20);
    check_requests(TransactionService{IdempotencyKeys{PessimisticRowLock{}, store}, repository}, repository);
    check_requests(
        TransactionService{
            IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{pool}},
            repository},
        repository);
    check_ranges(TransactionService{SetNxLock{}, repository}, repository, 20);
    check_requests(TransactionService{IdempotencyKeys{SetNxLock{}, store}, repository}, repository);
}

TEST_CASE("ranges under several policies at once wait for each other in no circle", "[postgres][many_keys]")
{
    // The server would look for a deadlock only after the calls' deadlines: each would fail.
    PostgresServer const server{{"deadlock_timeout=300s"}};
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const repository{pool};
    auto const skus = many_stocks(repository, 6);
    TransactionService const optimistic{OptimisticVersioning{.max_attempts = 10000}, repository};
    TransactionService const locking{PessimisticRowLock{}, repository};
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t thread) {
        std::minstd_rand random{static_cast<unsigned>(thread + 1)};
        for (int i = 0; i < 30; ++i) {
            auto mine = skus;
            std::shuffle(mine.begin(), mine.end(), random);
            mine.resize(4);
            auto const done =
                thread % 2 == 0
                    ? locking.try_do_in_transaction(mine, TakeOneOfEach{}, {.deadline = long_deadline})
                    : optimistic.try_do_in_transaction(mine, TakeOneOfEach{}, {.deadline = long_deadline});
            failed += done ? 0 : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(pieces(repository, skus) == 60 - 4 * 30 * 4);
}

TEST_CASE("a range may have a thousand keys in PostgreSQL", "[postgres][many_keys]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const repository{pool};
    check_most_keys(TransactionService{OptimisticVersioning{}, repository}, repository);
    check_most_keys(TransactionService{PessimisticRowLock{}, repository}, repository);
    check_most_keys(TransactionService{SetNxLock{}, repository}, repository);
}

TEST_CASE("an operation on a range runs its own statements in its transaction", "[postgres][many_keys]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const repository{pool};
    auto const skus = many_stocks(repository, 3);
    auto const lines = pool.options().name_space + "_lines";
    postgres_server().command("CREATE TABLE " + lines + " (sku text)");
    auto const count = [&] { return postgres_server().command("SELECT count(*) FROM " + lines); };
    TransactionService const service{PessimisticRowLock{}, repository};
    auto const order = [&](std::span<Stock> states, postgres::Transaction& tx) {
        for (auto& s : states) {
            --s.quantity;
            tx.exec("INSERT INTO " + lines + " VALUES ($1)", s.sku);
        }
        if (states.size() < 3)
            throw std::runtime_error("mine");
    };
    service.do_in_transaction(skus, order);
    CHECK(count() == "3");
    CHECK_THROWS_AS(service.do_in_transaction(std::vector{skus[0], skus[1]}, order), std::runtime_error);
    CHECK(count() == "3");
    CHECK(pieces(repository, skus) == 27);
}

}  // namespace postgres_many_keys_test
