// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_COUNTERS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_COUNTERS_IPP

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/counter_call.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

template <class R>
BasicCounters<R>::Shared::Shared(std::shared_ptr<detail::PoolState<R>> p, CountersOptions o)
    : pool(std::move(p)), options(o), statements(pool->tables())
{}

template <class R>
BasicCounters<R>::BasicCounters(BasicPool<R> pool, CountersOptions options)
    : shared_(std::make_shared<Shared>(PoolAccess::state(pool), detail::check_retention(options)))
{}

template <class R>
R const& BasicCounters<R>::runtime() const noexcept
{
    return shared_->pool->runtime();
}

template <class R>
void const* BasicCounters<R>::identity() const noexcept
{
    return shared_->pool.get();
}

template <class R>
Capabilities BasicCounters<R>::capabilities() const noexcept
{
    return {.blocking_calls = shared_->pool->options().max_connections};
}

template <class R>
Outcome<CounterAnswer> BasicCounters<R>::carry_out(verb::ChangeCounter const& asked, Deadline deadline) const
{
    auto const& id = asked.id;
    auto const& key = asked.key;
    auto const& change = asked.change;
    if (auto valid = validate_counter_call(id, key, change, deadline); !valid)
        return std::move(valid).failure();
    auto const until = deadline.at(runtime().now());
    auto const request = std::to_string(change.amount) + " " +
                         (change.at_least ? std::to_string(*change.at_least) : "-") + " " +
                         (change.at_most ? std::to_string(*change.at_most) : "-");
    return ask_until_known(until, [&] { return ask(id, key, change, request, Deadline{until}); }, runtime());
}

template <class R>
Outcome<std::int64_t> BasicCounters<R>::carry_out(verb::LoadCounter const& asked, Deadline deadline) const
{
    auto const& key = asked.key;
    if (auto valid = key.validate(); !valid)
        return std::move(valid).failure();
    detail::Params params;
    params.bytes(key.bytes());
    auto reply =
        shared_->pool->execute(shared_->statements.load, std::move(params), detail::Access::read, deadline);
    if (!reply)
        return std::move(reply).failure();
    return reply->rows() == 0 ? 0 : reply->number(0, 0).value_or(0);
}

template <class R>
Outcome<CounterAnswer> BasicCounters<R>::ask(
    OperationId const& id, Key const& key, CounterChange const& change, std::string const& request,
    Deadline deadline) const
{
    detail::Batch batch;
    for (auto const* statement : {&shared_->statements.make, &shared_->statements.lock}) {
        detail::Params named;
        named.bytes(key.bytes());
        batch.add(*statement, std::move(named));
    }
    detail::Params params;
    params.bytes(key.bytes());
    params.bytes(id.value());
    params.number(change.amount);
    auto const bound = [&](std::optional<std::int64_t> const& value) {
        if (value)
            params.number(*value);
        else
            params.null();
    };
    bound(change.at_least);
    bound(change.at_most);
    params.text(request);
    params.number(std::chrono::ceil<std::chrono::microseconds>(shared_->options.retention).count());
    batch.add(shared_->statements.change, std::move(params));
    auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
    if (!replies)
        return std::move(replies).failure();
    auto const& reply = (*replies)[2];
    bool const replayed = !reply.null(0, 0);
    if (replayed && reply.text(0, 0) != request)
        return detail::failed(Errc::idempotency_mismatch, "the operation id was used for a different change");
    auto const value = reply.number(0, 1);
    if (!value)
        return detail::failed(Errc::invalid_argument, "the counter would pass 2^53");
    return CounterAnswer{.value = *value, .changed = reply.boolean(0, 2), .replayed = replayed};
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_COUNTERS_IPP
