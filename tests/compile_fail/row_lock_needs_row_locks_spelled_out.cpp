// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// The same with all template arguments spelled out.

#include "../support/plain_repositories.hpp"

void use(VersionsOnly stock)
{
    il::TransactionService<Stock, il::PessimisticRowLock, VersionsOnly> service{
        il::PessimisticRowLock{}, stock};
}
