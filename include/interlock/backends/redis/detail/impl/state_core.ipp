// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_STATE_CORE_IPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_STATE_CORE_IPP

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/commit_events.hpp>
#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/lock_record.hpp>
#include <interlock/backends/redis/detail/operation_scan.hpp>
#include <interlock/backends/redis/detail/placement.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/state_core.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/lock_call.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/separate_compilation.hpp>

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
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

INTERLOCK_DECL Outcome<RawValue> raw_value(std::string_view stored)
{
    auto const version = number_of(stored.substr(0, std::min<std::size_t>(stored.size(), 16)));
    if (stored.size() < 16 || !version || *version == no_version)
        return damaged("a stored value is not one of ours");
    return RawValue{*version, stored.substr(16)};
}

INTERLOCK_DECL Failure undecodable(Version version, interlock::detail::Reading const& reading)
{
    return Failure{
        Errc::corrupt_state,
        reading.text("redis: a stored value cannot be decoded; version " + std::to_string(version))};
}

[[gnu::cold]] INTERLOCK_DECL Failure several_shards()
{
    return Failure{
        Errc::invalid_argument,
        "the keys of one transaction are in several shards of this repository; see "
        "RepositoryOptions::shards"};
}

[[gnu::cold]] INTERLOCK_DECL RepositoryOptions checked(RepositoryOptions options, Options const& client)
{
    check_placement(options, client);
    if (options.max_value_bytes >
        client.max_reply_bytes - (std::size_t{1} << 10))  // which is 64 KiB at least
        throw Error(
            Errc::invalid_argument, "redis: max_value_bytes must be below the client's max_reply_bytes");
    if (options.replicas > 1000)
        throw Error(Errc::invalid_argument, "redis: replicas must be from 0 to 1000");
    if (options.replica_timeout < std::chrono::milliseconds{1} ||
        options.replica_timeout > std::chrono::hours{1})
        throw Error(Errc::invalid_argument, "redis: replica_timeout must be from 1 millisecond to 1 hour");
    return options;
}

template <class R>
StateCore<R>::StateCore(std::shared_ptr<ClientState<R>> client, RepositoryOptions options)
    : client_(std::move(client)), options_(checked(std::move(options), client_->options())),
      keys_(options_.name_space, options_.shards, client_->options().prefix),
      retention_(whole_milliseconds(options_.retention)),
      identity_(intern_store(
          client_->options().endpoint() + "/" + std::to_string(client_->options().database) + "/" +
          keys_.head())),
      group_(client_->subscriber().group(keys_))
{}

template <class R>
R const& StateCore<R>::runtime() const noexcept
{
    return client_->runtime();
}

template <class R>
std::string StateCore<R>::place() const
{
    return place_of_name_space(client_->options().prefix, options_.name_space);
}

template <class R>
std::uint64_t StateCore<R>::life() const noexcept
{
    return client_->life();
}

template <class R>
bool StateCore<R>::owns_threads() const noexcept
{
    return client_->own_threads();
}

// ---- Values

template <class R>
Request<Command> StateCore<R>::load(Key const& key) const
{
    Request<Command> request{Command("GET", keys_.name("value", key.bytes())), nullptr, Access::read};
    if (!key.valid())
        request.refused = key.validate().failure();
    return request;
}

template <class R>
Request<Command> StateCore<R>::load(std::span<Key const> keys) const
{
    Request<Command> request{Command{"MGET"}, nullptr, Access::read};
    for (auto const& key : keys) {
        if (!key.valid()) {
            request.refused = key.validate().failure();
            break;
        }
        request.what.add(keys_.name("value", key.bytes()));
    }
    return request;
}

