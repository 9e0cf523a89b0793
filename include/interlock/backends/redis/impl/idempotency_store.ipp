// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_IDEMPOTENCY_STORE_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_IDEMPOTENCY_STORE_IPP

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/placement.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

/// What all handles of one store share.
template <class Runtime>
struct BasicIdempotencyStore<Runtime>::Shared {
    Shared(std::shared_ptr<detail::ClientState<Runtime>> c, IdempotencyStoreOptions o)
        : client(std::move(c)), keys(o.name_space, o.shards, client->options().prefix),
          place(detail::place_of_name_space(client->options().prefix, o.name_space)), retention(o.retention),
          group(client->subscriber().group(keys))
    {}

    std::string name(IdempotentRequest const& request) const
    {
        return keys.name("idem", request.name()).text();
    }
    detail::KeySpace::WakeName wake_name(IdempotentRequest const& request) const
    {
        return keys.wake_name("idem", request.name());
    }
    /// The retention in milliseconds, as scripts take it.
    std::int64_t kept() const { return detail::whole_milliseconds(retention).count(); }

    /// Calls a script that answers whether the record is the caller's.
    Outcome<void> call_as_owner(
        detail::Command const& command, detail::Script const& script, Access access, Deadline deadline) const
    {
        auto exchange = client->execute(command, &script, access, deadline);
        if (!exchange)
            return std::move(exchange).failure();
        return exchange->reply().integer() == 1 ? success() : Outcome<void>{Errc::fenced_out};
    }

    std::shared_ptr<detail::ClientState<Runtime>> client;
    detail::KeySpace keys;
    std::string place;
    std::chrono::nanoseconds retention;
    detail::Subscriber::Group group;
};

template <class Runtime>
BasicIdempotencyStore<Runtime>::BasicIdempotencyStore(
    BasicClient<Runtime> client, IdempotencyStoreOptions options)
{
    detail::check_placement(options, client.options());
    shared_ = std::make_shared<Shared>(client.state_, std::move(options));
}

template <class Runtime>
Outcome<Claim> BasicIdempotencyStore<Runtime>::carry_out(verb::Claim const& asked, Deadline deadline) const
{
    auto const& [request, owner, lease, after_lease, attempt] = asked;
    if (auto valid = request.validate(); !valid)
        return std::move(valid).failure();
    if (!lease.valid())
        return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
    if (auto fit = shared_->client->server_check(deadline); !fit)
        return std::move(fit).failure();
    auto const secret = owner.bytes();
    auto const print = request.fingerprint();
    auto const printed = print.version() == 0
                             ? std::string{}
                             : std::to_string(print.version()) + ":" + std::to_string(print.value());
    auto const& script = detail::claim_script();
    auto const command = detail::evaluate(
        script, 1, shared_->name(request), std::string_view{secret.data(), secret.size()}, printed,
        detail::whole_milliseconds(lease.value()).count(), shared_->kept(),
        after_lease == AfterLease::take_over ? 1 : 0,
        attempt.home != nullptr ? attempt.home->bytes() : std::string_view{},
        attempt.home != nullptr ? attempt.number : std::uint32_t{0}, attempt.replaces ? 1 : 0);
    auto exchange = shared_->client->execute(command, &script, Access::record, deadline);
    if (!exchange)
        return std::move(exchange).failure();
    auto const reply = exchange->reply();
    auto const what = reply[0].text();
    if (what == "claimed" || what == "taken_over") {
        Claim claim{
            what == "claimed" ? ClaimState::claimed : ClaimState::taken_over,
            {},
            false,
            {},
            std::string(reply[1].text()),
            0};
        auto const number = reply[2].text();
        std::from_chars(number.data(), number.data() + number.size(), claim.named_attempt);
        return claim;
    }
    if (what == "completed")
        return Claim{ClaimState::completed, std::string(reply[1].text()), reply[2].text() == "1"};
    if (what == "in_progress")
        return Claim{ClaimState::in_progress, {}, false, std::chrono::milliseconds{reply[1].integer()}};
    if (what == "mismatch")
        return Claim{ClaimState::mismatch};
    if (what == "abandoned")
        return Claim{ClaimState::abandoned};
    return Failure{Errc::corrupt_state, "redis: an idempotency record is damaged"};
}

template <class Runtime>
Outcome<void> BasicIdempotencyStore<Runtime>::carry_out(verb::Complete const& asked, Deadline deadline) const
{
    auto const& [request, owner, answer, rejected] = asked;
    auto const secret = owner.bytes();
    auto const& script = detail::complete_script();
    return shared_->call_as_owner(
        detail::evaluate(
            script, 1, shared_->name(request), std::string_view{secret.data(), secret.size()}, answer,
            rejected ? 1 : 0, shared_->kept(), shared_->keys.channel(shared_->wake_name(request).channel)),
        script, Access::record, deadline);
}

template <class Runtime>
Outcome<void> BasicIdempotencyStore<Runtime>::carry_out(verb::GiveBack const& asked, Deadline deadline) const
{
    auto const& [request, owner, settled] = asked;
    auto const secret = owner.bytes();
    auto const& script = detail::give_back_script();
    return shared_->call_as_owner(
        detail::evaluate(
            script, 1, shared_->name(request), std::string_view{secret.data(), secret.size()},
            shared_->keys.channel(shared_->wake_name(request).channel), settled ? 1 : 0),
        script, Access::write, deadline);
}

template <class Runtime>
std::chrono::nanoseconds BasicIdempotencyStore<Runtime>::retention() const noexcept
{
    return shared_->retention;
}

template <class Runtime>
std::string BasicIdempotencyStore<Runtime>::place() const
{
    return shared_->place;
}

template <class Runtime>
void BasicIdempotencyStore<Runtime>::subscribe(IdempotentRequest const& request, Waiter& waiter) const
{
    shared_->client->subscriber().subscribe(
        shared_->group, shared_->wake_name(request), OwnerToken{}, waiter);
}

template <class Runtime>
void BasicIdempotencyStore<Runtime>::unsubscribe(
    IdempotentRequest const& request, Waiter& waiter) const noexcept
{
    shared_->client->subscriber().unsubscribe(shared_->wake_name(request).hash, waiter);
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_IDEMPOTENCY_STORE_IPP
