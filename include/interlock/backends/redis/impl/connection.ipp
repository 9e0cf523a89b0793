// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_CONNECTION_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_CONNECTION_IPP

#include <interlock/backends/redis/connection.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/pipeline_handle.hpp>
#include <interlock/separate_compilation.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

INTERLOCK_DECL Script::Script(std::string_view lua) : state_(std::make_shared<detail::Script const>(lua)) {}

template <class Runtime>
BasicConnection<Runtime>::BasicConnection(boost::asio::any_io_executor executor, Options options)
    : BasicConnection(Runtime{}, std::move(executor), std::move(options))
{}

template <class Runtime>
BasicConnection<Runtime>::BasicConnection(boost::asio::any_io_executor executor, std::string_view url)
    : BasicConnection(std::move(executor), Options::parse(url).value())
{}

template <class Runtime>
BasicConnection<Runtime>::BasicConnection(
    Runtime runtime, boost::asio::any_io_executor executor, Options options)
    : handle_(
          std::make_shared<detail::PipelineHandle<Runtime>>(std::move(runtime), std::move(executor), options))
{}

template <class Runtime>
boost::asio::any_io_executor const& BasicConnection<Runtime>::get_executor() const noexcept
{
    return handle_->pipeline->executor();
}

template <class Runtime>
Options const& BasicConnection<Runtime>::options() const noexcept
{
    return handle_->pipeline->options();
}

template <class Runtime>
ConnectionStatistics BasicConnection<Runtime>::statistics() const
{
    return handle_->pipeline->statistics();
}

template <class Runtime>
std::shared_ptr<detail::Pipeline<Runtime>> const& BasicConnection<Runtime>::pipeline() const noexcept
{
    return handle_->pipeline;
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_CONNECTION_IPP
