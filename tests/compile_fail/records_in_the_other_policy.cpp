// expect: pass these records to IdempotencyInTransaction
// expect: pass what duplicates do by itself
// SPDX-License-Identifier: BSL-1.0

// Records that the transaction of the states writes do not go with IdempotencyKeys; and the policy that they
// go with has no lease among its options.

#include <interlock/interlock.hpp>

#include <string_view>

namespace il = interlock;

struct Records {
    il::Outcome<il::Claim> find(il::IdempotentRequest const& request, il::Deadline deadline = {}) const;
    il::Outcome<il::Claim> reject(
        il::IdempotentRequest const& request, std::string_view text, il::Deadline deadline = {}) const;
};

void use(Records records)
{
    il::IdempotencyKeys keys{il::PessimisticRowLock{}, records};
    il::IdempotencyInTransaction policy{
        il::PessimisticRowLock{}, records, {.duplicates = il::Duplicates::refuse}};
}
