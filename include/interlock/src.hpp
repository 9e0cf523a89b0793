// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_SRC_HPP
#define INTERLOCK_SRC_HPP

/// @file
/// What separate compilation compiles once per program: the bodies of `core/`, of the policies and of the
/// store that needs no client library. One unit of the program includes this header, and beside it the
/// `src.hpp` of each store that the program uses; every unit is compiled with
/// INTERLOCK_SEPARATE_COMPILATION.
///
/// @code
/// // interlock.cpp
/// #include <interlock/backends/redis/src.hpp>
/// #include <interlock/src.hpp>
/// @endcode
///
/// With CMake the targets `interlock::core_compiled`, `interlock::redis_compiled` and so on do this. They
/// also define BOOST_ASIO_SEPARATE_COMPILATION and compile Asio's own `boost/asio/impl/src.hpp`; by hand
/// both are optional, as Asio documents them. A program that uses `boost::asio::ssl` with that definition
/// compiles `boost/asio/ssl/impl/src.hpp` itself.

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "define INTERLOCK_SEPARATE_COMPILATION for every unit of the program, or do not include a src.hpp"
#endif

#include <interlock/core/codec/impl/stored_shape.ipp>
#include <interlock/core/detail/impl/errc.ipp>
#include <interlock/core/detail/impl/idempotent_request.ipp>
#include <interlock/core/detail/impl/key.ipp>
#include <interlock/core/detail/impl/lock.ipp>
#include <interlock/core/detail/impl/operation_id.ipp>
#include <interlock/core/detail/impl/outcome.ipp>
#include <interlock/core/detail/locks/src.hpp>
#include <interlock/core/detail/transaction/src.hpp>
#include <interlock/core/kit/impl/assertion.ipp>
#include <interlock/core/kit/impl/commit_refusal.ipp>
#include <interlock/core/kit/impl/context_access.ipp>
#include <interlock/core/kit/impl/counter_call.ipp>
#include <interlock/core/kit/impl/lock_call.ipp>
#include <interlock/core/kit/impl/nested_keys.ipp>
#include <interlock/core/kit/impl/newer_states.ipp>
#include <interlock/core/kit/impl/pending_operations.ipp>
#include <interlock/core/kit/impl/stepped_operation.ipp>
#include <interlock/core/kit/impl/store_identity.ipp>
#include <interlock/core/kit/net/impl/channel.ipp>
#include <interlock/core/kit/net/impl/endpoint.ipp>
#include <interlock/core/kit/net/impl/tls_handshake.ipp>
#include <interlock/core/kit/net/impl/tls_stream.ipp>
#include <interlock/core/kit/net/impl/url.ipp>
#include <interlock/core/runtime/impl/alarm.ipp>
#include <interlock/core/runtime/impl/name_lookup.ipp>
#include <interlock/core/runtime/impl/random.ipp>
#include <interlock/core/runtime/impl/runtime.ipp>
#include <interlock/core/runtime/impl/socket.ipp>
#include <interlock/core/runtime/impl/stream.ipp>
#include <interlock/core/runtime/impl/thread.ipp>

#endif  // INTERLOCK_SRC_HPP