template <class R>
std::optional<Failure> StateCore<R>::add_keys(
    Command& command, RawChanges& changes, OperationCommit const* operation, std::size_t shard) const
{
    for (auto const& change : changes) {
        if (!change.key->valid())
            return change.key->validate().failure();
        if (keys_.shard_of(change.key->bytes()) != shard)
            return several_shards();
        if (change.version < no_version)
            return Failure{Errc::corrupt_state, "a version is negative"};
        command.add(keys_.name("value", change.key->bytes()));
        command.add(keys_.name("lock", change.key->bytes()));
    }
    if (operation == nullptr)
        return std::nullopt;
    if (!operation->home->valid())
        return operation->home->validate().failure();
    command.add(keys_.operation(operation->home->bytes(), operation->id->value()));
    return std::nullopt;
}

template <class R>
std::optional<Failure> StateCore<R>::encode(
    RawChanges const& changes, RawChange const& change, std::string& out) const
{
    if (!newer_.any() || change.version == no_version)
        return changes.encode(change, {}, out);
    auto const stored = newer_.find(*change.key, change.version);
    if (!stored)
        return interlock::detail::NewerStates::must_be_read_again();
    auto failure = changes.encode(change, *stored, out);
    if (!failure && !stored->empty())
        newer_.note_written(*change.key, change.version, out);
    return failure;
}

template <class R>
template <class W>
std::optional<Failure> StateCore<R>::add_changes(W& words, RawChanges& changes) const
{
    std::string encoded;
    for (auto const& change : changes) {
        encoded.clear();
        if (change.kind == ChangeKind::write) {
            if (auto failure = encode(changes, change, encoded))
                return failure;
            if (encoded.size() > options_.max_value_bytes)
                return Failure{
                    Errc::invalid_argument, "value has " + std::to_string(encoded.size()) +
                                                " bytes, the limit is " +
                                                std::to_string(options_.max_value_bytes)};
        }
        add_change(words, change);
        words.add(encoded);
    }
    return std::nullopt;
}

template <class R>
typename StateCore<R>::Told StateCore<R>::told(RawChanges const& changes) const
{
    if (changes.streams() == 0 || !changes[0].key->valid() || options_.events.get() == nullptr)
        return {};
    auto const shard = keys_.shard_of(changes[0].key->bytes());
    return {client_, keys_.wake_name_of_log(shard).hash, options_.events, shard};
}

template <class R>
Request<Command> StateCore<R>::commit_request(RawChanges& changes, OperationCommit const* operation) const
{
    auto const life = client_->life();
    bool const records = operation != nullptr;
    auto const streams = changes.streams();
    auto const shard = keys_.shard_of(records ? operation->home->bytes() : changes[0].key->bytes());
    auto const& script = streams == 0 ? commit_script() : commit_events_script();
    auto const keys = 1 + 2 * changes.size() + (records ? 1 : 0) + (streams == 0 ? 0 : 2 + streams);
    Request<Command> request{
        evaluate(script, keys, keys_.counter(shard)), &script,
        records || streams != 0 ? Access::record : Access::write};
    auto& command = request.what;
    if (streams != 0)
        request.refused = refusal_of_events(options_.events.get(), identity_, keys_.shards());
    if (!request.refused)
        request.refused = add_keys(command, changes, operation, shard);
    if (!request.refused && streams != 0)
        add_event_keys(command, changes, keys_, shard);
    if (!request.refused)
        request.refused = add_changes(command, changes);
    if (request.refused)
        return request;
    if (records)
        add_operation(command, *operation);
    if (streams != 0)
        add_events(command, changes, keys_, shard, *options_.events.get(), runtime());
    // Where a version decides, and no lock record, the version must be one of this life.
    if (std::any_of(changes.begin(), changes.end(), [](RawChange const& change) {
            return change.fence == nullptr && change.version != no_version;
        }))
        request.life = life;
    return request;
}

