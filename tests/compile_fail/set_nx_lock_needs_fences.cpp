// expect: verify_fencing
// SPDX-License-Identifier: BSL-1.0

// A fenced lock on a store whose lock records have no fence.

#include "../support/plain_repositories.hpp"

void use(Leases stock)
{
    il::TransactionService service{il::SetNxLock{}, stock};
}
