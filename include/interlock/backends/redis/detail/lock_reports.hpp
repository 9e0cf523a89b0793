// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_REPORTS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_REPORTS_HPP

// What a `StateCore` tells people of locks, and what it lets them do about them.

#include <interlock/backends/redis/detail/state_core.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/detail/impl/lock_reports.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_REPORTS_HPP
