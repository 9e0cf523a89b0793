// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_POOL_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_POOL_IPP

#include <interlock/backends/postgres/pool.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

template <class R>
BasicPool<R>::BasicPool(Options options) : BasicPool(R{}, std::move(options))
{}

template <class R>
BasicPool<R>::BasicPool(std::string_view url) : BasicPool(Options::parse(url).value())
{}

template <class R>
BasicPool<R>::BasicPool(char const* url) : BasicPool(std::string_view{url})
{}

template <class R>
BasicPool<R>::BasicPool(R runtime, Options options) : state_(make(std::move(runtime), std::move(options)))
{}

template <class R>
std::shared_ptr<detail::PoolState<R>> BasicPool<R>::make(R runtime, Options options)
{
    options.validate().value();
    return std::make_shared<State>(std::move(runtime), std::move(options));
}

template <class R>
Options const& BasicPool<R>::options() const noexcept
{
    return state_->options();
}

template <class R>
std::size_t BasicPool<R>::connection_count() const
{
    return state_->connection_count();
}

template <class R>
std::size_t BasicPool<R>::idle_count() const
{
    return state_->idle_count();
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_POOL_IPP
