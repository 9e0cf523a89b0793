// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_COUNTERS_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_COUNTERS_IPP

#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/number.hpp>
#include <interlock/backends/redis/detail/placement.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/kit/counter_call.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {

INTERLOCK_DECL Failure not_a_counter()
{
    return Failure{Errc::corrupt_state, "redis: what is stored is not a counter"};
}

/// What the script has answered.
INTERLOCK_DECL Outcome<CounterAnswer> counter_answer(ReplyView reply)
{
    auto const what = reply[0].text();
    CounterAnswer answer;
    if (what == "mismatch")
        return Failure{Errc::idempotency_mismatch, "the operation id was used for a different change"};
    if (what == "range")
        return Failure{Errc::invalid_argument, "the counter would pass 2^53"};
    if (what != "changed" && what != "kept")
        return not_a_counter();
    if (!parse_number(reply[1].text(), -CounterChange::limit, CounterChange::limit, answer.value))
        return not_a_counter();
    answer.changed = what == "changed";
    answer.replayed = reply[2].integer() == 1;
    return answer;
}

}  // namespace detail

/// What all handles of the counters share.
template <class Runtime>
struct BasicCounters<Runtime>::Shared {
    Shared(std::shared_ptr<detail::ClientState<Runtime>> c, CountersOptions o)
        : client(std::move(c)), options(std::move(o)),
          keys(options.name_space, options.shards, client->options().prefix)
    {}
    std::shared_ptr<detail::ClientState<Runtime>> client;
    CountersOptions options;
    detail::KeySpace keys;
};

template <class Runtime>
BasicCounters<Runtime>::BasicCounters(BasicClient<Runtime> client, CountersOptions options)
{
    detail::check_placement(options, client.options());
    shared_ = std::make_shared<Shared>(client.state_, std::move(options));
}

template <class Runtime>
Runtime const& BasicCounters<Runtime>::runtime() const noexcept
{
    return shared_->client->runtime();
}

template <class Runtime>
void const* BasicCounters<Runtime>::identity() const noexcept
{
    return shared_->client.get();
}

template <class Runtime>
std::string BasicCounters<Runtime>::place() const
{
    return detail::place_of_name_space(shared_->client->options().prefix, shared_->options.name_space);
}

template <class Runtime>
Outcome<CounterAnswer> BasicCounters<Runtime>::carry_out(
    verb::ChangeCounter const& asked, Deadline deadline) const
{
    auto const& id = asked.id;
    auto const& key = asked.key;
    auto const& change = asked.change;
    if (auto valid = validate_counter_call(id, key, change, deadline); !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.at(shared_->client->runtime().now())};
    if (auto fit = shared_->client->server_check(until); !fit)
        return std::move(fit).failure();
    auto const& keys = shared_->keys;
    auto const bound = [](std::optional<std::int64_t> const& value) {
        return value ? std::to_string(*value) : std::string{};
    };
    auto const& script = detail::atomic_once_script();
    auto const command = detail::evaluate(
        script, 2, keys.name("count", key.bytes()), keys.once(key.bytes(), id.value()), change.amount,
        bound(change.at_least), bound(change.at_most),
        detail::whole_milliseconds(shared_->options.retention).count());
    return ask_until_known(
        until.at(shared_->client->runtime().now()),
        [&]() -> Outcome<CounterAnswer> {
            auto exchange = shared_->client->execute(command, &script, Access::record, until);
            if (!exchange)
                return std::move(exchange).failure();
            return detail::counter_answer(exchange->reply());
        },
        shared_->client->runtime());
}

template <class Runtime>
Outcome<std::int64_t> BasicCounters<Runtime>::carry_out(
    verb::LoadCounter const& asked, Deadline deadline) const
{
    auto const& key = asked.key;
    if (auto valid = key.validate(); !valid)
        return std::move(valid).failure();
    detail::Command const command("GET", shared_->keys.name("count", key.bytes()));
    auto exchange = shared_->client->execute(command, nullptr, Access::read, deadline);
    if (!exchange)
        return std::move(exchange).failure();
    auto const reply = exchange->reply();
    std::int64_t value = 0;
    if (!reply.is(ReplyType::nil) &&
        !detail::parse_number(reply.text(), -CounterChange::limit, CounterChange::limit, value))
        return detail::not_a_counter();
    return value;
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_COUNTERS_IPP
