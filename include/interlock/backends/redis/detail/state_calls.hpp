// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CALLS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CALLS_HPP

/// @file
/// The calls of a `redis::StateRepository`: each verb once, for both ways of carrying it out.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/backends/redis/repository_options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/lock_call.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What all handles of one repository share, and its calls. `Way`: `Blocking` or `Starting`.
template <class T, class Runtime>
class StateCalls {
public:
    StateCalls(std::shared_ptr<ClientState<Runtime>> c, RepositoryOptions o)
        : client(std::move(c)), options(std::move(o)), keys(options.name_space, options.shards),
          retention(whole_milliseconds(options.retention)),
          identity(intern_store(
              client->options().endpoint() + "/" + std::to_string(client->options().database) + "/" +
              options.name_space)),
          group(client->subscriber().group(keys))
    {}

    static Outcome<void> check(Key const& key, Ttl ttl) { return validate_lock_call(key, ttl); }

    Blocking<Runtime> blocking() const noexcept { return Blocking<Runtime>{*client}; }
    Starting<Runtime> starting(Waiter& waiter) const noexcept { return {*client, waiter}; }

    /// The record that was granted, deleted by one command of the server's own, or removed by the script.
    Outcome<Removal> remove_granted(verb::Remove const& remove, Deadline until) const
    {
        auto const secret = remove.owner.bytes();
        PaddedNumber<16> const token{remove.granted.value()};
        std::string const record = std::string(secret.data(), secret.size()).append(token).append(token);
        auto const deleted = client->delete_if_equal(keys.name("lock", remove.key.bytes()), record, until);
        if (deleted && *deleted)
            return Removal::removed;
        auto removed = take_away_by(blocking(), remove.key, secret, until);
        if (!removed && deleted.errc() == Errc::outcome_unknown)
            return Failure::unknown(deleted.cause(), removed.detail());
        return removed;
    }

    /// The change of one key; its new version, or the erased one.
    StartedCall<Version> start_change(
        Change<T> change, Deadline deadline, Waiter& waiter, bool valid = true) const
    {
        Starting<Runtime> const way = starting(waiter);
        if (!valid)
            return way.template refuse<Version>(Failure{Errc::invalid_argument, "versions start at 1"});
        bool const writes = change.kind == ChangeKind::write;
        return commit_by<Version>(
            way, std::span<Change<T>>{&change, 1}, nullptr, deadline,
            [writes, version = change.version](ReplyView reply) -> Outcome<Version> {
                auto done = committed(reply, 1, [](std::size_t) { return std::string_view{}; });
                if (!done)
                    return std::move(done).failure();
                return writes ? version_of(reply, 0) : version;
            });
    }

    // Each verb once, for both ways of carrying it out.

    template <class Way>
    auto load_all_by(Way way, std::span<Key const> wanted, Deadline deadline) const
    {
        using X = std::vector<std::optional<Versioned<T>>>;
        using Result = typename Way::template result<X>;
        if (wanted.empty())
            return Result{way.template nothing<X>()};
        Command command{"MGET"};
        for (auto const& key : wanted) {
            if (!key.valid())
                return Result{way.template refuse<X>(key.validate().failure())};
            command.add(keys.name("value", key.bytes()));
        }
        return Result{way.template send<X>(
            std::move(command), nullptr, Access::read, deadline,
            [count = wanted.size()](ReplyView reply) -> Outcome<X> {
                X all;
                all.reserve(count);
                for (std::size_t i = 0; i < count; ++i) {
                    all.emplace_back();
                    if (reply[i].is(ReplyType::nil))
                        continue;
                    auto loaded = decode_value<T>(reply[i].text());
                    if (!loaded)
                        return std::move(loaded).failure();
                    all.back().emplace(*std::move(loaded));
                }
                return all;
            })};
    }

    template <class Way>
    typename Way::template result<Versioned<T>> load_by(Way way, Key const& key, Deadline deadline) const
    {
        using X = Versioned<T>;
        if (!key.valid())
            return way.template refuse<X>(key.validate().failure());
        return way.template send<X>(
            Command("GET", keys.name("value", key.bytes())), nullptr, Access::read, deadline,
            [](ReplyView reply) -> Outcome<X> {
                if (reply.is(ReplyType::nil))
                    return Errc::not_found;
                return decode_value<T>(reply.text());
            });
    }

