// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_EVENT_REPOSITORY_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_EVENT_REPOSITORY_IPP

#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/commit_events.hpp>
#include <interlock/backends/redis/detail/event_log.hpp>
#include <interlock/backends/redis/detail/event_scripts.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/placement.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/core/kit/known_call.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/separate_compilation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// How many bytes of events leave the server in one reply; one event may be larger.
inline constexpr std::size_t bytes_of_page = std::size_t{1} << 20;

/// How many events are asked for at once, whatever the caller's limit.
INTERLOCK_DECL std::size_t most_of_page(std::size_t limit) noexcept
{
    return std::min<std::size_t>(limit, 10'000);
}

/// Appends the events that `reply` holds behind its first `head` elements.
INTERLOCK_DECL Outcome<void> take_events(
    ReplyView reply, std::size_t head, unsigned partition, std::vector<Event>& events)
{
    for (auto i = head; i + 2 < reply.size(); i += 3) {
        auto event = read_event(reply[i].text(), reply[i + 1].text(), reply[i + 2].text(), partition);
        if (!event)
            return damaged("an event in the log is damaged");
        events.push_back(*std::move(event));
    }
    return success();
}

INTERLOCK_DECL Outcome<EventPage> page_of(ReplyView reply, unsigned partition, Position after)
{
    EventPage page;
    auto const trimmed = position_of(reply[0].text()).value_or(0);
    auto const last = position_of(reply[1].text());
    if (last && after > *last)
        return interlock::detail::position_beyond_log(after, *last);
    if (auto taken = take_events(reply, 3, partition, page.events); !taken)
        return std::move(taken).failure();
    page.trimmed = after < trimmed;
    page.more = reply[2].integer() == 1;
    page.next = page.events.empty() ? std::max(after, trimmed) : page.events.back().position;
    return page;
}

INTERLOCK_DECL Outcome<Appended> appended(ReplyView reply)
{
    auto const what = reply[0].text();
    if (what == "full")
        return full_log();
    auto const number = number_of(reply[1].text());
    if (number && what == "conflict")
        return Failure{Errc::version_conflict, "the stream is at number " + std::to_string(*number)};
    auto const place = reply[2].text();
    auto const position = place.empty() ? std::optional<Position>{0} : position_of(place);
    if (!number || !position || (what != "appended" && what != "duplicate"))
        return Failure::unknown(Errc::corrupt_state, "redis: the script answered strangely");
    return Appended{what == "duplicate", *number, *position};
}

INTERLOCK_DECL Outcome<LogExtent> extent_of(ReplyView reply)
{
    auto const first = reply[0].text();
    auto const begin = first.empty() ? std::optional<Position>{0} : position_of(first);
    auto const end = position_of(reply[1].text());
    if (!begin || !end)
        return damaged("the log of events is none of ours");
    return LogExtent{*begin, *end};
}

[[gnu::cold]] INTERLOCK_DECL EventRepositoryOptions
checked(EventRepositoryOptions options, Options const& client)
{
    check_placement(options, client);
    if (options.max_events == 0 || options.max_events > std::size_t{1} << 40)
        throw Error(Errc::invalid_argument, "redis: max_events must be from 1 to 2^40");
    if (options.writer.size() > OperationId::max_size)
        throw Error(Errc::invalid_argument, "redis: the writer of events has at most 255 bytes");
    if (client.max_reply_bytes < (std::size_t{4} << 20))
        throw Error(Errc::invalid_argument, "redis: for events, max_reply_bytes must be at least 4 MiB");
    return options;
}

}  // namespace detail

/// What all handles of one log share.
template <class Runtime>
struct BasicEventRepository<Runtime>::Shared {
    Shared(std::shared_ptr<detail::ClientState<Runtime>> c, EventRepositoryOptions o)
        : client(std::move(c)), options(detail::checked(std::move(o), client->options())),
          keys(options.name_space, options.shards, client->options().prefix),
          log(std::make_shared<detail::EventLogPlace>(detail::EventLogPlace{
              intern_store(
                  client->options().endpoint() + "/" + std::to_string(client->options().database) + "/" +
                  keys.head()),
              options.shards, options.max_events, options.writer})),
          group(client->subscriber().group(keys))
    {}

