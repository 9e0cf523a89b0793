// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_RENEWALS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_RENEWALS_HPP

// How a `StateCore` renews leases: many in one script, and with the replicas where they count.

#include <interlock/backends/redis/detail/state_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/detail/impl/renewals.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_RENEWALS_HPP