    template <class Way>
    typename Way::template result<std::optional<OperationRecord>> find_by(
        Way way, Key const& key, OperationId const& id, Deadline deadline) const
    {
        using X = std::optional<OperationRecord>;
        return way.template send<X>(
            Command("GET", keys.operation(key.bytes(), id.value())), nullptr, Access::read, deadline,
            [](ReplyView reply) -> Outcome<X> {
                if (reply.is(ReplyType::nil))
                    return X{};
                auto record = operation_record(reply.text());
                if (!record)
                    return damaged("an operation record is damaged");
                return record;
            });
    }

    template <class Way>
    typename Way::template result<OperationRecord> forbid_by(
        Way way, Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline) const
    {
        using X = OperationRecord;
        auto const& script = forbid_script();
        auto command = evaluate(
            script, 1, keys.operation(key.bytes(), id.value()), PaddedNumber<10>{attempt},
            whole_milliseconds(id.kept_for(retention)).count());
        return way.template send<X>(
            std::move(command), &script, Access::record, deadline, [](ReplyView reply) -> Outcome<X> {
                auto record = operation_record(reply.text());
                if (!record)
                    return damaged("an operation record is damaged");
                return *std::move(record);
            });
    }

    template <class X = CommitResult, class Way, class Read>
    typename Way::template result<X> commit_by(
        Way way, std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline,
        Read read) const
    {
        if (changes.empty() && operation == nullptr)
            return way.template nothing<X>();
        auto const life = client->life();
        auto const shard =
            keys.shard_of(operation != nullptr ? operation->home->bytes() : changes[0].key->bytes());
        auto const& script = commit_script();
        auto command =
            evaluate(script, 1 + 2 * changes.size() + (operation != nullptr ? 1 : 0), keys.counter(shard));
        for (auto const& change : changes) {
            if (!change.key->valid())
                return way.template refuse<X>(change.key->validate().failure());
            if (keys.shard_of(change.key->bytes()) != shard)
                return way.template refuse<X>(Failure{
                    Errc::invalid_argument,
                    "the keys of one transaction are in several shards of this repository; see "
                    "RepositoryOptions::shards"});
            if (change.version < no_version)
                return way.template refuse<X>(Failure{Errc::corrupt_state, "a version is negative"});
            command.add(keys.name("value", change.key->bytes()));
            command.add(keys.name("lock", change.key->bytes()));
        }
        if (operation != nullptr) {
            if (!operation->home->valid())
                return way.template refuse<X>(operation->home->validate().failure());
            command.add(keys.operation(operation->home->bytes(), operation->id->value()));
        }
        bool by_version = false;  // and by no lock record
        std::string encoded;
        for (auto const& change : changes) {
            by_version = by_version || (change.fence == nullptr && change.version != no_version);
            encoded.clear();
            if (change.kind == ChangeKind::write) {
                if (auto failure = interlock::detail::encode_state(*change.value, encoded))
                    return way.template refuse<X>(*std::move(failure));
                if (encoded.size() > options.max_value_bytes)
                    return way.template refuse<X>(Failure{
                        Errc::invalid_argument, "value has " + std::to_string(encoded.size()) +
                                                    " bytes, the limit is " +
                                                    std::to_string(options.max_value_bytes)});
            }
            add_change(command, change);
            command.add(encoded);
        }
        if (operation != nullptr) {
            command.add(PaddedNumber<10>{operation->attempt});
            command.add(operation->answer);
            command.add(whole_milliseconds(operation->id->kept_for(retention)).count());
        }

        return way.template send<X>(
            std::move(command), &script, operation != nullptr ? Access::record : Access::write, deadline,
            std::move(read), by_version ? life : 0);
    }

    KeySpace::WakeName wake_name(Key const& key) const { return keys.wake_name("lock", key.bytes()); }

