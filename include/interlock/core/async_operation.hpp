// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_ASYNC_OPERATION_HPP
#define INTERLOCK_CORE_ASYNC_OPERATION_HPP

/// @file
/// The frame of this library's asynchronous operations: `detail::AsyncOperation`. For authors of backends that have
/// operations of their own; nothing in `core` needs it.

#include <interlock/core/detail/async_operation.hpp>

#endif  // INTERLOCK_CORE_ASYNC_OPERATION_HPP
