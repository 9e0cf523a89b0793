// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_SRC_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_SRC_HPP

/// @file
/// The bodies of this room, for the one unit of a program that compiles them: see `separate_compilation.hpp`.

#include <interlock/core/detail/transaction/impl/call_core.ipp>
#include <interlock/core/detail/transaction/impl/transaction_machine.ipp>

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_SRC_HPP