template <class R>
std::optional<Request<ScriptCall>> StateCore<R>::shared_commit_request(RawChanges& changes) const
{
    auto const* const log = options_.events.get();
    auto const& change = changes[0];
    if (changes.streams() == 0 || !change.key->valid() || refusal_of_events(log, identity_, keys_.shards()))
        return std::nullopt;
    auto const shard = keys_.shard_of(change.key->bytes());
    if (!may_share_a_script(changes, shard, *log, runtime().now()))
        return std::nullopt;
    auto const& script = commit_each_event_script();
    std::optional<Request<ScriptCall>> request{
        {ScriptCall{script, {.shared_keys = 1, .own_keys = 2, .shared_arguments = 1, .own_arguments = 3}},
         &script, Access::record, client_->life()}};
    auto& call = request->what;
    add_shared_names(call, *change.key, keys_, shard, *log);
    request->refused = add_changes(call, changes);
    if (!request->refused)
        add_event(call, *change.key, change.events[0], log->writer, runtime());
    return request;
}

template <class R>
void StateCore<R>::add_operation(Command& command, OperationCommit const& operation) const
{
    command.add(PaddedNumber<10>{operation.attempt});
    command.add(operation.answer);
    command.add(whole_milliseconds(operation.id->kept_for(retention_)).count());
}

template <class R>
Outcome<CommitResult> StateCore<R>::commit(
    RawChanges& changes, OperationCommit const* operation, Deadline deadline) const
{
    if (changes.empty() && operation == nullptr)
        return CommitResult{};
    return ask<CommitResult>(
        *client_, commit_request(changes, operation), deadline,
        [&changes, told = told(changes)](ReplyView reply) {
            auto done = committed(
                reply, changes.size(), KeyOf{[&](std::size_t i) { return changes[i].key->bytes(); }});
            told(reply, done);
            if (!done || done->duplicate)
                return done;
            std::size_t i = 0;
            for (auto& change : changes) {
                if (change.kind == ChangeKind::write)
                    change.version = version_of(reply, i);
                ++i;
            }
            return done;
        });
}

template <class R>
StartedCall<CommitResult> StateCore<R>::start_commit(
    RawChanges& changes, OperationCommit const* operation, Deadline deadline, Waiter& waiter) const
{
    if (changes.empty() && operation == nullptr)
        return std::make_unique<KnownCall<CommitResult>>(CommitResult{});
    std::vector<std::string> names;
    if (changes.size() > 1)
        for (auto const& change : changes)
            names.push_back(printable_key(change.key->bytes()));
    bool const writes = !changes.empty() && changes[0].kind == ChangeKind::write;
    auto read = [size = changes.size(), names = std::move(names), writes,
                 told = told(changes)](ReplyView reply) {
        auto done = committed(reply, size, KeyOf{[&](std::size_t i) -> std::string_view {
                                  return names.empty() ? std::string_view{} : names[i];
                              }});
        told(reply, done);
        if (!done || done->duplicate)
            return done;
        if (writes)
            done->version = version_of(reply, 0);
        return done;
    };
    if (operation == nullptr)
        if (auto shared = shared_commit_request(changes))
            return detail::start<CommitResult>(
                *client_, *std::move(shared), deadline, waiter, std::move(read));
    return detail::start<CommitResult>(
        *client_, commit_request(changes, operation), deadline, waiter, std::move(read));
}

template <class R>
StartedCall<Version> StateCore<R>::start_change(RawChanges& changes, Deadline deadline, Waiter& waiter) const
{
    bool const writes = changes[0].kind == ChangeKind::write;
    return detail::start<Version>(
        *client_, commit_request(changes, nullptr), deadline, waiter,
        [writes, version = changes[0].version](ReplyView reply) -> Outcome<Version> {
            auto done = committed(reply, 1, KeyOf{[](std::size_t) { return std::string_view{}; }});
            if (!done)
                return std::move(done).failure();
            return writes ? version_of(reply, 0) : version;
        });
}

// ---- Operation records

inline constexpr auto read_record = [](ReplyView reply) -> Outcome<OperationRecord> {
    auto record = operation_record(reply.text());
    if (!record)
        return damaged("an operation record is damaged");
    return *std::move(record);
};
inline constexpr auto find_record = [](ReplyView reply) -> Outcome<std::optional<OperationRecord>> {
    if (reply.is(ReplyType::nil))
        return std::optional<OperationRecord>{};
    auto record = read_record(reply);
    if (!record)
        return std::move(record).failure();
    return std::optional{*std::move(record)};
};

template <class R>
Request<Command> StateCore<R>::find_request(Key const& key, OperationId const& id) const
{
    return {Command("GET", keys_.operation(key.bytes(), id.value())), nullptr, Access::read};
}

template <class R>
Request<Command> StateCore<R>::forbid_request(verb::ForbidOperation const& forbid) const
{
    auto const& script = forbid_script();
    return {
        evaluate(
            script, 1, keys_.operation(forbid.key.bytes(), forbid.id.value()),
            PaddedNumber<10>{forbid.attempt}, whole_milliseconds(forbid.id.kept_for(retention_)).count()),
        &script, Access::record};
}

template <class R>
Outcome<std::optional<OperationRecord>> StateCore<R>::carry_out(
    verb::FindOperation const& find, Deadline deadline) const
{
    return ask<std::optional<OperationRecord>>(
        *client_, find_request(find.key, find.id), deadline, find_record);
}

template <class R>
StartedCall<std::optional<OperationRecord>> StateCore<R>::start(
    verb::FindOperation const& find, Deadline deadline, Waiter& waiter) const
{
    return detail::start<std::optional<OperationRecord>>(
        *client_, find_request(find.key, find.id), deadline, waiter, find_record);
}

template <class R>
Outcome<OperationRecord> StateCore<R>::carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
{
    return ask<OperationRecord>(*client_, forbid_request(forbid), deadline, read_record);
}

template <class R>
StartedCall<OperationRecord> StateCore<R>::start(
    verb::ForbidOperation const& forbid, Deadline deadline, Waiter& waiter) const
{
    return detail::start<OperationRecord>(*client_, forbid_request(forbid), deadline, waiter, read_record);
}

template <class R>
Outcome<void> StateCore<R>::for_each_operation(VisitOperation visit, Deadline deadline) const
{
    return OperationScan<R>{*client_, keys_}.show_all(visit, deadline);
}

// ---- Lock records

/// The remaining cases of a reply to `create`: there was no grant.
INTERLOCK_DECL Failure no_grant(ReplyView reply)
{
    switch (reply[0].integer()) {
    case 0:
        return Failure::busy(
            Errc::lock_busy, std::chrono::milliseconds{std::max<std::int64_t>(reply[1].integer(), 0)});
    case -1: return Failure{Errc::version_exhausted, "redis: the fencing tokens of this shard are used up"};
    default: return Failure{Errc::lock_busy, "redis: the lock record is not one of ours; see force_release"};
    }
}

template <class R>
Outcome<RawGrant> ReadGrant<R>::operator()(ReplyView reply) const
{
    if (!reply.is(ReplyType::string))
        return no_grant(reply);
    auto const first = number_of(reply.text().substr(0, 16));
    if (!first)
        return Failure::unknown(Errc::corrupt_state, "redis: the lock record is damaged");
    auto rest = reply.text().substr(16);
    if (rest.starts_with('w')) {
        client->subscriber().note_wanted(called, owner);
        rest.remove_prefix(1);
    }
    RawGrant both{{FencingToken{static_cast<std::uint64_t>(*first)}, token_block, granted}, std::nullopt};
    if (!rest.empty())  // behind a 'v'
        both.stored = rest.substr(1);
    return both;
}

template <class R>
ReadGrant<R> StateCore<R>::read_grant(Key const& key, OwnerToken owner, Ttl ttl) const
{
    return {client_, wake_name(key), owner, whole_milliseconds(ttl.value())};
}

