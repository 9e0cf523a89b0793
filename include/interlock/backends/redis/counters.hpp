// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP
#define INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP

/// @file
/// Counters in a Redis server: one round trip to change one, at most once per operation id.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/counter_call.hpp>
#include <interlock/core/kit/counter_members.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

/// How counters are kept in a Redis server.
struct CountersOptions {
    /// Instead of the client's; empty: that one. Counters and states have different names, so they may share
    /// one.
    std::string name_space{};
    /// Parts that counters are spread over, as `RepositoryOptions::shards`.
    std::size_t shards{1};
    /// How long an answer is kept, by the server's clock. Longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// Whole numbers that the server adds to, where load, change and compare-and-set would cost more.
///
/// **Guarantee.** A change is applied at most once per (name space, counter, operation id) while the answer
/// is kept, and never beyond its bounds, decided in one script. Whoever comes with the same id gets the first
/// answer; with another change under the same id `idempotency_mismatch`. **Does not guarantee.** Anything
/// after the server lost its data: run it with `appendonly yes`. **Outcomes.** As `StateRepository`, but a
/// lost reply is asked for again until the deadline, since the id makes that safe; `outcome_unknown` only
/// when it comes first. Before the first change the server is checked as for locks. **Lifetimes.** A shared
/// handle; it keeps its client alive. **Thread safety.** Everything: safe. **Cost.** One round trip per call.
template <class Runtime>
class BasicCounters : public CounterMembers<BasicCounters<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicCounters(BasicClient<Runtime> client, CountersOptions options = {})
        : shared_(std::make_shared<Shared>(client.state_, check(std::move(options), client.options())))
    {}

    Runtime const& runtime() const noexcept { return shared_->client->runtime(); }
    /// Equal for all counters of one client.
    void const* identity() const noexcept { return shared_->client.get(); }
    Capabilities capabilities() const noexcept { return {}; }

    Outcome<CounterAnswer> carry_out(verb::ChangeCounter const& asked, Deadline deadline) const
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
                return answer(exchange->reply());
            },
            shared_->client->runtime());
    }

    Outcome<std::int64_t> carry_out(verb::LoadCounter const& asked, Deadline deadline) const
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
            return not_a_counter();
        return value;
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::ClientState<Runtime>> c, CountersOptions o)
            : client(std::move(c)), options(std::move(o)), keys(options.name_space, options.shards)
        {}
        std::shared_ptr<detail::ClientState<Runtime>> client;
        CountersOptions options;
        detail::KeySpace keys;
    };

    static CountersOptions check(CountersOptions options, Options const& client)
    {
        detail::check_placement(options, client);
        return options;
    }

    static Failure not_a_counter()
    {
        return Failure{Errc::corrupt_state, "redis: what is stored is not a counter"};
    }

    static Outcome<CounterAnswer> answer(ReplyView reply)
    {
        auto const what = reply[0].text();
        CounterAnswer answer;
        if (what == "mismatch")
            return Failure{Errc::idempotency_mismatch, "the operation id was used for a different change"};
        if (what == "range")
            return Failure{Errc::invalid_argument, "the counter would pass 2^53"};
        if (what != "changed" && what != "kept")
            return not_a_counter();
        if (!detail::parse_number(reply[1].text(), -CounterChange::limit, CounterChange::limit, answer.value))
            return not_a_counter();
        answer.changed = what == "changed";
        answer.replayed = reply[2].integer() == 1;
        return answer;
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP
