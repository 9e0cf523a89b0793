// expect: find_operation|commit
// SPDX-License-Identifier: BSL-1.0

// Idempotency keys on a store without operation records.

#include "../support/plain_repositories.hpp"

void use(VersionsOnly stock, il::memory::IdempotencyStore keys)
{
    il::TransactionService service{il::IdempotencyKeys{il::OptimisticVersioning{}, keys}, stock};
}