template <class R>
Request<ScriptCall> StateCore<R>::create_request(verb::Create const& create, bool loads) const
{
    auto const& key = create.key;
    auto const& script = create_script();
    auto const own_keys = static_cast<std::uint8_t>(loads ? 2 : 1);
    Request<ScriptCall> request{
        ScriptCall{
            script, {.shared_keys = 1, .own_keys = own_keys, .shared_arguments = 2, .own_arguments = 1}},
        &script, Access::write};
    if (auto valid = validate_lock_call(key, create.ttl, create.holder); !valid) {
        request.refused = std::move(valid).failure();
        return request;
    }
    auto const called = wake_name(key);
    auto const secret = create.owner.bytes();
    bool const in_line = client_->subscriber().is_subscribed(called, create.owner);
    HolderCard const card{create.holder};
    PaddedNumber<16> const channel{keys_.within_shard(called.channel)};
    auto& call = request.what;
    call.add(keys_.counter(keys_.shard_of(key.bytes())));
    call.add(keys_.name("lock", key.bytes()));
    if (loads)
        call.add(keys_.name("value", key.bytes()));
    call.add(whole_milliseconds(create.ttl.value()).count());
    // Without what stands around it.
    call.add(loads ? client_->options().max_reply_bytes - 512 : 0);
    call.add_parts(std::array<std::string_view, 5>{
        std::string_view{secret.data(), secret.size()},
        in_line ? std::string_view{channel} : std::string_view{}, card.head(), card.name(), card.blanks()});
    return request;
}

template <class R>
Replicas StateCore<R>::replicas() const noexcept
{
    return {options_.replicas, whole_milliseconds(options_.replica_timeout)};
}

template <class R>
Replication StateCore<R>::replication(Key const& key, OwnerToken owner) const
{
    auto const secret = owner.bytes();
    return {replicas(), removal(key, {secret.data(), secret.size()})};
}

template <class R>
std::optional<Failure> StateCore<R>::create(
    verb::Create const& create, bool loads, Deadline deadline, TakeReply take) const
{
    auto const request = create_request(create, loads);
    if (options_.replicas != 0 && !request.refused)
        return exchange_replicated(*client_, request, deadline, replication(create.key, create.owner), take);
    return exchange(*client_, request, deadline, take);
}

/// A grant for somebody who does not want the value.
template <class R>
struct ReadGrantOnly {
    Outcome<Grant> operator()(ReplyView reply) const
    {
        auto granted = read(reply);
        if (!granted)
            return std::move(granted).failure();
        return granted->grant;
    }
    ReadGrant<R> read;
};

template <class R>
Outcome<Grant> StateCore<R>::carry_out(verb::Create const& create, Deadline deadline) const
{
    return read_from<Grant>(
        [&](TakeReply take) { return this->create(create, false, deadline, take); },
        ReadGrantOnly<R>{read_grant(create.key, create.owner, create.ttl)});
}

template <class R>
StartedCall<Grant> StateCore<R>::start(verb::Create const& create, Deadline deadline, Waiter& waiter) const
{
    return start_create<Grant>(
        create, false, deadline, waiter, ReadGrantOnly<R>{read_grant(create.key, create.owner, create.ttl)});
}

template <class R>
ScriptCall StateCore<R>::removal(Key const& key, std::string_view owner) const
{
    ScriptCall call{remove_script(), {.shared_keys = 1, .own_keys = 1, .own_arguments = 1}};
    call.add(keys_.counter(keys_.shard_of(key.bytes())));
    call.add(keys_.name("lock", key.bytes()));
    call.add(owner);
    return call;
}

template <class R>
Request<ScriptCall> StateCore<R>::remove_request(Key const& key, std::string_view owner) const
{
    Request<ScriptCall> request{removal(key, owner), &remove_script(), Access::write};
    if (!key.valid())
        request.refused = key.validate().failure();
    return request;
}

