// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_SRC_HPP
#define INTERLOCK_BACKENDS_REDIS_SRC_HPP

/// @file
/// The Redis store, compiled once for a program of many units. The program defines
/// INTERLOCK_SEPARATE_COMPILATION for all of its units, and includes this header in exactly one:
///
/// @code
/// // interlock.cpp
/// #include <interlock/src.hpp>                 // the core
/// #include <interlock/backends/redis/src.hpp>  // the Redis store
/// @endcode
///
/// The CMake target `interlock::redis_compiled` does both. The other units then see declarations only:
/// neither hiredis nor the engine of a connection. A runtime that is not the system's needs the header-only
/// form.

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "write -DINTERLOCK_SEPARATE_COMPILATION for the whole program, or do not include a src.hpp"
#endif

#include <interlock/backends/redis/connection.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/detail/impl/call.ipp>
#include <interlock/backends/redis/detail/impl/execute_operation.ipp>
#include <interlock/backends/redis/detail/impl/lock_reports.ipp>
#include <interlock/backends/redis/detail/impl/renewals.ipp>
#include <interlock/backends/redis/detail/impl/state_core.ipp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/impl/client.ipp>
#include <interlock/backends/redis/impl/connection.ipp>
#include <interlock/backends/redis/impl/counters.ipp>
#include <interlock/backends/redis/impl/event_repository.ipp>
#include <interlock/backends/redis/impl/idempotency_store.ipp>
#include <interlock/backends/redis/impl/options.ipp>
#include <interlock/backends/redis/impl/reply.ipp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <optional>

namespace interlock {
inline namespace v0 {
namespace redis {

template class BasicClient<SystemRuntime>;
template class BasicConnection<SystemRuntime>;
template class BasicCounters<SystemRuntime>;
template class BasicEventRepository<SystemRuntime>;
template class BasicIdempotencyStore<SystemRuntime>;

namespace detail {

template class ExecutedCommand<SystemRuntime>;
template class ReplicatedCommand<SystemRuntime>;
template class SentCommand<SystemRuntime>;
template class StateCore<SystemRuntime>;
template struct ReadGrant<SystemRuntime>;
template ConnectionRuntime<SystemRuntime> runtime_of(Pipeline<SystemRuntime> const&);
template std::optional<Failure> exchange(
    ClientState<SystemRuntime>&, Request<Command> const&, Deadline, TakeReply);
template std::optional<Failure> exchange(
    ClientState<SystemRuntime>&, Request<ScriptCall> const&, Deadline, TakeReply);
template void set_time(ClientState<SystemRuntime>&, Request<Command>&, Deadline);
template void set_time(ClientState<SystemRuntime>&, Request<ScriptCall>&, Deadline);

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_SRC_HPP
