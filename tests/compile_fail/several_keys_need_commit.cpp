// expect: commit|AtomicRepository
// SPDX-License-Identifier: BSL-1.0

// Two states on a store without atomic commits.

#include "../support/plain_repositories.hpp"

void use(il::TransactionService<Stock, il::OptimisticVersioning, VersionsOnly> const& service)
{
    service.do_in_transaction(il::keys("a", "b"), [](Stock&, Stock&) {});
}
