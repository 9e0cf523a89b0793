// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_SRC_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_SRC_HPP

// The bodies of the lock table, once per program: see separate_compilation.hpp. No state is compiled here;
// the runtime is that of the system.

#include <interlock/core/detail/locks/impl/acquisition.ipp>
#include <interlock/core/detail/locks/impl/lock_lines.ipp>
#include <interlock/core/detail/locks/impl/lock_table.ipp>
#include <interlock/core/detail/locks/impl/releasing.ipp>
#include <interlock/core/detail/locks/impl/removal.ipp>
#include <interlock/core/detail/locks/impl/renewals.ipp>
#include <interlock/core/detail/locks/impl/table_hold.ipp>
#include <interlock/core/detail/locks/lock_table.hpp>
#include <interlock/core/runtime/runtime.hpp>

namespace interlock {
inline namespace v0 {
namespace detail {

template class LockShard<SystemRuntime>;
template class LockLines<SystemRuntime>;
template class LockRenewals<SystemRuntime>;
template class LockTable<SystemRuntime>;
template class TableHold<SystemRuntime>;
template class RecordRemoval<SystemRuntime>;
template class UnconfirmedGrant<SystemRuntime>;
template class Acquisition<SystemRuntime>;
template class Releasing<SystemRuntime>;

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_SRC_HPP