    Outcome<void> validate(unsigned partition, std::int64_t after, std::size_t limit) const
    {
        return interlock::detail::validate_read(
            partition, static_cast<unsigned>(options.shards), after, limit);
    }
    detail::Name of_log(unsigned partition, std::string_view kind) const
    {
        return keys.of_log(partition, kind);
    }

    detail::Request<detail::Command> read_request(verb::ReadEvents const& read) const
    {
        auto const& script = detail::read_events_script();
        detail::Request<detail::Command> request{
            detail::evaluate(
                script, 2, of_log(read.partition, "log"), of_log(read.partition, "readers"),
                detail::place_of(std::max<Position>(read.after, 0)), detail::most_of_page(read.limit),
                detail::bytes_of_page),
            &script, Access::read};
        if (auto valid = validate(read.partition, read.after, read.limit); !valid)
            request.refused = std::move(valid).failure();
        return request;
    }

    detail::Request<detail::Command> append_request(verb::AppendEvents const& append) const
    {
        auto const& script = detail::append_events_script();
        auto const bytes = append.stream.bytes();
        auto const shard = keys.shard_of(bytes);
        bool const once = append.id != nullptr;
        detail::Request<detail::Command> request{
            detail::evaluate(
                script, once ? 5 : 3, keys.of_log(shard, "log"), keys.of_log(shard, "readers"),
                keys.name("stream", bytes)),
            &script, Access::record};
        if (auto valid = interlock::detail::validate_append(append); !valid) {
            request.refused = std::move(valid).failure();
            return request;
        }
        std::string append_name;
        if (once) {
            request.what.add(keys.of_log(shard, "appends"));
            request.what.add(keys.of_log(shard, "appended"));
            append_name = std::to_string(bytes.size()).append(":").append(bytes).append(append.id->value());
        }
        detail::add_bound(request.what, shard, *log, client->runtime());
        request.what.add(keys.within_shard(keys.wake_name_of_log(shard).channel));
        request.what.add(append.expected.number());
        request.what.add(append_name);
        for (auto const& event : append.events)
            detail::add_event(request.what, append.stream, event, options.writer, client->runtime());
        return request;
    }
    /// An append that may leave together with others, of one event without an id, while it is not time to
    /// look how full the log is. Nothing: this one may not, or is refused.
    std::optional<detail::Request<detail::ScriptCall>> shared_append_request(
        verb::AppendEvents const& append) const
    {
        if (append.id != nullptr || append.events.size() != 1 || !interlock::detail::validate_append(append))
            return std::nullopt;
        auto const bytes = append.stream.bytes();
        auto const shard = keys.shard_of(bytes);
        auto const& runtime = client->runtime();
        if (log->due(shard, runtime.now()))
            return std::nullopt;
        auto const& script = detail::append_each_event_script();
        std::optional<detail::Request<detail::ScriptCall>> request{
            {detail::ScriptCall{
                 script, {.shared_keys = 2, .own_keys = 1, .shared_arguments = 1, .own_arguments = 2}},
             &script, Access::record}};
        auto& call = request->what;
        call.add(keys.of_log(shard, "log"));
        call.add(keys.of_log(shard, "readers"));
        call.add(keys.name("stream", bytes));
        call.add(keys.within_shard(keys.wake_name_of_log(shard).channel));
        call.add(append.expected.number());
        detail::add_event(call, append.stream, append.events[0], options.writer, runtime);
        return request;
    }
    /// Reads the reply to an append, and tells the readers in this process.
    auto read_append(Key const& stream) const
    {
        return [client = client, log = log, shard = keys.shard_of(stream.bytes()),
                readers = keys.wake_name_of_log(keys.shard_of(stream.bytes())).hash](ReplyView reply) {
            auto done = detail::appended(reply);
            if (!done && done.errc() == Errc::overloaded)
                log->note_full(shard);
            if (done && !done->duplicate)
                client->subscriber().wake(readers);
            return done;
        };
    }

    detail::Request<detail::Command> extent_request(verb::ExtentOfLog const& extent) const
    {
        auto const& script = detail::extent_script();
        detail::Request<detail::Command> request{
            detail::evaluate(script, 1, of_log(extent.partition, "log")), &script, Access::read};
        if (auto valid = validate(extent.partition, 0, 1); !valid)
            request.refused = std::move(valid).failure();
        return request;
    }

