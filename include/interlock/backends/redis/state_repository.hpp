// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP

/// @file
/// States, locks and operation records in a Redis server. Every atomic step is one Lua script.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/runtime/runtime.hpp>
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
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

/// How one repository keeps its data.
struct RepositoryOptions {
    /// Instead of the client's; empty: that one.
    std::string name_space{};
    /// Parts that keys are spread over, by a stable hash of their bytes. All keys of one transaction must be in one part,
    /// else it is `invalid_argument`; with one, the default, any keys may be. Every client of a name space must say the
    /// same, for ever: another number finds other keys.
    std::size_t shards{1};
    /// Encoded size of one value; beyond it `invalid_argument`.
    std::size_t max_value_bytes{std::size_t{1} << 20};
    /// Replicas that must have a lock's grant before it counts. With fewer of them within `replica_timeout`, and half of the
    /// time to the deadline, the grant is taken back and the acquire fails as `unavailable`: not applied. A failover to one
    /// that has it then loses no lock. For each acquire the time that the replicas take, on the connection of the
    /// asynchronous calls before the next commands; acquires are not folded then. The right to `WAIT` is needed.
    std::size_t replicas{0};
    std::chrono::nanoseconds replica_timeout{std::chrono::milliseconds{300}};
    /// How long an operation record is kept, by the server's clock. Longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

namespace detail {

/// `number`, from 0 on, as `Width` digits, with zeros in front. All of them 9 when it has more, which equals no stored number.
template <std::size_t Width>
class PaddedNumber {
public:
    explicit PaddedNumber(std::uint64_t number) noexcept
    {
        for (auto digit = digits_.rbegin(); digit != digits_.rend(); ++digit, number /= 10)
            *digit = static_cast<char>('0' + number % 10);
        if (number != 0)
            digits_.fill('9');
    }
    operator std::string_view() const noexcept { return {digits_.data(), Width}; }

private:
    std::array<char, Width> digits_;
};

/// Nothing unless all of `text` is digits.
inline std::optional<std::int64_t> number_of(std::string_view text) noexcept
{
    std::int64_t number = 0;
    if (!parse_number<std::int64_t>(text, 0, greatest_number, number))
        return std::nullopt;
    return number;
}

inline Failure damaged(char const* what)
{
    return Failure{Errc::corrupt_state, std::string("redis: ") + what};
}

}  // namespace detail

/// States, locks and operation records in a Redis server.
///
/// **Guarantee.** Models `VersionedRepository`, `AtomicRepository`, `OperationRepository`, `LeaseRepository`,
/// `FencedRepository` and `FusedRepository`; not `RowLockingRepository`, since Redis has no row locks. A guarded write is
/// applied only while the lock record names its acquisition (law P1), decided in one script with the write; a record that
/// expired refuses it. Versions are below 2^53 and never reused while the server keeps its data: erasing raises the
/// floor above which keys of that shard begin. The tokens of a grant are above all earlier ones and not below the server's
/// clock, so that a failover that has lost the last grants does not repeat their tokens, unless the promoted server's clock is
/// behind by more than the failover took or more than 4,096 grants a second had been made. A script needs all its rights
/// before its first write: without one of them a call is `misconfigured` and nothing was written.
/// **Does not guarantee.** That at most one holder believes in its lease (P2) when the server's wall clock jumps, when a
/// replica without the latest writes is promoted (see `RepositoryOptions::replicas`), or when a server restarts without
/// its data; the fence refuses writes of the former holder in each of these. What a failover or a crash without
/// `appendfsync always` forgets is forgotten as a whole prefix: values, locks, records and counters together. So the versions
/// of values that were forgotten are given again, and across such a failover updates may be lost (P3): a commit whose
/// connection leads to another server than its versions were read from is a `version_conflict`, and what
/// `OptimisticVersioning::remember` keeps is forgotten (see `life`), but who has read before, and commits after others have
/// met the new server, is not told. The right to `INFO` is needed for both.
/// **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. Sent, but no reply: `outcome_unknown`
/// for what writes. Ask again with the same owner token (`create`, `renew`, `remove`) or operation id (`commit`).
/// A full server: `overloaded` with an operation id, else `unavailable`; removing a lock still works. A key of another
/// type, or bytes that are none of ours: `corrupt_state`.
/// **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe.
/// **Cost.** One round trip per member; `for_each_operation` scans the whole database.
///
/// `K` is the key type; left out, it is derived from `T` (`StateTraits<T>::key_type`).
template <class T, class K, class Runtime>
class StateRepository : public CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>> {
    using Members = CommittingMembers<StateRepository<T, K, Runtime>, T, interlock::detail::repository_key_t<T, K>>;
    static_assert(StorableState<T>, "a state in Redis needs StateTraits<T>::encode and decode");

public:
    using value_type = T;
    using key_type = interlock::detail::repository_key_t<T, K>;
    using runtime_type = Runtime;
    static constexpr std::string_view name = "redis";

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit StateRepository(BasicClient<Runtime> client, RepositoryOptions options = {})
        : shared_(std::make_shared<Shared>(client.state_, check(std::move(options), client.options())))
    {}