    /// X: `Grant`, or `GrantAndState<T>`; `Verb`: `Create`, or `CreateAndLoad<T>`.
    template <class X, class Way, class Verb>
    typename Way::template result<X> create_by(Way way, Verb const& create, Deadline deadline) const
    {
        constexpr bool loads = std::is_same_v<X, GrantAndState<T>>;
        auto const& key = create.key;
        auto const owner = create.owner;
        auto const ttl = create.ttl;
        if (auto valid = check(key, ttl); !valid)
            return way.template refuse<X>(std::move(valid).failure());
        auto const called = wake_name(key);
        auto const secret = owner.bytes();
        auto const granted = whole_milliseconds(ttl.value());
        bool const in_line = client->subscriber().is_subscribed(called, owner);
        PaddedNumber<16> const channel{keys.within_shard(called.channel)};
        ScriptCall call{
            create_script(),
            {.shared_keys = 1, .own_keys = loads ? 2 : 1, .shared_arguments = 2, .own_arguments = 1}};
        call.add(keys.counter(keys.shard_of(key.bytes())));
        call.add(keys.name("lock", key.bytes()));
        if constexpr (loads)
            call.add(keys.name("value", key.bytes()));
        call.add(granted.count());
        // Without what stands around it.
        call.add(loads ? client->options().max_reply_bytes - 512 : 0);
        call.add_parts(std::array<std::string_view, 2>{
            std::string_view{secret.data(), secret.size()},
            in_line ? std::string_view{channel} : std::string_view{}});
        auto read = [granted, called, owner, client = client](ReplyView reply) -> Outcome<X> {
            if (!reply.is(ReplyType::string)) {
                switch (reply[0].integer()) {
                case 0: {
                    auto const left =
                        std::chrono::milliseconds{std::max<std::int64_t>(reply[1].integer(), 0)};
                    return Failure::busy(Errc::lock_busy, left);
                }
                case -1:
                    return Failure{
                        Errc::version_exhausted, "redis: the fencing tokens of this shard are used up"};
                default:
                    return Failure{
                        Errc::lock_busy, "redis: the lock record is not one of ours; see force_release"};
                }
            }
            auto const first = number_of(reply.text().substr(0, 16));
            if (!first)
                return Failure::unknown(Errc::corrupt_state, "redis: the lock record is damaged");
            auto rest = reply.text().substr(16);
            if (rest.starts_with('w')) {
                client->subscriber().note_wanted(called, owner);
                rest.remove_prefix(1);
            }
            Grant const grant{FencingToken{static_cast<std::uint64_t>(*first)}, token_block, granted};
            if constexpr (loads) {
                X both{grant, std::nullopt};
                if (!rest.empty()) {
                    auto decoded = decode_value<T>(rest.substr(1));
                    if (!decoded)
                        return std::move(decoded).failure();
                    both.state.emplace(*std::move(decoded));
                }
                return both;
            } else {
                return grant;
            }
        };
        if (options.replicas != 0)
            return way.template send_replicated<X>(
                std::move(call), deadline, std::move(read),
                {options.replicas, whole_milliseconds(options.replica_timeout), removal(key, secret)});
        return way.template send<X>(std::move(call), Access::write, deadline, std::move(read));
    }

    template <class Owner>
    ScriptCall removal(Key const& key, Owner const& owner) const
    {
        ScriptCall call{remove_script(), {.shared_keys = 1, .own_keys = 1, .own_arguments = 1}};
        call.add(keys.counter(keys.shard_of(key.bytes())));
        call.add(keys.name("lock", key.bytes()));
        call.add(std::string_view{owner.data(), owner.size()});
        return call;
    }

    /// `owner`: its bytes, or nothing: whoever it is.
    template <class Way, class Owner>
    typename Way::template result<Removal> take_away_by(
        Way way, Key const& key, Owner const& owner, Deadline deadline) const
    {
        if (!key.valid())
            return way.template refuse<Removal>(key.validate().failure());
        return way.template send<Removal>(
            removal(key, owner), Access::write, deadline, [](ReplyView reply) -> Outcome<Removal> {
                switch (reply.integer()) {
                case 1: return Removal::removed;
                case 0: return Removal::gone;
                default: return Removal::taken;
                }
            });
    }

    /// All in one shard.
    void renew_some(std::span<Renewal* const> renewals, Ttl ttl, Deadline deadline) const
    {
        auto const granted = whole_milliseconds(ttl.value());
        auto const& script = renew_script();
        auto command = evaluate(script, renewals.size());
        for (auto const* renewal : renewals)
            command.add(keys.name("lock", renewal->key->bytes()));
        command.add(granted.count());
        for (auto const* renewal : renewals) {
            auto const secret = renewal->owner.bytes();
            command.add(std::string_view{secret.data(), secret.size()});
        }
        auto exchange = client->execute(command, &script, Access::write, deadline);
        for (std::size_t i = 0; i < renewals.size(); ++i) {
            auto& outcome = renewals[i]->granted;
            if (!exchange)
                outcome = exchange.failure();
            else if (auto const found = exchange->reply()[i]; found.is(ReplyType::error))
                outcome = map_error(found.text(), Access::write);
            else if (found.integer() == 1)
                outcome = std::chrono::nanoseconds{granted};
            else
                outcome = Failure::because(
                    Errc::lock_lost, found.integer() == 0 ? Errc::not_found : Errc::lock_busy);
        }
    }

    std::shared_ptr<ClientState<Runtime>> client;
    RepositoryOptions options;
    KeySpace keys;
    std::chrono::milliseconds retention;
    std::shared_ptr<std::string const> identity;
    Subscriber::Group group;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CALLS_HPP
