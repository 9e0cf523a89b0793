// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// A policy that locks rows on a store without row locks; the policy deduced.

#include "../support/plain_repositories.hpp"

void use(VersionsOnly stock)
{
    il::TransactionService service{il::PessimisticRowLock{}, stock};
}