template <class R>
std::optional<Request<Command>> StateCore<R>::first_removal(verb::Remove const& remove) const
{
    auto const life = client_->life();
    if (!remove.key.valid() || removal_sent_in_.exchange(life, std::memory_order_relaxed) == life)
        return std::nullopt;
    auto const secret = remove.owner.bytes();
    auto const bytes = remove.key.bytes();
    return Request<Command>{
        Command(
            "EVAL", remove_script().text, 2, keys_.counter(keys_.shard_of(bytes)), keys_.name("lock", bytes),
            std::string_view{secret.data(), secret.size()}),
        nullptr, Access::write};
}

template <class R>
Outcome<Removal> StateCore<R>::remove_granted(verb::Remove const& remove, Deadline until) const
{
    auto const secret = remove.owner.bytes();
    PaddedNumber<16> const token{remove.granted.value()};
    // As it was written; the time on the card, as the server most often leaves it.
    HolderCard const card{remove.holder};
    auto record = std::string(secret.data(), secret.size()).append(token).append(token);
    record.append(card.head()).append(card.name()).append(card.blanks());
    auto const deleted = client_->delete_if_equal(keys_.name("lock", remove.key.bytes()), record, until);
    if (deleted && *deleted)
        return Removal::removed;
    auto removed = ask<Removal>(
        *client_, remove_request(remove.key, {secret.data(), secret.size()}), until, read_removal);
    if (deleted.errc() != Errc::outcome_unknown)
        return removed;
    // The record may have been removed by the former request, whose reply was lost.
    if (!removed)
        return Failure::unknown(deleted.cause(), removed.detail());
    if (*removed == Removal::taken)
        return Failure::unknown(Errc::lock_lost);
    return Removal::removed;
}

template <class R>
Outcome<Removal> StateCore<R>::carry_out(verb::Remove const& remove, Deadline deadline) const
{
    if (remove.granted && remove.key.valid() && deadline.valid()) {
        auto const at = deadline.at(runtime().now());
        if (client_->compares_and_deletes(at) &&
            !client_->subscriber().is_wanted(wake_name(remove.key), remove.owner))
            return remove_granted(remove, Deadline{at});
        deadline = Deadline{at};
    }
    if (auto const first = first_removal(remove))
        return ask<Removal>(*client_, *first, deadline, read_removal);
    auto const secret = remove.owner.bytes();
    return ask<Removal>(
        *client_, remove_request(remove.key, {secret.data(), secret.size()}), deadline, read_removal);
}

template <class R>
StartedCall<Removal> StateCore<R>::start(verb::Remove const& remove, Deadline deadline, Waiter& waiter) const
{
    if (auto first = first_removal(remove))
        return detail::start<Removal>(*client_, *std::move(first), deadline, waiter, read_removal);
    auto const secret = remove.owner.bytes();
    return detail::start<Removal>(
        *client_, remove_request(remove.key, {secret.data(), secret.size()}), deadline, waiter, read_removal);
}

template <class R>
Outcome<void> StateCore<R>::carry_out(verb::VerifyFencing const&, Deadline deadline) const
{
    auto checked = client_->server_check(deadline);
    if (!checked)
        return std::move(checked).failure();
    return success();
}

template <class R>
Outcome<void> StateCore<R>::carry_out(verb::FitOneCommit const& fit, Deadline) const
{
    for (auto const& key : fit.keys)
        if (keys_.shard_of(key.bytes()) != keys_.shard_of(fit.keys[0].bytes()))
            return several_shards();
    return success();
}

// ---- Wake-ups

template <class R>
void StateCore<R>::subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
{
    client_->subscriber().subscribe(group_, wake_name(key), owner, waiter);
}

template <class R>
void StateCore<R>::unsubscribe(Key const& key, Waiter& waiter) const noexcept
{
    client_->subscriber().unsubscribe(wake_name(key).hash, waiter);
}

template <class R>
bool StateCore<R>::wanted(Key const& key, OwnerToken owner) const
{
    return client_->subscriber().wanted(group_, wake_name(key), owner);
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_STATE_CORE_IPP
