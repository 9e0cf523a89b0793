// SPDX-License-Identifier: BSL-1.0

// Operations on a number of states that is known at run time, on a store that blocks, on one that is chosen
// at run time, and of requests: see support/many_keys.hpp.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/blocking_repository.hpp"
#include "support/many_keys.hpp"

#include <utility>

namespace many_keys_stores_test {

using namespace interlock;
using namespace interlock_test;
using Repository = memory::StateRepository<Stock>;

template <class P>
void check_on_a_store_that_blocks(P policy)
{
    Repository const inner;
    TransactionService const service{std::move(policy), BlockingRepository<Repository>{inner}};
    check_asynchronous_calls(service, inner);
    check_concurrent_ranges(service, inner, 50);
}

TEST_CASE("a range under every policy on a store that blocks", "[core][many_keys]")
{
    check_on_a_store_that_blocks(OptimisticVersioning{.max_attempts = 1000});
    check_on_a_store_that_blocks(PessimisticRowLock{});
    check_on_a_store_that_blocks(SetNxLock{});
}

TEST_CASE("a range under a policy and a store that are chosen at run time", "[core][many_keys]")
{
    for (AnyPolicy const& policy :
         {AnyPolicy{OptimisticVersioning{.max_attempts = 1000}}, AnyPolicy{PessimisticRowLock{}},
          AnyPolicy{SetNxLock{}}}) {
        auto const repository = open<Stock>("memory:", memory::backend);
        TransactionService<Stock> const service{policy, repository};
        check_ranges(service, repository, 50);
    }
    auto const repository = open<Stock>("memory:", memory::backend);
    TransactionService<Stock> const service{
        IdempotencyKeys{SetNxLock{}, memory::IdempotencyStore{}}, repository};
    check_requests(service, repository);
}

TEST_CASE("a range of a request", "[core][many_keys]")
{
    Repository const repository;
    memory::IdempotencyStore const store;
    check_requests(
        TransactionService{IdempotencyKeys{OptimisticVersioning{}, store}, repository}, repository);
    check_requests(TransactionService{IdempotencyKeys{PessimisticRowLock{}, store}, repository}, repository);
    check_requests(TransactionService{IdempotencyKeys{SetNxLock{}, store}, repository}, repository);
}

}  // namespace many_keys_stores_test