    Runtime const& runtime() const noexcept { return shared_->client->runtime(); }
    /// Equal for all repositories of this process with the same server address, database and name space. One server
    /// reached by two addresses is two stores here.
    void const* identity() const noexcept { return shared_->identity.get(); }
    /// For messages. Names no server: its address may hold a password.
    std::string place() const { return "redis name space \"" + shared_->options.name_space + "\""; }

    /// Another number once another server, or history of its data, was found behind the address, as after a failover: versions
    /// that were read before it may be those of other values now. A commit that finds out so is a `version_conflict`.
    std::uint64_t life() const noexcept { return shared_->client->life(); }

    /// Asynchronous calls are started, and end without anybody running an executor where the client has its own threads.
    Capabilities capabilities() const noexcept { return {.owns_threads = shared_->client->own_threads()}; }

    // ---- values: VersionedRepository, AtomicRepository --------------------------------------------------------
    using Members::carry_out;

    Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const
    {
        return load_by(blocking(), load.key, deadline);
    }
    StartedCall<Versioned<T>> start(verb::Load<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        return load_by(starting(waiter), load.key, deadline);
    }
    /// One `MGET`: the values are of one moment.
    Outcome<std::vector<std::optional<Versioned<T>>>> carry_out(verb::LoadAll<T> const& load, Deadline deadline) const
    {
        return load_all_by(blocking(), load.keys, deadline);
    }
    StartedCall<std::vector<std::optional<Versioned<T>>>> start(
        verb::LoadAll<T> const& load, Deadline deadline, Waiter& waiter) const
    {
        return load_all_by(starting(waiter), load.keys, deadline);
    }

