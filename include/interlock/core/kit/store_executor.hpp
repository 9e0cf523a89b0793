// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STORE_EXECUTOR_HPP
#define INTERLOCK_CORE_KIT_STORE_EXECUTOR_HPP

/// @file
/// The threads on which the blocking calls of one store are made, for callers that must not block:
///
///     boost::asio::post(store_executor(runtime, BlockingCalls::ending, repository), [=] {
///         auto const removed = repository.carry_out(verb::Remove{key, owner}, until);
///     });
///
/// Each store has threads of its own, and each kind of call, so that a store which hangs takes nothing from
/// another store, and a call that waits takes nothing from the call that would end the wait (law P7).

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <cstddef>

namespace interlock {
inline namespace v0 {

/// How many blocking calls of `repository` are of use at a time: as many as it has connections, where its
/// `Capabilities` say so; a call beyond that number would only wait for a connection.
template <class Repository>
std::size_t blocking_calls(Repository const& repository) noexcept
{
    auto const calls = capabilities_of(repository).blocking_calls;
    return calls != 0 ? calls : 16;
}

/// Where the blocking calls of `repository` are made for those who must not block. `owner`: whose threads
/// these are, by default the store's: what `threads_owner()` of the repository says, where there is one, else
/// its `identity()`.
template <Runtime R, class Repository>
auto store_executor(R const& runtime, BlockingCalls kind, Repository const& repository, void const* owner)
{
    auto most = blocking_calls(repository);
    if (kind == BlockingCalls::ending)
        most *= 4;  // some have ended what they held, and wait for a connection to say so elsewhere
    if (kind == BlockingCalls::keeping)
        most = 4;
    if constexpr (requires { runtime.store_executor(kind, owner, most); })
        return runtime.store_executor(kind, owner, most);
    else
        return runtime.blocking_executor();
}
template <Runtime R, class Repository>
auto store_executor(R const& runtime, BlockingCalls kind, Repository const& repository)
{
    if constexpr (requires { repository.threads_owner(); })
        return store_executor(runtime, kind, repository, repository.threads_owner());
    else
        return store_executor(runtime, kind, repository, repository.identity());
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_STORE_EXECUTOR_HPP
