// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in a Redis server. Every atomic step is one Lua script.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/operation_scan.hpp>
#include <interlock/backends/redis/detail/state_calls.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/repository_options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

/// States, locks and operation records in a Redis server.
///
/// **Guarantee.** Models `VersionedRepository`, `AtomicRepository`, `OperationRepository`, `LeaseRepository`,
/// `FencedRepository` and `FusedRepository`; not `RowLockingRepository`, since Redis has no row locks. A
/// guarded write is applied only while the lock record names its acquisition (law P1), decided in one script
/// with the write; a record that expired refuses it. Versions are below 2^53 and never reused while the
/// server keeps its data: erasing raises the floor above which keys of that shard begin. The tokens of a
/// grant are above all earlier ones and not below the server's clock, so that a failover that has lost the
/// last grants does not repeat their tokens, unless the promoted server's clock is behind by more than the
/// failover took or more than 4,096 grants a second had been made. A script needs all its rights before its
/// first write: without one of them a call is `misconfigured` and nothing was written. **Does not
/// guarantee.** That at most one holder believes in its lease (P2) when the server's wall clock jumps, when a
/// replica without the latest writes is promoted (see `RepositoryOptions::replicas`), or when a server
/// restarts without its data; the fence refuses writes of the former holder in each of these. What a failover
/// or a crash without `appendfsync always` forgets is forgotten as a whole prefix: values, locks, records and
/// counters together. So the versions of values that were forgotten are given again, and across such a
/// failover updates may be lost (P3): a commit whose connection leads to another server than its versions
/// were read from is a `version_conflict`, and what `OptimisticVersioning::remember` keeps is forgotten (see
/// `life`), but who has read before, and commits after others have met the new server, is not told. The right
/// to `INFO` is needed for both. **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or
/// `overloaded`. Sent, but no reply: `outcome_unknown` for what writes. Ask again with the same owner token
/// (`create`, `renew`, `remove`) or operation id (`commit`). A full server: `overloaded` with an operation
/// id, else `unavailable`; removing a lock still works. A key of another type, or bytes that are none of
/// ours: `corrupt_state`. **Lifetimes.** A shared handle; it keeps its client alive. **Thread safety.**
/// Everything: safe. **Cost.** One round trip per member; `for_each_operation` scans the whole database.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`).
template <class T, class K, class Runtime>
class StateRepository
    : public CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>> {
    using Members =
        CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>>;
    static_assert(StorableState<T>, "a state in Redis needs StateTraits<T>::encode and decode");

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = Runtime;
    static constexpr std::string_view name = "redis";

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit StateRepository(BasicClient<Runtime> client, RepositoryOptions options = {})
        : calls_(std::make_shared<Calls>(client.state_, check(std::move(options), client.options())))
    {}

    Runtime const& runtime() const noexcept { return calls_->client->runtime(); }
    /// Equal for all repositories of this process with the same server address, database and name space. One
    /// server reached by two addresses is two stores here.
    void const* identity() const noexcept { return calls_->identity.get(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return "redis name space \"" + calls_->options.name_space + "\""; }

    /// Another number once another server, or history of its data, was found behind the address, as after a
    /// failover: versions that were read before it may be those of other values now. A commit that finds out
    /// so is a `version_conflict`.
    std::uint64_t life() const noexcept { return calls_->client->life(); }

    /// Asynchronous calls are started, and end without anybody running an executor where the client has its
    /// own threads.
    Capabilities capabilities() const noexcept { return {.owns_threads = calls_->client->own_threads()}; }

    // ---- values: VersionedRepository, AtomicRepository ------------------------------------------
    using Members::carry_out;

    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const
    {
        return calls_->load_by(calls_->blocking(), load.key, deadline);
    }
    StartedCall<Versioned<T>> start(verb::Load<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        return calls_->load_by(calls_->starting(waiter), load.key, deadline);
    }
    /// One `MGET`: the values are of one moment.
    Outcome<std::vector<std::optional<Versioned<T>>>> carry_out(
        verb::LoadAll<T> const& load, Deadline deadline) const
    {
        return calls_->load_all_by(calls_->blocking(), load.keys, deadline);
    }
    StartedCall<std::vector<std::optional<Versioned<T>>>> start(
        verb::LoadAll<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        return calls_->load_all_by(calls_->starting(waiter), load.keys, deadline);
    }

    /// All of the changes in one script. Keys of several shards are `invalid_argument`.
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const
    {
        auto const changes = commit.changes;
        return calls_->commit_by(
            calls_->blocking(), changes, commit.operation, deadline, [changes](ReplyView reply) {
                auto done = detail::committed(
                    reply, changes.size(), [&](std::size_t i) { return changes[i].key->bytes(); });
                if (done && !done->duplicate)
                    for (std::size_t i = 0; i < changes.size(); ++i)
                        if (changes[i].kind == ChangeKind::write)
                            changes[i].version = detail::version_of(reply, i);
                return done;
            });
    }
    StartedCall<CommitResult> start(verb::Commit<T> const& commit, Deadline deadline, Waiter& waiter) const
    {
        auto const changes = commit.changes;
        std::vector<std::string> names;
        if (changes.size() > 1)
            for (auto const& change : changes)
                names.push_back(printable_key(change.key->bytes()));
        bool const writes = !changes.empty() && changes[0].kind == ChangeKind::write;
        return calls_->commit_by(
            calls_->starting(waiter), changes, commit.operation, deadline,
            [size = changes.size(), names = std::move(names), writes](ReplyView reply) {
                auto done = detail::committed(reply, size, [&](std::size_t i) -> std::string_view {
                    return names.empty() ? std::string_view{} : names[i];
                });
                if (done && !done->duplicate && writes)
                    done->version = detail::version_of(reply, 0);
                return done;
            });
    }
    StartedCall<Version> start(verb::Insert<T> const& insert, Deadline deadline, Waiter& waiter) const
    {
        return calls_->start_change(
            {.key = &insert.key, .kind = ChangeKind::write, .version = no_version, .value = &insert.value},
            deadline, waiter);
    }
    StartedCall<Version> start(verb::CompareAndSet<T> const& write, Deadline deadline, Waiter& waiter) const
    {
        return calls_->start_change(
            {.key = &write.key, .kind = ChangeKind::write, .version = write.version, .value = &write.value},
            deadline, waiter, write.version > no_version);
    }
    StartedCall<Version> start(verb::Erase const& erase, Deadline deadline, Waiter& waiter) const
    {
        return calls_->start_change(
            {.key = &erase.key, .kind = ChangeKind::erase, .version = erase.version}, deadline, waiter,
            erase.version > no_version);
    }

    // ---- operation records: OperationRepository -------------------------------------------------
    Outcome<std::optional<OperationRecord>> carry_out(
        verb::FindOperation const& find, Deadline deadline) const
    {
        return calls_->find_by(calls_->blocking(), find.key, find.id, deadline);
    }
    StartedCall<std::optional<OperationRecord>> start(
        verb::FindOperation const& find, Deadline deadline, Waiter& waiter) const
    {
        return calls_->find_by(calls_->starting(waiter), find.key, find.id, deadline);
    }
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
    {
        return calls_->forbid_by(calls_->blocking(), forbid.key, forbid.id, forbid.attempt, deadline);
    }
    StartedCall<OperationRecord> start(
        verb::ForbidOperation const& forbid, Deadline deadline, Waiter& waiter) const
    {
        return calls_->forbid_by(calls_->starting(waiter), forbid.key, forbid.id, forbid.attempt, deadline);
    }

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed
    /// before the call, in no particular order; sort by `sequence` for the order of the commits of one shard.
    /// Scans the database: for reports and audits.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        return detail::OperationScan<Runtime>{*calls_->client, calls_->keys}.show_all(visit, deadline);
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -----------------------
    /// Busy: the holder's remaining lease as `retry_after`. A record that somebody put there by hand counts
    /// as one, too; the detail says so.
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        return calls_->template create_by<Grant>(calls_->blocking(), create, deadline);
    }
    StartedCall<Grant> start(verb::Create const& create, Deadline deadline, Waiter& waiter) const
    {
        return calls_->template create_by<Grant>(calls_->starting(waiter), create, deadline);
    }
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline deadline) const
    {
        auto both = calls_->template create_by<GrantAndState<T>>(calls_->blocking(), create, deadline);
        if (!both && both.errc() == Errc::corrupt_state)
            // Ours, perhaps, and of no use.
            static_cast<void>(carry_out(verb::Remove{create.key, create.owner}, deadline));
        return both;
    }
    StartedCall<GrantAndState<T>> start(
        verb::CreateAndLoad<T> const& create, Deadline deadline, Waiter& waiter) const
    {
        return calls_->template create_by<GrantAndState<T>>(calls_->starting(waiter), create, deadline);
    }
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline deadline) const
    {
        if (auto valid = Calls::check(renew.key, renew.ttl); !valid)
            return std::move(valid).failure();
        Renewal renewal{&renew.key, renew.owner};
        auto* const one = &renewal;
        calls_->renew_some({&one, 1}, renew.ttl, deadline);
        return std::move(renewal.granted);
    }
    /// One trip for each 256 of them, and at least one for each shard.
    Outcome<void> carry_out(verb::RenewAll const& all, Deadline deadline) const
    {
        constexpr std::size_t most = 256;
        auto const& keys = calls_->keys;
        auto const shard = [&](Renewal const* renewal) { return keys.shard_of(renewal->key->bytes()); };
        std::vector<Renewal*> sorted;
        for (auto& renewal : all.renewals)
            sorted.push_back(&renewal);
        if (keys.shards() > 1)
            std::sort(sorted.begin(), sorted.end(), [&](auto* a, auto* b) { return shard(a) < shard(b); });
        for (std::span<Renewal*> rest{sorted}; !rest.empty();) {
            std::size_t count = 1;
            while (count < std::min(most, rest.size()) && shard(rest[count]) == shard(rest[0]))
                ++count;
            calls_->renew_some(rest.first(count), all.ttl, deadline);
            rest = rest.subspan(count);
        }
        return success();
    }
    /// Where the caller knows the first token of the grant, the server can compare and delete by itself, and
    /// nobody is known to wait, the server is asked to delete exactly the record that was granted, which
    /// takes no script; what else became of that takes a second trip. The first such release of a client that
    /// has not called `server_check` does so.
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline deadline) const
    {
        if (remove.granted && remove.key.valid() && deadline.valid()) {
            auto const at = deadline.at(runtime().now());
            if (calls_->client->compares_and_deletes(at) &&
                !calls_->client->subscriber().is_wanted(calls_->wake_name(remove.key), remove.owner))
                return calls_->remove_granted(remove, Deadline{at});
            deadline = Deadline{at};
        }
        return calls_->take_away_by(calls_->blocking(), remove.key, remove.owner.bytes(), deadline);
    }
    StartedCall<Removal> start(verb::Remove const& remove, Deadline deadline, Waiter& waiter) const
    {
        return calls_->take_away_by(calls_->starting(waiter), remove.key, remove.owner.bytes(), deadline);
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and
    /// its next renewal finds the lock lost. The lock is then the first one's in line, if there is one. For
    /// operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return calls_->take_away_by(
            calls_->blocking(), make_key<T, key_type>(key), std::string_view{}, deadline);
    }

    /// See `Client::server_check`. The fence counter is as durable as the data it guards: both are in one
    /// store and are written by the same scripts.
    Outcome<void> carry_out(verb::VerifyFencing const&, Deadline deadline) const
    {
        auto checked = calls_->client->server_check(deadline);
        if (!checked)
            return std::move(checked).failure();
        return success();
    }

    /// From now on a `create` by `owner` in vain takes a place in the line for the lock of `key`, which all
    /// clients share. Whoever removes the lock makes it the first one's, whose `waiter` is woken and who has
    /// half a second to `create` it; else the lock is free, and the line is gone. So: subscribe, ask, wait,
    /// ask again; and `remove` to leave the line. Nobody is woken when a lock expires, and a line has 128
    /// places: whoever waits must also look now and then.
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
    {
        calls_->client->subscriber().subscribe(calls_->group, calls_->wake_name(key), owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
    {
        calls_->client->subscriber().unsubscribe(calls_->wake_name(key).hash, waiter);
    }
    /// Whether somebody waited in line for the lock of `owner` within the last second. Costs no trip: it is
    /// heard by the connection for wake-ups, from the first question on, and comes with a grant.
    bool wanted(Key const& key, OwnerToken owner) const
    {
        return calls_->client->subscriber().wanted(calls_->group, calls_->wake_name(key), owner);
    }

private:
    using Calls = detail::StateCalls<T, Runtime>;

    static RepositoryOptions check(RepositoryOptions options, Options const& client)
    {
        detail::check_placement(options, client);
        if (options.max_value_bytes + (std::size_t{1} << 10) > client.max_reply_bytes)
            throw Error(
                Errc::invalid_argument, "redis: max_value_bytes must be below the client's max_reply_bytes");
        if (options.replicas > 1000)
            throw Error(Errc::invalid_argument, "redis: replicas must be from 0 to 1000");
        if (options.replica_timeout < std::chrono::milliseconds{1} ||
            options.replica_timeout > std::chrono::hours{1})
            throw Error(
                Errc::invalid_argument, "redis: replica_timeout must be from 1 millisecond to 1 hour");
        return options;
    }

    std::shared_ptr<Calls const> calls_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