    /// All of the changes in one script. Keys of several shards are `invalid_argument`.
    Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const
    {
        auto const changes = commit.changes;
        return commit_by(blocking(), changes, commit.operation, deadline, [changes](ReplyView reply) {
            auto done = committed(reply, changes.size(), [&](std::size_t i) { return changes[i].key->bytes(); });
            if (done && !done->duplicate)
                for (std::size_t i = 0; i < changes.size(); ++i)
                    if (changes[i].kind == ChangeKind::write)
                        changes[i].version = version_of(reply, i);
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
        return commit_by(
            starting(waiter), changes, commit.operation, deadline,
            [size = changes.size(), names = std::move(names), writes](ReplyView reply) {
                auto done = committed(reply, size, [&](std::size_t i) -> std::string_view {
                    return names.empty() ? std::string_view{} : names[i];
                });
                if (done && !done->duplicate && writes)
                    done->version = version_of(reply, 0);
                return done;
            });
    }
    StartedCall<Version> start(verb::Insert<T> const& insert, Deadline deadline, Waiter& waiter) const
    {
        return start_change(
            {.key = &insert.key, .kind = ChangeKind::write, .version = no_version, .value = &insert.value}, deadline, waiter);
    }
    StartedCall<Version> start(verb::CompareAndSet<T> const& write, Deadline deadline, Waiter& waiter) const
    {
        return start_change(
            {.key = &write.key, .kind = ChangeKind::write, .version = write.version, .value = &write.value}, deadline, waiter,
            write.version > no_version);
    }
    StartedCall<Version> start(verb::Erase const& erase, Deadline deadline, Waiter& waiter) const
    {
        return start_change(
            {.key = &erase.key, .kind = ChangeKind::erase, .version = erase.version}, deadline, waiter,
            erase.version > no_version);
    }

    // ---- operation records: OperationRepository -----------------------------------------------------------------
    Outcome<std::optional<OperationRecord>> carry_out(verb::FindOperation const& find, Deadline deadline) const
    {
        return find_by(blocking(), find.key, find.id, deadline);
    }
    StartedCall<std::optional<OperationRecord>> start(
        verb::FindOperation const& find, Deadline deadline, Waiter& waiter) const
    {
        return find_by(starting(waiter), find.key, find.id, deadline);
    }
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
    {
        return forbid_by(blocking(), forbid.key, forbid.id, forbid.attempt, deadline);
    }
    StartedCall<OperationRecord> start(verb::ForbidOperation const& forbid, Deadline deadline, Waiter& waiter) const
    {
        return forbid_by(starting(waiter), forbid.key, forbid.id, forbid.attempt, deadline);
    }

    /// Calls `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed before the
    /// call, in no particular order; sort by `sequence` for the order of the commits of one shard. Scans the database:
    /// for reports and audits.
    template <class Visit>
    Outcome<void> for_each_operation(Visit&& visit, Deadline deadline = std::chrono::minutes{5}) const
    {
        Deadline const until = deadline.at(runtime().now());
        for (std::size_t shard = 0; shard < shared_->keys.shards(); ++shard) {
            auto const prefix = shared_->keys.operations(shard);
            auto const pattern = prefix + "*";  // nothing in it is special: name spaces have no such characters
            std::unordered_set<std::string> seen;
            std::string cursor = "0";
            do {
                std::vector<std::string> names;
                {
                    detail::Command scan{"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
                    auto page = shared_->client->execute(scan, nullptr, Access::read, until);
                    if (!page)
                        return std::move(page).failure();
                    auto const found = page->reply()[1];
                    for (std::size_t i = 0; i < found.size(); ++i)
                        if (auto const record = found[i].text(); seen.insert(std::string(record)).second)
                            names.emplace_back(record);
                    cursor = std::string(page->reply()[0].text());
                }
                if (auto shown = show(names, prefix.size(), visit, until); !shown)
                    return shown;
            } while (cursor != "0");
        }
        return success();
    }

    // ---- lock records: LeaseRepository, FencedRepository, FusedRepository -------------------------------------
    /// Busy: the holder's remaining lease as `retry_after`. A record that somebody put there by hand counts as one, too;
    /// the detail says so.
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        return create_by<Grant>(blocking(), create, deadline);
    }
    StartedCall<Grant> start(verb::Create const& create, Deadline deadline, Waiter& waiter) const
    {
        return create_by<Grant>(starting(waiter), create, deadline);
    }
    Outcome<GrantAndState<T>> carry_out(verb::CreateAndLoad<T> const& create, Deadline deadline) const
    {
        auto both = create_by<GrantAndState<T>>(blocking(), create, deadline);
        if (!both && both.errc() == Errc::corrupt_state)
            static_cast<void>(carry_out(verb::Remove{create.key, create.owner}, deadline));  // ours, perhaps, and of no use
        return both;
    }
    StartedCall<GrantAndState<T>> start(verb::CreateAndLoad<T> const& create, Deadline deadline, Waiter& waiter) const
    {
        return create_by<GrantAndState<T>>(starting(waiter), create, deadline);
    }
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline deadline) const
    {
        if (auto valid = check(renew.key, renew.ttl); !valid)
            return std::move(valid).failure();
        Renewal renewal{&renew.key, renew.owner};
        auto* const one = &renewal;
        renew_some({&one, 1}, renew.ttl, deadline);
        return std::move(renewal.granted);
    }
    /// One trip for each 256 of them, and at least one for each shard.
    Outcome<void> carry_out(verb::RenewAll const& all, Deadline deadline) const
    {
        constexpr std::size_t most = 256;
        auto const& keys = shared_->keys;
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
            renew_some(rest.first(count), all.ttl, deadline);
            rest = rest.subspan(count);
        }
        return success();
    }
    /// Where the caller knows the first token of the grant, the server can compare and delete by itself, and nobody is known
    /// to wait, the server is asked to delete exactly the record that was granted, which takes no script; what else became of
    /// that takes a second trip. The first such release of a client that has not called `server_check` does so.
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline deadline) const
    {
        if (remove.granted && remove.key.valid() && deadline.valid()) {
            auto const at = deadline.at(runtime().now());
            if (shared_->client->compares_and_deletes(at) &&
                !shared_->client->subscriber().is_wanted(wake_name(remove.key), remove.owner))
                return remove_granted(remove, Deadline{at});
            deadline = Deadline{at};
        }
        return take_away_by(blocking(), remove.key, remove.owner.bytes(), deadline);
    }
    StartedCall<Removal> start(verb::Remove const& remove, Deadline deadline, Waiter& waiter) const
    {
        return take_away_by(starting(waiter), remove.key, remove.owner.bytes(), deadline);
    }
    /// Removes the lock record whoever owns it: its holder's guarded writes are `fenced_out` from now on, and its
    /// next renewal finds the lock lost. The lock is then the first one's in line, if there is one. For operators.
    template <KeyOrState<T, key_type> A>
    Outcome<Removal> force_release(A const& key, Deadline deadline = {}) const
    {
        return take_away_by(blocking(), make_key<T, key_type>(key), std::string_view{}, deadline);
    }

