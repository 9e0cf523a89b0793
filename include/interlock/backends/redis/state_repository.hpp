// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in a Redis server. Every atomic step is one Lua script.
///
///     interlock::redis::Client const client{"redis://localhost"};
///     interlock::redis::StateRepository<Stock> const stock{client, {.name_space = "shop"}};
///     stock.insert(Stock{.sku = "sku-1", .quantity = 3}).value();
///     interlock::TransactionService service{interlock::SetNxLock{}, stock};
///     service.do_in_transaction("sku-1", [](Stock& s) { return --s.quantity; });

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/joint_store.hpp>
#include <interlock/backends/redis/detail/lock_reports.hpp>
#include <interlock/backends/redis/detail/renewals.hpp>
#include <interlock/backends/redis/detail/state_core.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/backends/redis/repository_options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>

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
/// `FencedRepository`, `FusedRepository` and `RecordingRepository`; not `RowLockingRepository`, since Redis
/// has no row locks. A guarded write is applied only while the lock record names its acquisition (law P1),
/// decided in one script with the write; a record that expired refuses it. Events go to the log that the
/// options name, in that same script. Versions are below 2^53 and never reused while the
/// server keeps its data: erasing raises the floor above which keys of that shard begin. The tokens of a
/// grant are above all earlier ones and not below the server's clock, so that a failover that has lost the
/// last grants does not repeat their tokens, unless the promoted server's clock is behind by more than the
/// failover took or more than 4,096 grants a second had been made. A script needs all its rights before its
/// first write: without one of them a call is `misconfigured` and nothing was written.
/// **Does not guarantee.** That at most one holder believes in its lease (P2) when the server's wall clock
/// jumps, when a replica without the latest writes is promoted (see `RepositoryOptions::replicas`), or when a
/// server restarts without its data; the fence refuses writes of the former holder in each of these. What a
/// failover or a crash without `appendfsync always` forgets is forgotten as a whole prefix: values, locks,
/// records and counters together. So the versions of values that were forgotten are given again, and across
/// such a failover updates may be lost (P3): a commit whose connection leads to another server than its
/// versions were read from is a `version_conflict`, and what `OptimisticVersioning::remember` keeps is
/// forgotten (see `life`), but who has read before, and commits after others have met the new server, is not
/// told. The right to `INFO` is needed for both.
/// **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. Sent, but no reply:
/// `outcome_unknown` for what writes. Ask again with the same owner token (`create`, `renew`, `remove`) or
/// operation id (`commit`). A full server: `overloaded` with an operation id, else `unavailable`; removing a
/// lock still works. A key of another type, or bytes that are none of ours: `corrupt_state`.
/// **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe.
/// **Cost.** One round trip per member, unless a verb below says otherwise; `for_each_operation` scans the
/// whole database.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`).
template <class T, class K, class Runtime>
class StateRepository
    : public CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>> {
    using Members =
        CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>>;
    using Core = detail::StateCore<Runtime>;
    static_assert(
        StorableState<T>,
        "a state in Redis needs StateTraits<T>::encode and decode, unless all its members are numbers, "
        "std::string, enumerations, described structs, or std::optional, std::vector, std::pair, std::tuple "
        "of these, all are described as public, and none hides one of a base");

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = Runtime;
    /// What `RepositoryOptions::events` may name; `event_repository.hpp` defines it.
    using events_type = BasicEventRepository<Runtime>;
    using joint_store = detail::JointStore<Runtime>;
    static constexpr std::string_view name = "redis";

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit StateRepository(BasicClient<Runtime> client, RepositoryOptions options = {})
        : core_(std::make_shared<Core>(client.state_, std::move(options)))
    {}

    Runtime const& runtime() const noexcept { return core_->runtime(); }
    /// Equal for all repositories of this process with the same server address, database and name space. One
    /// server reached by two addresses is two stores here.
    void const* identity() const noexcept { return core_->identity(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return core_->place(); }

    /// Another number once another server, or history of its data, was found behind the address, as after a
    /// failover: versions that were read before it may be those of other values now. A commit that finds out
    /// so is a `version_conflict`.
    std::uint64_t life() const noexcept { return core_->life(); }

    /// Asynchronous calls are started, and end without anybody running an executor where the client has its
    /// own threads.
    Capabilities capabilities() const noexcept { return {.owns_threads = core_->owns_threads()}; }

    // ---- Verbs that know nothing of T
    using Members::carry_out;

    /// The verbs of operation records (`FindOperation`, `ForbidOperation`) and of lock records. What sets
    /// them apart here:
    ///
    /// - `Create`: busy says the holder's remaining lease as `retry_after`. A record that somebody put there
    ///   by hand counts as a holder, too; the detail says so.
    /// - `RenewAll` takes one trip for each 256 leases, and at least one for each shard.
    /// - `Remove`: where the caller knows the first token of the grant, the server can compare and delete by
    ///   itself, and nobody is known to wait, the server is asked to delete exactly the record that was
    ///   granted, which takes no script; what else became of that takes a second trip. The first such release
    ///   of a client that has not called `server_check` does so.
    /// - `VerifyFencing` is `Client::server_check`. The fence counter is as durable as the data it guards:
    ///   both are in one store and are written by the same scripts.
    template <class Verb>
        requires CarriesOut<Core, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return core_->carry_out(verb, deadline);
    }
    /// The same verbs, but for `Renew`, `RenewAll` and `VerifyFencing`, over the client's one connection for
    /// asynchronous calls: nobody is blocked. `Remove` is always a script.
    template <class Verb>
        requires Starts<Core, Verb>
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        return core_->start(verb, deadline, waiter);
    }

    // ---- Values: VersionedRepository, AtomicRepository
    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const
    {
        return detail::ask<Versioned<T>>(
            core_->client(), core_->load(load.key), deadline, ReadValue<Now<Key>>{{core_.get(), load.key}});
    }
    StartedCall<Versioned<T>> start(verb::Load<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        return detail::start<Versioned<T>>(
            core_->client(), core_->load(load.key), deadline, waiter,
            ReadValue<Later<Key>>{{core_, load.key}});
    }
    /// One `MGET`: the values are of one moment.
    Outcome<std::vector<std::optional<Versioned<T>>>> carry_out(
        verb::LoadAll<T> const& load, Deadline deadline) const
    {
        if (load.keys.empty())
            return Values{};
        return detail::ask<Values>(
            core_->client(), core_->load(load.keys), deadline,
            ReadValues<Now<std::span<Key const>>>{{core_.get(), load.keys}});
    }
    StartedCall<std::vector<std::optional<Versioned<T>>>> start(
        verb::LoadAll<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        if (load.keys.empty())
            return std::make_unique<KnownCall<Values>>(Values{});
        return detail::start<Values>(
            core_->client(), core_->load(load.keys), deadline, waiter,
            ReadValues<Later<std::vector<Key>>>{{core_, {load.keys.begin(), load.keys.end()}}});
    }

    /// All of the changes in one script. Keys of several shards are `invalid_argument`.
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const
    {
        detail::RawChanges changes{std::span<Change<T> const>{commit.changes}};
        auto done = core_->commit(changes, commit.operation, deadline);
        if (done && !done->duplicate)
            for (std::size_t i = 0; i < changes.size(); ++i)
                commit.changes[i].version = changes[i].version;
        return done;
    }
    StartedCall<CommitResult> start(verb::Commit<T> const& commit, Deadline deadline, Waiter& waiter) const
    {
        detail::RawChanges changes{std::span<Change<T> const>{commit.changes}};
        return core_->start_commit(changes, commit.operation, deadline, waiter);
    }
    /// Each of these is a commit of one change.
    StartedCall<Version> start(verb::Insert<T> const& insert, Deadline deadline, Waiter& waiter) const
    {
        return start_change(
            {.key = &insert.key, .kind = ChangeKind::write, .version = no_version, .value = &insert.value},
            deadline, waiter);
    }
    StartedCall<Version> start(verb::CompareAndSet<T> const& write, Deadline deadline, Waiter& waiter) const
    {
        if (write.version <= no_version)
            return bad_version();
        return start_change(
            {.key = &write.key, .kind = ChangeKind::write, .version = write.version, .value = &write.value},
            deadline, waiter);
    }
    StartedCall<Version> start(verb::Erase const& erase, Deadline deadline, Waiter& waiter) const
    {
        if (erase.version <= no_version)
            return bad_version();
        return start_change(
            {.key = &erase.key, .kind = ChangeKind::erase, .version = erase.version}, deadline, waiter);
    }

    // ---- Lock and value together: FusedRepository
    /// A value that cannot be decoded gives the lock back.
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline deadline) const
    {
        auto both = detail::read_from<GrantAndState<T>>(
            [&](detail::TakeReply take) {
                return core_->create_and_load(
                    {create.key, create.owner, create.ttl, create.holder}, deadline, take);
            },
            ReadBoth<Now<Key>>{
                core_->read_grant(create.key, create.owner, create.ttl), {core_.get(), create.key}});
        if (!both && both.errc() == Errc::corrupt_state)
            // Ours, perhaps, and of no use.
            static_cast<void>(carry_out(verb::Remove{create.key, create.owner}, deadline));
        return both;
    }
    StartedCall<GrantAndState<T>> start(
        verb::CreateAndLoad<T> const& create, Deadline deadline, Waiter& waiter) const
    {
        return core_->template start_create<GrantAndState<T>>(
            {create.key, create.owner, create.ttl, create.holder}, true, deadline, waiter,
            ReadBoth<Later<Key>>{
                core_->read_grant(create.key, create.owner, create.ttl), {core_, create.key}});
    }

    // ---- For operators
    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed
    /// before the call, in no particular order; sort by `sequence` for the order of the commits of one shard.
    /// Scans the database: for reports and audits.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        return core_->for_each_operation(detail::VisitOperation{visit}, deadline);
    }
    /// Calls `visit(Key const&, LockInfo const&)` for every lock that is held throughout the call, in no
    /// particular order. Scans the database, and takes one trip more for each few hundred locks.
    template <class Visit>
    Outcome<void> for_each_lock(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        return core_->for_each_lock(detail::VisitLock{visit}, deadline);
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and
    /// its next renewal finds the lock lost. The lock is then the first one's in line, if there is one.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return core_->force_release(make_key<T, key_type>(key), deadline);
    }

    // ---- Wake-ups
    /// From now on a `create` by `owner` in vain takes a place in the line for the lock of `key`, which all
    /// clients share. Whoever removes the lock makes it the first one's, whose `waiter` is woken and who has
    /// half a second to `create` it; else the lock is free, and the line is gone. So: subscribe, ask, wait,
    /// ask again; and `remove` to leave the line. Nobody is woken when a lock expires, and a line has 128
    /// places: whoever waits must also look now and then.
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
    {
        core_->subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept { core_->unsubscribe(key, waiter); }
    /// Whether somebody waited in line for the lock of `owner` within the last second. Costs no trip: it is
    /// heard by the connection for wake-ups, from the first question on, and comes with a grant.
    bool wanted(Key const& key, OwnerToken owner) const { return core_->wanted(key, owner); }

private:
    friend joint_store;
    using Values = std::vector<std::optional<Versioned<T>>>;

    // Whose replies are read, and under which names: of a call that waits for them, and of one that was
    // started, which keeps the names.
    template <class Keys>
    struct Now {
        Core const* core;
        Keys const& names;
    };
    template <class Keys>
    struct Later {
        std::shared_ptr<Core const> core;
        Keys names;
    };

    static Outcome<Versioned<T>> decode(Core const& core, Key const& key, std::string_view stored)
    {
        auto const raw = detail::raw_value(stored);
        if (!raw)
            return raw.failure();
        interlock::detail::Reading reading;
        auto value = interlock::detail::decode_state<T>(raw->bytes, reading);
        if (!value)
            return detail::undecodable(raw->version, reading);
        core.newer().note_read(key, raw->version, raw->bytes, reading.newer);
        return Versioned<T>{*std::move(value), raw->version};
    }
    template <class Asked>
    struct ReadValue {
        Outcome<Versioned<T>> operator()(ReplyView reply) const
        {
            if (reply.is(ReplyType::nil))
                return Errc::not_found;
            return decode(*asked.core, asked.names, reply.text());
        }
        Asked asked;
    };
    template <class Asked>
    struct ReadValues {
        Outcome<Values> operator()(ReplyView reply) const
        {
            Values all(asked.names.size());
            for (std::size_t i = 0; i < all.size(); ++i) {
                if (reply[i].is(ReplyType::nil))
                    continue;
                auto loaded = decode(*asked.core, asked.names[i], reply[i].text());
                if (!loaded)
                    return std::move(loaded).failure();
                all[i].emplace(*std::move(loaded));
            }
            return all;
        }
        Asked asked;
    };
    template <class Asked>
    struct ReadBoth {
        Outcome<GrantAndState<T>> operator()(ReplyView reply) const
        {
            auto const granted = read(reply);
            if (!granted)
                return granted.failure();
            GrantAndState<T> both{granted->grant, std::nullopt};
            if (granted->stored) {
                auto decoded = decode(*asked.core, asked.names, *granted->stored);
                if (!decoded)
                    return std::move(decoded).failure();
                both.state.emplace(*std::move(decoded));
            }
            return both;
        }
        detail::ReadGrant<Runtime> read;
        Asked asked;
    };

    StartedCall<Version> start_change(Change<T> const& change, Deadline deadline, Waiter& waiter) const
    {
        detail::RawChanges changes{std::span<Change<T> const>{&change, 1}};
        return core_->start_change(changes, deadline, waiter);
    }
    static StartedCall<Version> bad_version()
    {
        return std::make_unique<KnownCall<Version>>(Failure{Errc::invalid_argument, "versions start at 1"});
    }

    // The client, the options, and how keys are called there. All copies of this handle have the same.
    std::shared_ptr<Core const> core_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
