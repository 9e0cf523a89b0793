// expect: verify_fencing
// SPDX-License-Identifier: BSL-1.0

// A lock service for fenced locks on a store whose lock records have no fence.

#include "../support/plain_repositories.hpp"

void use(Leases stock)
{
    il::LockStateService locks{stock};
}