    std::shared_ptr<detail::ClientState<Runtime>> client;
    EventRepositoryOptions options;
    detail::KeySpace keys;
    std::shared_ptr<detail::EventLogPlace const> log;
    detail::Subscriber::Group group;
};

template <class Runtime>
BasicEventRepository<Runtime>::BasicEventRepository(
    BasicClient<Runtime> client, EventRepositoryOptions options)
    : shared_(std::make_shared<Shared const>(client.state_, std::move(options)))
{}

template <class Runtime>
Runtime const& BasicEventRepository<Runtime>::runtime() const noexcept
{
    return shared_->client->runtime();
}

template <class Runtime>
void const* BasicEventRepository<Runtime>::identity() const noexcept
{
    return shared_->log->store.get();
}

template <class Runtime>
std::string BasicEventRepository<Runtime>::place() const
{
    return detail::place_of_name_space(shared_->client->options().prefix, shared_->options.name_space);
}

template <class Runtime>
unsigned BasicEventRepository<Runtime>::partitions() const noexcept
{
    return static_cast<unsigned>(shared_->options.shards);
}

template <class Runtime>
Capabilities BasicEventRepository<Runtime>::capabilities() const noexcept
{
    return {.owns_threads = shared_->client->own_threads()};
}

template <class Runtime>
BasicEventRepository<Runtime>::operator EventLogHandle() const noexcept
{
    return EventLogHandle{shared_->log};
}

// ---- Reading

template <class Runtime>
Outcome<EventPage> BasicEventRepository<Runtime>::carry_out(
    verb::ReadEvents const& read, Deadline deadline) const
{
    return detail::ask<EventPage>(
        *shared_->client, shared_->read_request(read), deadline,
        [&](ReplyView reply) { return detail::page_of(reply, read.partition, read.after); });
}

template <class Runtime>
StartedCall<EventPage> BasicEventRepository<Runtime>::start(
    verb::ReadEvents const& read, Deadline deadline, Waiter& waiter) const
{
    return detail::start<EventPage>(
        *shared_->client, shared_->read_request(read), deadline, waiter,
        [partition = read.partition, after = read.after](ReplyView reply) {
            return detail::page_of(reply, partition, after);
        });
}

