// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in a Redis server. Every step is one Lua script.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/idempotent_request.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

/// How idempotency records are kept in a Redis server.
struct IdempotencyStoreOptions {
    /// Instead of the client's; empty: that one. Records and states have different names, so they may share
    /// one.
    std::string name_space{};
    /// Parts that records are spread over, as `RepositoryOptions::shards`.
    std::size_t shards{1};
    /// How long an answer is kept, by the server's clock. Longer than anybody retries. A claim without an
    /// answer is kept as long as well, counted from the claim.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// An `IdempotencyStore` in a Redis server.
///
/// **Guarantee.** One atomic arbitration per claim, by the server's clock. A call whose reply was lost may be
/// made again with the same owner: `claim` and `complete` recognise it. **Does not guarantee.** Anything
/// after the server lost its data: run it with `appendonly yes` where a repeated execution would hurt.
/// **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. Sent, but no reply:
/// `outcome_unknown`. A full server: `overloaded`. **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe. **Cost.** One round trip per member, and one `Client::server_check`
/// before the first claim. Waiters listen on the client's connection for wake-ups.
template <class Runtime>
class BasicIdempotencyStore : public IdempotencyMembers<BasicIdempotencyStore<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicIdempotencyStore(BasicClient<Runtime> client, IdempotencyStoreOptions options = {})
        : shared_(std::make_shared<Shared>(client.state_, check(std::move(options), client.options())))
    {}

    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline deadline) const
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
            script, 1, name(request), std::string_view{secret.data(), secret.size()}, printed,
            detail::whole_milliseconds(lease.value()).count(), kept(),
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

    Outcome<void> carry_out(verb::Complete const& asked, Deadline deadline) const
    {
        auto const& [request, owner, answer, rejected] = asked;
        auto const secret = owner.bytes();
        auto const& script = detail::complete_script();
        return owned(
            detail::evaluate(
                script, 1, name(request), std::string_view{secret.data(), secret.size()}, answer,
                rejected ? 1 : 0, kept(), shared_->keys.channel(wake_name(request).channel)),
            script, Access::record, deadline);
    }

    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline deadline) const
    {
        auto const& [request, owner, settled] = asked;
        auto const secret = owner.bytes();
        auto const& script = detail::give_back_script();
        return owned(
            detail::evaluate(
                script, 1, name(request), std::string_view{secret.data(), secret.size()},
                shared_->keys.channel(wake_name(request).channel), settled ? 1 : 0),
            script, Access::write, deadline);
    }

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept { return shared_->retention; }

    void subscribe(IdempotentRequest const& request, Waiter& waiter) const
    {
        shared_->client->subscriber().subscribe(shared_->group, wake_name(request), OwnerToken{}, waiter);
    }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        shared_->client->subscriber().unsubscribe(wake_name(request).hash, waiter);
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::ClientState<Runtime>> c, IdempotencyStoreOptions o)
            : client(std::move(c)), keys(std::move(o.name_space), o.shards), retention(o.retention),
              group(client->subscriber().group(keys))
        {}
        std::shared_ptr<detail::ClientState<Runtime>> client;
        detail::KeySpace keys;
        std::chrono::nanoseconds retention;
        detail::Subscriber::Group group;
    };

    static IdempotencyStoreOptions check(IdempotencyStoreOptions options, Options const& client)
    {
        detail::check_placement(options, client);
        return options;
    }

    std::string name(IdempotentRequest const& request) const
    {
        return shared_->keys.name("idem", request.name()).text();
    }
    detail::KeySpace::WakeName wake_name(IdempotentRequest const& request) const
    {
        return shared_->keys.wake_name("idem", request.name());
    }
    std::int64_t kept() const { return detail::whole_milliseconds(shared_->retention).count(); }

    Outcome<void> owned(
        detail::Command const& command, detail::Script const& script, Access access, Deadline deadline) const
    {
        auto exchange = shared_->client->execute(command, &script, access, deadline);
        if (!exchange)
            return std::move(exchange).failure();
        return exchange->reply().integer() == 1 ? success() : Outcome<void>{Errc::fenced_out};
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP
