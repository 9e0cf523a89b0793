// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_TRANSPORT_HPP
#define INTERLOCK_CORE_TRANSPORT_HPP

/// @file
/// The part of the runtime seam that backends talk to their servers with: `detail::Stream`, driven by the calling thread,
/// `detail::AsyncSocket`, driven by an executor, and `detail::start_detached_thread` for what listens. For authors of backends; nothing in `core` needs it.

#include <interlock/core/detail/runtime_socket.hpp>
#include <interlock/core/detail/runtime_stream.hpp>
#include <interlock/core/detail/runtime_thread.hpp>

#endif  // INTERLOCK_CORE_TRANSPORT_HPP