template <class Runtime>
Outcome<std::vector<Event>> BasicEventRepository<Runtime>::carry_out(
    verb::ReadStream const& read, Deadline deadline) const
{
    if (!read.stream.valid())
        return read.stream.validate().failure();
    auto const bytes = read.stream.bytes();
    auto const partition = static_cast<unsigned>(shared_->keys.shard_of(bytes));
    if (auto valid = shared_->validate(partition, read.after, read.limit); !valid)
        return std::move(valid).failure();
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    Deadline const until{deadline.at(runtime().now())};
    auto const& script = detail::read_stream_script();
    std::vector<Event> events;
    for (bool more = true; more && events.size() < read.limit;) {
        auto const after = events.empty() ? read.after : events.back().number;
        auto const wanted = std::min<std::size_t>(read.limit - events.size(), 1'000);
        auto const before = events.size();
        auto exchange = shared_->client->execute(
            detail::evaluate(
                script, 2, shared_->of_log(partition, "log"), shared_->keys.name("stream", bytes),
                std::min(after, detail::greatest_number), wanted, detail::bytes_of_page),
            &script, Access::read, until);
        if (!exchange)
            return std::move(exchange).failure();
        auto const reply = exchange->reply();
        if (auto taken = detail::take_events(reply, 1, partition, events); !taken)
            return std::move(taken).failure();
        more = events.size() > before && (reply[0].integer() == 1 || events.size() - before == wanted);
    }
    return events;
}

template <class Runtime>
Outcome<LogExtent> BasicEventRepository<Runtime>::carry_out(
    verb::ExtentOfLog const& extent, Deadline deadline) const
{
    return detail::ask<LogExtent>(
        *shared_->client, shared_->extent_request(extent), deadline, detail::extent_of);
}

template <class Runtime>
StartedCall<LogExtent> BasicEventRepository<Runtime>::start(
    verb::ExtentOfLog const& extent, Deadline deadline, Waiter& waiter) const
{
    return detail::start<LogExtent>(
        *shared_->client, shared_->extent_request(extent), deadline, waiter, detail::extent_of);
}

// ---- Writing

template <class Runtime>
Outcome<Appended> BasicEventRepository<Runtime>::carry_out(
    verb::AppendEvents const& append, Deadline deadline) const
{
    auto const read = shared_->read_append(append.stream);
    if (auto const shared = shared_->shared_append_request(append))
        return detail::ask<Appended>(*shared_->client, *shared, deadline, read);
    return detail::ask<Appended>(*shared_->client, shared_->append_request(append), deadline, read);
}

template <class Runtime>
StartedCall<Appended> BasicEventRepository<Runtime>::start(
    verb::AppendEvents const& append, Deadline deadline, Waiter& waiter) const
{
    auto read = shared_->read_append(append.stream);
    if (auto shared = shared_->shared_append_request(append))
        return detail::start<Appended>(
            *shared_->client, *std::move(shared), deadline, waiter, std::move(read));
    return detail::start<Appended>(
        *shared_->client, shared_->append_request(append), deadline, waiter, std::move(read));
}

template <class Runtime>
Outcome<void> BasicEventRepository<Runtime>::carry_out(
    verb::NoteConsumer const& note, Deadline deadline) const
{
    if (auto valid = shared_->validate(note.partition, note.position, 1); !valid)
        return valid;
    if (auto valid = interlock::detail::validate_consumer(note.consumer); !valid)
        return valid;
    auto const& script = detail::note_consumer_script();
    auto exchange = shared_->client->execute(
        detail::evaluate(
            script, 2, shared_->of_log(note.partition, "log"), shared_->of_log(note.partition, "readers"),
            note.consumer, detail::place_of(note.position), note.goes_back ? 1 : 0),
        &script, Access::record, deadline);
    if (!exchange)
        return std::move(exchange).failure();
    if (auto const last = detail::position_of(exchange->reply().text()))
        return interlock::detail::position_beyond_log(note.position, *last);
    return success();
}

template <class Runtime>
Outcome<void> BasicEventRepository<Runtime>::carry_out(
    verb::ForgetConsumer const& forget, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_consumer(forget.consumer); !valid)
        return valid;
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    Deadline const until{deadline.at(runtime().now())};
    auto const field = "r:" + std::string(forget.consumer);
    for (unsigned partition = 0; partition < partitions(); ++partition) {
        auto exchange = shared_->client->execute(
            detail::Command("HDEL", shared_->of_log(partition, "readers"), field), nullptr, Access::write,
            until);
        if (!exchange)
            return std::move(exchange).failure();
    }
    return success();
}

template <class Runtime>
Outcome<Position> BasicEventRepository<Runtime>::carry_out(
    verb::TrimEvents const& trim, Deadline deadline) const
{
    if (auto valid = shared_->validate(trim.partition, trim.up_to, 1); !valid)
        return std::move(valid).failure();
    auto const& script = detail::trim_script();
    auto const part = [&](std::string_view kind) { return shared_->of_log(trim.partition, kind).text(); };
    auto exchange = shared_->client->execute(
        detail::evaluate(
            script, 4, part("log"), part("readers"), part("appends"), part("appended"),
            detail::place_of(trim.up_to)),
        &script, Access::write, deadline);
    if (!exchange)
        return std::move(exchange).failure();
    return detail::position_of(exchange->reply().text()).value_or(0);
}

// ---- Wake-ups

template <class Runtime>
void BasicEventRepository<Runtime>::subscribe(unsigned partition, Waiter& waiter) const
{
    if (partition < partitions())
        shared_->client->subscriber().subscribe(
            shared_->group, shared_->keys.wake_name_of_log(partition), OwnerToken{}, waiter);
}

template <class Runtime>
void BasicEventRepository<Runtime>::unsubscribe(unsigned partition, Waiter& waiter) const noexcept
{
    if (partition < partitions())
        shared_->client->subscriber().unsubscribe(shared_->keys.wake_name_of_log(partition).hash, waiter);
}

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_EVENT_REPOSITORY_IPP
