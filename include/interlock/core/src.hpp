// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_SRC_HPP
#define INTERLOCK_CORE_SRC_HPP

/// @file
/// The bodies of `core/`, for the one unit of a program that compiles them; see `interlock/src.hpp`.

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "define INTERLOCK_SEPARATE_COMPILATION for every unit of the program, or do not include a src.hpp"
#endif

#include <interlock/core/detail/locks/src.hpp>
#include <interlock/core/detail/transaction/src.hpp>
#include <interlock/core/impl/errc.ipp>
#include <interlock/core/impl/idempotent_request.ipp>
#include <interlock/core/impl/key.ipp>
#include <interlock/core/impl/lock.ipp>
#include <interlock/core/impl/operation_id.ipp>
#include <interlock/core/impl/outcome.ipp>
#include <interlock/core/kit/impl/assertion.ipp>
#include <interlock/core/kit/impl/commit_refusal.ipp>
#include <interlock/core/kit/impl/counter_call.ipp>
#include <interlock/core/kit/impl/lock_call.ipp>
#include <interlock/core/kit/impl/pending_operations.ipp>
#include <interlock/core/kit/impl/store_identity.ipp>
#include <interlock/core/kit/net/impl/channel.ipp>
#include <interlock/core/kit/net/impl/endpoint.ipp>
#include <interlock/core/kit/net/impl/tls_handshake.ipp>
#include <interlock/core/kit/net/impl/tls_stream.ipp>
#include <interlock/core/kit/net/impl/url.ipp>
#include <interlock/core/runtime/impl/alarm.ipp>
#include <interlock/core/runtime/impl/random.ipp>
#include <interlock/core/runtime/impl/runtime.ipp>
#include <interlock/core/runtime/impl/socket.ipp>
#include <interlock/core/runtime/impl/stream.ipp>
#include <interlock/core/runtime/impl/thread.ipp>

#endif  // INTERLOCK_CORE_SRC_HPP
