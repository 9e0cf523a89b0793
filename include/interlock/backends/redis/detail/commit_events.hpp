// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_EVENTS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_EVENTS_HPP

// What a commit with events sends besides what every commit sends: see `commit_events_script`.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/event_log.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/raw_changes.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Why the events of a commit in this store cannot be stored with it, if so. `log`: what the options name.
[[gnu::cold]] inline std::optional<Failure> refusal_of_events(
    EventLogPlace const* log, std::shared_ptr<std::string const> const& store, std::size_t shards)
{
    if (log == nullptr)
        return interlock::detail::no_event_repository();
    if (log->store != store || log->shards != shards)
        return Failure{
            Errc::misconfigured,
            "the event repository of these states is of another server, name space or number of shards, so "
            "that no commit could bring both"};
    return std::nullopt;
}

/// Adds what stands behind the keys of a commit without events.
inline void add_event_keys(Command& command, RawChanges& changes, KeySpace const& keys, std::size_t shard)
{
    command.add(keys.of_log(shard, "log"));
    command.add(keys.of_log(shard, "readers"));
    for (auto const& change : changes)
        if (!change.events.empty())
            command.add(keys.name("stream", change.key->bytes()));
}

/// Adds how many events the log may hold, or '' while it is not time to look how full it is. Whether it is.
template <class R>
bool add_bound(Command& command, std::size_t shard, EventLogPlace const& log, R const& runtime)
{
    bool const looks = log.looks(shard, runtime.now());
    if (looks)
        command.add(log.max_events);
    else
        command.add(std::string_view{});
    return looks;
}

/// Adds the number of the log's wake channel, or '' if nobody is known to read it. `looks`: the script sees
/// for itself whether anybody does. `W`: a `Command` or a `ScriptCall`.
template <class W>
void add_channel(W& words, KeySpace const& keys, std::size_t shard, EventLogPlace const& log, bool looks)
{
    if (looks || log.has_readers(shard))
        words.add(keys.within_shard(keys.wake_name_of_log(shard).channel));
    else
        words.add(std::string_view{});
}

/// Adds what stands behind the arguments of a commit without events.
template <class R>
void add_events(
    Command& command, RawChanges& changes, KeySpace const& keys, std::size_t shard, EventLogPlace const& log,
    R const& runtime)
{
    add_channel(command, keys, shard, log, add_bound(command, shard, log, runtime));
    for (auto const& change : changes)
        if (!change.events.empty())
            command.add(change.events.size());
    for (auto const& change : changes)
        for (auto const& event : change.events)
            add_event(command, *change.key, event, log.writer, runtime);
    command.add(changes.streams());
}

/// Whether this commit may leave together with others, as `commit_each_event_script` takes them: one value
/// that is there, unguarded, and one event, while it is not time to look at the log. Precondition: the events
/// can be stored with it.
inline bool may_share_a_script(
    RawChanges const& changes, std::size_t shard, EventLogPlace const& log, TimePoint now) noexcept
{
    auto const& change = changes[0];
    return changes.size() == 1 && change.events.size() == 1 && change.kind == ChangeKind::write &&
           change.fence == nullptr && change.version > no_version && change.version < greatest_number &&
           !log.due(shard, now);
}

/// Adds what stands in front of the changes of commits that leave together: keys, and the wake channel.
inline void add_shared_names(
    ScriptCall& call, Key const& key, KeySpace const& keys, std::size_t shard, EventLogPlace const& log)
{
    call.add(keys.of_log(shard, "log"));
    call.add(keys.name("value", key.bytes()));
    call.add(keys.name("stream", key.bytes()));
    add_channel(call, keys, shard, log, false);
}

/// Notes what the end of a commit with events says of the log. Whether its readers are to be woken. `letter`:
/// which of the letters behind the versions is about this log.
inline bool note_commit(
    EventLogPlace const& log, std::size_t shard, ReplyView reply, std::size_t letter,
    Outcome<CommitResult> const& done) noexcept
{
    if (!done && done.errc() == Errc::overloaded)
        log.note_full(shard);
    if (!done || done->duplicate) {
        log.note_refused(shard);
        return false;
    }
    auto const versions = reply.text();
    if (versions.substr(versions.size() - versions.size() % 16).substr(0, letter + 1).ends_with('r'))
        log.note_readers(shard);
    return true;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_EVENTS_HPP
