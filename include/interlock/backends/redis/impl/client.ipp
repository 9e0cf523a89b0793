// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_CLIENT_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_CLIENT_IPP

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/client_state.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {

/// `own_threads`: `executor` is the process's own.
template <class R>
std::shared_ptr<ClientState<R>> make_client_state(
    R runtime, Options options, boost::asio::any_io_executor executor, bool own_threads)
{
    options.validate().value();
    return std::make_shared<ClientState<R>>(
        std::move(runtime), std::move(options), std::move(executor), own_threads);
}

}  // namespace detail

template <class Runtime>
BasicClient<Runtime>::BasicClient(Options options) : BasicClient(Runtime{}, std::move(options))
{}

template <class Runtime>
BasicClient<Runtime>::BasicClient(std::string_view url) : BasicClient(Options::parse(url).value())
{}

template <class Runtime>
BasicClient<Runtime>::BasicClient(boost::asio::any_io_executor executor, Options options)
    : state_(detail::make_client_state(Runtime{}, std::move(options), std::move(executor), false))
{}

template <class Runtime>
BasicClient<Runtime>::BasicClient(boost::asio::any_io_executor executor, std::string_view url)
    : BasicClient(std::move(executor), Options::parse(url).value())
{}

template <class Runtime>
BasicClient<Runtime>::BasicClient(Runtime runtime, Options options)
    : state_(detail::make_client_state(
          runtime, std::move(options), boost::asio::any_io_executor(runtime.executor()), true))
{}

template <class Runtime>
Options const& BasicClient<Runtime>::options() const noexcept
{
    return state_->options();
}

template <class Runtime>
Outcome<ServerCheck> BasicClient<Runtime>::server_check(Deadline deadline) const
{
    return state_->server_check(deadline);
}

template <class Runtime>
ConnectionStatistics BasicClient<Runtime>::statistics() const
{
    return state_->pipeline()->statistics();
}

template <class Runtime>
std::size_t BasicClient<Runtime>::connection_count() const
{
    return state_->connection_count();
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_CLIENT_IPP