    /// See `Client::server_check`. The fence counter is as durable as the data it guards: both are in one store and are
    /// written by the same scripts.
    Outcome<void> carry_out(verb::VerifyFencing const&, Deadline deadline) const
    {
        auto checked = shared_->client->server_check(deadline);
        if (!checked)
            return std::move(checked).failure();
        return success();
    }

    /// From now on a `create` by `owner` in vain takes a place in the line for the lock of `key`, which all clients share.
    /// Whoever removes the lock makes it the first one's, whose `waiter` is woken and who has half a second to `create` it;
    /// else the lock is free, and the line is gone. So: subscribe, ask, wait, ask again; and `remove` to leave the line.
    /// Nobody is woken when a lock expires, and a line has 128 places: whoever waits must also look now and then.
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
    {
        shared_->client->subscriber().subscribe(shared_->group, wake_name(key), owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
    {
        shared_->client->subscriber().unsubscribe(wake_name(key).hash, waiter);
    }
    /// Whether somebody waited in line for the lock of `owner` within the last second. Costs no trip: it is heard by
    /// the connection for wake-ups, from the first question on, and comes with a grant.
    bool wanted(Key const& key, OwnerToken owner) const
    {
        return shared_->client->subscriber().wanted(shared_->group, wake_name(key), owner);
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::ClientState<Runtime>> c, RepositoryOptions o)
            : client(std::move(c)), options(std::move(o)), keys(options.name_space, options.shards),
              retention(detail::whole_milliseconds(options.retention)),
              identity(intern_store(
                  client->options().endpoint() + "/" + std::to_string(client->options().database) + "/" +
                  options.name_space)),
              group(client->subscriber().group(keys))
        {}
        std::shared_ptr<detail::ClientState<Runtime>> client;
        RepositoryOptions options;
        detail::KeySpace keys;
        std::chrono::milliseconds retention;
        std::shared_ptr<std::string const> identity;
        detail::Subscriber::Group group;
    };

    static RepositoryOptions check(RepositoryOptions options, Options const& client)
    {
        detail::check_placement(options, client);
        if (options.max_value_bytes + (std::size_t{1} << 10) > client.max_reply_bytes)
            throw Error(Errc::invalid_argument, "redis: max_value_bytes must be below the client's max_reply_bytes");
        if (options.replicas > 1000)
            throw Error(Errc::invalid_argument, "redis: replicas must be from 0 to 1000");
        if (options.replica_timeout < std::chrono::milliseconds{1} || options.replica_timeout > std::chrono::hours{1})
            throw Error(Errc::invalid_argument, "redis: replica_timeout must be from 1 millisecond to 1 hour");
        return options;
    }

    static Outcome<void> check(Key const& key, Ttl ttl)
    {
        if (!ttl.valid())
            return Failure{Errc::invalid_argument, "ttl must be from 50 ms to 24 h"};
        return key.validate();
    }

    detail::Blocking<Runtime> blocking() const noexcept { return detail::Blocking<Runtime>{*shared_->client}; }
    detail::Starting<Runtime> starting(Waiter& waiter) const noexcept { return {*shared_->client, waiter}; }

    /// The record that was granted, deleted by one command of the server's own, or removed by the script.
    Outcome<Removal> remove_granted(verb::Remove const& remove, Deadline until) const
    {
        auto const secret = remove.owner.bytes();
        detail::PaddedNumber<16> const token{remove.granted.value()};
        std::string const record = std::string(secret.data(), secret.size()).append(token).append(token);
        auto const deleted = shared_->client->delete_if_equal(shared_->keys.name("lock", remove.key.bytes()), record, until);
        if (deleted && *deleted)
            return Removal::removed;
        auto removed = take_away_by(blocking(), remove.key, secret, until);
        if (!removed && deleted.errc() == Errc::outcome_unknown)
            return Failure::unknown(deleted.cause(), removed.detail());
        return removed;
    }

    /// The change of one key; its new version, or the erased one.
    StartedCall<Version> start_change(Change<T> change, Deadline deadline, Waiter& waiter, bool valid = true) const
    {
        detail::Starting<Runtime> const way = starting(waiter);
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
        detail::Command command{"MGET"};
        for (auto const& key : wanted) {
            if (!key.valid())
                return Result{way.template refuse<X>(key.validate().failure())};
            command.add(shared_->keys.name("value", key.bytes()));
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
                    auto loaded = decode(reply[i].text());
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
            detail::Command("GET", shared_->keys.name("value", key.bytes())), nullptr, Access::read, deadline,
            [](ReplyView reply) -> Outcome<X> {
                if (reply.is(ReplyType::nil))
                    return Errc::not_found;
                return decode(reply.text());
            });
    }

    template <class Way>
    typename Way::template result<std::optional<OperationRecord>> find_by(
        Way way, Key const& key, OperationId const& id, Deadline deadline) const
    {
        using X = std::optional<OperationRecord>;
        return way.template send<X>(
            detail::Command("GET", shared_->keys.operation(key.bytes(), id.value())), nullptr, Access::read, deadline,
            [](ReplyView reply) -> Outcome<X> {
                if (reply.is(ReplyType::nil))
                    return X{};
                auto record = operation_record(reply.text());
                if (!record)
                    return detail::damaged("an operation record is damaged");
                return record;
            });
    }

    template <class Way>
    typename Way::template result<OperationRecord> forbid_by(
        Way way, Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline) const
    {
        using X = OperationRecord;
        auto const& script = detail::forbid_script();
        auto command = detail::evaluate(
            script, 1, shared_->keys.operation(key.bytes(), id.value()), detail::PaddedNumber<10>{attempt},
            detail::whole_milliseconds(id.kept_for(shared_->retention)).count());
        return way.template send<X>(
            std::move(command), &script, Access::record, deadline,
            [](ReplyView reply) -> Outcome<X> {
                auto record = operation_record(reply.text());
                if (!record)
                    return detail::damaged("an operation record is damaged");
                return *std::move(record);
            });
    }

    template <class X = CommitResult, class Way, class Read>
    typename Way::template result<X> commit_by(
        Way way, std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline, Read read) const
    {
        if (changes.empty() && operation == nullptr)
            return way.template nothing<X>();
        auto const life = shared_->client->life();
        auto const& keys = shared_->keys;
        auto const shard = keys.shard_of(operation != nullptr ? operation->home->bytes() : changes[0].key->bytes());
        auto const& script = detail::commit_script();
        auto command =
            detail::evaluate(script, 1 + 2 * changes.size() + (operation != nullptr ? 1 : 0), keys.counter(shard));
        for (auto const& change : changes) {
            if (!change.key->valid())
                return way.template refuse<X>(change.key->validate().failure());
            if (keys.shard_of(change.key->bytes()) != shard)
                return way.template refuse<X>(Failure{
                    Errc::invalid_argument,
                    "the keys of one transaction are in several shards of this repository; see RepositoryOptions::shards"});
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
                if (encoded.size() > shared_->options.max_value_bytes)
                    return way.template refuse<X>(Failure{
                        Errc::invalid_argument, "value has " + std::to_string(encoded.size()) + " bytes, the limit is " +
                                                    std::to_string(shared_->options.max_value_bytes)});
            }
            add_change(command, change);
            command.add(encoded);
        }
        if (operation != nullptr) {
            command.add(detail::PaddedNumber<10>{operation->attempt});
            command.add(operation->answer);
            command.add(detail::whole_milliseconds(operation->id->kept_for(shared_->retention)).count());
        }

        return way.template send<X>(
            std::move(command), &script, operation != nullptr ? Access::record : Access::write,
            deadline, std::move(read), by_version ? life : 0);
    }

