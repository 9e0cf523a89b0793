// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_RENEWALS_IPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_RENEWALS_IPP

#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/renewals.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/kit/lock_call.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

template <class R>
void StateCore<R>::renew_some(std::span<Renewal* const> renewals, Ttl ttl, Deadline deadline) const
{
    auto const granted = whole_milliseconds(ttl.value());
    auto const& script = renew_script();
    auto command = evaluate(script, renewals.size());
    for (auto const* renewal : renewals)
        command.add(keys_.name("lock", renewal->key->bytes()));
    command.add(granted.count());
    for (auto const* renewal : renewals) {
        auto const secret = renewal->owner.bytes();
        command.add(std::string_view{secret.data(), secret.size()});
    }
    // Otherwise a promoted replica would end the lease as it was before.
    bool const replicated = options_.replicas != 0 && deadline.valid();
    auto const replicas = this->replicas();
    std::string both;
    if (auto const now = runtime().now(); replicated)
        both = replicas.together(command.bytes(), now, deadline.at(now));
    Reply waited;
    auto exchange = client_->execute(
        replicated ? std::string_view{both} : command.bytes(), &script, Access::write, deadline,
        replicated ? &waited : nullptr);
    // One key that the user may not touch refuses a command as a whole, and nothing of it was carried out.
    if (exchange.errc() == Errc::misconfigured && renewals.size() > 1) {
        for (auto* const& renewal : renewals)
            renew_some({&renewal, 1}, ttl, deadline);
        return;
    }
    for (std::size_t i = 0; i < renewals.size(); ++i) {
        auto& outcome = renewals[i]->granted;
        if (!exchange)
            outcome = exchange.failure();
        else if (auto const found = exchange->reply()[i]; found.is(ReplyType::error))
            outcome = map_error(found.text(), Access::write);
        else if (found.integer() == 1 && replicated && !replicas.enough(waited.root()))
            outcome =
                replicas.missing(waited.root(), "renewal; without them the lease ends as before").in_doubt();
        else if (found.integer() == 1)
            outcome = std::chrono::nanoseconds{granted};
        else
            outcome =
                Failure::because(Errc::lock_lost, found.integer() == 0 ? Errc::not_found : Errc::lock_busy);
    }
}

template <class R>
Outcome<std::chrono::nanoseconds> StateCore<R>::carry_out(verb::Renew const& renew, Deadline deadline) const
{
    if (auto valid = validate_lock_call(renew.key, renew.ttl); !valid)
        return std::move(valid).failure();
    Renewal renewal{&renew.key, renew.owner};
    auto* const one = &renewal;
    renew_some({&one, 1}, renew.ttl, deadline);
    return std::move(renewal.granted);
}

template <class R>
Outcome<void> StateCore<R>::carry_out(verb::RenewAll const& all, Deadline deadline) const
{
    constexpr std::size_t most = 256;
    auto const shard = [this](Renewal const* renewal) { return keys_.shard_of(renewal->key->bytes()); };
    std::vector<Renewal*> sorted;
    for (auto& renewal : all.renewals)
        if (auto valid = validate_lock_call(*renewal.key, all.ttl); !valid)
            renewal.granted = std::move(valid).failure();
        else
            sorted.push_back(&renewal);
    if (keys_.shards() > 1)
        std::sort(sorted.begin(), sorted.end(), [&](auto* a, auto* b) { return shard(a) < shard(b); });
    for (std::span<Renewal*> rest{sorted}; !rest.empty();) {
        std::size_t count = 1;
        while (count < std::min(most, rest.size()) && shard(rest[count]) == shard(rest[0]))
            ++count;
        renew_some(rest.first(count), all.ttl, deadline);
        rest = rest.subspan(count);
    }
    return success();
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_RENEWALS_IPP