    /// The word that says of a change everything but its data.
    static void add_change(detail::Command& command, Change<T> const& change)
    {
        constexpr std::string_view none = "----------------";
        auto const kind = change.kind == ChangeKind::write    ? "w"
                          : change.kind == ChangeKind::erase  ? "e"
                          : change.kind == ChangeKind::verify ? "v"
                                                              : "g";
        auto const version = static_cast<std::uint64_t>(change.version);
        bool const absent = change.version == no_version;
        bool const last = absent || change.version >= detail::greatest_number;
        detail::PaddedNumber<16> const expected{version};
        detail::PaddedNumber<16> const next{version + 1};
        std::array<std::string_view, 6> parts{
            kind, absent ? none : std::string_view{expected}, last ? none : std::string_view{next}, "", "", ""};
        if (change.fence == nullptr) {
            command.add_parts(parts);
            return;
        }
        auto const owner = change.fence->owner.bytes();
        detail::PaddedNumber<16> const token{std::min<std::uint64_t>(change.fence->token.value(), detail::greatest_number)};
        parts[3] = {owner.data(), owner.size()};
        parts[4] = token;
        parts[5] = change.release ? "1" : "0";
        command.add_parts(parts);
    }

    detail::KeySpace::WakeName wake_name(Key const& key) const { return shared_->keys.wake_name("lock", key.bytes()); }

    static Outcome<Versioned<T>> decode(std::string_view stored)
    {
        auto const version = detail::number_of(stored.substr(0, std::min<std::size_t>(stored.size(), 16)));
        if (stored.size() < 16 || !version || *version == no_version)
            return detail::damaged("a stored value is not one of ours");
        auto value = interlock::detail::decode_state<T>(stored.substr(16));
        if (!value)
            return Failure{
                Errc::corrupt_state, "redis: a stored value cannot be decoded; version " + std::to_string(*version)};
        return Versioned<T>{*std::move(value), *version};
    }

    static std::optional<OperationRecord> operation_record(std::string_view stored)
    {
        if (stored.size() < 27 || (stored[0] != 'a' && stored[0] != 't'))
            return std::nullopt;
        auto const attempt = detail::number_of(stored.substr(1, 10));
        auto const sequence = detail::number_of(stored.substr(11, 16));
        if (!attempt || !sequence)
            return std::nullopt;
        return OperationRecord{
            static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), stored[0] == 'a',
            std::string(stored.substr(27))};
    }

    static Errc code_of(detail::ChangeResult result) noexcept
    {
        switch (result) {
        case detail::ChangeResult::ok: return Errc::ok;
        case detail::ChangeResult::fenced_out: return Errc::fenced_out;
        case detail::ChangeResult::already_exists: return Errc::already_exists;
        case detail::ChangeResult::not_found: return Errc::not_found;
        case detail::ChangeResult::version_conflict: return Errc::version_conflict;
        case detail::ChangeResult::version_exhausted: return Errc::version_exhausted;
        case detail::ChangeResult::corrupt_state: break;
        }
        return Errc::corrupt_state;
    }

    /// Of the i-th change that was applied.
    static Version version_of(ReplyView reply, std::size_t i) noexcept
    {
        return detail::number_of(reply.text().substr(16 * i, 16)).value_or(no_version);
    }

    /// `key_of(i)`: the key of the i-th change, where there are several.
    template <class KeyOf>
    static Outcome<CommitResult> committed(ReplyView reply, std::size_t changes, KeyOf key_of)
    {
        if (reply.is(ReplyType::string) && reply.text().size() == 16 * changes)
            return Outcome<CommitResult>{std::in_place};
        auto const what = reply[0].text();
        if (what == "duplicate")
            return CommitResult{true, std::string(reply[1].text())};
        if (what == "superseded")
            return Errc::superseded;
        if (what == "corrupt")
            return detail::damaged("an operation record is damaged");
        if (what != "refused" || reply.size() != changes + 1)
            return Failure::unknown(Errc::corrupt_state, "redis: the script answered strangely");
        CommitRefusal refusal{changes};
        for (std::size_t i = 0; i < changes; ++i)
            refusal.add(key_of(i), code_of(static_cast<detail::ChangeResult>(reply[i + 1].integer())));
        return std::move(refusal).failure();
    }

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
        auto const& keys = shared_->keys;
        auto const called = wake_name(key);
        auto const secret = owner.bytes();
        auto const granted = detail::whole_milliseconds(ttl.value());
        bool const in_line = shared_->client->subscriber().is_subscribed(called, owner);
        detail::PaddedNumber<16> const channel{keys.within_shard(called.channel)};
        detail::ScriptCall call{
            detail::create_script(), {.shared_keys = 1, .own_keys = loads ? 2 : 1, .shared_arguments = 2, .own_arguments = 1}};
        call.add(keys.counter(keys.shard_of(key.bytes())));
        call.add(keys.name("lock", key.bytes()));
        if constexpr (loads)
            call.add(keys.name("value", key.bytes()));
        call.add(granted.count());
        call.add(loads ? shared_->client->options().max_reply_bytes - 512 : 0);  // without what stands around it
        call.add_parts(std::array<std::string_view, 2>{
            std::string_view{secret.data(), secret.size()}, in_line ? std::string_view{channel} : std::string_view{}});
        auto read = [granted, called, owner, client = shared_->client](ReplyView reply) -> Outcome<X> {
            if (!reply.is(ReplyType::string)) {
                switch (reply[0].integer()) {
                case 0: {
                    auto const left = std::chrono::milliseconds{std::max<std::int64_t>(reply[1].integer(), 0)};
                    return Failure::busy(Errc::lock_busy, left);
                }
                case -1: return Failure{Errc::version_exhausted, "redis: the fencing tokens of this shard are used up"};
                default: return Failure{Errc::lock_busy, "redis: the lock record is not one of ours; see force_release"};
                }
            }
            auto const first = detail::number_of(reply.text().substr(0, 16));
            if (!first)
                return Failure::unknown(Errc::corrupt_state, "redis: the lock record is damaged");
            auto rest = reply.text().substr(16);
            if (rest.starts_with('w')) {
                client->subscriber().note_wanted(called, owner);
                rest.remove_prefix(1);
            }
            Grant const grant{FencingToken{static_cast<std::uint64_t>(*first)}, detail::token_block, granted};
            if constexpr (loads) {
                X both{grant, std::nullopt};
                if (!rest.empty()) {
                    auto decoded = decode(rest.substr(1));
                    if (!decoded)
                        return std::move(decoded).failure();
                    both.state.emplace(*std::move(decoded));
                }
                return both;
            } else {
                return grant;
            }
        };
        if (shared_->options.replicas != 0)
            return way.template send_replicated<X>(
                std::move(call), deadline, std::move(read),
                {shared_->options.replicas, detail::whole_milliseconds(shared_->options.replica_timeout), removal(key, secret)});
        return way.template send<X>(std::move(call), Access::write, deadline, std::move(read));
    }

    template <class Owner>
    detail::ScriptCall removal(Key const& key, Owner const& owner) const
    {
        auto const& keys = shared_->keys;
        detail::ScriptCall call{detail::remove_script(), {.shared_keys = 1, .own_keys = 1, .own_arguments = 1}};
        call.add(keys.counter(keys.shard_of(key.bytes())));
        call.add(keys.name("lock", key.bytes()));
        call.add(std::string_view{owner.data(), owner.size()});
        return call;
    }

    /// `owner`: its bytes, or nothing: whoever it is.
    template <class Way, class Owner>
    typename Way::template result<Removal> take_away_by(Way way, Key const& key, Owner const& owner, Deadline deadline) const
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
        auto const granted = detail::whole_milliseconds(ttl.value());
        auto const& script = detail::renew_script();
        auto command = detail::evaluate(script, renewals.size());
        for (auto const* renewal : renewals)
            command.add(shared_->keys.name("lock", renewal->key->bytes()));
        command.add(granted.count());
        for (auto const* renewal : renewals) {
            auto const secret = renewal->owner.bytes();
            command.add(std::string_view{secret.data(), secret.size()});
        }
        auto exchange = shared_->client->execute(command, &script, Access::write, deadline);
        for (std::size_t i = 0; i < renewals.size(); ++i) {
            auto& outcome = renewals[i]->granted;
            if (!exchange)
                outcome = exchange.failure();
            else if (auto const found = exchange->reply()[i]; found.is(ReplyType::error))
                outcome = detail::map_error(found.text(), Access::write);
            else if (found.integer() == 1)
                outcome = std::chrono::nanoseconds{granted};
            else
                outcome = Failure::because(Errc::lock_lost, found.integer() == 0 ? Errc::not_found : Errc::lock_busy);
        }
    }

    /// Reads the records called `names` and shows the answered ones; what expired meanwhile is left out. A command asks for
    /// no more of them than fit into one reply, since an answer may have a mebibyte.
    template <class Visit>
    Outcome<void> show(std::span<std::string const> names, std::size_t prefix, Visit& visit, Deadline deadline) const
    {
        constexpr std::size_t largest = interlock::detail::max_answer_bytes + (std::size_t{1} << 10);
        auto const most = std::max<std::size_t>(shared_->client->options().max_reply_bytes / largest, 1);
        while (!names.empty()) {
            auto const now = names.first(std::min(names.size(), most));
            names = names.subspan(now.size());
            if (auto shown = show_together(now, prefix, visit, deadline); !shown)
                return shown;
        }
        return success();
    }

    template <class Visit>
    Outcome<void> show_together(
        std::span<std::string const> names, std::size_t prefix, Visit& visit, Deadline deadline) const
    {
        std::vector<std::tuple<Key, OperationId, OperationRecord>> records;
        {
            detail::Command command{"MGET"};
            for (auto const& record : names)
                command.add(record);
            auto exchange = shared_->client->execute(command, nullptr, Access::read, deadline);
            if (!exchange)
                return std::move(exchange).failure();
            auto const reply = exchange->reply();
            for (std::size_t i = 0; i < names.size(); ++i) {
                auto record = operation_record(reply[i].text());
                if (!record || !record->answered)
                    continue;
                auto const rest = std::string_view{names[i]}.substr(prefix);
                auto const colon = rest.find(':');
                std::size_t length = 0;
                if (colon == std::string_view::npos ||
                    !detail::parse_number<std::size_t>(rest.substr(0, colon), 0, Key::max_size, length) ||
                    rest.size() < colon + 1 + length)
                    continue;
                records.emplace_back(
                    Key{rest.substr(colon + 1, length)}, OperationId{rest.substr(colon + 1 + length)}, *std::move(record));
            }
        }
        for (auto const& [key, id, record] : records)  // not while holding a connection: the visitor may use the store
            visit(key, id, record);
        return success();
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_STATE_REPOSITORY_HPP
